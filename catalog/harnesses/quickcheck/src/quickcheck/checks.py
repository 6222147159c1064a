"""How a reply is judged: a score from 0 to 1.

Replies are untrusted; a wrong shape scores 0, with the reason.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

Verdict = tuple[float, str | None]


def number(reply: Mapping[str, Any], expected: str) -> Verdict:
    found = re.findall(r"-?\d[\d,]*(?:\.\d+)?", reply.get("text") or "")
    if not found:
        return 0.0, "no number in the reply"
    last = found[-1].replace(",", "")
    return (1.0, None) if last == expected else (0.0, f"expected {expected}, got {last}")


def contains(reply: Mapping[str, Any], expected: str) -> Verdict:
    return (
        (1.0, None) if expected in (reply.get("text") or "") else (0.0, f"{expected!r} is not in the reply")
    )


def json_equal(reply: Mapping[str, Any], expected: Any) -> Verdict:
    try:
        value = json.loads(reply.get("text") or "")
    except ValueError as problem:
        return 0.0, f"not JSON: {problem}"
    return (1.0, None) if value == expected else (0.0, f"expected {expected}, got {value}")


def tool_call(reply: Mapping[str, Any], expected: Mapping[str, Any]) -> Verdict:
    calls = reply.get("tool_calls") or []
    if not calls:
        return 0.0, "no tool was called"
    function = calls[0].get("function") or {}
    if function.get("name") != expected["name"]:
        return 0.0, f"expected {expected['name']}, got {function.get('name')}"
    try:
        arguments = json.loads(function.get("arguments") or "")
    except ValueError as problem:
        return 0.0, f"the arguments are not JSON: {problem}"
    same = arguments == expected["arguments"]
    return (1.0, None) if same else (0.0, f"expected {expected['arguments']}, got {arguments}")


def nearest(reply: Mapping[str, Any], expected: list[int]) -> Verdict:
    vectors = reply.get("embeddings") or []
    near, far = expected
    if len(vectors) <= max(near, far):
        return 0.0, f"{len(vectors)} embeddings came back"
    same = _cosine(vectors[0], vectors[near]) > _cosine(vectors[0], vectors[far])
    return (1.0, None) if same else (0.0, "the unlike text is nearer")


def _cosine(a: list[float], b: list[float]) -> float:
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=False)) / lengths if lengths else 0.0


CHECKS: Mapping[str, Callable[[Mapping[str, Any], Any], Verdict]] = {
    "number": number,
    "contains": contains,
    "json": json_equal,
    "tool_call": tool_call,
    "nearest": nearest,
}
