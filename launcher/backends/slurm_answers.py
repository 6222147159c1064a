"""How the answers of a head node are read: what Slurm says of jobs, and what lies in their folders.

Some of it was written by jobs: nothing there is taken for more than text.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from catalog.errors import Unreachable
from launcher.backends.slurm_names import name_of, numbers
from launcher.runs import run_directory as files

_OFF = "accounting storage is disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What Slurm says of a job, in its queue or (not `queued`) in its accounting, where its `name` is this.
    `exit_code` and `signal` are of its batch script."""

    state: str
    name: str = ""
    reason: str = ""
    exit_code: int | None = None
    signal: int = 0
    queued: bool = False


@dataclass(slots=True)
class Folder:
    """What lies in a job's folder: the exit it left; its number, and whether it was asked to stop."""

    running: bool = False
    stopping: bool = False
    native_id: str | None = None
    exit: files.Exit | None = None


@dataclass(slots=True)
class Answer:
    """`rows` by number, `named` by the job's own name. `asked` says whether the queue, and `accounted`
    whether the accounting could be asked, `off` that the cluster has none; `trouble` is what was said
    instead."""

    folders: list[Folder] = field(default_factory=list)
    rows: dict[str, Row] = field(default_factory=dict)
    named: dict[str, Row] = field(default_factory=dict)
    asked: bool = False
    accounted: bool = True
    off: bool = False
    trouble: str = ""


def read_status(out: bytes) -> Answer:
    """The queue's word counts, but for what has ended: of that the accounting knows more."""
    answer = Answer()
    exits: dict[int, str] = {}
    in_folders = False
    # What a job wrote may hold whatever else ends a line.
    for line in out.decode("utf-8", "replace").split("\n"):
        word, _, rest = line.partition(" ")
        if word == "folders":
            in_folders = True
        elif in_folders:
            _read_folder(answer, exits, word, rest)
        elif word == "queued":
            answer.asked = rest == "0"
        elif word in ("now", "past") and rest.count("|") >= 3:
            said, first, second, name = rest.split("|", 3)
            row = Row(state=first, reason=second, queued=True) if word == "now" else _past(first, second)
            for number in numbers(said):
                _add(answer, number, name, row)
        elif word == "unaccounted" or (word == "past" and _OFF in rest):
            answer.off = True
        elif word == "past" and rest.strip():
            answer.accounted, answer.trouble = False, answer.trouble or rest
        elif line.strip():
            answer.trouble = line
    for index, text in exits.items():
        answer.folders[index].exit = files.exit_of(files.json_object(text))
    return answer


def _add(answer: Answer, number: str, name: str, row: Row) -> None:
    known, row = answer.rows.get(number), replace(row, name=name_of(name, number))
    if known is not None:
        if (row.state, row.name) != (known.state, known.name):
            return
        row = replace(row, reason=known.reason, queued=known.queued)
    answer.rows[number] = answer.named[row.name] = row


def _read_folder(answer: Answer, exits: dict[int, str], word: str, rest: str) -> None:
    if word == "job":
        answer.folders.append(Folder())
    elif not answer.folders:
        return
    elif word == "running":
        answer.folders[-1].running = True
    elif word == "stopping":
        answer.folders[-1].stopping = True
    elif word == "id":
        answer.folders[-1].native_id = rest.strip()
    elif word == "exit":
        at = len(answer.folders) - 1
        exits[at] = exits.get(at, "") + rest


def _past(state: str, code: str) -> Row:
    number, _, signal = code.partition(":")
    return Row(
        # "CANCELLED by 1000"
        state=state.split(maxsplit=1)[0] if state.strip() else "UNKNOWN",
        exit_code=int(number) if number.isdigit() else None,
        signal=int(signal) if signal.isdigit() else 0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    path: str
    size: int
    sha256: str


def read_listing(out: bytes) -> list[Remote] | None:
    """Files of a job's folder, as far as they can be read there; None where it is gone.

    Raises Unreachable for a listing that isn't whole, and where the folder may still be there."""
    if out.strip() == b"gone":
        return None
    if out.strip() == b"away":
        raise Unreachable(
            "its folder can't be opened",
            hint="is the file system of execution.output_dir mounted there? If the run's folder was deleted: "
            "evaldock kill --give-up",
        )
    if not out.endswith(b"\0\0end\0"):
        raise Unreachable("its folder was listed only in part")
    # Every file has some name: an empty entry stands where digests end.
    entries = out.removesuffix(b"\0end\0").split(b"\0")
    at = entries.index(b"")
    digests, sizes = entries[:at], {}
    for entry in entries[at + 1 :]:
        size, _, name = entry.partition(b" ")
        if size.isdigit():
            sizes[name] = int(size)
    if sizes and not digests:
        raise Unreachable("none of its files could be read, or sha256sum there is too old (coreutils 8.25)")
    made = []
    for entry in digests:
        digest, _, name = entry.partition(b"  ")
        if name in sizes:
            path = name.decode("utf-8", "surrogateescape").removeprefix("./")
            made.append(Remote(path=path, size=sizes[name], sha256=digest.decode("ascii", "replace")))
    return made
