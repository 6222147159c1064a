"""From a job to the request that Ray's Jobs API takes: pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from catalog.errors import Refused
from launcher.backends import ray_entry
from launcher.backends.ray_entry import ENTRY, INPUT_PART, JOB_PART, OWN_PART, STOP_WAIT
from launcher.jobs import JobPlan, RunPlan, SecretName
from launcher.node.node_script import node_files
from launcher.node.text import code_folder
from launcher.secrets import named

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_NOT_IN_LABELS = re.compile(r"[^a-z0-9]+")
_LABEL = 63  # characters of a label's value
Files = Mapping[str, tuple[bytes, int]]


@dataclass(frozen=True, slots=True)
class Sent:
    """`files` must lie in the job's folder, or are the package `package` of Ray's, named after its content.
    `request` is the body of the call."""

    request: Mapping[str, Any]
    files: Files
    package: str | None = None
    code_package: str | None = None


def submission_id(key: str, attempt: int) -> str:
    """The same for the same job and attempt, of characters that Ray keeps: an id with a slash makes a job
    that can't be asked for."""
    return f"evaldock-{_UNSAFE.sub('-', key)}-{attempt}"


def shared(run: RunPlan) -> bool:
    return bool(run.settings.get("shared_dir"))


def root(run: RunPlan) -> str:
    """The folder on the nodes below which runs have theirs."""
    return str(run.remote or run.directory).removesuffix(f"/{run.run_id}")


def build(
    run: RunPlan, job: JobPlan, attempt: int, secrets: Mapping[str, str], carried: Files | None = None
) -> Sent:
    """`secrets` are the host's values; without any, only names stand in the answer. `carried` are results of
    other jobs and of earlier attempts that a node without shared storage is sent, by path in the package."""
    settings = run.settings
    identity, folder = submission_id(job.key, attempt), run.folder(job)
    forwarded = settings.get("forward_secrets") == "runtime_env"
    known = _from_the_environment(job) if forwarded else job
    made = dict(
        node_files(
            run,
            known,
            attempt,
            # A package lies in the cluster's memory, where everybody who reaches the API can read it.
            secrets if shared(run) and not forwarded else {},
            runtime=settings.get("container_runtime", "none"),
            root=root(run),
        )
    )
    environment = _environment(job, _forwarded(job, secrets) if forwarded else {})
    runtime_env: dict[str, Any] = {"env_vars": environment}
    if settings.get("working_dir"):
        runtime_env["working_dir"] = settings["working_dir"]
    package = code_package = None
    if shared(run):
        made[ENTRY] = (
            ray_entry.entry_script(
                identity, folder, shipped=False, working_dir="working_dir" in runtime_env
            ).encode(),
            0o644,
        )
        entrypoint = ray_entry.start_shared(folder)
    else:
        made = {f"{JOB_PART}/{path}": content for path, content in made.items()} | dict(carried or {})
        if job.code:
            code_package = package_name(job.code)
        codes = code_folder(root(run), job).rpartition("/")[0]
        script = ray_entry.entry_script(
            identity,
            folder,
            shipped=True,
            limit=int(settings.get("results_limit", 0)),
            code=(code_package, codes, str(job.code)) if code_package else None,
            working_dir="working_dir" in runtime_env,
        )
        made[ENTRY] = (script.encode(), 0o644)
        package = package_name(content_digest(made))
        entrypoint = ray_entry.start_shipped(package)
        runtime_env["py_modules"] = [f"gcs://{each}.zip" for each in (package, code_package) if each]
    request = {
        "entrypoint": entrypoint,
        "submission_id": identity,
        "runtime_env": runtime_env,
        "metadata": _metadata(run, job, attempt),
        **_resources(run, job),
    }
    return Sent(request, made, package, code_package)


def package_name(digest: str) -> str:
    """A package's name without its ending, which is the name of its folder on a node."""
    return f"_ray_pkg_{digest[:40]}"


def content_digest(content: Files) -> str:
    """Of names and contents, so that the same files are sent once, however they are packed."""
    found = hashlib.sha256()
    for path, (data, mode) in sorted(content.items()):
        found.update(f"{path}\0{mode:o}\0{len(data)}\0".encode())
        found.update(data)
    return found.hexdigest()


def own_path(name: str) -> str:
    return f"{OWN_PART}/{name}"


def input_path(directory: str, name: str) -> str:
    return f"{INPUT_PART}/{directory}/artifacts/{name}"


def label_selector(settings: Mapping[str, Any], job: JobPlan) -> dict[str, str]:
    """Static keys win. Then those whose pattern fits the job's container, the first for each key; the key for
    a value made of the container's name only where no pattern fitted."""
    chosen: dict[str, str] = {}
    names, fits = container_names(job), False
    for pattern, selector in dict(settings.get("image_label_selectors") or {}).items():
        if any(fnmatchcase(name, pattern) for name in names):
            fits = True
            for key, value in selector.items():
                chosen.setdefault(key, str(value))
    key = settings.get("image_label_key")
    if key and not fits:
        chosen[key] = _NOT_IN_LABELS.sub("-", names[0].lower()).strip("-")[:_LABEL].strip("-")
    return chosen | {k: str(v) for k, v in dict(settings.get("entrypoint_label_selector") or {}).items()}


def container_names(job: JobPlan) -> tuple[str, ...]:
    """What a job's container may be called: the last part of the image's name, without and with its tag; its
    name without and with a digest; the harness."""
    named = job.image or job.container
    if not named:
        return (job.harness,)
    whole = named.partition("://")[2] or named
    untagged = whole.partition("@")[0]
    last = untagged.rpartition("/")[2]
    return (last.partition(":")[0], last, untagged, whole, job.harness)


def _from_the_environment(job: JobPlan) -> JobPlan:
    """The job with the launcher's secrets as variables that Ray sets on the node."""

    def there(secrets: tuple[SecretName, ...]) -> tuple[SecretName, ...]:
        return tuple(
            SecretName(name=s.name, source=s.name, where="runtime") if s.where == "host" else s
            for s in secrets
        )

    server = job.deployment and replace(job.deployment, secrets=there(job.deployment.secrets))
    return replace(job, secrets=there(job.secrets), deployment=server)


def _forwarded(job: JobPlan, values: Mapping[str, str]) -> dict[str, str]:
    """Raises Refused where the job and the server beside it mean two things by one name."""
    own = {secret.name: secret for secret in job.secrets}
    server = {secret.name: secret for secret in job.deployment.secrets} if job.deployment else {}
    both = sorted(name for name in own.keys() & server.keys() if own[name] != server[name])
    if both:
        raise Refused(
            f"{job.task} and the deployment beside it call two secrets {', '.join(both)}, and "
            "forward_secrets: runtime_env has one environment for both",
            hint="give one of them another name, or set shared_dir instead of forward_secrets",
        )
    return named({**own, **server}.values(), values)


def _environment(job: JobPlan, secrets: Mapping[str, str]) -> dict[str, str]:
    """RAY_OVERRIDE_JOB_RUNTIME_ENV lets a driver's own `ray.init(runtime_env=…)` win where both set a
    variable; without it Ray refuses to merge them."""
    return {
        **{name: str(value) for name, value in job.env.items()},
        **secrets,
        "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT),
    }


def _metadata(run: RunPlan, job: JobPlan, attempt: int) -> dict[str, str]:
    return {
        "job_name": job.task,
        "evaldock.key": job.key,
        "evaldock.attempt": str(attempt),
        "evaldock.run": run.run_id,
        "evaldock.model": job.endpoint.model_id,
    }


def _resources(run: RunPlan, job: JobPlan) -> dict[str, Any]:
    """Only what was asked for: without any, Ray runs the job on the head, and reserves nothing."""
    wanted = job.resources
    gpus = len(wanted.gpu_ids) or wanted.gpus
    made: dict[str, Any] = {
        "entrypoint_num_cpus": wanted.cpus,
        "entrypoint_num_gpus": gpus,
        "entrypoint_memory": wanted.memory,
        "entrypoint_resources": dict(run.settings.get("entrypoint_resources") or {}),
        "entrypoint_label_selector": label_selector(run.settings, job),
    }
    return {name: value for name, value in made.items() if value}
