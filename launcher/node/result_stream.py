"""A job's folder through its own output, for backends whose jobs share no storage with anybody.

When a job has ended, shell text of `SENDING` packs its folder (tar, gzip, base64) and prints it between two
marks behind what the job had printed, as long as it is small enough; `receive` takes such an output apart,
and `unpack` lays the folder out. What is too large is left behind, and the stream says so: then only the
files that tell how the job ended, and its `results.yml`, come along.

Nothing in it is trusted: a job can print what it likes, marks included. It can only ever fill its own folder.
"""

from __future__ import annotations

import base64
import binascii
import errno
import gzip
import io
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import Refused
from launcher.runs import run_directory as files

BEGIN = b"-----BEGIN EVALDOCK RESULTS-----"
END = b"-----END EVALDOCK RESULTS-----"
# Bytes of the packed folder. In base64 it takes a third more, and container engines often turn a log over
# when it has reached 10 MiB.
LIMIT = 4 << 20
# What an archive may become: bytes and files.
UNPACKED, MEMBERS = 1 << 30, 100_000
# What is wrong with a name, and not with the disk: trying again wouldn't help.
_ODD = {
    *(errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EEXIST),
    *(errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY),
}

# POSIX sh. `send_results LIMIT [NAME]...` is called in the job's folder after its end, with names of what
# is to be packed besides; it prints, and never fails.
# Neither "$$" nor "$(NAME)" stands in it: Kubernetes replaces both in a container's command.
SENDING = f"""\
# Packs what is there of the names given.
pack() {{
  [ "$#" -gt 0 ] && tar -cf - "$@" 2>/dev/null | gzip -c
}}
# At most one byte more than the limit, so that a huge folder isn't packed to its end just to be counted.
packed_size() {{
  most=$1
  shift
  pack "$@" | head -c "$((most + 1))" | wc -c
}}
send_results() {{
  limit=$1 left_out=
  shift
  for each in {files.ARTIFACTS} {files.ATTEMPTS} {files.DEPLOYMENT_LOG} {files.RUN_CONFIG} stage.* *.json; do
    [ ! -e "$each" ] || set -- "$@" "$each"
  done
  for tool in tar gzip base64 head wc; do
    command -v "$tool" >/dev/null 2>&1 || left_out="the image has no $tool to pack results with"
  done
  if [ -z "$left_out" ] && [ "$(packed_size "$limit" "$@")" -gt "$limit" ]; then
    left_out="the job's folder has more than $limit bytes when it is packed"
    set --
    for each in {files.RESULTS} {files.ARTIFACTS}/{files.RUN_CONFIG} stage.* *.json; do
      [ ! -e "$each" ] || set -- "$@" "$each"
    done
    if [ "$(packed_size "$limit" "$@")" -gt "$limit" ]; then
      left_out="even {files.RESULTS} has more than $limit bytes when it is packed"
      set --
    fi
  elif [ -n "$left_out" ]; then
    set --
  fi
  printf '\\n%s\\n' '{BEGIN.decode()}'
  [ ! -e {files.EXIT} ] || {{ printf 'Exit: ' && head -n 1 {files.EXIT}; }}
  [ -z "$left_out" ] || printf 'Left-Out: %s\\n' "$left_out"
  printf '\\n'
  [ "$#" -eq 0 ] || pack "$@" | base64
  printf '%s\\n' '{END.decode()}'
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """`log` is what the job itself printed. `exit` is its own word about its end, `left_out` says why not all
    of its folder is in `packed`. As long as not `complete`, more may come, and `packed` is None."""

    log: bytes
    complete: bool = False
    exit: files.Exit | None = None
    left_out: str | None = None
    packed: bytes | None = None


def receive(output: bytes) -> Received:
    """Takes an output apart, wherever it stops. The last marks count: those before are the job's own."""
    mark = b"\n" + BEGIN + b"\n"
    start = output.rfind(mark)
    if start < 0:
        return Received(log=output[: len(output) - _torn(output, mark)])
    body, end, _ = output[start + len(mark) :].partition(b"\n" + END)
    head, _, packed = (b"\n" + body).partition(b"\n\n")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\n") if b": " in line)
    if not end:
        return Received(log=output[:start])
    try:
        whole = base64.b64decode(b"".join(packed.split()), validate=True)
    except binascii.Error:
        whole = b""
    left_out = fields[b"Left-Out"].decode("utf-8", "replace") if b"Left-Out" in fields else None
    return Received(
        log=output[:start],
        complete=True,
        exit=files.exit_of(files.json_object(fields.get(b"Exit", b""))),
        left_out=left_out,
        packed=whole or None,
    )


def unpack(packed: bytes, destination: Path) -> tuple[str, ...]:
    """Lays the folder out; what is there already is replaced. The names of what was left out: links that lead
    out of it, devices, pipes, and what no folder here can hold under such a name.

    Raises Refused for what is no such archive, or becomes larger than any log could sensibly hold."""
    destination.mkdir(parents=True, exist_ok=True)
    total = count = 0
    left_out: list[str] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
            for member in archive:
                total, count = total + member.size, count + 1
                if total > UNPACKED or count > MEMBERS:
                    raise Refused(
                        f"the job's folder unpacks to more than {UNPACKED} bytes or {MEMBERS} files"
                    )
                try:
                    archive.extract(member, destination, filter="data")
                # A hard link to what is in no archive is a KeyError; a time or name can be none at all.
                except (tarfile.FilterError, tarfile.ExtractError, KeyError, ValueError, OverflowError):
                    left_out.append(member.name)
                except OSError as error:
                    if error.errno not in _ODD:
                        raise
                    left_out.append(member.name)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, OverflowError) as problem:
        raise Refused(f"the job's folder can't be unpacked: {problem}", place=str(destination)) from None
    return tuple(left_out)


def _torn(output: bytes, mark: bytes) -> int:
    """How many bytes at the end may be the beginning of a mark that is just being printed. A newline alone
    doesn't count: most lines end so."""
    for length in range(min(len(mark) - 1, len(output)), 1, -1):
        if output.endswith(mark[:length]):
            return length
    return 0
