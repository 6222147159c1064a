# 0123456789abcdef-000, attempt 1: in the container of a replica. Arguments are shipped code in base64.
set -u
index=${LEPTON_JOB_WORKER_INDEX:-0}
folder=/evals/runs/0123456789abcdef/jobs/000-quickcheck.chat-m
mkdir -p "$folder/artifacts"
[ "$index" = 0 ] || folder=$folder/replicas/$index
fail() {
  echo "evaldock: $1"
  exit 70
}
job= stopping=
stop() {
  [ -n "$stopping" ] || [ -z "$job" ] || kill -TERM "$job" 2>/dev/null
  stopping=1
}
trap stop TERM INT HUP
mkdir -p "$folder/logs" "$folder/artifacts" && cd "$folder" || fail "no folder can be made at $folder"
printf %s 'RUN.SH' >run.sh
printf %s 'RUN_CONFIG' >run_config.yml
[ "$index" != 0 ] || printf '%s\n' 'JOB.JSON' >job.json
printf %32768s . >.reserve
SENDING
: >>logs/job.log
# The first of several replicas, as the others reach it.
EVALDOCK_HEAD=${LEPTON_JOB_WORKER_PREFIX:+$LEPTON_JOB_WORKER_PREFIX-0.${LEPTON_SUBDOMAIN-}}
export EVALDOCK_HEAD="${EVALDOCK_HEAD:-127.0.0.1}"
own_group=
if command -v setsid >/dev/null 2>&1; then own_group=setsid; fi
$own_group /bin/sh ./run.sh &
job=$!
# Asked before it ran.
[ -z "$stopping" ] || kill -TERM "$job" 2>/dev/null
shown=0 cut=
show() {
  size=$(($(wc -c <logs/job.log)))
  if [ "$size" -gt 3145728 ]; then
    size=3145728
    [ -n "$cut" ] || tail -c "+$((shown + 1))" logs/job.log | head -c "$((size - shown))"
    [ -n "$cut" ] || printf '
evaldock: the rest of the log comes with the results
'
    cut=logs/job.log
  elif [ "$size" -gt "$shown" ]; then
    tail -c "+$((shown + 1))" logs/job.log | head -c "$((size - shown))"
    shown=$size
  fi
}
while kill -0 "$job" 2>/dev/null; do
  show
  sleep 0.3 2>/dev/null || sleep 1
done
wait "$job"
code=$?
show
if ! [ -e exit.json ]; then
  reason=null
  [ "$code" -le 128 ] || reason="\"killed by signal $((code - 128))\""
  [ -z "$stopping" ] || reason='"stopped on request"'
  printf '{"exit_code": %s, "reason": %s, "attempt": 1}\n' "$code" "$reason" >.exit.json
  mv .exit.json exit.json
fi
[ "$index" != 0 ] || send_results 4194304 $cut
exit "$code"
