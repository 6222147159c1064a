"""A Ray cluster inside a Slurm job: its head and workers are the job's nodes, without GPUs too."""

from __future__ import annotations

import json
import shlex
import stat
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from launched import RESULTS, Place, artifacts, status, there, until
from launcher.jobs import JobHandle, JobStatus, State

pytestmark = pytest.mark.timeout(600)
ASK = """
import ray, sys
ray.init(logging_level="ERROR")
@ray.remote(num_cpus=1)
def where():
    return ray.get_runtime_context().get_node_id()
print(len(ray.nodes()), int(ray.cluster_resources()["CPU"]), len(ray.get(where.remote())) > 0)
"""


def over(place: Place, handle: JobHandle) -> JobStatus | None:
    answer = status(place, handle)
    return answer if answer.state.terminal else None


def refused(url: str, token: str | None, body: bytes | None = None) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{url}/api/jobs/", data=body, headers=headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=20)
    caught.value.close()
    return caught.value.code


def values_of(handle: JobHandle, name: bytes) -> Iterator[bytes]:
    """Of a variable in what the job has started."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "cwd").readlink().is_relative_to(handle.directory):
                values = (entry / "environ").read_bytes().split(b"\0")
                yield from (value.removeprefix(name) for value in values if value.startswith(name))


def test_the_job_asks_a_cluster_of_its_own_and_nobody_else_does(on_slurm: Place, tmp_path: Path) -> None:
    ask = f"{sys.executable} -c {shlex.quote(ASK)}"
    without = f"env -u RAY_AUTH_TOKEN RAY_AUTH_MODE=disabled {ask} >{{out}}/without 2>&1; "
    waits = "echo $? >{out}/.code; mv {out}/.code {out}/code; until [ -e {out}/go ]; do sleep 0.1; done; "
    run = on_slurm.run(tmp_path / "here", f"{ask} >{{out}}/nodes; {without}{waits}{RESULTS}")
    ray_bin = str(Path(sys.executable).parent)
    more = {"with_ray": True, "ray_bin": ray_bin, "nodes": 2, "cpus_per_task": 2}
    run = replace(run, settings={**run.settings, **more})
    handle = on_slurm.submit(run)
    came_up = until(lambda: over(on_slurm, handle) or (artifacts(handle) / "code").exists(), patience=300)
    logs = there(run) / "logs"
    assert came_up is True, (logs / "job.log").read_text() + (logs / "ray.log").read_text()
    url = f"http://127.0.0.1:{28001 + int(handle.native_id) % 238 * 20}"
    submission = json.dumps({"entrypoint": "true"}).encode()
    assert (refused(url, None), refused(url, "another"), refused(url, None, submission)) == (401, 403, 401)
    assert (artifacts(handle) / "code").read_text() != "0\n"
    assert "2 4" not in (artifacts(handle) / "without").read_text()
    folder = Path(f"/tmp/evaldock-ray-{handle.native_id}")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (token,) = set(values_of(handle, b"RAY_AUTH_TOKEN="))
    assert len(token) == 64
    for path in [*Path("/proc").glob("[0-9]*/cmdline"), *there(run).rglob("*"), *folder.rglob("*.*")]:
        with suppress(OSError):
            assert path.is_dir() or not path.is_file() or token not in path.read_bytes(), path
    assert token.decode() not in on_slurm.native(handle)
    (artifacts(handle) / "go").touch()
    answer = until(lambda: over(on_slurm, handle), "the job ends", patience=300)
    assert (answer.state, answer.reason) == (State.SUCCEEDED, None)
    assert (artifacts(handle) / "nodes").read_text().split() == ["2", "4", "True"]
