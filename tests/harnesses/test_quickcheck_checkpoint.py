"""What a checkpoint promises, each promise tried by killing, tearing, delaying or failing for real."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quickcheck import checkpoint as module
from quickcheck.checkpoint import FINAL, LINES, Checkpoint, FingerprintMismatch, read_lines

PARTS = {"task": "t", "data": "d"}


def write(directory: Path, records: dict[str, dict[str, Any]], **more: Any) -> list[bool]:
    async def body() -> list[bool]:
        async with Checkpoint(directory, PARTS, **more) as checkpoint:
            return await asyncio.gather(*(checkpoint.finished(i, r) for i, r in records.items()))

    return asyncio.run(body())


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from quickcheck.checkpoint import Checkpoint

async def body():
    async with Checkpoint(Path(sys.argv[1]), {"task": "t", "data": "d"}) as checkpoint:
        for n in range(int(sys.argv[2])):
            await checkpoint.finished(f"item-{n}", {"output": "x" * 50_000})
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(body())
"""


@pytest.mark.parametrize("count", [0, 1, 17])
def test_kill_9_after_k_items_leaves_k_lines(tmp_path: Path, count: int) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(count)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(read_lines(tmp_path / LINES)) == [f"item-{n}" for n in range(count)]
    assert len(Checkpoint(tmp_path, PARTS).completed()) == count


def test_a_line_stands_before_the_slowest_item_ends(tmp_path: Path) -> None:
    async def body() -> None:
        async with Checkpoint(tmp_path, PARTS) as checkpoint:
            await checkpoint.finished("quick", {"output": 1})
            # Another reader, while the evaluation goes on.
            assert list(read_lines(tmp_path / LINES)) == ["quick"]
            await checkpoint.finished("slow", {"output": 2})

    asyncio.run(body())
    assert list(read_lines(tmp_path / LINES)) == ["quick", "slow"]


def test_what_cannot_be_serialised_is_logged_with_its_id_and_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        written = write(tmp_path, {"a": {"output": 1}, "bad": {"output": object()}, "b": {"output": 2}})
    assert written == [True, False, True]
    assert set(read_lines(tmp_path / LINES)) == {"a", "b"}
    (record,) = caplog.records
    assert "item bad" in record.getMessage()
    assert record.exc_info is not None


FULL = """
import asyncio, resource, signal, sys
from pathlib import Path
from quickcheck.checkpoint import Checkpoint

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
async def body():
    async with Checkpoint(Path(sys.argv[1]), {"task": "t", "data": "d"}) as checkpoint:
        print(await checkpoint.finished("before", {"output": "x" * 1000}))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY))
        print(await checkpoint.finished("during", {"output": "x" * 1000}))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(await checkpoint.finished("after", {"output": "x" * 1000}))
asyncio.run(body())
"""


def test_a_full_disk_costs_only_the_items_that_met_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["True", "False", "True"]
    assert set(read_lines(tmp_path / LINES)) == {"before", "after"}
    assert "during" in done.stderr
    assert "File too large" in done.stderr


def test_the_loop_goes_on_while_the_disk_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    real = module._write_all

    def slow(file: int, data: bytes) -> None:
        release.wait(10)
        real(file, data)

    monkeypatch.setattr(module, "_write_all", slow)

    async def body() -> int:
        async with Checkpoint(tmp_path, PARTS) as checkpoint:
            task = asyncio.create_task(checkpoint.finished("a", {"output": 1}))
            turns = 0
            while turns < 100:
                await asyncio.sleep(0)
                turns += 1
            assert not task.done()
            release.set()
            assert await task
            return turns

    assert asyncio.run(body()) == 100


def test_concurrent_appends_never_interleave(tmp_path: Path) -> None:
    records = {f"item-{n}": {"output": str(n) * 20_000} for n in range(200)}
    assert all(write(tmp_path, records))
    lines = (tmp_path / LINES).read_text().splitlines()
    assert len(lines) == 200
    assert {json.loads(line)["id"] for line in lines} == set(records)


def test_two_processes_append_to_one_file_without_tearing(tmp_path: Path) -> None:
    script = KILLED.replace('f"item-{n}"', 'f"{os.getpid()}-{n}"').replace("os.kill", "(lambda *_: None)")
    running = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), "40"]) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    assert len(read_lines(tmp_path / LINES)) == 80


@pytest.mark.parametrize(
    "tail", [b'{"id": "torn", "outp', b'{"id": "torn"', b"\xff\xfe\x00", b"[1, 2]", b"null"]
)
def test_resume_tolerates_a_torn_tail_and_starts_on_a_new_line(tmp_path: Path, tail: bytes) -> None:
    write(tmp_path, {"a": {"output": 1}})
    with (tmp_path / LINES).open("ab") as file:
        file.write(tail)
    before = (tmp_path / LINES).read_bytes()
    assert set(Checkpoint(tmp_path, PARTS).completed()) == {"a"}
    write(tmp_path, {"b": {"output": 2}})
    assert set(Checkpoint(tmp_path, PARTS).completed()) == {"a", "b"}
    assert (tmp_path / LINES).read_bytes().startswith(before)


def test_errored_items_are_done_again_and_the_last_line_counts(tmp_path: Path) -> None:
    write(tmp_path, {"a": {"error": "no reply"}, "b": {"output": 1}})
    assert set(Checkpoint(tmp_path, PARTS).completed()) == {"b"}
    write(tmp_path, {"a": {"output": 5}, "b": {"output": 6}})
    assert {i: r["output"] for i, r in Checkpoint(tmp_path, PARTS).completed().items()} == {"a": 5, "b": 6}


def test_another_configuration_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    write(tmp_path, {"a": {"output": 1}})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FingerprintMismatch, match=r"data differ\. Choose another output directory"):
        Checkpoint(tmp_path, {"task": "t", "data": "other"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_output_off_writes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "never"
    assert write(target, {"a": {"output": 1}}, enabled=False) == [False]
    assert Checkpoint(target, PARTS, enabled=False).write_final([{"id": "a"}]) is None
    assert not target.exists()


def test_a_filter_chooses_what_a_record_holds(tmp_path: Path) -> None:
    record = {"output": "private", "score": 1.0, "error": None}
    write(tmp_path, {"a": record}, keep={"score"}.__contains__)
    kept = {"id": "a", "score": 1.0, "error": None}
    assert read_lines(tmp_path / LINES) == {"a": kept}
    checkpoint = Checkpoint(tmp_path, PARTS, keep={"score"}.__contains__)
    checkpoint.write_final([{"id": "a", **record}])
    assert json.loads((tmp_path / FINAL).read_text()) == [kept]


VALUES = st.text() | st.floats(allow_nan=False) | st.none()


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.text(), st.dictionaries(st.text(), st.text() | st.floats(allow_nan=False) | st.none()))
)
def test_any_record_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, records: dict[str, dict[str, Any]]
) -> None:
    directory = tmp_path_factory.mktemp("any")
    write(directory, records)
    expected = {i: {**r, "id": i} for i, r in records.items()}
    assert read_lines(directory / LINES) == expected


def test_a_killed_writer_may_be_torn_anywhere(tmp_path: Path) -> None:
    """Cut after every byte of the file: whole lines before the cut survive, nothing else appears."""
    write(tmp_path, {f"i{n}": {"output": "ü" * n} for n in range(6)})
    data = (tmp_path / LINES).read_bytes()
    cut = tmp_path / "cut.jsonl"
    for length in range(len(data) + 1):
        cut.write_bytes(data[:length])
        whole = data[:length].count(b"\n")
        found = read_lines(cut)
        # A last line that lacks only its newline is whole as well.
        assert len(found) in (whole, whole + 1)
        assert list(found) == [f"i{n}" for n in range(len(found))]


def test_standard_library_alone() -> None:
    # -I and -S: neither this folder nor any site-packages can be imported from.
    subprocess.run([sys.executable, "-I", "-S", module.__file__], check=True)


def test_kill_while_writing_loses_nothing_finished(tmp_path: Path) -> None:
    """Killed from outside at some moment: every item that was reported finished stands in the file."""
    script = """
import asyncio, sys
from pathlib import Path
from quickcheck.checkpoint import Checkpoint
async def one(checkpoint, n):
    await checkpoint.finished(f"item-{n}", {"output": "x" * 2000})
    sys.stdout.write(f"item-{n}\\n"); sys.stdout.flush()
async def body():
    async with Checkpoint(Path(sys.argv[1]), {"task": "t", "data": "d"}) as checkpoint:
        for start in range(0, 100000, 8):
            await asyncio.gather(*(one(checkpoint, n) for n in range(start, start + 8)))
asyncio.run(body())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    reported = [process.stdout.readline().strip() for _ in range(100)]
    assert all(reported)
    process.kill()
    reported += [line.strip() for line in process.communicate()[0].splitlines() if line.strip()]
    finished = read_lines(tmp_path / LINES)
    # The pipe's own last line may be torn by the kill.
    assert set(reported[:-1]) <= set(finished)
