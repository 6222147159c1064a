#!/bin/sh
# What a node does for 0123456789abcdef-000, attempt 2.
set -u
case $0 in */*) cd "${0%/*}" || exit 70 ;; esac
here=$PWD mark=0123456789abcdef-000/2/node
marked=$mark${EVALDOCK_START:+/$EVALDOCK_START}
reason= code=70 job= server= child= late= guard= memory= spoiled=
now() { date -u +%Y-%m-%dT%H:%M:%SZ 2>/dev/null; }
nap() { sleep 0.1 2>/dev/null || sleep 1; }
say() { printf 'evaldock: %s\n' "$1" >>logs/job.log; }
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
  printf '{"exit_code": %s, "reason": %s, "started": "%s", "ended": "%s", "attempt": 2}\n' \
    "$1" "$said" "$started" "$(now)" >.exit.json && mv .exit.json exit.json ||
    rm -f .exit.json
  printf '{"time": "%s"}\n' "$(now)" >stage.exit
}
# What the job itself says of the end of this attempt.
own_code() {
  [ -f exit.json ] && grep -q '"attempt": 2}' exit.json &&
    sed -n 's/.*"exit_code": \([0-9]*\),.*/\1/p' exit.json
}
# Whether the folder is still this start's: its scheduler may have started the job again, on `beside`,
# which owns all that lies here once it runs.
ours() {
  newest= state= beside=
  [ -z "${EVALDOCK_START-}" ] || read -r newest state beside <.start
  if [ "$state" = runs ] && [ "$newest" -gt "$EVALDOCK_START" ]; then return 1; fi
} 2>/dev/null
# Processes of the job know it by their environment, wherever they have gone.
kill_marked() {
  for entry in $(grep -lszx "EVALDOCK_JOB=$marked" /proc/[0-9]*/environ 2>/dev/null); do
    entry=${entry#/proc/}
    kill -KILL "${entry%/environ}" 2>/dev/null
  done
}
forget() { rm -f .secrets server/.secrets nodes/*/.secrets .reserve .full .code .stage.* environment; }
engine=docker name=evaldock-0123456789abcdef-000-2 server_name=evaldock-0123456789abcdef-000-2-server
ask() { "$engine" kill --signal "$1" "$name" >/dev/null 2>&1; }
# A newer start on this very machine has taken over the names. They are taken one by one: of several podman
# leaves those be that stand behind an unknown one.
clear() {
  ours || [ "$beside" != "$(uname -n)" ] || return
  for each in "$name" "$server_name"; do
    "$engine" rm --force --volumes "$each"
  done >/dev/null 2>&1
}
present() {
  "$engine" image inspect "$1" >/dev/null 2>&1 && return
  say "pulling $1"
  run "$engine" pull "$1" || fail "$1 can't be pulled: $(last)"
}
prepare() {
  command -v "$engine" >/dev/null 2>&1 || fail "$engine is not on this node"
  # What a shell that was killed here may have left.
  clear
  present registry.example/evals/shell@sha256:1111111111111111111111111111111111111111111111111111111111111111
}
granted() {
  list=${CUDA_VISIBLE_DEVICES-}
  case $list in
  '' | NoDevFiles | *[!0-9A-Za-z,:/-]*) echo "$2" ;;
  *)
    list=$(echo "$list" | cut -d , -f "1-$1")
    echo "\"device=$list\""
    ;;
  esac
}
launch() {
  run "$engine" create "--gpus=$(granted 2 2)" --name=evaldock-0123456789abcdef-000-2 --label=evaldock.key=0123456789abcdef-000 --label=evaldock.attempt=2 --label=evaldock.role=job --label=evaldock.run=0123456789abcdef --network=container:evaldock-0123456789abcdef-000-2-server --env=EVALDOCK_CODE=/code --mount=type=bind,source=/shared/0123456789abcdef/jobs/000-t0,target=/job --mount=type=bind,source=/shared/0123456789abcdef/jobs/000-t0/artifacts,target=/results --mount=type=bind,source=/shared/.evaldock/code/2222222222222222222222222222222222222222222222222222222222222222,target=/code,readonly --entrypoint=/bin/sh registry.example/evals/shell@sha256:1111111111111111111111111111111111111111111111111111111111111111 /job/run.sh || fail "the container can't be created: $(last)"
  job=container
  if ! run "$engine" start "$name"; then
    trouble=$(last) job=
    [ -z "$late" ] || exit 143
    [ -z "$server" ] || running "$server_name" || server_ended
    fail "the container can't be started: $trouble"
  fi
  [ -z "$late" ] || ask TERM
  # Slurm's own signals end whoever waits, not the container.
  until
    "$engine" wait "$name" >.code 2>>logs/node.log &
    await "$!"
    read -r code <.code
  do
    "$engine" inspect "$name" >/dev/null 2>&1 || { code=70 && break; }
    nap
  done
  rm -f .code
  [ "$("$engine" inspect --format '{{.State.OOMKilled}}' "$name" 2>/dev/null)" != true ] || memory=out
}
running() { [ "$("$engine" inspect --format '{{.State.Running}}' "$1" 2>/dev/null)" = true ]; }
serve() {
  present registry.example/evals/shell@sha256:1111111111111111111111111111111111111111111111111111111111111111
  set --
  run "$engine" create --name=evaldock-0123456789abcdef-000-2-server --label=evaldock.key=0123456789abcdef-000 --label=evaldock.attempt=2 --label=evaldock.role=server --label=evaldock.run=0123456789abcdef --entrypoint=serve registry.example/evals/shell@sha256:1111111111111111111111111111111111111111111111111111111111111111 --port 8000 "$@" || fail "the deployment can't be created: $(last)"
  run "$engine" start "$server_name" || fail "the deployment can't be started: $(last)"
  (
    "$engine" logs --follow "$server_name" >>logs/deployment.log 2>&1
    "$engine" wait "$server_name" >/dev/null 2>&1
    kill -USR1 "$$" 2>/dev/null
  ) &
  server=$!
}
server_end() { echo "before the evaluation"; }
server_tail() { "$engine" logs --tail 20 "$server_name" 2>&1; }
# A second shell, in a session of its own: where the first one was killed, it does what is left to do. A
# function, since the file may be a later attempt's by then.
guard() {
  trap '' TERM INT HUP
  while kill -0 "$1" 2>/dev/null; do sleep 1; done
  clear
  kill_marked
  ours || exit
  grep -q "mark=$mark" node.sh || exit
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
# The job has 8 seconds for its last checkpoint, and ends by itself then.
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
    left=12
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
mkdir -p logs artifacts server || exit 70
if [ ! -d attempts/1 ]; then
  mkdir -p attempts/1
  for each in stage.pre-start stage.running stage.exit exit.json logs/job.log logs/deployment.log artifacts/results.yml; do
    [ ! -e "$each" ] || mv "$each" attempts/1/
  done
fi
# Started again by its scheduler: what is said of the end is said of this start.
rm -f exit.json stage.exit logs/node.log
printf '%32768s' . >.reserve
printf '{"time": "%s"}\n' "$(now)" >stage.pre-start
setsid sh "$here/node.sh" guard "$$" </dev/null >/dev/null 2>&1 &
guard=$!
code_folder=
unpack_code() {
  [ -d /shared/.evaldock/code/2222222222222222222222222222222222222222222222222222222222222222 ] && return 0
  if [ "$(gzip -dc /shared/.evaldock/code/2222222222222222222222222222222222222222222222222222222222222222.tar.gz 2>/dev/null | sha256sum | cut -c1-64)" != 2222222222222222222222222222222222222222222222222222222222222222 ]; then
    echo "the archive of the shipped code is missing or damaged: "/shared/.evaldock/code/2222222222222222222222222222222222222222222222222222222222222222.tar.gz >&2
    return 1
  fi
  unpacking=$(mktemp -d /shared/.evaldock/code/2222222222222222222222222222222222222222222222222222222222222222.XXXXXX) || return 1
  gzip -dc /shared/.evaldock/code/2222222222222222222222222222222222222222222222222222222222222222.tar.gz | tar -xmof - -C "$unpacking" && chmod 755 "$unpacking" &&
    mv -T "$unpacking" /shared/.evaldock/code/2222222222222222222222222222222222222222222222222222222222222222 2>/dev/null
  rm -rf "$unpacking"
  [ -d /shared/.evaldock/code/2222222222222222222222222222222222222222222222222222222222222222 ] || { echo "the shipped code can't be unpacked to "/shared/.evaldock/code/2222222222222222222222222222222222222222222222222222222222222222 >&2; return 1; }
}
code_folder=/shared/.evaldock/code/2222222222222222222222222222222222222222222222222222222222222222
run unpack_code || fail "$(last)"
prepare
say "starting the generic deployment"
serve
launch
exit "$code"
