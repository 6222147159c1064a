"""The script that every backend runs: a pure function of the job, in POSIX sh.

It sources the secrets file and deletes it, marks its stages, runs the harness, and leaves exit.json whatever
happens. Paths are relative to the job's folder, so that the same text serves on any machine.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from launcher import run_directory as files
from launcher.jobs import Deployment, JobPlan

# Telemetry of the container contract's own runner: nothing leaves the machine unless the user asks for it.
QUIET = {"NEMO_EVALUATOR_TELEMETRY_LEVEL": "0"}

_TEMPLATE = """\
#!/bin/sh
# {key}: {task} for {model}
set -u
cd "$(dirname "$0")" || exit 70
mkdir -p {logs} {artifacts}
exec >>{log} 2>&1
now() {{ date -u +%Y-%m-%dT%H:%M:%SZ; }}
stage() {{ printf '{{"time": "%s"}}\\n' "$(now)" >".stage.$1" && mv ".stage.$1" "stage.$1"; }}
started=$(now)
reason=null
finish() {{
  code=$?
  trap '' EXIT TERM INT HUP
  rm -f {secrets}
  kill -TERM 0 2>/dev/null
  printf '{{"exit_code": %s, "reason": %s, "started": "%s", "ended": "%s", "attempt": {attempt}}}\\n' \\
    "$code" "$reason" "$started" "$(now)" >.exit.json && mv .exit.json {exit_file}
  stage exit
  exit "$code"
}}
trap finish EXIT
trap 'reason="\\"stopped on request\\""; exit 143' TERM INT HUP
stage pre-start
if [ -f {secrets} ]; then
  . ./{secrets}
  rm -f {secrets}
fi
{environment}\
cp {run_config} {artifacts}/{run_config}
stage running
{body}\
"""

_BODY = """\
if command -v nemo-evaluator >/dev/null 2>&1; then
  nemo-evaluator run_eval --run_config {run_config} --output_dir {results} &
else
  sh -c {command} &
fi
child=$!
wait "$child"
"""


_WAIT = """\
url={url}
healthy() {{
  if command -v python3 >/dev/null 2>&1; then
    python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=2)' "$url" 2>/dev/null
  elif command -v curl >/dev/null 2>&1; then
    curl -fsS -m 2 -o /dev/null "$url" 2>/dev/null
  else
    wget -q -T 2 -O /dev/null "$url" 2>/dev/null
  fi
}}
limit=$(($(date +%s) + {deadline}))
until healthy; do
  if [ "$(date +%s)" -ge "$limit" ]; then
    reason='"the deployment did not answer within {deadline} seconds"'
    exit 71
  fi
  sleep 1
done
echo "evaldock: the deployment answers at $url"
"""


def job_script(job: JobPlan, *, results: str, attempt: int = 1, wait_for: Deployment | None = None) -> str:
    """`results` is the results folder as the job sees it; `wait_for` a server that must be healthy first."""
    wait = ""
    if wait_for is not None:
        address = f"http://127.0.0.1:{wait_for.port}{wait_for.health_path}"
        wait = _WAIT.format(url=shlex.quote(address), deadline=int(wait_for.deadline))
    return _TEMPLATE.format(
        key=job.key,
        task=_comment(job.task),
        model=_comment(job.endpoint.model_id),
        logs=files.LOGS,
        artifacts=files.ARTIFACTS,
        log=files.JOB_LOG,
        secrets=files.SECRETS,
        exit_file=files.EXIT,
        run_config=files.RUN_CONFIG,
        attempt=attempt,
        environment=_environment(job) + wait,
        body=_BODY.format(
            run_config=files.RUN_CONFIG, results=shlex.quote(results), command=shlex.quote(job.command)
        ),
    )


def run_config(job: JobPlan) -> bytes:
    """The effective task for the container contract's runner: JSON, which is YAML too."""
    return (json.dumps(job.config, ensure_ascii=False, indent=1) + "\n").encode()


def _environment(job: JobPlan) -> str:
    values: Mapping[str, Any] = {**QUIET, **job.env}
    lines = [f"export {name}={shlex.quote(str(value))}\n" for name, value in sorted(values.items())]
    for secret in job.secrets:
        if secret.where == "runtime":
            missing = f"the variable {secret.source} is not set on this machine"
            lines.append(f'export {secret.name}="${{{secret.source}?{missing}}}"\n')
    return "".join(lines)


def _comment(text: str) -> str:
    """One line, whatever the name holds."""
    return " ".join(text.split())[:200]
