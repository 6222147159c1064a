"""What is asked of a cluster's head node: shell texts, each run in one go.

Each line of an answer says in its first word what it is: some hold what jobs wrote. What the backend must be
able to trust lies in the run's folder, below `.slurm`, where no job's container sees it.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from launcher.backends.slurm_names import Named, whole
from launcher.backends.slurm_script import OWN, SUBMISSION, array_file, secret_files
from launcher.node.runtimes import fill
from launcher.runs import run_directory as files

_SECRETS = " ".join(name for pair in secret_files() for name in pair)

# Accounting tells of today only, unless it is asked for more.
_SINCE = "now-60days"
# What a job may know of the head node's environment; the launcher's own stays where it is.
_ENVIRONMENT = (
    *(
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "PATH",
        "LANG",
        "LC_ALL",
        "TZ",
        "TMPDIR",
        "SLURM_CONF",
        "KRB5CCNAME",
    ),
    *("LD_LIBRARY_PATH", "MODULEPATH", "MODULESHOME", "http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
    *(
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "PIP_CONFIG_FILE",
        "UV_INDEX_URL",
        "UV_CACHE_DIR",
        "DOCKER_HOST",
    ),
)

# Written to start few programs: they, and not Slurm, would take the time. What is known already is adopted;
# the rest of what was asked for waits for another call then.
_SUBMIT = r"""
run=@run@ jobs=@jobs@ from=@from@
@path@
own=$run/.slurm
[ -d "$own" ] || mkdir -p "$own" || exit 70
exec 9>>"$own/lock"
# Where the file system knows no locks, looking for jobs by their names has to do.
if command -v flock >/dev/null 2>&1; then
  flock -w 60 9 2>"$own/error" || [ -s "$own/error" ] || { echo "busy"; exit 0; }
fi
known= sent=
each() {
  while read -r name index folder; do "$1"; done <<EVALDOCK-JOBS
$jobs
EVALDOCK-JOBS
}
found() {
  echo "$1" >"$own/$name.id"
  echo "id $name $1"
  known=yes
}
recall() {
  # Where the disk was full, it is empty.
  if read -r id 2>/dev/null <"$own/$name.id"; then
    found "$id"
  elif [ -e "$own/$name.sending" ]; then
    sent=yes
  fi
}
look() {
  [ ! -s "$own/$name.id" ] || return
  id=$(printf '%s\n' "$there" "$past" |
    sed -n -e "s/^\([0-9]*\)|$name\$/\1/p" -e "s/^\([0-9]*_$index\)|@array@\$/\1/p" | head -n 1)
  [ -z "$id" ] || found "$id"
}
prepare() {
  for left in "$run/$folder/.slurm.since" "$run/$folder/.slurm.used" "$own/$name.stopping"; do
    [ ! -e "$left" ] || rm -f "$left"
  done
  # Without it nobody would look for what an earlier try has sent. With `:`, a special builtin, the script
  # could end here.
  true >"$own/$name.sending" || unmarked=yes
}
take_back() { (cd "$run/$folder" && rm -f "$own/$name.sending" @secrets@) 2>/dev/null; }
each recall
# An earlier try may have got through without anybody's learning of it.
if [ "$sent" ]; then
  there=$(squeue --noheader --array --states=all --user="$(id -un)" --name=@names@ --format='%i|%j' \
    2>"$own/error") || { echo "refused 1"; exec cat "$own/error"; }
  # A cluster without accounting needs no such command.
  past=
  if command -v sacct >/dev/null; then
    past=$(sacct -X -n -P --user="$(id -un)" --name=@names@ -S @since@ -o JobID,JobName 2>"$own/error") ||
      grep -q 'accounting storage is disabled' "$own/error" ||
      { echo "refused 1"; echo "temporarily"; exec cat "$own/error"; }
  fi
  each look
fi
[ -z "$known" ] || exit 0
# What has arrived by then may hold secrets.
tar -xf - -C "$run" && cd "$run/$from" || { each take_back; exit 70; }
unmarked=
each prepare
[ -z "$unmarked" ] || { each take_back; exit 70; }
(
  while IFS= read -r line; do
    case $line in export\ [A-Za-z_]*) ;; *) continue ;; esac
    line=${line#export }
    line=${line%%[!A-Za-z0-9_]*}
    case " @keep@ " in *" $line "*) ;; *) unset "$line" 2>/dev/null ;; esac
  done <<EVALDOCK-EXPORTED
$(export -p)
EVALDOCK-EXPORTED
  # The lock is this shell's own.
  exec sbatch --parsable @flags@ @submission@ 9>&- </dev/null
) >"$own/answer" 2>"$own/error"
code=$?
if [ "$code" -eq 0 ]; then
  # "123" or "123;cluster"; a site's own sbatch may greet first.
  sent=
  while IFS=';' read -r id _; do
    case $id in '' | *[!0-9]*) ;; *) sent=$id ;; esac
  done <"$own/answer"
  # Without a number, the next try looks for the job's name.
  [ "$sent" ] || { echo "refused 0"; echo "temporarily no number: "; exec cat "$own/answer"; }
  accepted() { found "${sent}@task@"; }
  each accepted
  exit 0
fi
echo "refused $code"
cat "$own/error"
case $(cat "$own/error") in
# Whether it has arrived isn't known: the next try looks for it.
*[Tt]imed\ out* | *[Zz]ero\ [Bb]ytes*) ;;
*) each take_back ;;
esac
"""

# Slurm first: a job that ends between the two questions has left its exit.json by the second. NFS may still
# remember that there was none: opening the folder makes it ask the server whether anything there has changed.
# With `:`, a special builtin, a folder that is missing would end the script.
_STATUS = r"""
@path@
squeue --noheader --array --user="$(id -un)" --states=all --format='now %i|%T|%r|%j' 2>&1
echo "queued $?"
@accounting@
echo "folders"
while read -r name folder; do
  echo "job"
  true <"$folder"
  if read -r id <"${folder%/*/*}/.slurm/$name.id"; then echo "id $id"; fi
  [ ! -e "${folder%/*/*}/.slurm/$name.stopping" ] || echo "stopping"
  [ ! -e "$folder/stage.running" ] || echo "running"
  [ ! -f "$folder/@exit_file@" ] || { head -c 65536 "$folder/@exit_file@" | sed 's/^/exit /'; echo; }
done 2>/dev/null <<'EVALDOCK-FOLDERS'
@folders@
EVALDOCK-FOLDERS
"""

_ACCOUNTING = r"""
if command -v sacct >/dev/null; then
  SLURM_BITSTR_LEN=0 sacct -X -n -P @wanted@ -o JobID,State,ExitCode,JobName 2>&1 | sed 's/^/past /'
else
  echo "unaccounted"
fi
"""

# A job that waits is gone at once; one that runs is asked by a signal to its script, which leaves exit.json,
# and is ended by Slurm where it was asked before. Only what Slurm lists under a job's own name is touched: a
# number may have been given out again. And scancel is given no state to look for: it would take all of an
# array's tasks that wait for the one that was named.
_CANCEL = r"""
@path@
own=@own@ jobs=@jobs@ wanted=@wanted@ line='
'
listed() {
  squeue --noheader --array --user="$(id -un)" --name=@names@ --format='%i|%T|%j' --states="$1" 2>&1
}
# For each of them in the queue: its number `id`, `state`, and `name`, which Slurm doesn't list for a task.
each() {
  while IFS='|' read -r id state name; do
    case $id in
    *_?) name=${name%-*}-00${id#*_}-${name##*-} ;;
    *_??) name=${name%-*}-0${id#*_}-${name##*-} ;;
    *_*) name=${name%-*}-${id#*_}-${name##*-} ;;
    esac
    case $wanted in *" $name "*) "$1" ;; esac
  done <<EVALDOCK-QUEUE
$queue
EVALDOCK-QUEUE
}
queue=$(listed all) || { echo "$queue"; exit 1; }
late=$(find "$own" -maxdepth 1 -name '*.stopping' -mmin +0.2 2>/dev/null)$line
asked= over=
stop() {
  case $state in
  COMPLETED | CANCELLED | FAILED | TIMEOUT | PREEMPTED | NODE_FAIL | BOOT_FAIL | OUT_OF_MEMORY | DEADLINE) ;;
  RUNNING | SUSPENDED | CONFIGURING | RESIZING | SIGNALING | STOPPED)
    case $late in *"/$name.stopping$line"*) over="$over $id" && return ;; esac
    # Where that can't be noted, it is not asked.
    if noted; then asked="$asked $id"; else over="$over $id"; fi
    ;;
  *)
    noted
    over="$over $id"
    ;;
  esac
}
noted() { [ -e "$own/$name.stopping" ] || true 2>/dev/null >"$own/$name.stopping"; }
each stop
trouble=$(
  exec 2>&1
  [ -z "$over" ] || scancel $over
  [ -z "$asked" ] || scancel --batch --signal=USR2 $asked
)
left=" "
note() { left="$left$name "; }
queue=$(listed PENDING,RUNNING,SUSPENDED) && each note && while read -r name folder; do
  case $left in *" $name "*) continue ;; esac
  for secret in @secrets@; do
    [ ! -e "$folder/$secret" ] || rm -f "$folder/$secret"
  done
done <<EVALDOCK-JOBS
$jobs
EVALDOCK-JOBS
# One that is gone already is as it should be.
trouble=$(printf '%s\n' "$trouble" |
  grep -v -e '^$' -e '[Ii]nvalid job id' -e 'already completing' -e 'not running') || exit 0
echo "$trouble"
exit 1
"""

# A folder that can't be entered is gone only where the run's own is there: its file system may not be mounted
# yet. And NFS may remember that there was none.
_LIST = r"""
folder=@folder@
true <"${folder%/*}" 2>/dev/null
cd "$folder" 2>/dev/null || {
  if [ -d "${folder%/*/*}/.slurm" ] && [ ! -e "$folder" ]; then echo "gone"; else echo "away"; fi
  exit 0
}
rm -f @secrets@
find . -type f ! -path './.*' ! -path './home/*' ! -path './server/*' -print0 | xargs -0 -r sha256sum -z --
printf '\0'
find . -type f ! -path './.*' ! -path './home/*' ! -path './server/*' -printf '%s %p\0'
printf '\0end\0'
"""

_LOG = r"""
cd @folder@ 2>/dev/null || exit 0
# The job could put a link to any other file there.
[ -f @log@ ] && [ ! -L @log@ ] && [ ! -L @logs@ ] || exit 0
size=$(wc -c <@log@) since=@since@
[ "$since" -le "$size" ] || since=0
echo "$since"
tail -c "+$((since + 1))" @log@ | head -c @limit@
"""


def submit(
    *,
    run: str,
    jobs: Sequence[tuple[Named, str]],
    flags: Sequence[str],
    runtime_names: Iterable[str],
    settings: Mapping[str, Any],
) -> str:
    """Reads a tar file of what belongs into the run's folder from its input. `jobs` stand with their folders
    in it; several are one array's. `runtime_names` are variables of the head node that the jobs get."""
    named, array = [each for each, _ in jobs], len(jobs) > 1
    return fill(
        _SUBMIT,
        run=shlex.quote(run),
        jobs=shlex.quote("\n".join(f"{each.name} {each.index} {folder}" for each, folder in jobs)),
        names=_names(named),
        array=named[0].array,
        task="_$index" if array else "",
        path=_path(settings),
        since=_SINCE,
        keep=" ".join((*_ENVIRONMENT, *sorted(runtime_names))),
        flags=shlex.join(flags),
        **{"from": shlex.quote("" if array else jobs[0][1])},
        submission=array_file(named[0].array) if array else SUBMISSION,
        secrets=_SECRETS,
    )


def status(jobs: Sequence[tuple[Named, str]], ids: Sequence[str], settings: Mapping[str, Any]) -> str:
    """`jobs` stand with their folders. `ids` are asked for by number; names too, where one is missing."""
    wanted = [f"-j {shlex.quote(','.join(whole(ids)))}"] if ids else []
    if len(ids) < len(jobs):
        wanted.append(f'--user="$(id -un)" --name={_names([each for each, _ in jobs])} -S {_SINCE}')
    return fill(
        _STATUS,
        path=_path(settings),
        folders="\n".join(f"{each.name} {folder}" for each, folder in jobs),
        exit_file=files.EXIT,
        accounting="".join(fill(_ACCOUNTING, wanted=each) for each in wanted),
    )


def cancel(jobs: Sequence[tuple[Named, str]], settings: Mapping[str, Any]) -> str:
    """`jobs` of one run stand with their folders."""
    named = [each for each, _ in jobs]
    return fill(
        _CANCEL,
        path=_path(settings),
        own=shlex.quote(f"{posixpath.dirname(posixpath.dirname(jobs[0][1]))}/{OWN}"),
        jobs=shlex.quote("\n".join(f"{each.name} {folder}" for each, folder in jobs)),
        wanted=shlex.quote(f" {' '.join(each.name for each in named)} "),
        names=_names(named),
        secrets=_SECRETS,
    )


def listing(folder: str) -> str:
    """Forgets the secrets of a job that has ended and lists its files."""
    return fill(_LIST, folder=shlex.quote(folder), secrets=_SECRETS)


def log(folder: str, since: int, limit: int = 1 << 20) -> str:
    names = {"log": files.JOB_LOG, "logs": files.LOGS}
    return fill(_LOG, folder=shlex.quote(folder), since=str(since), limit=str(limit), **names)


def _names(jobs: Sequence[Named]) -> str:
    return shlex.quote(",".join(dict.fromkeys(name for job in jobs for name in (job.name, job.array))))


def _path(settings: Mapping[str, Any]) -> str:
    folder = settings.get("slurm_bin")
    return f"PATH={shlex.quote(str(folder))}:$PATH" if folder else ""
