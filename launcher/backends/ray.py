"""Backend `ray`: a job of a Ray cluster, through its Jobs API.

Ids are made from the job's key and attempt, so that what was submitted twice is one job. Where launcher and
nodes share a folder (`shared_dir`), the job's files lie there and its exit.json outranks Ray's opinion;
elsewhere they are sent as a package, and come back through the job's log. See `ray_api` for why Ray's own
client isn't used.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog.errors import EvaldockError, NotFound, Refused, Unreachable, UsageError
from launcher.backends import ray_files, ray_records, ray_request, ray_states, ray_stream, ray_trouble
from launcher.backends.protocol import NotSent
from launcher.backends.ray_api import TIMEOUT, Cluster
from launcher.backends.ray_entry import ENTRY
from launcher.backends.ray_request import submission_id
from launcher.jobs import JobHandle, JobPlan, JobStatus, LogChunk, RunPlan, State
from launcher.node.node_script import NODE_SCRIPT
from launcher.runs import run_directory as files

CHUNK = 1 << 20


def plan(run: RunPlan, job: JobPlan) -> Mapping[str, Any]:
    sent = ray_request.build(run, job, 1, {})
    texts = {path: content.decode() for path, (content, _) in sent.files.items() if _shown(path)}
    return {
        "backend": "ray",
        "dashboard_url": _url(run.settings),
        "request": dict(sent.request),
        "directory": run.folder(job),
        "files": sorted(sent.files),
        "secrets": [secret.name for secret in job.secrets],
        "deployment_secrets": [s.name for s in job.deployment.secrets] if job.deployment else [],
        "code": job.code,
        "scripts": texts,
    }


def submit(run: RunPlan, job: JobPlan, attempt: int, secrets: Mapping[str, str]) -> JobHandle:
    cluster, identity = _cluster(run.settings), submission_id(job.key, attempt)
    handle = JobHandle(
        key=job.key,
        backend="ray",
        native_id=identity,
        directory=run.folder(job),
        attempt=attempt,
        settings=run.settings,
    )
    with files.submitting(Path(run.directory) / job.directory):
        # One that ran, and that Ray has forgotten since, must not run again.
        if cluster.job(identity) is None and ray_files.own_exit(handle) is None:
            try:
                sent = ray_files.stage(cluster, run, job, attempt, secrets)
                cluster.submit(sent.request)
            except (NotFound, Refused, NotSent, OSError):
                ray_files.forget_secrets(handle)
                raise
        ray_records.submitted(run, job, attempt, identity)
    return handle


def status(handles: Sequence[JobHandle]) -> Mapping[str, JobStatus]:
    seen = time.time()
    answers: dict[str, JobStatus] = {}
    for url in dict.fromkeys(_url(handle.settings) for handle in handles):
        asked = [handle for handle in handles if _url(handle.settings) == url]
        try:
            cluster = _cluster(asked[0].settings)
            found = _asked(cluster, asked)
        except (EvaldockError, OSError) as error:
            answers |= {h.key: _unasked(h, url, _said(error), seen) for h in asked}
            continue
        ray_trouble.over(url)
        for handle in asked:
            try:
                answer = ray_states.judge(cluster, handle, found.get(_id(handle)), seen)
                answers[handle.key] = replace(answer, native_id=_id(handle))
            except (EvaldockError, OSError) as error:
                # A node whose log can't be read, storage that hangs: that job's trouble alone.
                answers[handle.key] = JobStatus(state=State.UNKNOWN, reason=_said(error), seen=seen)
    return answers


def logs(handle: JobHandle, since: int) -> LogChunk:
    if ray_files.is_shared(handle):
        return LogChunk(*files.read_log(ray_files.here(handle) / files.JOB_LOG, since, CHUNK))
    cluster = _cluster(handle.settings)
    job = cluster.job(_id(handle))
    log = ray_stream.receive(ray_stream.output(cluster, job), _id(handle)).log if job else b""
    start = since if since <= len(log) else 0
    data = log[start : start + CHUNK]
    return LogChunk(data, start + len(data))


def cancel(handle: JobHandle) -> None:
    """Ray ends what runs within `ray_entry.STOP_WAIT` seconds. A job that waits for a node it can't have
    would wait on after a request to stop: it is taken off the queue."""
    cluster, identity = _cluster(handle.settings), _id(handle)
    job = cluster.job(identity)
    if job is not None and ray_states.terminal(job):
        return
    ray_files.ask_to_stop(handle)
    if job is None:
        ray_files.forget_secrets(handle)
        return
    cluster.stop(identity)
    if job.get("status") == ray_states.PENDING:
        ray_stream.unqueue(cluster, identity)


def collect(handle: JobHandle, destination: Path) -> Path:
    cluster, identity = _cluster(handle.settings), _id(handle)
    try:
        job = cluster.job(identity)
    except Unreachable:
        # All of it lies here.
        if ray_files.own_exit(handle) is None:
            raise
        job = None
    if job is not None and not ray_states.terminal(job):
        # Given up by a deadline: nothing of it may go on, or start later.
        cancel(handle)
        raise Unreachable(f"{identity} is still {job.get('status')}; it is asked to stop")
    destination.mkdir(parents=True, exist_ok=True)
    left_out, output = None, b""
    if ray_files.is_shared(handle):
        ray_files.forget_secrets(handle)
        ray_files.copy(ray_files.here(handle), destination)
        with suppress(Unreachable):
            output = ray_stream.output(cluster, job) if job else b""
    else:
        output = ray_stream.output(cluster, job) if job else b""
        left_out = ray_stream.bring_back(
            cluster, handle, destination, submission_id=identity, job=job, output=output
        )
    ray_records.terminal(
        handle, destination, submission_id=identity, job=job, output=output, left_out=left_out
    )
    return destination


def nodes(run: RunPlan) -> list[dict[str, Any]]:
    """The cluster's, for a look before the run."""
    return _cluster(run.settings).nodes()


def selectors(run: RunPlan) -> list[dict[str, str]]:
    return [ray_request.label_selector(run.settings, job) for job in run.jobs]


def _unasked(handle: JobHandle, url: str, message: str, seen: float) -> JobStatus:
    """On shared storage a job's own word can be had without Ray's."""
    with suppress(OSError):
        if ended := ray_files.own_exit(handle):
            return ended.status("unreachable", seen)
    return ray_trouble.unknown(handle, url, message, seen)


def _asked(cluster: Cluster, handles: Sequence[JobHandle]) -> Mapping[str, Mapping[str, Any]]:
    """One question, whether for one job or for all."""
    if len(handles) == 1:
        identity = _id(handles[0])
        job = cluster.job(identity)
        return {} if job is None else {identity: job}
    return cluster.jobs()


def _said(error: Exception) -> str:
    return error.message if isinstance(error, EvaldockError) else str(error)


def _id(handle: JobHandle) -> str:
    return submission_id(handle.key, handle.attempt)


def _url(settings: Mapping[str, Any]) -> str:
    return str(settings.get("dashboard_url") or "")


def _cluster(settings: Mapping[str, Any]) -> Cluster:
    url = _url(settings)
    if not url:
        raise UsageError("a Ray job can't be asked for without execution.dashboard_url")
    return Cluster(url, float(settings.get("request_timeout") or TIMEOUT), settings.get("token_name"))


def _shown(path: str) -> bool:
    return path.rpartition("/")[2] in (NODE_SCRIPT, files.SCRIPT, ENTRY)
