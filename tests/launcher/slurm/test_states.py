"""Slurm's words in ours: one visible table, whole numbers, and the job's own account above all."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from catalog.errors import Unreachable
from launcher.backends.slurm_answers import read_listing, read_status
from launcher.backends.slurm_names import named, numbers
from launcher.backends.slurm_states import STATES, judge
from launcher.jobs import JobHandle, JobStatus, State

NAME = "evaldock-k-1"


def judged(
    *,
    queue: Sequence[str] = (),
    past: Sequence[str] = (),
    folder: Sequence[str] = (),
    asked: int = 0,
    native_id: str = "123",
    attempt: int = 1,
    name: str = NAME,
) -> JobStatus:
    text = [
        *(f"now {line}" for line in queue),
        f"queued {asked}",
        *(f"past {line}" for line in past),
        *("folders", "job"),
        *folder,
    ]
    answer = read_status("\n".join(text).encode())
    handle = JobHandle(key="k", backend="slurm", native_id=native_id, directory="/d", attempt=attempt)
    assert len(answer.folders) == 1
    return judge(handle, name, answer.folders[0], answer, 1.0)


WITHOUT_A_WORD = (
    "and it left no exit.json; is there room in execution.output_dir? logs/slurm.log may know more"
)


def exit_line(code: int, reason: str | None = None, attempt: int = 1) -> str:
    return "exit " + json.dumps({"exit_code": code, "reason": reason, "attempt": attempt})


@pytest.mark.parametrize("word", STATES)
def test_every_state_has_its_meaning_in_accounting_and_queue(word: str) -> None:
    code = "0:0" if word == "COMPLETED" else "1:0"
    live = STATES[word] in (State.QUEUED, State.RUNNING)
    said = judged(queue=[f"123|{word}|None|{NAME}"], past=[f"123|{word}|{code}|{NAME}"])
    assert (said.state, said.native) == (STATES[word], word)
    alone = judged(past=[f"123|{word}|{code}|{NAME}"])
    # Accounting keeps saying so of jobs whose end it missed.
    assert alone.state is (State.UNKNOWN if live else STATES[word])


@pytest.mark.parametrize(
    ("line", "state", "code", "reason"),
    [
        ("CANCELLED by 1000|0:15", State.CANCELLED, None, "killed by signal 15"),
        ("FAILED|3:0", State.FAILED, 3, f"exit code 3, {WITHOUT_A_WORD}"),
        ("FAILED|0:9", State.FAILED, 137, "killed by signal 9"),
        (
            "FAILED|0:53",
            State.FAILED,
            None,
            "its node could not write below the job's folder; execution.output_dir must be a folder that all "
            "nodes share and you may write in, with room left",
        ),
        ("TIMEOUT|0:0", State.FAILED, 0, "its walltime was up"),
        ("PREEMPTED|0:0", State.FAILED, 0, "preempted by another job"),
        ("NODE_FAIL|1:0", State.FAILED, 1, "its node failed"),
        ("OUT_OF_MEMORY|0:125", State.FAILED, 253, "out of memory"),
        ("COMPLETED|0:0", State.SUCCEEDED, 0, None),
    ],
)
def test_how_slurm_says_a_job_ended(line: str, state: State, code: int | None, reason: str | None) -> None:
    said = judged(past=[f"123|{line}|{NAME}"])
    assert (said.state, said.exit_code, said.reason) == (state, code, reason)


def test_a_failure_that_only_the_queue_knows_of_has_a_reason() -> None:
    """As where a job's folder had no room for a word of its own."""
    said = judged(queue=[f"123|FAILED|NonZeroExitCode|{NAME}"])
    wanted = f"Slurm says FAILED (NonZeroExitCode), {WITHOUT_A_WORD}"
    assert (said.state, said.exit_code, said.reason) == (State.FAILED, None, wanted)


def test_numbers_are_compared_whole() -> None:
    others = [f"{number}|FAILED|1:0|evaldock-o-1" for number in ("1234", "12", "23", "123_4")]
    assert judged(past=others).state is State.LOST
    assert judged(past=[*others, f"123|COMPLETED|0:0|{NAME}"]).state is State.SUCCEEDED


def test_the_jobs_own_account_outranks_slurms() -> None:
    failed = [f"123|FAILED|1:0|{NAME}"]
    assert judged(past=failed, folder=[exit_line(0)]).state is State.SUCCEEDED
    assert judged(folder=[exit_line(3, "why")]).reason == "why"
    stopped = judged(past=failed, folder=[exit_line(143, "stopped on request")])
    assert (stopped.state, stopped.exit_code) == (State.CANCELLED, 143)
    # Of another attempt, or none at all.
    for folder in ([exit_line(0, attempt=2)], ["exit [1"], ["exit null"], ['exit {"exit_code": "0"}']):
        assert judged(past=failed, folder=folder).state is State.FAILED


def test_what_ended_it_from_outside_says_slurm() -> None:
    for code in (137, 143):
        said = judged(past=[f"123|TIMEOUT|0:0|{NAME}"], folder=[exit_line(code, "stopped on request")])
        assert (said.state, said.reason) == (State.FAILED, "its walltime was up")
        waits = judged(queue=[f"123|PENDING|BeginTime|{NAME}"], folder=[exit_line(code)])
        assert (waits.state, waits.reason) == (State.QUEUED, "BeginTime")


def test_a_job_that_has_ended_is_not_over_before_its_node_is_clear() -> None:
    running = judged(queue=[f"123|RUNNING|None|{NAME}"], folder=["running", exit_line(0)])
    assert (running.state, running.reason) == (State.RUNNING, "clearing up")
    over = judged(queue=[f"123|COMPLETING|None|{NAME}"], folder=["running", exit_line(0)])
    assert over.state is State.SUCCEEDED
    assert judged(queue=[f"123|RUNNING|None|{NAME}"]).reason == "preparing"


def test_who_does_not_answer_is_unknown() -> None:
    assert judged(asked=1).state is State.UNKNOWN
    down = judged(past=["sacct: error: slurm_persist_conn_open_without_init: failed to open"])
    assert (down.state, down.reason) == (
        State.UNKNOWN,
        "sacct: error: slurm_persist_conn_open_without_init: failed to open",
    )
    off = "Slurm accounting storage is disabled"
    assert judged(past=[off]).state is State.LOST
    assert judged(past=[off], asked=1).state is State.UNKNOWN
    assert judged(native_id="").reason == "it was never started"
    assert judged(native_id="", past=[f"7|COMPLETED|0:0|{NAME}"]).state is State.SUCCEEDED


@pytest.mark.parametrize("word", ["past Slurm accounting storage is disabled", "unaccounted"])
def test_a_cluster_without_accounting_has_only_its_queue(word: str) -> None:
    lines = ["squeue: warning: something else", "queued 0", word, "folders", "job"]
    answer = read_status("\n".join(lines).encode())
    handle = JobHandle(key="k", backend="slurm", native_id="123", directory="/d", attempt=1)
    assert judge(handle, NAME, answer.folders[0], answer, 1.0).state is State.LOST


def test_what_accounting_missed_the_end_of_ended_as_it_says_itself() -> None:
    running = [f"123|RUNNING|0:0|{NAME}"]
    assert judged(past=running, folder=[exit_line(0)]).state is State.SUCCEEDED
    assert judged(past=running, folder=[exit_line(3, "why")]).reason == "why"
    assert judged(past=running, folder=[exit_line(143, "stopped on request")]).state is State.CANCELLED
    # Only the queue could say that it is still there.
    assert judged(past=running, folder=[exit_line(0)], asked=1).state is State.UNKNOWN
    assert judged(past=running, folder=[exit_line(0, attempt=2)]).state is State.UNKNOWN
    waits = [f"123|PENDING|0:0|{NAME}"]
    assert judged(past=waits).state is State.UNKNOWN
    stopped = judged(past=waits, folder=["stopping"])
    assert (stopped.state, stopped.reason) == (State.CANCELLED, "stopped on request")
    assert judged(past=waits, folder=["stopping"], asked=1).state is State.UNKNOWN


def test_a_job_that_another_cluster_started_may_live() -> None:
    past = [f"123|REVOKED|0:0|{NAME}"]
    assert judged(past=past).state is State.UNKNOWN
    assert judged(past=past, folder=[exit_line(0)]).state is State.SUCCEEDED


def test_what_a_job_writes_is_only_ever_its_exit() -> None:
    said = judged(
        past=[f"123|FAILED|1:0|{NAME}"],
        folder=["exit {", "exit past 123|COMPLETED|0:0|evaldock-k-1", "exit job", "exit folders"],
    )
    assert said.state is State.FAILED


@pytest.mark.parametrize("end", ["\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
def test_no_other_end_of_a_line_is_one(end: str) -> None:
    said = judged(folder=[f"{exit_line(0)}{end}job{end}exit {{}}{end}past 123|FAILED|1:0|{NAME}"])
    assert said.state is State.LOST


@pytest.mark.parametrize("text", ["[" * 60_000, '{"exit_code": ' + "9" * 30 + "}", '{"exit_code": true}'])
def test_an_exit_that_is_none_is_no_trouble(text: str) -> None:
    assert judged(folder=[f"exit {text}"], past=[f"123|FAILED|1:0|{NAME}"]).state is State.FAILED


def test_who_was_asked_to_stop_and_is_gone_was_stopped() -> None:
    said = judged(folder=["stopping"])
    assert (said.state, said.reason) == (State.CANCELLED, "stopped on request")
    assert judged(folder=["stopping"], asked=1).state is State.UNKNOWN
    assert judged(folder=["stopping"], queue=[f"123|RUNNING|None|{NAME}"]).state is State.RUNNING
    assert judged(folder=["stopping"], native_id="").state is State.LOST


def test_a_number_that_is_given_out_again_is_another_jobs() -> None:
    queue, past = ["123|RUNNING|None|bash"], ["123|FAILED|1:0|evaldock-other-1"]
    assert judged(queue=queue).state is judged(past=past).state is State.LOST
    assert judged(queue=queue, folder=[exit_line(0)]).state is State.SUCCEEDED


def test_a_listing_names_files_with_any_name() -> None:
    name = "./artifacts/a b\nc ü"
    whole = f"{'a' * 64}  {name}\0{'b' * 64}  ./sizes\0\x005 {name}\x006 ./sizes\0\0end\0".encode()
    listed = read_listing(whole)
    assert listed is not None
    assert [(file.path, file.size, file.sha256) for file in listed] == [
        ("artifacts/a b\nc ü", 5, "a" * 64),
        ("sizes", 6, "b" * 64),
    ]
    assert read_listing(b"gone\n") is None
    with pytest.raises(Unreachable, match="its folder can't be opened"):
        read_listing(b"away\n")
    assert read_listing(b"\0\0end\0") == []
    for at in range(len(whole)):
        with pytest.raises(Unreachable, match="only in part"):
            read_listing(whole[:at])
    with pytest.raises(Unreachable, match="sha256sum there is too old"):
        read_listing(b"\x005 ./a\0\0end\0")


@pytest.mark.parametrize(
    ("listed", "meant"),
    [
        ("123", ["123"]),
        ("123_4", ["123_4"]),
        ("123_[4]", ["123_4"]),
        ("123_[0-2,7%2]", ["123_0", "123_1", "123_2", "123_7"]),
        ("123_[0-6:3]", ["123_0", "123_3", "123_6"]),
        ("123_[0,2,...]", ["123_0", "123_2"]),
        ("123_[0-99999999999]", [f"123_{index}" for index in range(1001)]),
        ("123_[]", []),
    ],
)
def test_every_task_that_a_number_means(listed: str, meant: list[str]) -> None:
    assert list(numbers(listed)) == meant


def test_a_task_is_found_by_its_arrays_name_and_its_index() -> None:
    past = ["123_[0,2]|CANCELLED by 0|0:0|evaldock-r-2", "123_1|COMPLETED|0:0|evaldock-r-2"]
    answer = read_status("\n".join(["queued 0", *(f"past {line}" for line in past)]).encode())
    assert {name: row.state for name, row in answer.named.items()} == {
        named("r-000", 2).name: "CANCELLED",
        named("r-001", 2).name: "COMPLETED",
        named("r-002", 2).name: "CANCELLED",
    }
    # Another attempt's, or another run's, is none of them.
    assert named("r-000", 1).name not in answer.named


@pytest.mark.parametrize("listed", ["123_4", "123_[4-5]"])
def test_a_task_ends_as_slurm_says_of_it(listed: str) -> None:
    past = ["123|FAILED|1:0|evaldock-r-1", f"{listed}|TIMEOUT|0:0|evaldock-r-1"]
    said = judged(native_id="123_4", past=past, name="evaldock-r-004-1")
    assert (said.state, said.reason) == (State.FAILED, "its walltime was up")
    past = [f"{listed}|COMPLETED|0:0|evaldock-r-1"]
    assert judged(native_id="123_3", past=past, name="evaldock-r-003-1").state is State.LOST
