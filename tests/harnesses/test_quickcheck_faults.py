"""quickcheck where something goes wrong: odd replies, signals, mistakes, results that have no place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from quickcheck.checkpoint import FINAL, LINES, read_lines
from quickcheck.workflow import seconds_to_wait

Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def endpoint() -> Iterator[Callable[[Answer], str]]:
    """Starts endpoints that answer every request as they are told; gives their URLs."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                answer(self)

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 # named so upstream
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/v1"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def says(body: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def quickcheck(*arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "quickcheck.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **more},
    )


def check(task: str, url: str, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    given = ("--task", task, "--url", url, "--model", "m", "--output-dir", out, "--backoff", "0.01")
    return quickcheck("run", *given, *more)


def score(out: Path, task: str, metric: str = "accuracy") -> dict[str, Any]:
    loaded = yaml.safe_load((out / "results.yml").read_text())
    found: dict[str, Any] = loaded["results"]["tasks"][task]["metrics"][metric]["scores"][task]
    return found


def message(**fields: Any) -> bytes:
    return json.dumps({"choices": [{"message": fields}], "usage": {"completion_tokens": 3}}).encode()


@pytest.mark.parametrize(
    ("task", "body"),
    [
        pytest.param("chat", message(content=[{"type": "text", "text": "5"}]), id="content in parts"),
        pytest.param("chat", message(content={"a": 1}), id="content is a mapping"),
        pytest.param("chat", message(content=None), id="no content"),
        pytest.param("chat", message(content="half a pair \ud83d"), id="a lone surrogate"),
        pytest.param("chat", b'{"choices": [{"message": {"content": "x"}}], "usage": "a lot"}', id="usage"),
        pytest.param(
            "chat",
            b'{"choices": [{"message": {"content": "x"}}], "usage": {"completion_tokens": NaN}}',
            id="NaN",
        ),
        pytest.param("tools", message(tool_calls=[5]), id="a call that is a number"),
        pytest.param("tools", message(tool_calls=[{"function": {"name": "get_time"}}]), id="no arguments"),
        pytest.param(
            "embeddings",
            json.dumps({"data": [{"index": n, "embedding": ["a"]} for n in range(3)]}).encode(),
            id="vectors of text",
        ),
        pytest.param("json_schema", message(content="[" * 100_000), id="deep JSON"),
    ],
)
def test_an_odd_reply_scores_0_and_stops_nothing(
    endpoint: Callable[[Answer], str], tmp_path: Path, task: str, body: bytes
) -> None:
    done = check(task, endpoint(says(body)), tmp_path / "out", "--limit", "3")
    assert done.returncode == 0, done.stderr
    assert score(tmp_path / "out", task)["value"] == 0.0
    assert score(tmp_path / "out", task)["stats"]["count"] == 3
    assert len(json.loads((tmp_path / "out" / FINAL).read_bytes())) == 3


@pytest.mark.parametrize("body", [b"<html>", b"[" * 100_000, b'{"choices": []}', b"[]", b"null"])
def test_what_is_no_reply_at_all_is_an_error(
    endpoint: Callable[[Answer], str], tmp_path: Path, body: bytes
) -> None:
    done = check("chat", endpoint(says(body)), tmp_path / "out", "--limit", "2")
    assert done.returncode == 1
    assert "the reply has not the shape of the API" in done.stdout
    assert score(tmp_path / "out", "chat", "errors")["value"] == 1.0


def events(*texts: bytes) -> bytes:
    return b"".join(b"data: " + text + b"\r\n\r\n" for text in texts)


def test_an_event_may_be_long(endpoint: Callable[[Answer], str], tmp_path: Path) -> None:
    long = json.dumps({"choices": [{"delta": {"content": "x" * 500_000}}]}).encode()
    url = endpoint(says(events(long, b"[DONE]"), Content_Type="text/event-stream"))
    assert check("streaming", url, tmp_path / "out", "--limit", "1").returncode == 0
    assert len(read_lines(tmp_path / "out" / LINES)["streaming-0000"]["output"]) == 500_000


def test_an_error_within_a_stream_is_no_reply(endpoint: Callable[[Answer], str], tmp_path: Path) -> None:
    broken = events(b'{"choices": [{"delta": {"content": "a"}}]}', b'{"error": {"message": "out of memory"}}')
    url = endpoint(says(broken + events(b"[DONE]")))
    done = check("streaming", url, tmp_path / "out", "--limit", "1", "--retries", "1")
    assert done.returncode == 1
    assert 'the stream reports an error: {"message": "out of memory"}' in done.stdout
    assert read_lines(tmp_path / "out" / LINES)["streaming-0000"]["tries"] == 2


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        (" 7 ", 7.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("\u00b2", None),
        ("-1", None),
        ("9" * 30, None),
    ],
)
def test_retry_after_in_every_form(header: str, seconds: float | None) -> None:
    assert seconds_to_wait(header) == seconds


def test_retry_after_as_a_date_to_come() -> None:
    waiting = seconds_to_wait(formatdate(time.time() + 90, usegmt=True))
    assert waiting is not None
    assert 0 < waiting <= 90


def test_a_server_gets_the_pause_that_it_asks_for(endpoint: Callable[[Answer], str], tmp_path: Path) -> None:
    asked: list[float] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(time.monotonic())
        says(b"busy", 429, Retry_After="1")(handler) if len(asked) == 1 else says(message(content="x"))(
            handler
        )

    assert check("chat", endpoint(answer), tmp_path / "out", "--limit", "1").returncode == 0
    assert asked[1] - asked[0] >= 1.0


SLOW = """
import threading, time
def slow(body):
    time.sleep(0.05)
    return {"text": "x"}
calls = []
def stuck(body):
    calls.append(1)
    if len(calls) > 3:
        threading.Event().wait()
    return {"text": "x"}
"""


@pytest.mark.parametrize(
    ("number", "function"), [(signal.SIGTERM, "slow"), (signal.SIGINT, "slow"), (signal.SIGTERM, "stuck")]
)
def test_a_stopped_run_leaves_what_was_finished_and_goes_on_later(
    tmp_path: Path, number: signal.Signals, function: str
) -> None:
    (tmp_path / "own.py").write_text(SLOW)
    out = tmp_path / "out"
    path = {"PYTHONPATH": f"{tmp_path}:{os.environ['PYTHONPATH']}"}
    own = (
        "run",
        "--task",
        "chat",
        "--workflow",
        f"own:{function}",
        "--output-dir",
        out,
        "--parallelism",
        "2",
    )
    command = [sys.executable, "-m", "quickcheck.cli", *map(str, own)]
    process = subprocess.Popen(command, env={**os.environ, **path}, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(read_lines(out / LINES)) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + number, printed
    finished = len(read_lines(out / LINES))
    assert 3 <= finished < 20
    assert f"stopped by {number.name}: {finished} of 20 items are finished" in printed
    assert score(out, "chat")["stats"]["count"] == finished
    assert not (out / FINAL).exists()

    if function == "slow":
        done = quickcheck(*own, **path)
        assert f"{finished} of 20 items were finished by an earlier attempt" in done.stderr
        assert score(out, "chat")["stats"]["count"] == 20


def test_stopped_before_anything_was_finished(endpoint: Callable[[Answer], str], tmp_path: Path) -> None:
    asked = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        handler.rfile.read(1)  # until the caller hangs up

    given = ["--task", "chat", "--url", endpoint(answer), "--output-dir", str(tmp_path / "out")]
    process = subprocess.Popen([sys.executable, "-m", "quickcheck.cli", "run", *given])
    assert asked.wait(60)
    process.terminate()
    assert process.wait(60) == 143
    assert not (tmp_path / "out" / "results.yml").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "give --url or --workflow"),
        (("--url", "http://127.0.0.1:1/v1", "--api-key-name", "NOT_SET"), "the variable NOT_SET is not set"),
        (("--workflow", "no_such_module:f"), "No module named 'no_such_module'"),
        (("--workflow", "json:no_such_function"), "no attribute 'no_such_function'"),
        (("--workflow", ":f"), "Empty module name"),
        (("--url", "http://127.0.0.1:1/v1", "--retries", "-1"), "expected a number from 0 on"),
        (("--url", "http://127.0.0.1:1/v1", "--limit", "inf"), "expected a number from 0 on"),
        (("--url", "http://127.0.0.1:1/v1", "--parallelism", "0"), "expected a number from 1 on"),
        (("--url", "http://127.0.0.1:1/v1", "--shard", "3/2"), "expected I/N with I from 1 to N"),
    ],
)
def test_mistakes_are_told_and_exit_with_2(tmp_path: Path, arguments: tuple[str, ...], expected: str) -> None:
    done = quickcheck("run", "--task", "chat", "--output-dir", tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_address_that_is_none_is_not_tried_again(tmp_path: Path) -> None:
    done = check("chat", "http://:0x/", tmp_path / "out", "--limit", "1")
    assert done.returncode == 1
    assert read_lines(tmp_path / "out" / LINES)["chat-0000"]["tries"] == 1


def test_results_that_have_no_place_are_a_failure_and_keep_the_checkpoint(
    endpoint: Callable[[Answer], str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "results.yml" / "in the way").mkdir(parents=True)
    done = check("chat", endpoint(says(message(content="x"))), out, "--limit", "2")
    assert done.returncode == 1
    assert "results could not be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(read_lines(out / LINES)) == 2


def test_a_reply_that_has_no_json_costs_only_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "calls = []\ndef answer(body):\n    calls.append(1)\n"
        "    return {'text': object() if len(calls) == 2 else 'x'}\n"
    )
    given = (
        "--workflow",
        "own:answer",
        "--output-dir",
        tmp_path / "out",
        "--limit",
        "4",
        "--parallelism",
        "1",
    )
    done = quickcheck("run", "--task", "chat", *given, PYTHONPATH=f"{tmp_path}:{os.environ['PYTHONPATH']}")
    assert done.returncode == 0
    assert "item chat-0001: its checkpoint line could not be made" in done.stderr
    assert [r["id"] for r in json.loads((tmp_path / "out" / FINAL).read_bytes())] == [
        "chat-0000",
        "chat-0002",
        "chat-0003",
    ]
    assert score(tmp_path / "out", "chat")["stats"]["count"] == 4


def test_merging_refuses_what_is_not_finished(endpoint: Callable[[Answer], str], tmp_path: Path) -> None:
    url = endpoint(says(message(content="x")))
    for n in (1, 2):
        check("chat", url, tmp_path / str(n), "--shard", f"{n}/2")
    lines = (tmp_path / "2" / LINES).read_bytes().splitlines(keepends=True)
    (tmp_path / "2" / LINES).write_bytes(b"".join(lines[:-4]))
    done = quickcheck("merge", tmp_path / "1", tmp_path / "2", "--output-dir", tmp_path / "merged")
    assert done.returncode == 2
    assert f"{tmp_path / '2'} is not finished: 6 of 10 items" in done.stderr
    done = quickcheck("merge", tmp_path / "none", "--output-dir", tmp_path / "merged")
    assert done.returncode == 2
    assert "holds no checkpoint" in done.stderr
    assert not (tmp_path / "merged").exists()
