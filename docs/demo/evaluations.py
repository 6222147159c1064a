"""Two evaluations for real: quickcheck, and mmath from PyPI, as processes against stand-ins for a model."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from catalog import record_files

CONFIGURATION = ("--config-dir", str(Path(__file__).parent), "--config-name", "evaluations")
# The shaky one refuses every sixth request; quickcheck is told not to ask again, mmath asks again by itself.
STAND_INS = {"STEADY_URL": (), "SHAKY_URL": ("--fault", "503:every=6")}
START_TIMEOUT = 60.0


class Failed(Exception):
    """The last thing that was printed says why."""


def evaluate(evaldock: Path, catalog: Path) -> None:
    """Runs what has no record of the same task and question in `catalog` yet, and publishes it there."""
    environment = {
        **os.environ,
        "EVALDOCK_STATE": str(catalog / "state"),
        "EVALDOCK_CACHE": os.environ.get("EVALDOCK_CACHE", str(catalog.parent / "cache")),
        "STANDIN_KEY": secrets.token_hex(16),
        **dict.fromkeys(STAND_INS, "http://127.0.0.1:1/v1"),
    }
    wanted = _asked(_json(evaldock, catalog, environment, "run", *CONFIGURATION, "--dry-run", "--json"))
    published, _ = record_files.load_all(catalog)
    have = {(r.task_id, r.model, r.task_sha, r.params_sha) for r in (one.record for one in published)}
    if wanted <= have:
        print(f"Evaluations: {len(wanted)} results are there already, of the tasks as they are now.")
        return
    print(
        "\nTwo harnesses evaluate two stand-ins for a model. Their packages come from PyPI first: a minute."
        "\nThe stand-ins do sums and repeat phrases; olympiad problems they get wrong.",
        flush=True,
    )
    with _stand_ins(evaldock, catalog, environment) as urls:
        print("$ evaldock run --config-dir docs/demo --config-name evaluations", flush=True)
        command = [str(evaldock), "run", *CONFIGURATION, "--output-dir", "runs", "--json"]
        done = subprocess.run(
            command, cwd=catalog, env=environment | urls, stdout=subprocess.PIPE, text=True, check=False
        )
    if done.returncode:
        raise Failed(f"an evaluation failed; the logs are below {catalog / 'runs'}")
    run = json.loads(done.stdout)["run"]
    print("$ evaldock publish", run, flush=True)
    _json(evaldock, catalog, environment, "publish", run, "--to", ".", "--json")


def _asked(dry_run: Mapping[str, Any]) -> set[tuple[str, ...]]:
    return {
        (job["task"], job["endpoint"]["model_id"], job["task_sha"], job["params_sha"])
        for job in dry_run["plan"]["jobs"]
    }


def _json(evaldock: Path, catalog: Path, environment: Mapping[str, str], *arguments: str) -> Any:
    command = [str(evaldock), *arguments]
    done = subprocess.run(
        command, cwd=catalog, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise Failed(f"evaldock {arguments[0]} failed with exit code {done.returncode}")
    return json.loads(done.stdout)


@contextmanager
def _stand_ins(evaldock: Path, catalog: Path, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Their URLs, by the names of `STAND_INS`, as long as they run."""
    running: list[subprocess.Popen[bytes]] = []
    files = {name: catalog / f"{name.lower()}.txt" for name in STAND_INS}
    try:
        for name, faults in STAND_INS.items():
            files[name].unlink(missing_ok=True)
            given = ("--port", "0", "--url-file", str(files[name]), "--key-env", "STANDIN_KEY", *faults)
            with (catalog / f"{name.lower()}.log").open("wb") as log:
                running.append(
                    subprocess.Popen(
                        [str(evaldock), "standin", *given], env=environment, stdout=log, stderr=log
                    )
                )
        yield {name: _url(files[name], server) for (name, server) in zip(STAND_INS, running, strict=True)}
    finally:
        for server in running:
            server.terminate()
        for server in running:
            server.wait()


def _url(file: Path, server: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and server.poll() is None:
        if file.exists():
            return file.read_text().strip()
        time.sleep(0.05)
    raise Failed(f"the stand-in did not start; see {file.with_suffix('.log')}")
