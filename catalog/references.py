"""Names of images and contents: `Digest` and `ImageRef`.

Sources: OCI image-spec descriptor.md (digests), OCI distribution-spec "pull" (names and tags), and
containers-transports(5) for `oci:`, `oci-archive:` and `docker-daemon:`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from catalog.errors import UsageError

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST = re.compile(r"(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?")

DOCKER_HUB = "docker.io"


@dataclass(frozen=True, slots=True)
class Digest:
    """A validated `algorithm:hex`; `str()` gives it back. sha256 and sha512 are the registered algorithms."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Raises UsageError for anything but `sha256:<64 hex>` or `sha512:<128 hex>`."""
        if not _DIGEST.fullmatch(text):
            raise UsageError(
                f"not a digest: {text[:160]!r}",
                hint="a digest looks like sha256: followed by 64 lower-case hex digits",
            )
        algorithm, hex_digits = text.split(":")
        return cls(algorithm, hex_digits)

    @classmethod
    def of(cls, data: bytes) -> Digest:
        return cls("sha256", hashlib.sha256(data).hexdigest())

    def matches(self, data: bytes) -> bool:
        return hashlib.new(self.algorithm, data).hexdigest() == self.hex

    @property
    def short(self) -> str:
        return self.hex[:12]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


class Transport(StrEnum):
    REGISTRY = "registry"
    OCI = "oci"
    OCI_ARCHIVE = "oci-archive"
    DOCKER_DAEMON = "docker-daemon"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRef:
    """Where an image is.

    `registry` is the host with its port as the user wrote it (`docker.io` when none was given) and empty for
    other transports; `repository` is the name there, or the local image's name for docker-daemon. `path`
    is the folder of `oci:` or the file of `oci-archive:`. Both `tag` and `digest` may stand; the digest wins.
    """

    transport: Transport
    registry: str = ""
    repository: str = ""
    path: Path | None = None
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str, *, base: Path | None = None) -> ImageRef:
        """`base` is the folder that relative `oci:` and `oci-archive:` paths start from (default: the current
        one). Raises UsageError naming the part that is wrong."""
        text = text.strip()
        for prefix in ("docker://", "https://", "http://"):
            if text.startswith(prefix):
                if prefix != "docker://":
                    raise UsageError(
                        f"an image reference has no scheme: {text[:200]!r}", hint=f"leave out {prefix!r}"
                    )
                text = text.removeprefix(prefix)
        if not text:
            raise UsageError(
                "an empty image reference", hint="expected for example registry.example/team/name:1.0"
            )
        scheme, colon, rest = text.partition(":")
        if colon and scheme in (Transport.OCI, Transport.OCI_ARCHIVE):
            return cls._parse_path(Transport(scheme), rest, base, text)
        if colon and scheme == Transport.DOCKER_DAEMON:
            return _split_name(rest, text, Transport.DOCKER_DAEMON)
        return _split_name(text, text, Transport.REGISTRY)

    @classmethod
    def _parse_path(cls, transport: Transport, rest: str, base: Path | None, whole: str) -> ImageRef:
        path, at, digest = rest.partition("@")
        tag: str | None = None
        head, colon, tail = path.rpartition(":")
        if colon and "/" not in tail:
            path, tag = head, tail
            if not _TAG.fullmatch(tag):
                raise UsageError(f"invalid tag {tag!r} in {whole!r}")
        if not path:
            raise UsageError(f"no path in {whole!r}", hint=f"expected {transport}:PATH[:TAG]")
        return cls(
            transport=transport,
            path=(base or Path()) / path,
            tag=tag,
            digest=Digest.parse(digest) if at else None,
        )

    def pinned(self, digest: Digest) -> ImageRef:
        """The same image by digest; the tag goes, so that it can't be mistaken for what is read."""
        return replace(self, tag=None, digest=digest)

    @property
    def name(self) -> str:
        """Without tag and digest."""
        if self.path is not None:
            return f"{self.transport}:{self.path}"
        if self.transport is Transport.DOCKER_DAEMON:
            return f"{self.transport}:{self.repository}"
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def _split_name(text: str, whole: str, transport: Transport) -> ImageRef:
    name, at, digest_text = text.partition("@")
    digest = Digest.parse(digest_text) if at else None
    tag: str | None = None
    head, colon, tail = name.rpartition(":")
    if colon and "/" not in tail:
        name, tag = head, tail
        if not _TAG.fullmatch(tag):
            raise UsageError(
                f"invalid tag {tag!r} in {whole!r}", hint="letters, digits, '_', '.', '-'; at most 128"
            )
    if transport is Transport.DOCKER_DAEMON:
        registry, repository = "", name
    else:
        registry, repository = _split_registry(name)
        port = registry.rpartition(":")[2]
        if not _HOST.fullmatch(registry) or (port.isdecimal() and int(port) > 65535):
            raise UsageError(f"invalid registry host {registry!r} in {whole!r}")
    checked = repository if transport is Transport.REGISTRY else repository.rpartition(":")[2].lstrip("/")
    if (
        not checked
        or len(repository) > 255
        or (transport is Transport.REGISTRY and not _REPOSITORY.fullmatch(checked))
    ):
        raise UsageError(
            f"invalid image name {repository!r} in {whole!r}",
            hint="lower-case letters and digits, separated by '.', '_', '-' and '/'",
        )
    if tag is None and digest is None:
        tag = "latest"
    return ImageRef(transport=transport, registry=registry, repository=repository, tag=tag, digest=digest)


def _split_registry(name: str) -> tuple[str, str]:
    # Docker's rule: the first component is a host only if it has a dot or a port, or is localhost.
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        if first in ("docker.io", "index.docker.io", "registry-1.docker.io"):
            return DOCKER_HUB, rest if "/" in rest else f"library/{rest}"
        return first, rest
    return DOCKER_HUB, name if slash else f"library/{name}"
