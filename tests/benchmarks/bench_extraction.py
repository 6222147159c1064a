"""Reading images against the other tool, `skopeo copy` and `docker pull`; the scanner against tarfile."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import images
from benchmarks.fleet import measure_fleet
from benchmarks.measuring import BUILD, PYTHON, Measured, Sample, alternate, command
from benchmarks.places import Places, chunked, open_places
from benchmarks.reporting import Report, compared, size, times

OWN_SCRIPT = Path(__file__).with_name("own_script.py")
LATENCY = 0.05
COUNTS = ("requests", "received", "found", "seconds without imports")
MOST_MEMORY = 64e6

Way = Callable[[], Sample]


def run() -> Report:
    report = Report("Extraction")
    _scanner(report)
    with open_places(LATENCY) as places:
        report.left_out += places.left_out
        _late(report, places)
        _middle(report, places)
        _absent(report, places)
        _chunked(report, places)
        measure_fleet(report, places)
    return report


# The scanner alone


def _scanner(report: Report) -> None:
    for layer, what, wanted in ((images.many(), "many", 3), (images.few(), "few", 2)):
        found = alternate(
            {
                "evaldock's scanner": lambda layer=layer: _scan("evaldock", layer),  # type: ignore[misc]
                "tarfile, stream mode": lambda layer=layer: _scan("tarfile", layer),  # type: ignore[misc]
                "evaldock's scanner and sha256": lambda layer=layer: _scan("evaldock-checked", layer),  # type: ignore[misc]
            },
            rounds=5,
        )
        sizes = f"{size(layer.size)} gzip, {size(layer.plain)} tar"
        title = f"Reading to the last of {layer.members:,} members ({sizes})"
        report.tables.append(compared(title, list(found.values())))
        ours, theirs, _ = found.values()
        ratio = theirs.wall / ours.wall
        report.target(
            f"scanner on a layer of {what} members, beside tarfile",
            f"{wanted} times as fast",
            f"{times(ratio)} times ({times(theirs.cpu / ours.cpu)} by CPU time)",
            ratio >= wanted,
        )


def _scan(way: str, layer: images.Layer) -> Sample:
    """Imports left out, for both."""
    sample = command(
        [PYTHON, OWN_SCRIPT, "scan", way, layer.path, images.LAST_PATH],
        environment={"PYTHONPATH": str(BUILD.parents[1])},
    )
    inner = json.loads(sample.said)
    if not inner["found"]:
        raise RuntimeError(f"{way} did not find {images.LAST_PATH} in {layer.name}")
    return replace(sample, wall=inner["seconds"], cpu=inner["cpu"])


# Images


def _gigabyte() -> list[images.Layer]:
    return [*(images.noise(f"noise-{number}", 256) for number in range(4)), images.tiny()]


def _late(report: Report, places: Places) -> None:
    places.push(images.layout("late", _gigabyte()), "late")
    found = _contest(places, "late", rounds=3)
    warm = alternate({"evaldock extract, again": lambda: places.extract("late", fresh=False)}, rounds=3)
    with_token = places.last.requests
    places.proxy.tokens = False
    no_token = alternate(
        {
            "evaldock extract, registry without tokens": lambda: places.extract("late"),
            "the same, again": lambda: places.extract("late", fresh=False),
        },
        rounds=3,
    )
    without = places.last.requests
    places.proxy.tokens = True
    rows = [*found.values(), *warm.values(), *no_token.values()]
    report.tables.append(compared("The file in a tiny last layer of an image of 1 GB", rows, counts=COUNTS))
    ours = found["evaldock extract"]
    requests, received = ours.most("requests"), ours.most("received")
    report.target(
        "late tiny layer of a 1 GB image, cold, anonymous",
        "6 requests and 70 KB at most",
        f"{requests:.0f} requests, {size(received)}",
        requests <= 6 and received <= 70e3,
    )
    report.target(
        "the same image again",
        "one HEAD",
        f"{_methods(without)}; where a token is asked for: {_methods(with_token)}",
        _methods(without) == "HEAD",
    )


def _methods(requests: Sequence[str]) -> str:
    return ", ".join(request.replace("GET /token", "token /").split()[0] for request in requests)


def _middle(report: Report, places: Places) -> None:
    layer = images.large()
    places.push(images.layout("middle", [layer]), "middle")
    exact = ("--path", f"/{images.FRAMEWORK_PATH}")
    ways: dict[str, Way] = {"evaldock extract --path (exact)": lambda: places.extract("middle", *exact)}
    found = _contest(places, "middle", rounds=2, more=ways, unlimited=True)
    title = f"The file in the middle of a layer of {size(layer.size)} gzip"
    note = (
        "The default path is a pattern, of which more files could follow: the layer is read to its end and "
        "checked against its digest. With an exact path reading stops at the file."
    )
    report.tables.append(compared(title, list(found.values()), counts=COUNTS, note=note))


def _absent(report: Report, places: Places) -> None:
    layers = [images.few(), images.noise("noise-0", 256)]
    places.push(images.layout("absent", layers), "absent")
    found = _contest(places, "absent", rounds=2, unlimited=True)
    title = f"No such file, in an image of {size(sum(layer.size for layer in layers))}"
    note = (
        "evaldock answers that the file isn't there, and has checked every layer. The other tool answers the "
        "same without having looked into layers of 100 KiB and more, unless its limit is taken away."
    )
    report.tables.append(compared(title, list(found.values()), counts=COUNTS, note=note))
    ours = found["evaldock extract"]
    report.target("memory while layers are read", "64 MB at most", size(ours.peak), ours.peak <= MOST_MEMORY)


def _chunked(report: Report, places: Places) -> None:
    plain = images.layout("chunked", [images.many()])
    places.push(chunked(places, plain), "chunked")
    found = alternate(
        {
            "evaldock extract": lambda: places.extract("chunked"),
            "skopeo copy": lambda: places.skopeo_copy("chunked"),
            **({"nemo-evaluator-launcher": lambda: places.nel_way("chunked")} if places.nel else {}),
        },
        rounds=3,
    )
    note = "Docker 20.10 can't pull zstd layers, and the other tool can't read them."
    title = f"zstd:chunked, the file halfway among {images.many().members:,} members"
    report.tables.append(compared(title, list(found.values()), counts=COUNTS, note=note))


def _contest(
    places: Places, name: str, *, rounds: int, more: dict[str, Way] | None = None, unlimited: bool = False
) -> dict[str, Measured]:
    ways: dict[str, Way] = {"evaldock extract": lambda: places.extract(name), **(more or {})}
    if places.nel:
        ways["nemo-evaluator-launcher"] = lambda: places.nel_way(name)
        if unlimited:
            ways["nemo-evaluator-launcher without its limit"] = lambda: places.nel_way(name, limit=None)
    ways["skopeo copy"] = lambda: places.skopeo_copy(name)
    if places.engine:
        ways["docker pull"] = lambda: places.docker_pull(name)
    return alternate(ways, rounds=rounds)
