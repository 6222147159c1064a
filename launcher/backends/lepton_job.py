"""From a job to what Lepton is asked to run: names, the container's script, the job's specification. Pure.

Lepton runs containers on Kubernetes, which replaces `$$` and `$(NAME)` in a container's command. So the
script travels in base64. It makes the job's folder in the container, runs `run.sh` there, repeats on its own
output what the job prints, and, where nobody sees that folder from outside, sends it behind the log.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from catalog.errors import Refused, UsageError
from launcher.jobs import JobPlan, Mount, RunPlan, SecretName
from launcher.node.job_script import job_script, run_config
from launcher.node.result_stream import SENDING
from launcher.runs import run_directory as files

# Labels of a job's container. Lepton's label keys take no slashes.
KEY, ATTEMPT, RUN = "evaldock-key", "evaldock-attempt", "evaldock-run"
# The longest name of a job that Lepton takes, and what names are made of.
NAME_LIMIT = 36
_NAME = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?")
# One argument of a command can have 128 KiB on Linux, base64 adds a third; and Kubernetes keeps an object of
# at most 1.5 MiB.
ARGUMENT, CODE_LIMIT = 90 << 10, 768 << 10
# Bytes of the job's log that its container repeats. Kubernetes turns a container's log over when it has
# reached 10 MiB, and shows what came after that alone: the results must not be what is lost.
ECHO = 3 << 20

_START = (
    'script=$(printf %s "$1" | base64 -d) && [ -n "$script" ] || '
    '{ echo "evaldock: the image has no base64"; exit 70; }; '
    'shift; exec /bin/sh -c "$script" evaldock "$@"'
)

_SCRIPT = """\
# {key}, attempt {attempt}: in the container of a replica. Arguments are shipped code in base64.
set -u
index=${{LEPTON_JOB_WORKER_INDEX:-0}}
folder={folder}
mkdir -p "$folder/{artifacts}"
[ "$index" = 0 ] || folder=$folder/replicas/$index
fail() {{
  echo "evaldock: $1"
  exit 70
}}
job= stopping=
stop() {{
  [ -n "$stopping" ] || [ -z "$job" ] || kill -TERM "$job" 2>/dev/null
  stopping=1
}}
trap stop TERM INT HUP
mkdir -p "$folder/{logs}" "$folder/{artifacts}" && cd "$folder" || fail "no folder can be made at $folder"
{earlier}\
printf %s {run_sh} >{script}
printf %s {config} >{run_config}
[ "$index" != 0 ] || printf '%s\\n' {job_json} >{job}
printf %32768s . >{reserve}
{code}\
{sending}\
: >>{log}
# The first of several replicas, as the others reach it.
EVALDOCK_HEAD=${{LEPTON_JOB_WORKER_PREFIX:+$LEPTON_JOB_WORKER_PREFIX-0.${{LEPTON_SUBDOMAIN-}}}}
export EVALDOCK_HEAD="${{EVALDOCK_HEAD:-127.0.0.1}}"
own_group=
if command -v setsid >/dev/null 2>&1; then own_group=setsid; fi
$own_group /bin/sh ./{script} &
job=$!
# Asked before it ran.
[ -z "$stopping" ] || kill -TERM "$job" 2>/dev/null
shown=0 cut=
show() {{
  size=$(($(wc -c <{log})))
  if [ "$size" -gt {echo} ]; then
    size={echo}
    [ -n "$cut" ] || tail -c "+$((shown + 1))" {log} | head -c "$((size - shown))"
    [ -n "$cut" ] || printf '\nevaldock: the rest of the log comes with the results\n'
    cut={log}
  elif [ "$size" -gt "$shown" ]; then
    tail -c "+$((shown + 1))" {log} | head -c "$((size - shown))"
    shown=$size
  fi
}}
{limit}\
while kill -0 "$job" 2>/dev/null; do
  show
{late}\
  sleep 0.3 2>/dev/null || sleep 1
done
wait "$job"
code=$?
show
if ! [ -e {exit} ]; then
  reason=null
  [ "$code" -le 128 ] || reason="\\"killed by signal $((code - 128))\\""
  [ -z "$stopping" ] || reason='"stopped on request"'
  printf '{{"exit_code": %s, "reason": %s, "attempt": {attempt}}}\\n' "$code" "$reason" >.exit.json
  mv .exit.json {exit}
fi
{send}\
exit "$code"
"""

# What the attempt before left in a folder that outlives its container.
_EARLIER = """\
mkdir -p {kept}
for each in {names}; do
  [ ! -e "$each" ] || mv "$each" {kept}/
done
"""

_CODE = """\
mkdir -p {code}
for part; do printf %s "$part"; done | base64 -d | tar -xzf - -C {code} ||
  fail "the shipped code can't be unpacked"
export EVALDOCK_CODE="$PWD/{code}"
"""


def job_name(key: str, attempt: int) -> str:
    """The same for the same key and attempt. Raises UsageError for a key that makes no name of Lepton's."""
    name = f"evaldock-{key}-{attempt}"
    if len(name) > NAME_LIMIT or not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} can't be the name of a job on Lepton")
    return name


def script(run: RunPlan, job: JobPlan, attempt: int) -> str:
    """What the container of each replica runs."""
    stays = run.settings.get("output_dir_here") is not None
    given = {"script": files.SCRIPT, "run_config": files.RUN_CONFIG, "log": files.JOB_LOG}
    return _SCRIPT.format(
        **given,
        key=job.key,
        attempt=attempt,
        folder=shlex.quote(run.folder(job)),
        logs=files.LOGS,
        artifacts=files.ARTIFACTS,
        earlier=_earlier(attempt),
        run_sh=shlex.quote(run_sh(run, job, attempt)),
        config=shlex.quote(run_config(job).decode()),
        job=files.JOB,
        job_json=shlex.quote(json.dumps({**dataclasses.asdict(job), "attempt": attempt}, ensure_ascii=False)),
        reserve=files.RESERVE,
        code=_CODE.format(code=files.CODE) if job.code else "",
        exit=files.EXIT,
        limit=f"ends=$(($(date +%s) + {math.ceil(job.timeout)}))\n" if job.timeout else "",
        late='  [ "$(date +%s)" -lt "$ends" ] || stop\n' if job.timeout else "",
        sending="" if stays else SENDING,
        send=""
        if stays
        else f'[ "$index" != 0 ] || send_results {run.settings.get("results_limit", 0)} $cut\n',
        echo=ECHO,
    )


def run_sh(run: RunPlan, job: JobPlan, attempt: int) -> str:
    return job_script(
        job,
        results=run.results(job, contained=False),
        attempt=attempt,
        inputs=run.inputs(job, contained=False),
    )


def specification(run: RunPlan, job: JobPlan, attempt: int, code: Sequence[str] = ()) -> dict[str, Any]:
    """The body of Lepton's "create job" call. `code` is shipped code, see `pieces`."""
    settings = run.settings
    replicas = max(settings.get("num_replicas", 1), job.resources.nodes)
    if job.inputs and not settings.get("volumes"):
        raise Refused(
            f"{job.task} reads the results of other jobs, and they share no storage with it",
            hint="mount a volume (execution.mounts) and set execution.output_dir to a folder on it",
        )
    text = base64.b64encode(script(run, job, attempt).encode()).decode()
    if len(text) > ARGUMENT:
        raise Refused(
            f"{job.key}: its script and configuration have {len(text)} bytes, and Lepton is given at most "
            f"{ARGUMENT} in a job's command",
            hint="take what is large out of the configuration: a file on a mount, or in the harness's image",
        )
    spec: dict[str, Any] = {
        "resource_shape": settings.get("resource_shape"),
        "container": {"image": job.image, "command": ["/bin/sh", "-c", _START, "evaldock", text, *code]},
        "completions": replicas,
        "parallelism": replicas,
        # Another attempt is the launcher's to start, when it has seen how this one ended.
        "max_failure_retry": 0,
        "max_job_failure_retry": 0,
        "envs": variables(job.secrets),
        "mounts": volumes(settings.get("volumes", ()), job.mounts),
        "image_pull_secrets": list(settings.get("image_pull_secrets", ())),
        "ttl_seconds_after_finished": settings.get("ttl_seconds_after_finished"),
        "log": {"enable_collection": True, "save_termination_logs": True},
        **placed(settings),
    }
    if replicas > 1:
        spec["intra_job_communication"] = True
    if job.resources.shm:
        spec["shared_memory_size"] = math.ceil(job.resources.shm / (1 << 20))
    labels = {KEY: job.key, ATTEMPT: str(attempt), RUN: run.run_id}
    metadata: dict[str, Any] = {"id": job_name(job.key, attempt), "labels": labels}
    if settings.get("visibility"):
        metadata["visibility"] = settings["visibility"]
    return {"metadata": metadata, "spec": {name: value for name, value in spec.items() if value is not None}}


def variables(secrets: Sequence[SecretName]) -> list[dict[str, Any]]:
    """Secrets as references to those of the workspace; those of this machine have the same names there."""
    made = {}
    for secret in secrets:
        # The job's script renames what it takes from its machine's environment.
        name = secret.source if secret.where == "runtime" else secret.name
        made[name] = {"name": name, "value_from": {"secret_name_ref": secret.source}}
    return [made[name] for name in sorted(made)]


def volumes(given: Sequence[Mapping[str, Any]], mounts: Sequence[Mount]) -> list[dict[str, Any]]:
    """`mounts` are folders of machines, of which Lepton has none."""
    if mounts:
        raise UsageError(f"Lepton mounts volumes of a node group, and no folder such as {mounts[0].source}")
    return [
        {
            "from": volume["from"],
            "path": volume["path"],
            "mount_path": volume["mount_path"],
            **({"mount_options": {"read_only": True}} if volume.get("read_only") else {}),
        }
        for volume in given
    ]


def placed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Where Lepton may place it."""
    made: dict[str, Any] = {}
    affinity = {
        "allowed_dedicated_node_groups": list(settings.get("node_group", ())),
        "allowed_nodes_in_node_group": list(settings.get("node_names", ())),
    }
    if any(affinity.values()):
        made["affinity"] = {name: names for name, names in affinity.items() if names}
    if settings.get("priority"):
        made["queue_config"] = {"priority_class": settings["priority"]}
    if settings.get("reservation"):
        made["reservation_config"] = {"reservation_id": settings["reservation"]}
    return made


def pieces(archive: bytes) -> tuple[str, ...]:
    """Shipped code as arguments of a command. Raises Refused for more than such a command may hold."""
    text = base64.b64encode(archive).decode()
    if len(text) > CODE_LIMIT:
        raise Refused(
            f"the shipped code has {len(archive)} bytes when it is packed, and a job on Lepton takes "
            f"{CODE_LIMIT * 3 // 4} of them",
            hint="ship some folders only, or put the code into the image",
        )
    return tuple(text[at : at + ARGUMENT] for at in range(0, len(text), ARGUMENT))


def _earlier(attempt: int) -> str:
    if attempt == 1:
        return ""
    names = (*files.STAGES, files.EXIT, files.JOB_LOG, files.DEPLOYMENT_LOG, files.RESULTS)
    return _EARLIER.format(kept=f"{files.ATTEMPTS}/{attempt - 1}", names=" ".join(names))
