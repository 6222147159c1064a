"""An image as a catalog of its own, for looking into it without writing anything."""

from __future__ import annotations

from catalog.console import warn
from catalog.models import Catalog, MappingEntry
from catalog.references import ImageRef
from generator.answer import Status
from generator.harvest import harvest
from generator.reading import read_image


def read_catalog(image: str) -> Catalog:
    """Reads the layers that were left out too, when nothing was found in the others."""
    ref = ImageRef.parse(image)
    answer = read_image(ref)
    if answer.status is Status.UNKNOWN:
        answer = read_image(ref, complete=True)
    found = harvest(MappingEntry(key="image", container=image), answer)
    for warning in found.warnings:
        warn(warning)
    return Catalog(root=image, mapping_sha256="", harnesses=found.harnesses)
