"""Models served by endpoints of a Lepton workspace: one that is there, or one made for a run and removed with
it.

An endpoint's URL is known to the API alone, so plans hold a placeholder, and a job gets the URL when it is
submitted. For a run's own endpoint there are a name, the run's, and a token that nobody has to know: a new
secret of the workspace, which the endpoint takes and the jobs refer to. What is made is recorded before it is
made, in the run's folder and beside the database; what a dead launcher left is found by the next command.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog.errors import EvaldockError, NotFound, Refused, Unreachable
from launcher.backends import lepton_api, lepton_job
from launcher.backends.lepton_api import Lepton
from launcher.backends.lepton_errors import NameTaken
from launcher.jobs import Deployment, JobPlan, RunPlan, SecretName
from launcher.plans.endpoint_names import KEY_NAME, MARKS, SCHEME, Waiting, own, placeholder
from launcher.runs import run_directory as files

RECORD, WAITING, LOG = "endpoint.json", "waiting.json", "endpoint.log"
MAX_LOG = 1 << 20
# Seconds that an endpoint which is there already may take to become ready.
DEADLINE = 1800.0
# States of an endpoint that is there in which nobody waits for it.
USELESS = ("Error", "Stopped", "Deleting")
_PLAIN = re.compile(r"https?://[A-Za-z0-9@%+=:,./_-]+")
_HEALTH_TIMEOUT = 5.0


def own_name(run_id: str) -> str:
    """Of a run's own endpoint, and of the secret with its token."""
    return f"evaldock-{run_id}"


def specification(run: RunPlan, job: JobPlan, token: str | None = None) -> dict[str, Any] | None:
    """The body of Lepton's call that creates the run's own endpoint, with the token hidden where none is
    given. None for a job that asks another one."""
    if job.deployment is None or not own(job):
        return None
    deployment, settings = job.deployment, run.settings
    serving: Mapping[str, Any] = settings.get("endpoint") or {}
    least = serving.get("min_replicas", 1)
    requirement: dict[str, Any] = {
        "resource_shape": serving.get("resource_shape") or settings.get("resource_shape"),
        "min_replicas": least,
        "max_replicas": serving.get("max_replicas") or least,
    }
    # Nodes, reservation and priority of the jobs' are those of their group.
    group = serving.get("node_group")
    placed = lepton_job.placed({"node_group": group} if group else settings)
    if "affinity" in placed:
        requirement["affinity"] = placed.pop("affinity")
    if deployment.resources.shm:
        requirement["shared_memory_size"] = -(-deployment.resources.shm // (1 << 20))
    plain = [{"name": name, "value": _kept(value)} for name, value in sorted(deployment.env.items())]
    name = own_name(run.run_id)
    return {
        "metadata": {"id": name, "name": name},
        "spec": {
            "container": {
                "image": deployment.image or job.image,
                "ports": [{"container_port": deployment.port}],
                **_command(deployment),
            },
            "resource_requirement": requirement,
            # Where every launcher is gone for good, it costs nothing for long.
            "auto_scaler": {"scale_down": {"no_traffic_timeout": serving.get("no_traffic_timeout", 3600)}},
            "api_tokens": [{"value": token or "***"}],
            "envs": [*plain, *lepton_job.variables(deployment.secrets)],
            "mounts": lepton_job.volumes(settings.get("volumes", ()), deployment.mounts),
            "image_pull_secrets": list(settings.get("image_pull_secrets", ())),
            "log": {"enable_collection": True},
            **placed,
        },
    }


def located(run: RunPlan, job: JobPlan, served_by: str, state: Path) -> JobPlan:
    """See `launcher.plans.served_models`."""
    deadline = DEADLINE
    with lepton_api.connected(run.settings) as lepton:
        if own(job) and job.deployment is not None:
            name, health, deadline = own_name(run.run_id), job.deployment.health_path, job.deployment.deadline
            since = _recorded(lepton, run, state)
            if lepton.endpoint(name) is None:
                _create(lepton, run, job)
        else:
            name, health = served_by.removeprefix(SCHEME), None
            since = _first_asked(Path(run.directory) / WAITING)
        try:
            url = _url(lepton, name, made=health is not None)
            if health is not None:
                _check_health(url + health)
        except Waiting as waiting:
            if time.time() - since > deadline:
                raise Refused(f"{waiting.message}, after {deadline:g} seconds") from None
            raise
    return keyed(run, _with_url(job, url))


def keyed(run: RunPlan, job: JobPlan) -> JobPlan:
    """The job with the secret of the run's own endpoint for its key, and without the deployment."""
    if not own(job):
        return job
    name = job.endpoint.key_name or KEY_NAME
    token = SecretName(name=name, source=own_name(run.run_id), where="workspace")
    rest = tuple(secret for secret in job.secrets if secret.name != name)
    return replace(job, secrets=(*rest, token), deployment=None)


def release_marked(run_id: str, state: Path) -> None:
    """By what was noted beside the database."""
    mark = state / MARKS / run_id
    try:
        os.utime(mark)
    except FileNotFoundError:
        return  # another command was quicker
    made = files.read_json(mark) or {}
    directory = made.get("directory")
    release(run_id, Path(directory) if directory else None, made.get("settings", {}), state)


def release(run_id: str, directory: Path | None, settings: Mapping[str, Any], state: Path) -> None:
    name, mark = own_name(run_id), state / MARKS / run_id
    made = (files.read_json(directory / RECORD) if directory else None) or {"name": name}
    if not made.get("removed"):
        with lepton_api.connected(settings) as lepton:
            noted = {**(files.read_json(mark) or {}), **made}
            lepton.expect(noted.get("workspace", ""), f"the endpoint {name}")
            # Also because who doesn't answer needn't be asked for a log first.
            if lepton.endpoint(name) is not None:
                _keep_log(lepton, name, directory)
                lepton.delete_endpoint(name)
            lepton.delete_secret(name)
            left = lepton.endpoint(name)
            if left is not None and state_of(left) != "Deleting":
                raise Unreachable(f"Lepton has not removed the endpoint {name} yet")
        if directory and directory.is_dir():
            files.write_json(directory / RECORD, {**made, "removed": files.timestamp()})
    mark.unlink(missing_ok=True)


def _keep_log(lepton: Lepton, name: str, directory: Path | None) -> None:
    """The end of what the model's server printed: afterwards nobody has it."""
    if directory is None or not directory.is_dir():
        return
    # Removing it matters more.
    with suppress(EvaldockError):
        if log := lepton.endpoint_log(name):
            files.write_bytes(directory / LOG, log[-MAX_LOG:])


def _first_asked(path: Path) -> float:
    """In seconds since the epoch; noted now where it was never."""
    made = files.read_json(path) or {"since": time.time()}
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, made)
    return float(made["since"])


def _recorded(lepton: Lepton, run: RunPlan, state: Path) -> float:
    """When the run's own was first asked for; what is needed to remove it is noted before."""
    record, name = Path(run.directory) / RECORD, own_name(run.run_id)
    made = files.read_json(record) or {}
    if not made.get("since") or made.get("removed"):
        made = {"name": name, "since": time.time(), "workspace": lepton.name}
        (state / MARKS).mkdir(parents=True, exist_ok=True)
        mark = state / MARKS / run.run_id
        noted = {"directory": run.directory, "settings": dict(run.settings), "workspace": lepton.name}
        files.write_json(mark, noted)
        os.utime(mark, (0, 0))  # never tried
        record.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(record, made)
    lepton.expect(made.get("workspace", ""), f"the endpoint {name}")
    return float(made["since"])


def _create(lepton: Lepton, run: RunPlan, job: JobPlan) -> None:
    name, token = own_name(run.run_id), secrets.token_urlsafe(32)
    wanted = {secret.source for secret in job.deployment.secrets} if job.deployment else set()
    missing = sorted(wanted - lepton.secrets()) if wanted else []
    if missing:
        raise Refused(
            f"the workspace has no secret {missing[0]}, which the deployment needs",
            hint=f"put it there once: `lep secret create -n {missing[0]} -v …`",
        )
    # Left by a launcher that ended before it had made the endpoint.
    lepton.delete_secret(name)
    lepton.create_secret(name, token)
    body = specification(_placed(lepton, run), job, token)
    assert body is not None  # noqa: S101 # its caller asked
    try:
        lepton.create_endpoint(body)
    except NameTaken:
        # Another launcher was quicker, and its endpoint doesn't know the secret as it is now.
        lepton.delete_endpoint(name)
        raise Waiting(f"the endpoint {name} is made anew") from None


def _placed(lepton: Lepton, run: RunPlan) -> RunPlan:
    """With ids for the node groups."""
    serving: Mapping[str, Any] = run.settings.get("endpoint") or {}
    side = {"node_group": lepton.group_ids(serving.get("node_group", ()))}
    groups = lepton.group_ids(() if side["node_group"] else run.settings.get("node_group", ()))
    return replace(run, settings={**run.settings, "node_group": groups, "endpoint": {**serving, **side}})


def _url(lepton: Lepton, name: str, *, made: bool) -> str:
    """Without a slash at its end. One that is `made` for the run is made again when it is gone."""
    found = lepton.endpoint(name)
    if found is None and made:
        raise Waiting(f"the endpoint {name} has just gone, and is made again")
    if found is None:
        raise NotFound(
            f"the workspace has no endpoint {name!r}",
            hint="`lep endpoint list` shows them; target.api_endpoint.deployment_name says which",
        )
    state = state_of(found)
    url = str(((found.get("status") or {}).get("endpoint") or {}).get("external_endpoint") or "").rstrip("/")
    if state == "Error":
        last = lepton.endpoint_log(name).decode("utf-8", "replace").strip().splitlines()[-20:]
        said = "; its last lines:\n" + "\n".join(last) if last else "; it printed nothing"
        raise Refused(f"the endpoint {name} is of no use: Lepton says Error{said}")
    if state in USELESS and not (made and state == "Deleting"):
        raise Refused(
            f"the endpoint {name} is of no use: Lepton says {state}", hint=f"`lep endpoint status -n {name}`"
        )
    if state != "Ready" or not url:
        raise Waiting(f"the endpoint {name} is not ready yet (Lepton says {state})")
    if not _PLAIN.fullmatch(url):
        raise Refused(f"the endpoint {name} has a URL that can't be handed to a command: {url!r:.200}")
    return url


def state_of(found: Mapping[str, Any]) -> str:
    status = found.get("status") or {}
    return str(status.get("phase") or status.get("state") or "UNK")


def _check_health(url: str) -> None:
    """Ready means that the port answers; a path that isn't there, or needs a token, tells no more."""
    import requests  # noqa: PLC0415

    try:
        status = requests.get(url, timeout=_HEALTH_TIMEOUT, allow_redirects=False).status_code
    except requests.RequestException as error:
        raise Waiting(f"{url} does not answer yet ({type(error).__name__})") from None
    if status >= 500:
        raise Waiting(f"{url} answers {status}")


def _with_url(job: JobPlan, url: str) -> JobPlan:
    """Every placeholder in the job replaced. Both are made of characters that need no quoting."""
    assert job.endpoint.served_by is not None  # noqa: S101 # its callers asked
    old = placeholder(job.endpoint.served_by).removesuffix("/v1")
    return replace(
        job,
        endpoint=replace(job.endpoint, url=job.endpoint.url.replace(old, url)),
        command=job.command.replace(old, url),
        config=_replaced(job.config, old, url),
    )


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, Mapping):
        return {key: _replaced(part, old, new) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(part, old, new) for part in value]
    return value


def _command(deployment: Deployment) -> dict[str, Any]:
    """A NIM starts by itself; its words are arguments of its image, for which Lepton has no field."""
    if deployment.type == "nim":
        return {}
    words = [word.replace("{port}", str(deployment.port)) for word in deployment.command]
    return {"command": [_kept(word) for word in words]} if words else {}


def _kept(text: str) -> str:
    """So that Kubernetes makes of it what it was: `$$` stands for `$`."""
    return text.replace("$", "$$") if "$(" in text or "$$" in text else text
