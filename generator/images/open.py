"""From a reference to the transport that reads it; each is imported only when it is used."""

from __future__ import annotations

from catalog.references import ImageRef, Transport
from generator.images.source import ImageSource


def open_image(ref: ImageRef) -> ImageSource:
    """The caller closes it. Raises NotFound or Refused for a local folder or file that can't be read."""
    if ref.transport is Transport.OCI:
        from generator.images.oci_layout import open_layout  # noqa: PLC0415

        return open_layout(ref)
    if ref.transport is Transport.OCI_ARCHIVE:
        from generator.images.oci_archive import open_archive  # noqa: PLC0415

        return open_archive(ref)
    if ref.transport is Transport.DOCKER_DAEMON:
        from generator.images.docker_daemon import DockerDaemonSource  # noqa: PLC0415

        return DockerDaemonSource(ref)
    from generator.registry.source import RegistrySource  # noqa: PLC0415

    return RegistrySource(ref)
