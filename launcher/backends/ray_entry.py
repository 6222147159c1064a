"""`ray.sh`, what Ray starts for a job: a pure function, in POSIX sh.

Ray signals a driver and all its children at once, and kills them without a word where its own processes die.
So the node script runs in a session of its own as nobody's child, with a holder beside it that passes on a
request to stop, and makes one where `ray.sh` is gone. `ray.sh` itself copies the job's log to Ray's, waits,
and ends with the job's exit code behind a last line that says so.
"""

from __future__ import annotations

import shlex

from launcher.node.node_script import NODE_SCRIPT
from launcher.node.result_stream import SENDING
from launcher.node.text import fill
from launcher.runs import run_directory as files

ENTRY = "ray.sh"
# Seconds after which Ray kills what doesn't end on request: longer than a job's own time for that.
STOP_WAIT = 25
BEGIN = "evaldock: the log of {id}:"
ENDED = "evaldock: ended with exit code"
# In the job's folder: written again every few seconds as long as it is looked after; a request to stop that
# needs no Ray; when it was first seen that Ray has let go of it.
ALIVE, STOP, GONE = ".ray.alive", ".ray.stop", ".ray.gone"
# Folders of a package that is sent through the API.
JOB_PART, OWN_PART, INPUT_PART = "job", "artifacts", "inputs"

_TEMPLATE = r"""#!/bin/sh
# What Ray starts for @id@.
set -u
lives() {
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
  case ${line##*) } in Z* | X*) return 1 ;; esac
}
nap() {
  sleep 0.2 2>/dev/null &
  wait "$!" || sleep 1
}
if [ "${1-}" = hold ]; then
  state=$2 asked=
  cd @folder@ || exit 70
  sh ./@node_script@ </dev/null >/dev/null 2>&1 &
  node=$!
  trap 'kill -TERM "$node"' TERM INT HUP
  echo "$$" >"$state/holder"
  while lives "$node"; do
    [ -n "$asked" ] || lives "$3" || { asked=1; kill -TERM "$node"; }
    nap
  done
  wait "$node"
  echo "$?" >"$state/code.new" && mv "$state/code.new" "$state/code"
  lives "$3" || rm -rf "$state"
  exit
fi
case $0 in
  */*) package=$(cd "${0%/*}" && pwd) ;;
  *) package=$PWD ;;
esac
came=$PWD
@lay@
cd @folder@ && mkdir -p @logs@ && true >>@log@ || { echo "evaldock: @folder_said@ can't be used"; exit 70; }
command -v setsid >/dev/null 2>&1 || { echo "evaldock: setsid is not on this node"; exit 70; }
state=$(mktemp -d) || exit 70
@working_dir@
echo "evaldock: it runs in $PWD on $(uname -n)"
echo "@begin@"
(setsid sh "$package/@entry@" hold "$state" "$$" </dev/null >/dev/null 2>&1 &)
asked= passed= holder= sent=0 beat=0
trap 'asked=1' TERM INT HUP
copy() {
  there=$(wc -c <@log@)
  [ "$there" -ge "$sent" ] || sent=0
  [ "$there" -eq "$sent" ] || tail -c "+$((sent + 1))" @log@ | head -c "$((there - sent))"
  sent=$there
}
while [ ! -e "$state/code" ]; do
  # Ray's process for the job is gone, or the launcher has left a word beside it.
  lives "$PPID" && [ ! -e @stop@ ] || asked=1
  [ "$((beat % 10))" -ne 0 ] || true >@alive@
  beat=$((beat + 1))
  [ -n "$holder" ] || [ "$beat" -lt 300 ] || echo 70 >"$state/code"
  [ -n "$holder" ] || { [ -s "$state/holder" ] && read -r holder <"$state/holder"; }
  if [ -n "$asked" ] && [ -z "$passed" ] && [ -n "$holder" ]; then
    kill -TERM "$holder" 2>/dev/null
    passed=1
  fi
  [ -z "$holder" ] || lives "$holder" || [ -e "$state/code" ] || echo 70 >"$state/code"
  copy
  nap
done
trap '' TERM INT HUP
read -r code <"$state/code"
rm -rf "$state" @alive@
copy
@send@
echo
echo "@ended@ $code"
exit "$code"
"""

# What is there of an earlier attempt is newer than what was brought back of it.
_LAY = """\
mkdir -p @folder@ && chmod 700 @folder@ || {
  echo "evaldock: @folder_said@ can't be made on this node; execution.node_dir names another folder"
  exit 70
}
cp -R "$package/@job_part@/." @folder@/ || exit 70
if [ -d "$package/@own_part@" ] && [ ! -d @folder@/@artifacts@ ]; then
  cp -R "$package/@own_part@" @folder@/@artifacts@
fi
[ ! -d "$package/@input_part@" ] || cp -R "$package/@input_part@/." @run@/ || exit 70
"""

_CODE = """\
# Shipped code is a package of its own, sent once and shared by all jobs of the node.
mkdir -p @codes@
if [ ! -e @codes@/@archive@ ] && [ ! -d @codes@/@digest@ ]; then
  IFS=:
  for each in ${PYTHONPATH-}; do
    case $each in
      */@code_package@)
        cp "$each/@archive@" @codes@/.@archive@."$$" && mv @codes@/.@archive@."$$" @codes@/@archive@
        ;;
    esac
  done
  unset IFS
fi
"""

# The package's folder is known by its name: Ray puts it on the path of Python's modules.
_START = """\
IFS=:; for each in ${PYTHONPATH-}; do case $each in */@package@) exec sh "$each/@entry@" ;; esac; done; \
echo "evaldock: the job's package is not on the node"; exit 70"""

_START_SHARED = """\
[ -f @entry@ ] || \
{ echo "evaldock: @said@ is not on this node; is execution.shared_dir mounted there?"; exit 70; }; \
exec sh @entry@"""


def start_shared(folder: str) -> str:
    """The entry point where the job's folder lies on storage that the node sees."""
    return fill(_START_SHARED, entry=shlex.quote(f"{folder}/{ENTRY}"), said=_said(folder))


def start_shipped(package: str) -> str:
    """The entry point where everything is in a package of that name, without its ending."""
    return fill(_START, package=package, entry=ENTRY)


def entry_script(
    submission_id: str,
    folder: str,
    *,
    shipped: bool,
    limit: int = 0,
    code: tuple[str, str, str] | None = None,
    working_dir: bool = False,
) -> str:
    """`folder` is the job's on the node; `working_dir` says that Ray gives it one of the user's. What is
    `shipped` is laid out there first, and comes back through the log, up to `limit` bytes; `code` is the
    package's name, the folder for archives and the digest."""
    lay = ""
    if shipped:
        lay = fill(
            _LAY,
            folder=shlex.quote(folder),
            folder_said=_said(folder),
            run=shlex.quote(folder.rpartition("/jobs/")[0]),
            job_part=JOB_PART,
            own_part=OWN_PART,
            input_part=INPUT_PART,
            artifacts=files.ARTIFACTS,
        )
        if code:
            package, codes, digest = code
            lay += fill(
                _CODE,
                code_package=package,
                codes=shlex.quote(codes),
                digest=digest,
                archive=f"{digest}.tar.gz",
            )
    return fill(
        _TEMPLATE,
        id=submission_id,
        begin=BEGIN.format(id=submission_id),
        ended=ENDED,
        entry=ENTRY,
        node_script=NODE_SCRIPT,
        folder=shlex.quote(folder),
        folder_said=_said(folder),
        logs=files.LOGS,
        log=files.JOB_LOG,
        alive=ALIVE,
        stop=STOP,
        lay=lay,
        working_dir='export EVALDOCK_WORKING_DIR="$came"\n' if working_dir else "",
        send=f"{SENDING}send_results {limit}\n" if shipped else "",
    )


def collecting(folder: str, limit: int) -> str:
    """The entry point of a job that only sends what another one left on its node."""
    return f"cd {shlex.quote(folder)} || exit 70\n{SENDING}send_results {limit}\n"


def _said(folder: str) -> str:
    """For double quotes in a message."""
    return "".join(character for character in folder if character not in '"`$\\\n')
