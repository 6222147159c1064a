"""What comes out of a Ray job's log, and small jobs of the launcher's own that help along."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog.errors import NotFound, Refused, Unreachable
from launcher.backends import ray_entry
from launcher.backends.ray_api import Cluster
from launcher.jobs import JobHandle
from launcher.node import result_stream
from launcher.node.result_stream import Received
from launcher.runs import run_directory as files

_ENDS = ("SUCCEEDED", "FAILED", "STOPPED")
# Seconds for a small job: Ray starts a Python process for it.
HELPING = 45.0
# Ray offers no way to take a job off the queue but to kill the actor that waits for a place (the names are
# those of ray.dashboard.modules.job.common).
_UNQUEUE = """
import ray
ray.init(address="auto", log_to_driver=False)
ray.kill(ray.get_actor("_ray_internal_job_actor_{id}", namespace="SUPERVISOR_ACTOR_RAY_NAMESPACE"))
"""


def output(cluster: Cluster, job: Mapping[str, Any]) -> bytes:
    """The driver's log; empty where it or the node that had it is gone. Raises Unreachable where it can't be
    read for another reason."""
    try:
        return cluster.log(job)
    except NotFound:
        return b""
    except Unreachable:
        if _node_lives(cluster, job):
            raise
        return b""


def receive(output: bytes, submission_id: str) -> Received:
    """What the job printed, without Ray's own lines, and what it sent back."""
    begin = f"{ray_entry.BEGIN.format(id=submission_id)}\n".encode()
    before, found, body = output.partition(begin)
    # Ray writes it at the start, but it may arrive only when the job has printed something.
    own = f"Running entrypoint for job {submission_id}: ".encode()
    if found and own not in before:
        printed, _, rest = body.partition(own)
        body = printed + rest.partition(b"\n")[2]
    received = result_stream.receive(body if found else b"")
    if received.complete:
        return received
    log, ended, _ = received.log.rpartition(f"\n{ray_entry.ENDED} ".encode())
    return replace(received, log=log) if ended else received


def bring_back(
    cluster: Cluster,
    handle: JobHandle,
    destination: Path,
    *,
    submission_id: str,
    job: Mapping[str, Any] | None,
    output: bytes,
) -> str | None:
    """Unpacks what a job without shared storage sent; why something was left out, else None. One that was
    killed before it could send anything is sent for, where its node is still there."""
    received = receive(output, submission_id)
    if not received.complete and job is not None and _node_lives(cluster, job):
        limit = int(handle.settings.get("results_limit", 0))
        helper = f"{submission_id}-collect"
        request = {
            "entrypoint": ray_entry.collecting(handle.directory, limit),
            "submission_id": helper,
            "entrypoint_label_selector": {"ray.io/node-id": job["driver_node_id"]},
        }
        sent = result_stream.receive(_helped(cluster, helper, request))
        received = replace(sent, log=received.log)
    if received.packed is not None:
        received = replace(received, left_out=_unpacked(received, received.packed, destination))
    (destination / files.LOGS).mkdir(parents=True, exist_ok=True)
    if received.log or not (destination / files.JOB_LOG).exists():
        files.write_bytes(destination / files.JOB_LOG, received.log)
    if not received.complete:
        return "the job's folder could not be brought back from its node"
    return received.left_out


def helper_of(submission_id: str) -> str:
    """The job that takes another one off the queue."""
    return f"{submission_id}-unqueue"


def unqueue(cluster: Cluster, submission_id: str) -> None:
    """Takes a job off the queue of those that wait for a node."""
    text = shlex.quote(_UNQUEUE.format(id=submission_id))
    helper = helper_of(submission_id)
    command = f"p=python; command -v python >/dev/null 2>&1 || p=python3; exec $p -c {text}"
    if cluster.submit({"entrypoint": command, "submission_id": helper}):
        return
    # The second request finds the first one's helper; one that failed makes room for another.
    found = cluster.job(helper)
    if found is not None and found.get("status") in _ENDS:
        cluster.forget(helper)
        cluster.submit({"entrypoint": command, "submission_id": helper})


def _node_lives(cluster: Cluster, job: Mapping[str, Any]) -> bool:
    node = job.get("driver_node_id")
    return bool(node) and node in {each.get("node_id") for each in cluster.nodes()}


def _unpacked(received: Received, packed: bytes, destination: Path) -> str | None:
    """What of it isn't there afterwards. The archive is the job's, and can be anything."""
    try:
        names = result_stream.unpack(packed, destination)
    except Refused as error:
        return error.message
    named = f"not brought back: {', '.join(names[:5])}" if names else None
    return received.left_out or named


def _helped(cluster: Cluster, helper: str, request: Mapping[str, Any]) -> bytes:
    """The log of a small job, run now; empty where it didn't end in time, or Ray doesn't take it."""
    try:
        cluster.submit(request)
    except Refused:
        return b""
    deadline = time.monotonic() + HELPING
    while time.monotonic() < deadline:
        job = cluster.job(helper)
        if job is None:
            return b""
        if job.get("status") in _ENDS:
            said = output(cluster, job)
            cluster.forget(helper)
            return said
        time.sleep(0.5)
    cluster.stop(helper)
    return b""
