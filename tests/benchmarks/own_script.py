"""Runs parts of evaldock in a process of their own, and prints what they cost as JSON.

    own_script.py plan NAME FOLDER CATALOG    plans the run that FOLDER/NAME.yaml configures and records it
    own_script.py fill COUNT NAME FOLDER CATALOG    records COUNT runs like that one
    own_script.py scan WAY LAYER PATH         looks for one file in a layer: `evaldock`, `evaldock-checked`
                                              (with the digest of what was read) or `tarfile`

All times leave the imports out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_PIECE = 3 << 20  # what a window of a layer in a registry has


def main(what: str, *given: str) -> None:
    known: dict[str, Callable[..., dict[str, Any]]] = {"plan": plan, "fill": fill, "scan": scan}
    found = known[what](*given)
    print(json.dumps(found))


def plan(name: str, folder: str, catalog: str) -> dict[str, Any]:
    from launcher.runs import handle  # noqa: PLC0415 # scanning goes without
    from launcher.runs.database import Database  # noqa: PLC0415

    began, began_cpu = time.perf_counter(), time.process_time()
    made = _plan(name, folder, catalog)
    database = Database()
    database.record(made)
    handle.write(database, made)
    database.close()
    return {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - began_cpu,
        "jobs": len(made.jobs),
    }


def fill(count: str, name: str, folder: str, catalog: str) -> dict[str, Any]:
    from launcher.runs import run_id  # noqa: PLC0415
    from launcher.runs.database import Database  # noqa: PLC0415

    one = _plan(name, folder, catalog)
    database = Database()
    for _ in range(int(count)):
        identity = run_id.new()
        jobs = [
            dataclasses.replace(job, key=f"{identity}-{job.index:03d}", run_id=identity) for job in one.jobs
        ]
        database.record(dataclasses.replace(one, run_id=identity, jobs=tuple(jobs)))
    database.close()
    return {}


def _plan(name: str, folder: str, catalog: str) -> Any:
    from launcher.commands import planning  # noqa: PLC0415

    options: dict[str, Any] = dict.fromkeys(("url", "api_key_name", "backend", "limit"))
    made = planning.plan(
        [],
        Path(folder),
        name,
        [],
        {**options, "models": ()},
        output_dir=Path(folder),
        catalog_dir=Path(catalog),
    )
    return made.plan


def scan(way: str, layer: str, path: str) -> dict[str, Any]:
    look: Callable[[Path, str], bool] = {
        "evaldock": _evaldock,
        "evaldock-checked": lambda layer, path: _evaldock(layer, path, checked=True),
        "tarfile": _tarfile,
    }[way]
    began, began_cpu = time.perf_counter(), time.process_time()
    found = look(Path(layer), path)
    return {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - began_cpu,
        "found": int(found),
    }


def _evaldock(layer: Path, path: str, *, checked: bool = False) -> bool:
    """Stops at the file, as reading by an exact path does."""
    from generator.layers.blob import BlobStream  # noqa: PLC0415
    from generator.layers.facts import Checked  # noqa: PLC0415
    from generator.layers.pattern import Pattern  # noqa: PLC0415
    from generator.layers.scanning import Scan  # noqa: PLC0415

    pattern = Pattern.parse(f"/{path}")
    one = Scan([pattern])
    digest = hashlib.sha256() if checked else None
    one.run(BlobStream(_pieces(layer, digest)), early_exit=True)
    node = one.facts(Checked.NOT)[pattern].nodes.get(path)
    return bool(node and node.content)


def _pieces(layer: Path, digest: Any) -> Iterator[bytes]:
    with layer.open("rb") as file:
        while piece := file.read(_PIECE):
            if digest:
                digest.update(piece)
            yield piece


def _tarfile(layer: Path, path: str) -> bool:
    with layer.open("rb") as file, tarfile.open(fileobj=file, mode="r|gz") as archive:
        for member in archive:
            if member.name == path:
                content = archive.extractfile(member)
                return bool(content and content.read())
    return False


if __name__ == "__main__":
    main(*sys.argv[1:])
