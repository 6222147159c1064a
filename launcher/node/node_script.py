"""What a node does for one job, as one POSIX sh text: `node.sh`, a pure function of the job.

It lies in the job's folder there, beside run.sh, run_config.yml and the secrets. It brings what the job needs
(environment, code, image), starts the deployment and the job, passes a request to stop on, and sees to it
that exit.json stands and nothing is left running, whatever happens: even when its own shell is killed, a
guard in a session of its own clears up behind it. Of the node it needs a shell, `setsid`, `grep` and what the
runtime is.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from launcher.code.packaging import unpacking
from launcher.jobs import Deployment, JobPlan, RunPlan
from launcher.node.job_script import GRACE, job_script, run_config
from launcher.node.runtimes import RUNTIMES
from launcher.node.text import code_folder, fill
from launcher.runs import run_directory as files
from launcher.secrets import named

NODE_SCRIPT = "node.sh"
PRIVATE = 0o600
# Seconds between asking a job to stop and killing it: its own for a checkpoint, and what ending takes.
PATIENCE = GRACE + 4

_TEMPLATE = r"""#!/bin/sh
# What a node does for @key@, attempt @attempt@.
set -u
case $0 in */*) cd "${0%/*}" || exit 70 ;; esac
here=$PWD mark=@key@/@attempt@/node
marked=$mark${EVALDOCK_START:+/$EVALDOCK_START}
reason= code=70 job= server= child= late= guard= memory= spoiled=
now() { date -u +%Y-%m-%dT%H:%M:%SZ 2>/dev/null; }
nap() { sleep 0.1 2>/dev/null || sleep 1; }
say() { printf 'evaldock: %s\n' "$1" >>@log@; }
fail() {
  reason=$1
  say "$1"
  exit 70
}
last() { tail -n 12 logs/node.log 2>/dev/null; }
# Waits for a child: a request that arrives meanwhile is passed on by its trap, and doesn't end the waiting.
# What the trap runs may have taken note of the child's end: a second question has its code then.
await() {
  while :; do
    wait "$1"
    code=$?
    [ "$code" -gt 128 ] || return 0
    kill -0 "$1" 2>/dev/null && continue
    wait "$1" 2>/dev/null
    again=$?
    [ "$again" -eq 127 ] || code=$again
    return 0
  done
}
# An installer has children of its own, which nobody would end.
run() {
  (
    EVALDOCK_JOB=$marked
    export EVALDOCK_JOB
    "$@"
  ) </dev/null >>logs/node.log 2>&1 &
  child=$!
  await "$child"
  child=
  return "$code"
}
# A value quoted into a file that is sourced and deleted.
hand() {
  (
    umask 077
    printf "export %s='" "$1"
    printf %s "$2" | sed "s/'/'\\\\''/g"
    printf "'\n"
  ) >>"$3"
}
text() {
  LC_ALL=C tr -c '\11\12\40-\176' '?' | tr '\11' ' ' | sed 's/["\\]/\\&/g' |
    while IFS= read -r line || [ -n "$line" ]; do printf '%s\\n' "$line"; done
}
leave() {
  said=null
  if [ -n "$2" ]; then
    said=$(printf %s "$2" | text)
    said="\"${said%\\n}\""
  fi
  printf '{"exit_code": %s, "reason": %s, "started": "%s", "ended": "%s", "attempt": @attempt@}\n' \
    "$1" "$said" "$started" "$(now)" >.exit.json && mv .exit.json @exit_file@ ||
    rm -f .exit.json
  printf '{"time": "%s"}\n' "$(now)" >stage.exit
}
# What the job itself says of the end of this attempt.
own_code() {
  [ -f @exit_file@ ] && grep -q '"attempt": @attempt@}' @exit_file@ &&
    sed -n 's/.*"exit_code": \([0-9]*\),.*/\1/p' @exit_file@
}
# Whether the folder is still this start's: its scheduler may have started the job again, on `beside`,
# which owns all that lies here once it runs.
ours() {
  newest= state= beside=
  [ -z "${EVALDOCK_START-}" ] || read -r newest state beside <@start_file@
  if [ "$state" = runs ] && [ "$newest" -gt "$EVALDOCK_START" ]; then return 1; fi
} 2>/dev/null
# Processes of the job know it by their environment, wherever they have gone.
kill_marked() {
  for entry in $(grep -lszx "EVALDOCK_JOB=$marked" /proc/[0-9]*/environ 2>/dev/null); do
    entry=${entry#/proc/}
    kill -KILL "${entry%/environ}" 2>/dev/null
  done
}
forget() { rm -f @secrets@ @server@/@secrets@ nodes/*/@secrets@ @reserve@ .full .code .stage.* environment; }
@runtime@
# A second shell, in a session of its own: where the first one was killed, it does what is left to do. A
# function, since the file may be a later attempt's by then.
guard() {
  trap '' TERM INT HUP
  while kill -0 "$1" 2>/dev/null; do sleep 1; done
  clear
  kill_marked
  ours || exit
  grep -q "mark=$mark" @node_script@ || exit
  forget
  started=
  [ -n "$(own_code)" ] || leave 137 "its shell on the node was killed"
  exit
}
[ "${1-}" != guard ] || guard "$2"
started=$(now)
end() {
  [ -z "$guard" ] || kill -s KILL -- "-$guard" "$guard" 2>/dev/null
  exit "$code"
}
finish() {
  code=$?
  trap - EXIT
  trap '' TERM INT HUP USR1
  [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
  # Until it has traps of its own, a new subshell takes any other signal for its parent's, and forgets it.
  [ -z "$late" ] || { kill -KILL "$late" && wait "$late"; } 2>/dev/null
  clear
  kill_marked
  ours || end
  forget
  own=$(own_code)
  [ -z "$memory" ] || [ "${own:-137}" != 137 ] || own= code=137 reason="out of memory"
  [ -z "$spoiled" ] || [ "$own" != 0 ] || own=
  # It had no time to say so itself.
  [ -n "$own$reason" ] || [ -z "$late" ] || code=143 reason="stopped on request"
  if [ -z "$own" ] || { [ -n "$reason" ] && [ "$own" != 0 ]; }; then
    if [ -z "$reason" ] && [ "$code" -gt 128 ]; then
      reason="killed by signal $((code - 128)), without an exit.json"
    elif [ -z "$reason" ] && [ "$code" -ne 0 ]; then
      reason="its script left no exit.json"
    fi
    leave "$code" "$reason"
  else
    code=$own
  fi
  end
}
# The job has @grace@ seconds for its last checkpoint, and ends by itself then.
stop() {
  ours || exit 143
  if [ -z "$job" ]; then
    reason="stopped on request"
    exit 143
  fi
  [ -z "$late" ] || return
  # Before anything that takes time: the next request may come meanwhile.
  late=soon
  ask TERM
  (
    trap '' TERM INT HUP
    left=@patience@
    while [ "$left" -gt 0 ]; do
      sleep 1
      # Whoever clears up behind a killed shell has done so: the names may be another start's by now.
      kill -0 "$$" || exit
      left=$((left - 1))
    done
    ask KILL
  ) >/dev/null 2>&1 &
  late=$!
}
# Not by default again: the signal may be on its way to a shell that has noticed by itself.
server_ended() {
  trap '' USR1
  tail=$(server_tail)
  reason="the deployment ended $(server_end)"
  if [ -n "$tail" ]; then
    reason="$reason; its last lines:
$tail"
  else
    reason="$reason; it printed nothing"
  fi
  say "$reason"
  [ -n "$job" ] || exit 70
  stop
}
trap finish EXIT
trap stop TERM INT HUP
trap server_ended USR1
mkdir -p logs @artifacts@ @server@ || exit 70
@keep@
# Started again by its scheduler: what is said of the end is said of this start.
rm -f @exit_file@ stage.exit logs/node.log
printf '%32768s' . >@reserve@
printf '{"time": "%s"}\n' "$(now)" >stage.pre-start
setsid sh "$here/@node_script@" guard "$$" </dev/null >/dev/null 2>&1 &
guard=$!
code_folder=
@code@
prepare
@serve@
launch
exit "$code"
"""

_KEEP = """\
if [ ! -d @kept@ ]; then
  mkdir -p @kept@
  for each in @names@; do
    [ ! -e "$each" ] || mv "$each" @kept@/
  done
fi
"""

_CODE = """\
@unpacking@
code_folder=@folder@
run unpack_code || fail "$(last)"
"""

_SERVE = """\
@given@
say "starting the @type@ deployment"
serve
"""


def node_script(run: RunPlan, job: JobPlan, attempt: int, *, runtime: str, root: str) -> str:
    """`runtime` is one of `launcher.node.runtimes.RUNTIMES`, `root` the folder on the other side below which
    runs and what they share have theirs."""
    return fill(
        _TEMPLATE,
        key=job.key,
        attempt=str(attempt),
        log=files.JOB_LOG,
        exit_file=files.EXIT,
        secrets=files.SECRETS,
        reserve=files.RESERVE,
        start_file=files.START,
        server=files.SERVER,
        artifacts=files.ARTIFACTS,
        node_script=NODE_SCRIPT,
        grace=str(GRACE),
        patience=str(PATIENCE),
        runtime=RUNTIMES[runtime](run, job, attempt, root),
        keep=_keep(attempt) if attempt > 1 else "",
        code=_code(job, root) if job.code else "",
        serve=_serve(job.deployment) if job.deployment else "",
    )


def node_files(
    run: RunPlan, job: JobPlan, attempt: int, secrets: Mapping[str, str], *, runtime: str, root: str
) -> dict[str, tuple[bytes, int]]:
    """Everything that must lie in the job's folder there before `sh node.sh` starts: path → content and mode.

    Shipped code lies beside, as `code_folder(root, job)` + `.tar.gz`.
    """
    contained = runtime != "none"
    script = job_script(
        job,
        results=run.results(job, contained=contained),
        attempt=attempt,
        wait_for=job.deployment,
        inputs=run.inputs(job, contained=contained),
    )
    plan = {**dataclasses.asdict(job), "attempt": attempt}
    made = {
        files.JOB: ((json.dumps(plan, ensure_ascii=False, indent=1) + "\n").encode(), 0o644),
        files.SCRIPT: (script.encode(), 0o644),
        files.RUN_CONFIG: (run_config(job), 0o644),
        NODE_SCRIPT: (node_script(run, job, attempt, runtime=runtime, root=root).encode(), 0o644),
    }
    served = job.deployment.secrets if job.deployment else ()
    for path, names in ((files.SECRETS, job.secrets), (f"{files.SERVER}/{files.SECRETS}", served)):
        if values := named(names, secrets):
            made[path] = (files.secrets_text(values).encode(), PRIVATE)
    return made


def _keep(attempt: int) -> str:
    names = (*files.STAGES, files.EXIT, files.JOB_LOG, files.DEPLOYMENT_LOG, files.RESULTS)
    return fill(_KEEP, kept=f"{files.ATTEMPTS}/{attempt - 1}", names=" ".join(names))


def _serve(server: Deployment) -> str:
    given = ""
    for secret in server.secrets:
        if secret.where == "runtime":
            missing = f"the variable {secret.source} is not set on this machine"
            given += f'[ -n "${{{secret.source}+set}}" ] || fail "{missing}"\n'
            given += f'hand {secret.name} "${secret.source}" {files.SERVER}/{files.SECRETS}\n'
    return fill(_SERVE, type=server.type, given=given)


def _code(job: JobPlan, root: str) -> str:
    folder = code_folder(root, job)
    return fill(
        _CODE, unpacking=unpacking(str(job.code), str(Path(folder).parent)), folder=shlex.quote(folder)
    )
