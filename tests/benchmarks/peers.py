"""NeMo Evaluator Launcher, as users get it, in an environment of its own (`make bench` makes it)."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.measuring import BUILD, EVALDOCK, ROOT, command

_BIN = ROOT / "build" / "bench-venv" / "bin"
NEL = _BIN / "nemo-evaluator-launcher"
NEL_PYTHON = _BIN / "python"
NEL_SCRIPT = Path(__file__).with_name("nel_script.py")


class Missing(Exception):
    """What is needed for a measurement isn't there; the message is the reason."""


def need_nel() -> None:
    if not NEL.exists():
        raise Missing("nemo-evaluator-launcher isn't installed in build/bench-venv; `make bench` does it")


def nel_package() -> Path:
    need_nel()
    (package,) = _BIN.parent.glob("lib/python*/site-packages/nemo_evaluator_launcher")
    return package


def real_catalog() -> Path:
    """The catalog that the other tool comes with (421 tasks in 23 harnesses), converted."""
    folder = BUILD / "catalog-real"
    if not folder.exists():
        given = nel_package() / "resources" / "all_tasks_irs.yaml"
        fresh = folder.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        command([EVALDOCK, "convert", "--from", "nel", given, "--catalog", fresh])
        fresh.rename(folder)
    return folder


def nel_with(catalog: Path, folder: Path) -> Path:
    """A folder for PYTHONPATH: the same tool with another catalog as its own. It is loaded from source files
    that Python has compiled, as an installed one is."""
    package = folder / "nemo_evaluator_launcher"
    if not package.exists():
        shutil.copytree(nel_package(), package)
        resources = package / "resources"
        command(
            [
                EVALDOCK,
                "convert",
                "--to",
                "nel",
                "--output",
                resources / "all_tasks_irs.yaml",
                "--catalog",
                catalog,
            ]
        )
        shutil.copyfile(catalog / "mapping.toml", resources / "mapping.toml")
        command([NEL_PYTHON, "-m", "compileall", "-q", package])
    return folder
