"""The tasks' items: small, generated from a fixed seed, the same on every machine.

An item says what is sent (`body`, without the model's name), to which kind of endpoint, and how the reply is
checked (a name of `quickcheck.checks` with what it expects).
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# fmt: off
WORDS = (
    "amber", "basalt", "cedar", "delta", "ember", "fjord", "granite", "harbour", "indigo", "juniper", "kelp",
    "lagoon", "marzipan", "nectar", "onyx", "pebble", "quartz", "russet", "saffron", "tundra", "umber",
    "velvet", "willow", "yarrow", "zephyr",
)
# fmt: on
CITIES = (
    "Bergen",
    "Cusco",
    "Gdańsk",
    "Kyōto",
    "Malmö",
    "Quito",
    "Reykjavík",
    "São Paulo",
    "Tromsø",
    "Zürich",
)


@dataclass(frozen=True, slots=True)
class Item:
    """`check` names a function of `quickcheck.checks`; `expected` is what it compares with."""

    id: str
    body: Mapping[str, Any]
    check: str
    expected: Any = None
    stream: bool = False


@dataclass(frozen=True, slots=True)
class TaskData:
    """`endpoint` is chat, completions or embedding. `together`: all items are in flight at the same time."""

    name: str
    endpoint: str
    make: Callable[[random.Random, int], Item]
    size: int
    together: bool = False

    def items(self) -> list[Item]:
        """Each item from its own seed, so that a longer list begins with the shorter one."""
        return [self.make(random.Random(f"quickcheck:{self.name}:{n}"), n) for n in range(self.size)]  # noqa: S311


def data_digest(items: Sequence[Item]) -> str:
    """sha256 over the items' canonical JSON: part of a checkpoint's fingerprint."""
    plain = [[i.id, i.body, i.check, i.expected, i.stream] for i in items]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _chat(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def _sum(rng: random.Random) -> tuple[str, str]:
    left, right, sign = rng.randint(12, 99), rng.randint(12, 99), rng.choice("+-*")
    answer = {"+": left + right, "-": left - right, "*": left * right}[sign]
    return f"What is {left} {sign} {right}? Answer with the number alone.", str(answer)


def chat(rng: random.Random, n: int) -> Item:
    if n % 2:
        phrase = f"{rng.choice(WORDS)} in {rng.choice(CITIES)}"
        return Item(
            f"chat-{n:04d}", _chat(f'Reply with exactly "{phrase}" and nothing else.'), "contains", phrase
        )
    question, answer = _sum(rng)
    return Item(f"chat-{n:04d}", _chat(question), "number", answer)


def completions(rng: random.Random, n: int) -> Item:
    question, answer = _sum(rng)
    return Item(f"completions-{n:04d}", {"prompt": f"Question: {question}\nAnswer:"}, "number", answer)


def embeddings(rng: random.Random, n: int) -> Item:
    words = rng.sample(WORDS, 12)
    near, far = [*words[:5], words[6]], words[6:]
    texts = [" ".join(part) for part in (words[:6], near, far)]
    return Item(f"embeddings-{n:04d}", {"input": texts}, "nearest", [1, 2])


def json_schema(rng: random.Random, n: int) -> Item:
    city, count, size = rng.choice(CITIES), rng.randint(2, 90), rng.choice(["small", "large"])
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "count": {"type": "integer", "minimum": 1},
            "size": {"type": "string", "enum": ["small", "large"]},
        },
        "required": ["city", "count", "size"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "order", "strict": True, "schema": schema}}
    text = f'Fill in the order: city "{city}", count {count}, size {size}.'
    expected = {"city": city, "count": count, "size": size}
    return Item(f"json-schema-{n:04d}", _chat(text, response_format=wanted), "json", expected)


def tools(rng: random.Random, n: int) -> Item:
    city = rng.choice(CITIES)
    offered = [
        {"type": "function", "function": {"name": name, "description": what, "parameters": parameters}}
        for name, what, parameters in (
            ("get_weather", "The weather in a city now.", _one_string("city")),
            ("get_time", "The local time in a city now.", _one_string("city")),
        )
    ]
    asked, name = rng.choice([("weather", "get_weather"), ("local time", "get_time")])
    body = _chat(f'What is the {asked} in "{city}" now? Use a tool.', tools=offered, tool_choice="auto")
    return Item(f"tools-{n:04d}", body, "tool_call", {"name": name, "arguments": {"city": city}})


def _one_string(name: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "string"}}, "required": [name]}


def streaming(rng: random.Random, n: int) -> Item:
    phrase = " ".join(rng.sample(WORDS, 8))
    body = _chat(f'Reply with exactly "{phrase}" and nothing else.')
    return Item(f"streaming-{n:04d}", body, "contains", phrase, stream=True)


def long_input(rng: random.Random, n: int) -> Item:
    """About 2,000 words the first time, doubling to about 16,000; the code word stands at a random depth."""
    length = 2000 << (n % 4)
    words = [rng.choice(WORDS) for _ in range(length)]
    code = f"{rng.choice(WORDS)}{rng.randint(100, 999)}"
    words.insert(rng.randint(0, length), f"\nThe code word is {code}.\n")
    question = "\n\nWhat is the code word in the text above? Answer with that word alone."
    return Item(f"long-input-{n:04d}", _chat(" ".join(words) + question), "contains", code)


def concurrency(rng: random.Random, n: int) -> Item:
    question, answer = _sum(rng)
    return Item(f"concurrency-{n:04d}", _chat(question), "number", answer)


TASKS: Mapping[str, TaskData] = {
    task.name: task
    for task in (
        TaskData("chat", "chat", chat, 20),
        TaskData("completions", "completions", completions, 20),
        TaskData("embeddings", "embedding", embeddings, 10),
        TaskData("json_schema", "chat", json_schema, 20),
        TaskData("tools", "chat", tools, 20),
        TaskData("streaming", "chat", streaming, 10),
        TaskData("long_input", "chat", long_input, 8),
        TaskData("concurrency", "chat", concurrency, 64, together=True),
    )
}
