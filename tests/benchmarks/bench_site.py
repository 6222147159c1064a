"""Building the site of small and large catalogs, again and after a change; the browse page in Chromium."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks import keystroke
from benchmarks.measuring import EVALDOCK, PYTHON, Measured, Sample, alternate, command
from benchmarks.peers import Missing, real_catalog
from benchmarks.plain_site import write_source
from benchmarks.reporting import Report, Table, compared, seconds, size, times
from catalog import store
from catalog.models import Entry, Task
from services.required import Unavailable
from synthetic import make_catalog

HARNESSES = 25
SMALL, LARGE = 1_000, 10_000


def run() -> Report:
    report = Report("Site")
    with tempfile.TemporaryDirectory(prefix="evaldock-bench-") as name:
        folder = Path(name)
        _real(report, folder)
        small = _small(report, folder)
        _large(report, folder, small)
    return report


def _real(report: Report, folder: Path) -> None:
    try:
        catalog = real_catalog()
    except Missing as missing:
        report.left_out.append(f"the site of a real catalog: {missing}")
        return
    tasks = len(store.load(catalog).tasks)
    built = Measured("full", [_build(catalog, folder / "real")])
    again = Measured("again, nothing changed", [_build(catalog, folder / "real", fresh=False)])
    report.tables.append(compared(f"`evaldock build`, {tasks} real tasks in 23 harnesses", [built, again]))


def _small(report: Report, folder: Path) -> Measured:
    catalog = make_catalog(folder / "catalog-small", harnesses=HARNESSES, tasks=SMALL)
    plain = folder / "plain"
    write_source(store.load(catalog), plain / "source")
    built = alternate(
        {
            "evaldock build": lambda: _build(catalog, folder / "small"),
            "Sphinx, a Markdown document per task": lambda: _plain_build(plain),
        },
        rounds=2,
    )
    report.tables.append(
        compared(f"Full build, {SMALL:,} tasks in {HARNESSES} harnesses", list(built.values()))
    )
    return built["evaldock build"]


def _large(report: Report, folder: Path, small: Measured) -> None:
    catalog = make_catalog(folder / "catalog-large", harnesses=HARNESSES, tasks=LARGE)
    site, other = folder / "large", folder / "other"
    full = Measured("full", [_build(catalog, site), _build(catalog, other)])
    same = _content(site) == _content(other)
    shutil.rmtree(other)
    page, page_size = _largest(site, "*.html")
    _, data_size = _largest(site, "*.js")
    again = Measured("again, nothing changed", [_build(catalog, site, fresh=False) for _ in range(3)])
    _measure_keys(report, site)
    changed = []
    for number in (3, 11):
        _change(catalog, number)
        changed.append(_build(catalog, site, fresh=False))
    one = Measured(f"after one harness of {HARNESSES} changed", changed)
    title = f"`evaldock build`, {LARGE:,} tasks in {HARNESSES} harnesses"
    note = (
        f"The largest page is {page} ({size(page_size)} gzipped), the largest script has {size(data_size)}."
    )
    report.tables.append(compared(title, [full, again, one], note=note))

    report.target(
        f"CPU time of a full build at {LARGE:,}", "120 s at most", f"{seconds(full.cpu)} s", full.cpu <= 120
    )
    report.target(f"peak memory at {LARGE:,}", "500 MB at most", size(full.peak), full.peak <= 500e6)
    growth = full.cpu / small.cpu
    report.target(f"CPU time at {LARGE:,} / at {SMALL:,}", "12 at most", times(growth), growth <= 12)
    report.target("largest page, gzipped", "300 KB at most", size(page_size), page_size <= 300e3)
    report.target("rebuild when nothing changed", "10 s at most", _wall(again), again.wall <= 10)
    part = one.cpu / full.cpu
    report.target(
        "CPU time after one harness changed", "a fifth of a full build's", f"{part:.0%}", part <= 0.2
    )
    report.target("two builds", "byte-identical", "identical" if same else "different", same)


def _wall(measured: Measured) -> str:
    return f"{seconds(measured.wall)} s ({seconds(measured.cpu)} s of CPU time)"


def _measure_keys(report: Report, site: Path) -> None:
    try:
        rounds = sorted((keystroke.measure(site) for _ in range(3)), key=lambda one: one.keys.p95)
    except Unavailable as missing:
        report.left_out.append(f"filtering in a browser: {missing}")
        return
    measured = rounds[1]
    rows = [
        (what, *(f"{value:.0f} ms" for value in (times.median, times.p95, times.worst)))
        for what, times in (("a key in the search field", measured.keys), ("a filter ticked", measured.ticks))
    ]
    title = f"Chromium, {measured.tasks:,} tasks: from the key to the painted answer"
    note = (
        "The round of three whose 95th percentile is in the middle. The page with all of its data had loaded "
        f"from disk after {measured.loaded:.0f} ms."
    )
    report.tables.append(
        Table(title=title, columns=("", "median", "95th percentile", "worst"), rows=rows, note=note)
    )
    worst = max(measured.keys.p95, measured.ticks.p95)
    said = f"median {measured.keys.median:.0f} ms, 95th percentile {worst:.0f} ms"
    report.target(f"a keystroke's answer at {measured.tasks:,} tasks", "100 ms at most", said, worst <= 100)


def _build(catalog: Path, site: Path, *, fresh: bool = True) -> Sample:
    cache = site.with_name(f"{site.name}-cache")
    if fresh:
        shutil.rmtree(site, ignore_errors=True)
        shutil.rmtree(cache, ignore_errors=True)
    called: list[str | Path] = [EVALDOCK, "build", "--catalog", catalog, "--output", site, "--quiet", "-W"]
    return command(called, environment={"EVALDOCK_CACHE": str(cache)})


def _plain_build(folder: Path) -> Sample:
    output, doctrees = folder / "output", folder / "doctrees"
    shutil.rmtree(output, ignore_errors=True)
    shutil.rmtree(doctrees, ignore_errors=True)
    return command([PYTHON, "-m", "sphinx", "-q", "-d", doctrees, folder / "source", output])


def _content(site: Path) -> dict[str, str]:
    return {
        path.relative_to(site).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in _files(site, "*")
    }


def _largest(site: Path, pattern: str) -> tuple[str, int]:
    """Name and gzipped size, in bytes, of the file whose gzipped size is the largest."""
    best = ("", 0)
    for path in sorted(_files(site, pattern), key=lambda path: -path.stat().st_size):
        if path.stat().st_size <= best[1]:
            break
        packed = len(gzip.compress(path.read_bytes(), 6))
        best = max(best, (path.relative_to(site).as_posix(), packed), key=lambda found: found[1])
    return best


def _files(site: Path, pattern: str) -> Iterator[Path]:
    return (path for path in site.rglob(pattern) if path.is_file())


def _change(catalog: Path, number: int) -> None:
    """A new image of one harness, in which every task says something else."""
    loaded = store.load(catalog)
    entries = list(loaded.entries)
    entries[number] = _changed(entries[number])
    store.write(catalog, loaded.mapping_sha256, entries)


def _changed(entry: Entry) -> Entry:
    digest = "sha256:" + hashlib.sha256(entry.mapping.key.encode()).hexdigest()
    (harness,) = entry.harnesses
    image = replace(harness.image, digest=digest, manifest_digest=digest)
    tasks: tuple[Task, ...] = tuple(
        replace(task, description=f"{task.description} Revised.") for task in harness.tasks
    )
    return replace(entry, image=image, harnesses=(replace(harness, image=image, tasks=tasks),))
