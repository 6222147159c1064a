"""quickcheck as a process against the stand-in server, and against a function of its own process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from quickcheck.checkpoint import FINAL, LINES, read_lines
from quickcheck.items import TASKS

PATHS = {"chat": "chat/completions", "completions": "completions", "embedding": "embeddings"}
Server = Callable[..., str]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Starts stand-in servers; gives their base URLs."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> str:
        file = tmp_path / f"url-{len(running)}"
        command = [sys.executable, "-c", "from launcher.commands.standin import standin; standin()"]
        running.append(
            subprocess.Popen(
                [*command, "--port", "0", "--url-file", str(file), *options], stdout=subprocess.DEVNULL
            )
        )
        deadline = time.monotonic() + 30
        while not file.exists():
            assert running[-1].poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return file.read_text()

    yield start
    for process in running:
        process.kill()
        process.wait()


def command(task: str, url: str, out: Path, *more: str) -> list[str]:
    address = f"{url}/{PATHS[TASKS[task].endpoint]}"
    given = ["--task", task, "--url", address, "--model", "m", "--output-dir", str(out), "--backoff", "0.01"]
    return [sys.executable, "-m", "quickcheck.cli", "run", *given, *more]


def run(*arguments: Any, expect: int = 0, env: dict[str, str] | None = None) -> str:
    whole = {**os.environ, **(env or {})}
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=120, check=False, env=whole
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def metrics(out: Path, task: str) -> dict[str, Any]:
    loaded = yaml.safe_load((out / "results.yml").read_text())
    found: dict[str, Any] = loaded["results"]["tasks"][task]["metrics"]
    return {name: metric["scores"][task] for name, metric in found.items()}


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_passes_on_an_endpoint_that_can_do_it(server: Server, tmp_path: Path, task: str) -> None:
    size = TASKS[task].size
    assert f"{size} of {size} items passed" in run(task, server(), tmp_path / "out")
    accuracy = metrics(tmp_path / "out", task)["accuracy"]
    assert (accuracy["value"], accuracy["stats"]["count"]) == (1.0, size)
    final = json.loads((tmp_path / "out" / FINAL).read_text())
    assert [r["id"] for r in final] == [item.id for item in TASKS[task].items()]
    assert all(record["latency"] > 0 and record["usage"] for record in final)


def test_faults_cost_tries_and_not_items(server: Server, tmp_path: Path) -> None:
    # As many faults as an item is asked again: should one item meet all of them, it is answered still.
    faults = ("429:only=2", "500:only=3", "drop:only=5", "429:only=6", "500:only=14")
    url = server(*(word for fault in faults for word in ("--fault", fault)))
    run("chat", url, tmp_path / "out", "--retries", str(len(faults)))
    final = json.loads((tmp_path / "out" / FINAL).read_text())
    assert [record.get("score") for record in final] == [1.0] * 20
    assert sum(record["tries"] for record in final) == len(final) + len(faults)


def test_a_stream_that_breaks_off_is_asked_again(server: Server, tmp_path: Path) -> None:
    run("streaming", server("--fault", "truncate:first=3"), tmp_path / "out")
    assert metrics(tmp_path / "out", "streaming")["accuracy"]["value"] == 1.0


def test_an_endpoint_that_never_answers_fails_and_scores_0(server: Server, tmp_path: Path) -> None:
    output = run("chat", server("--fault", "503:every=1"), tmp_path / "out", "--retries", "1", expect=1)
    assert "20 without a reply" in output
    found = metrics(tmp_path / "out", "chat")
    assert (found["accuracy"]["value"], found["errors"]["value"]) == (0.0, 1.0)


def test_resumes_after_kill_9_and_asks_only_what_is_missing(server: Server, tmp_path: Path) -> None:
    url, out = server("--latency", "0.1"), tmp_path / "out"
    process = subprocess.Popen(command("chat", url, out, "--parallelism", "2"))
    deadline = time.monotonic() + 60
    while len(read_lines(out / LINES)) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = (out / LINES).read_bytes()
    finished = len(read_lines(out / LINES))
    assert 5 <= finished < 20
    assert f"{finished} of 20 items were finished by an earlier attempt" in run("chat", url, out)
    assert (out / LINES).read_bytes().startswith(before)
    assert len((out / LINES).read_text().splitlines()) == 20
    assert metrics(out, "chat")["accuracy"]["stats"]["count"] == 20


def test_another_model_in_the_same_directory_is_refused(server: Server, tmp_path: Path) -> None:
    url = server()
    run("chat", url, tmp_path / "out", "--limit", "2")
    output = run("chat", url, tmp_path / "out", "--limit", "3", expect=2)
    assert "data, items differ" in output


def test_shards_merge_into_what_the_whole_would_have_been(server: Server, tmp_path: Path) -> None:
    url = server()
    run("json_schema", url, tmp_path / "whole")
    shards = [tmp_path / f"shard{n}" for n in (1, 2, 3)]
    for n, shard in enumerate(shards, 1):
        run("json_schema", url, shard, "--shard", f"{n}/3")
    merging = [sys.executable, "-m", "quickcheck.cli", "merge", *map(str, shards)]
    subprocess.run([*merging, "--output-dir", str(tmp_path / "merged")], check=True, timeout=60)

    def stable(out: Path) -> tuple[Any, Any]:
        loaded = yaml.safe_load((out / "results.yml").read_text())
        items = [
            {k: v for k, v in r.items() if k != "latency"} for r in json.loads((out / FINAL).read_text())
        ]
        return loaded["config"], items

    assert stable(tmp_path / "merged") == stable(tmp_path / "whole")
    for name in ("accuracy", "errors", "completion_tokens"):
        whole = metrics(tmp_path / "whole", "json_schema")[name]
        assert metrics(tmp_path / "merged", "json_schema")[name] == whole


def test_a_missing_shard_is_refused(server: Server, tmp_path: Path) -> None:
    run("chat", server(), tmp_path / "one", "--shard", "1/2")
    merging = [sys.executable, "-m", "quickcheck.cli", "merge", str(tmp_path / "one")]
    done = subprocess.run(
        [*merging, "--output-dir", str(tmp_path / "merged")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "expected the shards 1 to 2, got [1]" in done.stderr
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_function_of_the_process_is_checked_and_checkpointed_alike(tmp_path: Path, kind: str) -> None:
    (tmp_path / "own.py").write_text(
        f"{kind} answer(body):\n    text = body['messages'][0]['content']\n"
        "    if '\"' in text: return {'text': text.split('\"')[1]}\n"
        "    return {'text': str(eval(text.split('is ')[1].split('?')[0]))}\n"
    )
    whole = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ['PYTHONPATH']}"}
    own = ["--task", "chat", "--workflow", "own:answer", "--output-dir", str(tmp_path / "out")]
    subprocess.run([sys.executable, "-m", "quickcheck.cli", "run", *own], check=True, env=whole, timeout=60)
    assert metrics(tmp_path / "out", "chat")["accuracy"]["value"] == 1.0
    assert len(read_lines(tmp_path / "out" / LINES)) == 20


def test_repeats_ask_each_item_again(server: Server, tmp_path: Path) -> None:
    run("chat", server(), tmp_path / "out", "--n-samples", "3", "--limit", "0.1")
    ids = [record["id"] for record in json.loads((tmp_path / "out" / FINAL).read_text())]
    assert ids == [f"chat-{n:04d}#{turn}" for n in range(2) for turn in range(3)]


def test_a_filter_keeps_what_the_report_needs(server: Server, tmp_path: Path) -> None:
    url, out = server(), tmp_path / "out"
    run("chat", url, out, "--keep", "reason", "--limit", "4")
    assert all("output" not in record for record in read_lines(out / LINES).values())
    run("chat", url, out, "--keep", "reason", "--limit", "4")
    assert metrics(out, "chat")["accuracy"]["value"] == 1.0


def test_the_key_is_read_from_its_variable_and_written_nowhere(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_KEY", "k-4711-secret")
    url = server("--key-env", "STANDIN_KEY")
    output = run("chat", url, tmp_path / "out", "--api-key-name", "MY_KEY", env={"MY_KEY": "k-4711-secret"})
    written = "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    assert "k-4711-secret" not in output + written
    assert "HTTP 401" in run("chat", url, tmp_path / "other", expect=1)


def test_concurrency_asks_all_at_once(server: Server, tmp_path: Path) -> None:
    url = server("--latency", "3")
    run("concurrency", url, tmp_path / "out")
    peak = requests.get(re.sub("/v1$", "/stats", url), timeout=10).json()["peak"]
    assert peak == 64
