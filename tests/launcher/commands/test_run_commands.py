"""The launcher's commands, as they are typed: quickcheck in processes, against the stand-in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from launched import until
from launcher.backends import processes
from launcher.commands.views import Watch
from launcher.jobs import JobStatus, RunPlan, State
from launcher.runs.database import Database
from planned_runs import HARNESSES, URL, plan
from running import Ran, evaldock
from standins import standin

CATALOG = HARNESSES.parent
Run = Callable[..., list[str]]
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environments: Path) -> Path:
    monkeypatch.setenv("EVALDOCK_CACHE", str(environments))
    monkeypatch.setenv("EVALDOCK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("EVALDOCK_RETRY_PAUSE", "0.1")
    return tmp_path / "state"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The words of an `evaldock run` of quickcheck on the process backend."""

    def words(url: str, *more: str, tasks: tuple[str, ...] = ("quickcheck.chat",)) -> list[str]:
        return [
            *("run", *tasks, "--model-id", "stand-in", "--url", url, "--backend", "process"),
            *("--catalog", str(CATALOG), "--output-dir", str(tmp_path / "runs"), *more),
        ]

    return words


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with standin(tmp_path) as found:
        yield found


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[str]:
    """An endpoint that takes longer than any test."""
    with standin(tmp_path, "--latency", "600") as found:
        yield found


def started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "catalog.cli", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def only_run(state: Path) -> str | None:
    database = Database(state / "runs.db")
    try:
        (row,) = database.runs() or (None,)
        going = row is not None and any(
            job.state is State.RUNNING and job.reason is None for job in database.jobs(row.run_id)
        )
        return row.run_id if row is not None and going else None
    finally:
        database.close()


def test_a_run_shows_what_became_of_it(run: Run, url: str) -> None:
    ran = evaldock(*run(url, "--limit", "2", "evaluation.tasks.0.params.parallelism=1"))
    assert ran.code == 0, ran.err
    head, row = ran.out.splitlines()
    assert head.split() == ["JOB", "STATE", "DONE", "TASK", "MODEL"]
    assert row.split()[1:] == ["succeeded", "2/2", "quickcheck.chat", "stand-in"]
    assert [line.split()[-1] for line in ran.err.splitlines()][-1] == "succeeded"
    shown = evaldock("status", row.split()[0][:16], "--json")
    assert shown.json[0]["done"] == shown.json[0]["total"] == 2
    assert (Path(shown.json[0]["directory"]) / "exit.json").exists()


def test_a_run_as_json_and_a_failure_as_an_exit_code(run: Run) -> None:
    ran = evaldock(
        *run("http://127.0.0.1:9/v1", "--limit", "1", "--json"),
        "evaluation.nemo_evaluator_config.config.params.max_retries=0",
    )
    assert ran.code == 1
    (job,) = ran.json["jobs"]
    assert (job["state"], job["exit_code"], job["key"]) == ("failed", 1, f"{ran.json['run']}-000")


def test_a_dry_run_prints_what_would_be_sent_and_leaves_nothing(
    run: Run, tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "not-to-be-shown")
    words = run("http://127.0.0.1:9/v1", "--api-key-name", "A_KEY", "--dry-run")
    ran = evaldock(*words)
    assert ran.code == 0
    assert "quickcheck run --task chat" in ran.out
    assert "- A_KEY" in ran.out
    assert "not-to-be-shown" not in ran.out + ran.err
    assert evaldock(*words, "--json").json["submissions"][0]["secrets"] == ["A_KEY"]
    assert not (tmp_path / "runs").exists()
    assert not state.exists()


def test_a_container_engine_that_is_not_there(
    run: Run, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    image = f"registry.example/evals/quickcheck@sha256:{'1' * 64}"
    config = {
        "target": {"api_endpoint": {"url": url, "model_id": "m"}},
        "evaluation": {"tasks": [{"name": "quickcheck.chat", "container": image}]},
    }
    (tmp_path / "engine.yaml").write_text(json.dumps(config))
    ran = evaldock(
        *("run", "--config-dir", tmp_path, "--config-name", "engine", "--catalog", CATALOG),
        *("--output-dir", tmp_path / "runs"),
    )
    assert ran.code == 4
    assert "nothing was started: no container engine answers at unix:///nowhere/docker.sock" in ran.err
    assert "the run is recorded; `evaldock tick " in ran.err
    (listed,) = evaldock("ls", "runs", "--json").json
    assert listed["states"] == {"planned": 1}
    ended = evaldock("kill", listed["run"][:12])
    assert (ended.code, ended.out) == (0, f"{listed['run']}: 1 of 1 jobs cancelled\n")


def test_an_interrupted_run_goes_on_and_says_how_to_find_it(run: Run, slow: str, state: Path) -> None:
    attached = started(run(slow, tasks=("quickcheck.chat", "quickcheck.tools")))
    identity = until(lambda: only_run(state), "the first job runs", patience=240)
    os.killpg(attached.pid, signal.SIGINT)
    out, err = attached.communicate(timeout=30)
    assert (attached.returncode, out) == (130, "")
    assert "no longer watched: 1 of 2 jobs go on by themselves, 1 wait to be started" in err
    assert f"`evaldock tick {identity} --loop` looks after them, `evaldock kill {identity}` ends them" in err
    assert processes.belonging(f"{identity}-000/")
    assert evaldock("kill", identity).out == f"{identity}: 2 of 2 jobs cancelled\n"
    assert processes.belonging(f"{identity}-000/") == []


def supervisor_of(identity: str) -> int | None:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if words[-5:-1] == ["catalog.cli", "tick", "--loop", identity]:
                return int(entry.name)
    return None


def gone(pid: int) -> None:
    until(lambda: processes.start_time(pid) is None, "the supervisor ends")


def test_a_detached_run_outlives_its_supervisor(run: Run, url: str, state: Path) -> None:
    ran = evaldock(*run(url, "--detach", tasks=("quickcheck.chat", "quickcheck.tools")))
    identity = ran.out.split()[0]
    assert ran.out == f"{identity} goes on; `evaldock status {identity} --watch` follows it\n"
    pid = until(lambda: supervisor_of(identity), "its supervisor runs")
    until(lambda: evaldock("status", identity, "--json").json[0]["native_id"], "the first job is submitted")
    os.kill(pid, signal.SIGKILL)
    gone(pid)
    looped = evaldock("tick", identity, "--loop", "--json")
    assert [job["state"] for job in looped.json] == ["succeeded", "succeeded"]
    assert [job["attempt"] for job in looped.json] == [1, 1]


def test_a_detached_run_ends_by_itself(run: Run, url: str) -> None:
    identity = evaldock(*run(url, "--detach", "--limit", "1", "--json")).json["run"]
    gone(until(lambda: supervisor_of(identity), "its supervisor runs"))
    (job,) = evaldock("info", identity, "--json").json["jobs"]
    assert job["state"] == "succeeded"


def ids(ran: Ran) -> list[str]:
    return [each["run"] for each in ran.json]


def test_runs_are_listed_followed_adopted_and_forgotten(
    run: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaldock(*run(url, "--limit", "1", "--json")).json["run"]
    second = evaldock(*run(url, "--limit", "1", "--json")).json["run"]
    assert ids(evaldock("ls", "runs", "--json")) == [second, first]
    assert ids(evaldock("ls", "runs", "--limit", "1", "--json")) == [second]
    assert ids(evaldock("ls", "runs", "--backend", "docker", "--json")) == []
    assert ids(evaldock("ls", "runs", "--since", "1h", "--json")) == [second, first]
    time.sleep(0.02)
    assert ids(evaldock("ls", "runs", "--since", "0.01s", "--json")) == []
    assert [job["key"] for job in evaldock("status", first, second, "--json").json] == [
        f"{first}-000",
        f"{second}-000",
    ]
    assert evaldock("status").out == "nothing is running; `evaldock ls runs` lists what has ended\n"
    assert "1 of 1 items passed" in evaldock("logs", f"{first}-000").out
    followed = evaldock("logs", first, second, "--follow").out.splitlines()
    assert {line.split("  ")[0] for line in followed} == {f"{first}-000", f"{second}-000"}
    missing = evaldock("logs", f"{first}-007")
    assert (missing.code, f"no job '{first}-007'" in missing.err) == (3, True)
    assert evaldock("status", "zzzz").code == 3
    monkeypatch.setenv("EVALDOCK_STATE", str(tmp_path / "another"))
    adopted = evaldock("adopt", tmp_path / "runs" / first, tmp_path / "runs" / second / "run.json")
    assert (adopted.code, adopted.out.count("succeeded")) == (0, 2)
    assert ids(evaldock("ls", "runs", "--json")) == [second, first]
    assert evaldock("adopt", tmp_path).code == 3
    assert evaldock("prune", "--older-than", "1h").err == "evaldock: 0 runs removed\n"
    dry = evaldock("prune", "--older-than", "0s", "--files", "--dry-run")
    assert dry.out.splitlines() == [f"would remove {second}", f"would remove {first}"]
    dry = evaldock("prune", "--older-than", "0s", "--dry-run", "--json")
    assert dry.json == {"removed": [second, first], "dry_run": True}
    evaldock("prune", "--older-than", "0s", "--files")
    assert list((tmp_path / "runs").iterdir()) == []
    assert ids(evaldock("ls", "runs", "--json")) == []


def test_what_runs_is_not_forgotten(run: Run, slow: str, state: Path) -> None:
    identity = evaldock(*run(slow, "--detach", "--json")).json["run"]
    until(lambda: only_run(state) == identity, "it runs", patience=240)
    assert evaldock("prune", "--older-than", "0s", "--files").err == "evaldock: 0 runs removed\n"
    asked = evaldock("kill", identity, "--no-wait")
    assert asked.out == f"{identity}: asked to stop\n"
    pid = supervisor_of(identity)
    if pid is not None:
        gone(pid)
    assert evaldock("status", identity, "--json").json[0]["state"] == "cancelled"
    again = evaldock("resume", identity, "--detach")
    assert again.err == f"evaldock: {identity}: 1 jobs once more\n"
    until(lambda: only_run(state) == identity, "it runs again", patience=240)
    evaldock("kill", identity)


@pytest.mark.parametrize("columns", ["30", "60", "200"])
def test_what_is_printed_fits_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    ran = evaldock(
        *run("http://127.0.0.1:9/v1", "--limit", "1"),
        "evaluation.nemo_evaluator_config.config.params.max_retries=0",
    )
    assert ran.code == 1
    assert "failed" in ran.out
    for shown in (ran.out, evaldock("ls", "runs").out, evaldock("status", ran.err.split()[2]).out):
        assert max(map(len, shown.splitlines())) <= int(columns)


def test_a_reason_that_a_row_has_no_room_for_stands_below_once(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = ["quickcheck.chat", "quickcheck.tools", "quickcheck.streaming"]
    made = plan(
        {"evaluation": {"tasks": tasks}, "execution": {"type": "process"}}, directory=tmp_path / "runs"
    )
    database = Database(state / "runs.db")
    database.record(made)
    said = "not submitted: head: Slurm refused the job: no such partition as that one\n  ask for another one"
    failed = [JobStatus(state=State.FAILED, reason=said, seen=1.0)] * 2
    database.note(zip((job.key for job in made.jobs), failed, strict=False))
    database.close()
    monkeypatch.setenv("COLUMNS", "90")
    below = evaldock("info", made.run_id).out.partition("\n\n")[2].partition("\n\n")[2]
    assert below.splitlines() == [
        f"{made.jobs[0].key} and 1 more:",
        "  not submitted: head: Slurm refused the job: no such partition as that one",
        "  ask for another one",
    ]
    monkeypatch.delenv("COLUMNS")
    assert "as that one; ask for another one\n" in evaldock("info", made.run_id).out


@pytest.fixture
def many(tmp_path: Path, state: Path) -> RunPlan:
    """A run of twenty jobs that ended elsewhere, as it is recorded."""
    targets = [{"api_endpoint": {"url": URL, "model_id": f"m{number}"}} for number in range(20)]
    given = {
        "targets": targets,
        "evaluation": {"tasks": ["quickcheck.chat"]},
        "execution": {"type": "process"},
    }
    made = plan(given, directory=tmp_path / "runs")
    database = Database(state / "runs.db")
    database.record(made)
    done = JobStatus(state=State.SUCCEEDED, exit_code=0, seen=1.0)
    database.note((job.key, done) for job in made.jobs)
    for job in made.jobs:
        database.collected(job.key, State.SUCCEEDED, None)
    database.close()
    return made


def test_many_jobs_are_counted(many: RunPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(evaldock("info", many.run_id).out.partition("\n\n")[2].splitlines()) == 21
    monkeypatch.setenv("COLUMNS", "100")
    assert evaldock("info", many.run_id).out.endswith("\n\n20 jobs: 20 succeeded\n")


def test_one_of_many_jobs_is_named_by_its_number(many: RunPlan) -> None:
    for name in ("7", "07", "007"):
        (job,) = evaldock("status", f"{many.run_id}-{name}", "--json").json
        assert job["key"] == f"{many.run_id}-007"
    missing = evaldock("status", f"{many.run_id}-77")
    assert (missing.code, "no job" in missing.err) == (3, True)
    for command in ("kill", "resume"):
        ran = evaldock(command, f"{many.run_id}-7")
        assert ran.code == 2
        assert f"give {many.run_id} for all of its 20 jobs" in ran.err


def test_many_jobs_that_change_alike_are_one_line(
    many: RunPlan, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = Database(state / "runs.db")
    rows = database.jobs(many.run_id)
    database.close()
    watch = Watch(many)
    watch(rows)
    assert capsys.readouterr().err.endswith(f" {rows[0].key} and 19 more: succeeded\n")
    watch([replace(row, attempt=2) if row.position < 2 else row for row in rows])
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith(f"{rows[0].key} quickcheck.chat: succeeded")
    assert second.endswith(f"{rows[1].key} quickcheck.chat: succeeded")


def test_every_mistake_is_told_at_once(run: Run) -> None:
    ran = evaldock(*run("http://127.0.0.1:9/v1", "executoin.retries=1", "execution.mode=sideways"))
    assert ran.code == 2
    assert "executoin (override executoin.retries=1): no such setting; did you mean 'execution'?" in ran.err
    assert "execution.mode (override execution.mode=sideways)" in ran.err
    assert evaldock("run").code == 2
