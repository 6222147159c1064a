"""Runs parts of the real nemo-evaluator-launcher 0.2.6 in its own environment; prints what they cost as JSON.

    nel_script.py extract LIMIT IMAGE…    reads framework.yml out of images on loopback (LIMIT: bytes or none)
    nel_script.py plan FILE               plans the run that FILE configures, records it, starts nothing
    nel_script.py fill COUNT CONFIG       records COUNT runs of one job

`extract` changes one thing: that tool only speaks https, the registry of a measurement only http. `plan`
stands in for the shell scripts that the tool would start. All times leave the imports out.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGE = "nemo_evaluator_launcher"


def main(what: str, *given: str) -> None:
    known: dict[str, Callable[..., dict[str, Any]]] = {"extract": extract, "plan": plan, "fill": fill}
    found = known[what](*given)
    sys.__stdout__.write(json.dumps(found))  # type: ignore[union-attr]


def extract(limit: str, *images: str) -> dict[str, Any]:
    """`found` counts the images whose file was found. With LIMIT none no layer is too large to be read."""
    _speak_http_on_loopback()
    loading = _module("common.container_metadata.loading")
    most = None if limit == "none" else int(limit)
    began, began_cpu = time.perf_counter(), time.process_time()
    found = [loading.extract_framework_yml(image, max_layer_size=most)[0] for image in images]
    return {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - began_cpu,
        "found": sum(content is not None for content in found),
    }


def plan(file: str) -> dict[str, Any]:
    from omegaconf import OmegaConf  # noqa: PLC0415 # installed there

    executor = _module("executors.local.executor")
    config = OmegaConf.create(json.loads(Path(file).read_text()))
    started: list[tuple[float, float]] = []

    class Started:
        """In the place of a shell script that was started."""

        def __init__(self, *_: Any, **__: Any) -> None:
            started.append((time.perf_counter(), time.process_time()))

        def poll(self) -> None:
            return None

    executor.subprocess.Popen = Started
    sys.stdout = Path("/dev/null").open("w")  # noqa: SIM115 # for the rest of the process
    began, began_cpu = time.perf_counter(), time.process_time()
    executor.LocalExecutor.execute_eval(config, dry_run=False)
    wall, cpu = started[0]
    return {"seconds": wall - began, "cpu": cpu - began_cpu}


def fill(count: str, file: str) -> dict[str, Any]:
    database = _module("common.execdb")
    config = json.loads(Path(file).read_text())
    for number in range(int(count)):
        run = f"{number:016x}"
        data = {
            "output_dir": f"/runs/{run}",
            "container": f"client-{run}",
            "eval_image": "registry.example/a:1",
        }
        database.ExecutionDB().write_job(
            database.JobData(run, f"{run}.0", 1.7e9 + number, "local", data, config)
        )
    return {}


def _speak_http_on_loopback() -> None:
    adapters = importlib.import_module("requests.adapters")
    send = adapters.HTTPAdapter.send

    def plainly(self: Any, request: Any, *rest: Any, **more: Any) -> Any:
        request.url = request.url.replace("https://127.0.0.1:", "http://127.0.0.1:", 1)
        return send(self, request, *rest, **more)

    adapters.HTTPAdapter.send = plainly


def _module(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.{name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
