"""From a job to the arguments of the engine's "create container" call. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.jobs import CODE, INPUTS, JOB_FOLDER, RESULTS, Deployment, JobPlan, Mount, Resources, RunPlan
from launcher.runs import run_directory as files

KEY, ATTEMPT, ROLE = "evaldock.key", "evaldock.attempt", "evaldock.role"
# Where the container of the server beside a job sees its own folder.
SERVER_MOUNT = "/evaldock"
# Settings of `docker_args` that the engine's API takes under the same name.
# fmt: off
PASSED = (
    "cap_add", "cap_drop", "cpuset_cpus", "devices", "dns", "extra_hosts", "group_add", "hostname", "init",
    "ipc_mode", "pid_mode", "pids_limit", "platform", "privileged", "read_only", "runtime", "security_opt",
    "working_dir",
)
# fmt: on
# What belongs to a network, and can't be set for a container that joins another one's.
_NETWORK = ("dns", "extra_hosts", "hostname")


def name(job: JobPlan, attempt: int) -> str:
    return f"evaldock-{job.key}-{attempt}"


def container(run: RunPlan, job: JobPlan, attempt: int) -> dict[str, Any]:
    """The evaluation's. Where a server is deployed beside it, it joins the server's network."""
    folder = Path(run.directory) / job.directory
    mounts = (
        Mount(source=str(folder), target=JOB_FOLDER),
        Mount(source=str(folder / files.ARTIFACTS), target=RESULTS),
        *_of_the_run(run, job),
        *job.mounts,
    )
    passed = _passed(run.settings)
    network = job.network
    if job.deployment:
        network = f"container:{name(job, attempt)}-server"
        passed = {key: value for key, value in passed.items() if key not in _NETWORK}
    return {
        **_common(run, job, attempt, "job", job.resources),
        "image": job.image,
        "entrypoint": ["/bin/sh"],
        "command": [f"{JOB_FOLDER}/{files.SCRIPT}"],
        "environment": {**dict(run.settings.get("env", ())), **({"EVALDOCK_CODE": CODE} if job.code else {})},
        "mounts": [dataclasses.asdict(mount) for mount in mounts],
        **({"network_mode": network} if network else {}),
        **({"user": job.user} if job.user else {}),
        **passed,
    }


def _of_the_run(run: RunPlan, job: JobPlan) -> list[Mount]:
    """Results of other jobs, and shipped code."""
    made = [
        Mount(
            source=f"{run.directory}/{directory}/{files.ARTIFACTS}", target=f"{INPUTS}/{name}", read_only=True
        )
        for name, directory in job.inputs.items()
    ]
    if job.code:
        made.append(Mount(source=f"{run.directory}/{files.CODE}/{job.code}", target=CODE, read_only=True))
    return made


def server(run: RunPlan, job: JobPlan, deployment: Deployment, attempt: int) -> dict[str, Any]:
    """The model server's. A command is a whole one and replaces the image's entry point, but for a NIM, whose
    image starts by itself. Its secrets are not here: see `with_secrets`."""
    common = _common(run, job, attempt, "server", deployment.resources)
    words = [word.replace("{port}", str(deployment.port)) for word in deployment.command]
    whole = bool(words) and deployment.type != "nim"
    return {
        **common,
        "name": f"{name(job, attempt)}-server",
        "image": deployment.image or job.image,
        **({"entrypoint": words[:1], "command": words[1:]} if whole else {"command": words}),
        "environment": dict(deployment.env),
        "mounts": [dataclasses.asdict(mount) for mount in deployment.mounts],
        **({"network_mode": job.network} if job.network else {}),
        **_passed(run.settings),
    }


def with_secrets(
    arguments: Mapping[str, Any], folder: Path, entrypoint: list[str], command: list[str]
) -> dict[str, Any]:
    """`arguments` of a server with its secrets' file mounted, read and deleted before the server starts.
    `entrypoint` and `command` are the image's own, for where `arguments` leave them be."""
    own = arguments.get("entrypoint")
    words = [*(own if own is not None else entrypoint), *(arguments["command"] or command)]
    mount = dataclasses.asdict(Mount(source=str(folder), target=SERVER_MOUNT))
    path = f"{SERVER_MOUNT}/{files.SECRETS}"
    return {
        **arguments,
        "entrypoint": ["/bin/sh", "-c", f'. {path} && rm -f {path} && exec "$@"', "sh"],
        "command": words,
        "mounts": [*arguments["mounts"], mount],
    }


def _common(run: RunPlan, job: JobPlan, attempt: int, role: str, resources: Resources) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": name(job, attempt),
        "labels": {KEY: job.key, ATTEMPT: str(attempt), ROLE: role, "evaldock.run": run.run_id},
    }
    if resources.memory:
        made["mem_limit"] = resources.memory
    if resources.shm:
        made["shm_size"] = resources.shm
    if resources.cpus:
        made["nano_cpus"] = int(resources.cpus * 1e9)
    if resources.gpus is not None or resources.gpu_ids:
        wanted = {"device_ids": list(resources.gpu_ids)} if resources.gpu_ids else {"count": resources.gpus}
        made["device_requests"] = [{**wanted, "capabilities": [["gpu"]]}]
    return made


def _passed(settings: Mapping[str, Any]) -> dict[str, Any]:
    made = {each: settings[each] for each in PASSED if each in settings}
    if "memory_swap" in settings:
        made["memswap_limit"] = settings["memory_swap"]
    if "tmpfs" in settings:
        pairs = (entry.partition(":") for entry in settings["tmpfs"])
        made["tmpfs"] = {path: options for path, _, options in pairs}
    if "ulimits" in settings:
        made["ulimits"] = list(settings["ulimits"])
    return made
