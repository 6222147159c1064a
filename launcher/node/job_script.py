"""The script that every backend runs: a pure function of the job, in POSIX sh.

It sources the secrets file and deletes it, marks its stages, runs the harness, and leaves exit.json whatever
happens. Paths are relative to the job's folder, so that the same text serves on any machine. Of the image it
needs a shell, `mv`, `cp`, `rm` and `sleep`; without `date` its times are empty.

Asked to stop, it passes the request on once and gives the harness `GRACE` seconds for its last checkpoint.
"""

from __future__ import annotations

import json
import math
import shlex
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from launcher.jobs import Deployment, JobPlan
from launcher.node.text import about
from launcher.runs import run_directory as files

# Telemetry of the container contract's own runner: nothing leaves the machine unless the user asks for it.
QUIET = {"NEMO_EVALUATOR_TELEMETRY_LEVEL": "0"}
# Seconds; backends wait a little longer before they kill the script itself.
GRACE = 8
# Ports that neither Linux gives to outgoing connections by itself (those begin at 32768), nor Ray to its
# workers (those end at 19999). A step that shares no divisor with their number comes to each of them, and
# from no job of a run to its neighbours'.
_FIRST_PORT, _PORTS, _STEP = 20_000, 8_000, 1009

_TEMPLATE = """\
#!/bin/sh
# {key}: {about}
set -u
cd "${{0%/*}}" || exit 70
now() {{ date -u +%Y-%m-%dT%H:%M:%SZ 2>/dev/null; }}
stage() {{ printf '{{"time": "%s"}}\\n' "$(now)" >".stage.$1" && mv ".stage.$1" "stage.$1"; }}
# Fields of proc(5)'s stat behind the name in parentheses: state, parent, process group.
fields() {{
  line=
  {{ read -r line <"/proc/$1/stat"; }} 2>/dev/null
  fields=${{line##*) }}
}}
fields "$$"
set -- $fields
group=${{3-}}
# Sends a signal to the rest of this script's process group; false when there is nobody left. Of a group whose
# leader is outside of a container, its first process is one, too: it watches over the others.
others() {{
  signal=$1 found=1
  for entry in /proc/[0-9]*; do
    case $entry in "/proc/$$" | /proc/1) continue ;; esac
    fields "${{entry#/proc/}}"
    set -- $fields
    if [ "${{3-}}" = "$group" ] && [ "${{1-}}" != Z ]; then
      kill "-$signal" "${{entry#/proc/}}" 2>/dev/null && found=0
    fi
  done
  return "$found"
}}
started=$(now)
reason=
finish() {{
  code=$?
  trap - EXIT
  trap : TERM INT HUP
  rm -f {secrets}
  others TERM
  left={patience}
  while [ "$left" -gt 0 ] && others 0; do
    sleep 0.2 2>/dev/null || sleep 1
    left=$((left - 1))
  done
  others KILL
  if [ -z "$reason" ] && [ "$code" -ne 0 ]; then
    if ! {{ printf '%8192s' . >.full; }} 2>/dev/null; then
      reason="no space left in the output directory"
    elif [ "$code" -gt 128 ]; then
      reason="killed by signal $((code - 128))"
    fi
  fi
  rm -f .full {reserve}
  [ -z "$reason" ] || reason="\\"$reason\\""
  printf '{{"exit_code": %s, "reason": %s, "started": "%s", "ended": "%s", "attempt": {attempt}}}\\n' \\
    "$code" "${{reason:-null}}" "$started" "$(now)" >.exit.json && mv .exit.json {exit_file}
  stage exit
  # What root wrote in a container is its who started it.
  if [ "$(id -u 2>/dev/null)" = 0 ]; then
    set -- $(ls -nd .)
    [ "${{3-0}}" = 0 ] || chown -hR "$3:$4" . 2>/dev/null
  fi
  exit "$code"
}}
trap finish EXIT
trap 'reason="stopped on request"; exit 143' TERM INT HUP
fail() {{
  reason=$1
  echo "evaldock: $1"
  exit 70
}}
exec >>{log} 2>&1
stage pre-start
if [ -f {secrets} ]; then
  [ -r {secrets} ] || fail "the user that the job runs as may not read its secrets"
  . ./{secrets}
  rm -f {secrets}
fi
{environment}\
cp {run_config} {artifacts}/{run_config}
stage running
{body}\
"""

# A backend that has no image says by EVALDOCK_CONTRACT whether the harness brought the contract's runner: one
# that happens to be on the machine is not the harness's.
#
# The runner starts a proxy. Two that look for a free port of one machine at the same moment find the same
# one, and the second evaluates through the first's: each job has one of its own to begin with. What is in use
# is the second field of a line of proc(5)'s tables, behind a colon, in hexadecimal digits.
_BODY = """\
contract=${{EVALDOCK_CONTRACT-nemo-evaluator}}
taken() {{
  for table in /proc/net/tcp /proc/net/tcp6; do
    [ -r "$table" ] || continue
    while read -r _ address _; do
      case $address in *:"$1") return 0 ;; esac
    done <"$table"
  done
  return 1
}}
if [ -n "$contract" ] && command -v "$contract" >/dev/null 2>&1; then
  port={port}
  while taken "$(printf %04X "$port")"; do
    port=$(({first} + (port - {first} + {step}) % {ports}))
  done
  export ADAPTER_PORT="${{ADAPTER_PORT:-$port}}"
  "$contract" run_eval --run_config {run_config} --output_dir {results} &
else
  sh -c {command} &
fi
wait "$!"
"""

# What joins the parts of a sharded evaluation is a command of the harness's own.
_JOIN = """\
sh -c {command} &
wait "$!"
"""

# EVALDOCK_CODE is where the backend has put the shipped code; without any, a recipe starts in its results.
# What setup exports and where it changes to is for the command alone: this script keeps its folder and names.
_RECIPE = """\
export EVALDOCK_CONFIG="$PWD/{run_config}" EVALDOCK_RESULTS={results}
{inputs}\
code=${{EVALDOCK_CODE-{results}}}
[ -d "$code" ] || fail "the shipped code is not there"
export PYTHONPATH="$code:$code/src${{PYTHONPATH:+:$PYTHONPATH}}"
{begin}\
(
  cd "$code" || exit 70
{setup}\
  exec sh -c {command}
) &
wait "$!"
{end}\
"""

_SETUP = """\
  set +u -e
  eval {setup}
  rm -f "$evaldock_setup"
"""
_BEGIN_SETUP = """\
evaldock_setup="$PWD/.setup"
: >"$evaldock_setup"
"""
_END_SETUP = """\
ended=$?
[ ! -f .setup ] || reason="its setup failed"
exit "$ended"
"""

_WAIT = """\
url={url}
# Asked directly: a proxy would not reach the job's own network.
if command -v python3 >/dev/null 2>&1; then
  healthy() {{ python3 -c {program} "$url" 2>/dev/null; }}
elif command -v curl >/dev/null 2>&1; then
  healthy() {{ curl -fsS -m 2 --noproxy '*' -o /dev/null "$url" 2>/dev/null; }}
elif command -v wget >/dev/null 2>&1; then
  healthy() {{ (unset http_proxy all_proxy ALL_PROXY; wget -q -T 2 -O /dev/null "$url" 2>/dev/null); }}
else
  fail "waiting for the deployment needs python3, curl or wget in the image"
fi
limit=$(($(date +%s) + {deadline}))
until healthy; do
  [ "$(date +%s)" -lt "$limit" ] || fail "the deployment did not answer at $url within {deadline} seconds"
  sleep 0.5 2>/dev/null || sleep 1
done
echo "evaldock: the deployment answers at $url"
"""

_PROGRAM = (
    "import sys, urllib.request as u; u.build_opener(u.ProxyHandler({})).open(sys.argv[1], timeout=2).close()"
)


def job_script(
    job: JobPlan,
    *,
    results: str,
    attempt: int = 1,
    wait_for: Deployment | None = None,
    inputs: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """`results` is the results folder as the job sees it, `inputs` those of other jobs by name; `wait_for` is
    a server that must be healthy first."""
    wait = ""
    if wait_for is not None:
        address = f"http://127.0.0.1:{wait_for.port}{wait_for.health_path}"
        wait = _WAIT.format(
            url=shlex.quote(address), deadline=math.ceil(wait_for.deadline), program=shlex.quote(_PROGRAM)
        )
    return _TEMPLATE.format(
        key=job.key,
        about=about(job),
        artifacts=files.ARTIFACTS,
        log=files.JOB_LOG,
        secrets=files.SECRETS,
        reserve=files.RESERVE,
        exit_file=files.EXIT,
        run_config=files.RUN_CONFIG,
        attempt=attempt,
        patience=GRACE * 5,
        environment=_environment(job) + wait,
        body=_body(job, results, inputs),
    )


def _body(job: JobPlan, results: str, inputs: Mapping[str, str]) -> str:
    given = {
        "run_config": files.RUN_CONFIG,
        "results": shlex.quote(results),
        "command": shlex.quote(job.command),
        "port": _FIRST_PORT + (zlib.crc32(job.run_id.encode()) + job.index) % _PORTS,
        "first": _FIRST_PORT,
        "ports": _PORTS,
        "step": _STEP,
    }
    if job.kind != "recipe":
        return (_JOIN if job.inputs else _BODY).format(**given)
    exports = "".join(
        f"export EVALDOCK_INPUT_{name.upper()}={shlex.quote(path)}\n" for name, path in sorted(inputs.items())
    )
    if not job.setup.strip():
        return _RECIPE.format(**given, inputs=exports, begin="", setup="", end="")
    setup = _SETUP.format(setup=shlex.quote(job.setup.strip("\n")))
    return _RECIPE.format(**given, inputs=exports, begin=_BEGIN_SETUP, setup=setup, end=_END_SETUP)


def run_config(job: JobPlan) -> bytes:
    """The effective task for the container contract's runner, or a recipe's compiled configuration: JSON,
    which is YAML too."""
    return (json.dumps(job.config, ensure_ascii=False, indent=1) + "\n").encode()


def _environment(job: JobPlan) -> str:
    values: Mapping[str, Any] = {**QUIET, **job.env}
    lines = [f"export {name}={shlex.quote(str(value))}\n" for name, value in sorted(values.items())]
    for secret in job.secrets:
        if secret.where == "runtime":
            missing = f"the variable {secret.source} is not set on this machine"
            lines.append(f'[ -n "${{{secret.source}+set}}" ] || fail "{missing}"\n')
            lines.append(f'export {secret.name}="${secret.source}"\n')
    return "".join(lines)
