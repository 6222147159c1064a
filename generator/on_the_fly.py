"""An image as a catalog of its own, for looking into it without writing anything."""

from __future__ import annotations

from catalog.console import warn
from catalog.models import Catalog, MappingEntry
from catalog.references import ImageRef
from generator.harvest import harvest
from generator.reading import read_image


def read_catalog(image: str) -> Catalog:
    """Raises what reading an image and its framework files raises."""
    found = harvest(MappingEntry(key="image", container=image), read_image(ImageRef.parse(image)))
    for warning in found.warnings:
        warn(warning)
    return Catalog(root=image, mapping_sha256="", harnesses=found.harnesses)
