"""The site of a catalog. As a Sphinx extension: `extensions = ["generator.site"]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata


def setup(app: Sphinx) -> ExtensionMetadata:
    from generator.site.extension import setup as real_setup  # noqa: PLC0415 # Sphinx only when there is a build

    return real_setup(app)
