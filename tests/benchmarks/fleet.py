"""25 images with base layers in common: all of them synchronised, and again."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from pathlib import Path

from benchmarks import images
from benchmarks.measuring import EVALDOCK, Sample, alternate, command
from benchmarks.places import Places
from benchmarks.reporting import Report, compared, size

IMAGES = 25
ROUNDS = 2
COUNTS = ("requests", "received", "found", "seconds without imports")
_BLOB = re.compile(r"GET /v2/(?P<repository>.+)/blobs/(?P<digest>sha256:[0-9a-f]+)")


def measure_fleet(report: Report, places: Places) -> None:
    base = [images.noise("base-system", 30), images.noise("base-python", 60), images.noise("base-tools", 4)]
    names = [f"harness-{number:02}" for number in range(IMAGES)]
    for name in names:
        places.push(images.layout(name, [*base, images.tiny(name)]), name)
    readings: dict[str, set[str]] = {}

    def complete() -> Sample:
        sample = _sync(places, names, "--complete")
        readings.update(_readers(places))
        return sample

    ways = {
        "evaldock sync": lambda: _sync(places, names),
        "evaldock sync --complete": complete,
        "evaldock sync, again": lambda: _sync(places, names, fresh=False),
        **({"nemo-evaluator-launcher": lambda: places.nel_way(*names)} if places.nel else {}),
        "skopeo copy": lambda: places.skopeo_copy(*names),
        **({"docker pull": lambda: places.docker_pull(*names)} if places.engine else {}),
    }
    found = alternate(ways, rounds=ROUNDS)
    shared = size(sum(layer.size for layer in base))
    title = f"{IMAGES} images with {shared} of base layers in common, each with a tiny layer of its own"
    note = "`sync` also checks the definitions and writes the catalog."
    report.tables.append(compared(title, list(found.values()), counts=COUNTS, note=note))

    times = [len(readings.get(layer.digest, set())) for layer in base]
    report.target(
        f"base layers that {IMAGES} images share, all layers read",
        "each read once",
        f"read for {', '.join(map(str, times))} of the images",
        times == [1] * len(base),
    )


def _readers(places: Places) -> dict[str, set[str]]:
    """For each blob, the repositories from which it was read."""
    readers = defaultdict(set)
    for request in places.last.requests:
        if found := _BLOB.match(request):
            readers[found["digest"]].add(found["repository"])
    return readers


def _sync(places: Places, names: list[str], *options: str, fresh: bool = True) -> Sample:
    folder, cache = places.folder / "catalog", places.folder / "sync-cache"
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(cache, ignore_errors=True)
        folder.mkdir()
        _write_mapping(folder, places, names)
    called: list[str | Path] = [EVALDOCK, "sync", "--catalog", folder, *options]
    sample = places.counted(command(called, environment={"EVALDOCK_CACHE": str(cache)}))
    return places.found(sample, len(list((folder / "ir").glob("*.yaml"))) - 1)


def _write_mapping(folder: Path, places: Places, names: list[str]) -> None:
    entries = (f'[{name}]\ncontainer = "{places.reference(name)}"\n' for name in names)
    (folder / "mapping.toml").write_text("\n".join(entries))
