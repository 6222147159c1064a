"""The stand-in model server, asked over real sockets by `requests`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from catalog.errors import UsageError
from launcher.standin.faults import Fault
from launcher.standin.server import Standin

Start = Callable[..., tuple[Standin, str]]


@pytest.fixture
def start() -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def run(**settings: Any) -> tuple[Standin, str]:
            server, loop = Standin(**settings), asyncio.new_event_loop()
            listening = loop.run_until_complete(server.serve())
            thread = threading.Thread(target=loop.run_forever)
            thread.start()

            def stop() -> None:
                async def close() -> None:
                    listening.close()
                    others = asyncio.all_tasks() - {asyncio.current_task()}
                    for task in others:
                        task.cancel()
                    await asyncio.gather(*others, return_exceptions=True)
                    await asyncio.sleep(0.05)  # lets the closed transports see their end

                asyncio.run_coroutine_threadsafe(close(), loop).result(10)
                loop.call_soon_threadsafe(loop.stop)
                thread.join(10)
                loop.close()

            stack.callback(stop)
            return server, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"

        yield run


def ask(url: str, content: str, **more: Any) -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": content}], **more}
    answer = requests.post(f"{url}/chat/completions", json=body, timeout=10)
    answer.raise_for_status()
    return dict(answer.json())


def said(reply: dict[str, Any]) -> str:
    return str(reply["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("What is 17 + 25? Answer with the number alone.", "42"),
        ("For example 1 + 1 is 2. What is 6 * 7?", "42"),
        ("The code word is marzipan. " + "filler " * 5000 + "What is the code word?", "marzipan"),
        ('Reply with exactly "grüße, Jürgen" and nothing else.', "grüße, Jürgen"),
    ],
)
def test_answers_what_can_be_known_from_the_prompt(start: Start, prompt: str, expected: str) -> None:
    _, url = start()
    assert said(ask(url, prompt)) == expected


def test_the_same_prompt_gets_the_same_boxed_number(start: Start) -> None:
    _, url = start()
    first, second, other = (said(ask(url, text)) for text in ("Solve it", "Solve it", "Solve that"))
    assert first == second != other
    assert "\\boxed{" in first


def test_fills_a_json_schema(start: Start) -> None:
    _, url = start()
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "count": {"type": "integer", "minimum": 1},
            "size": {"enum": ["small", "large"]},
            "tags": {"type": "array", "items": {"type": "boolean"}, "minItems": 2},
        },
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    reply = json.loads(said(ask(url, 'Give "Oslo", 7, large.', response_format=wanted)))
    assert reply == {"city": "Oslo", "count": 7, "size": "large", "tags": [True, True]}


def test_calls_the_tool_that_the_prompt_mentions(start: Start) -> None:
    _, url = start()
    tools = [
        {
            "type": "function",
            "function": {"name": name, "parameters": {"properties": {"city": {"type": "string"}}}},
        }
        for name in ("get_time", "get_weather")
    ]
    reply = ask(url, "What is the weather in 'Bergen'?", tools=tools)
    call = reply["choices"][0]["message"]["tool_calls"][0]["function"]
    assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"city": "Bergen"})
    assert said(ask(url, "What is 1+1?", tools=tools, tool_choice="none")) == "2"


def test_streams_the_same_text_with_usage(start: Start) -> None:
    _, url = start()
    body = {
        "messages": [{"role": "user", "content": 'Say "a long enough sentence for several pieces".'}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    answer = requests.post(f"{url}/chat/completions", json=body, stream=True, timeout=10)
    lines = [line.decode().removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    events = [json.loads(line) for line in lines[:-1]]
    text = "".join(e["choices"][0]["delta"].get("content", "") for e in events if e["choices"])
    assert text == "a long enough sentence for several pieces"
    assert events[-1]["usage"]["completion_tokens"] == 7


def test_embeddings_of_like_texts_are_near(start: Start) -> None:
    _, url = start()
    texts = ["the cat sat on the mat", "the cat on the mat", "quarterly revenue grew"]
    data = requests.post(f"{url}/embeddings", json={"input": texts}, timeout=10).json()["data"]
    first, near, far = (item["embedding"] for item in data)
    dot = [sum(a * b for a, b in zip(first, other, strict=True)) for other in (near, far)]
    assert dot[0] > 0.8
    assert dot[1] < 0.5


def test_makes_the_faults_it_was_told_to(start: Start) -> None:
    server, url = start(faults=[Fault.parse("429:every=3"), Fault.parse("drop:only=2")])
    seen: list[object] = []
    for _ in range(4):
        try:
            seen.append(requests.post(f"{url}/completions", json={"prompt": "1+1"}, timeout=10).status_code)
        except requests.ConnectionError:
            seen.append("dropped")
    assert seen == [200, "dropped", 429, 200]
    assert server.stats()["by_status"] == {200: 2, 429: 1}


def test_a_truncated_answer_breaks_off(start: Start) -> None:
    _, url = start()
    with pytest.raises(requests.RequestException):
        requests.post(
            f"{url}/completions", json={"prompt": "1+1"}, headers={"x-standin-fault": "truncate"}, timeout=10
        ).json()


def test_requests_overlap(start: Start) -> None:
    server, url = start(latency=0.3)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: ask(url, f"{n}+1"), range(8)))
    assert server.peak == 8


def test_wants_its_key(start: Start) -> None:
    _, url = start(key="s3cret")
    assert requests.get(f"{url}/models", timeout=10).status_code == 401
    given = {"Authorization": "Bearer s3cret"}
    assert requests.get(f"{url}/models", headers=given, timeout=10).json()["data"][0]["id"] == "stand-in"


def test_an_unknown_fault_says_what_is_known() -> None:
    with pytest.raises(UsageError, match="expected STATUS, drop, truncate or delay=SECONDS"):
        Fault.parse("explode:every=2")
