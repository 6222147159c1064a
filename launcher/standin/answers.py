"""What the stand-in answers: pure functions from a request's body to text, tool calls and embeddings.

It can do sums, find a code word in a long text, repeat what is quoted, and fill a JSON schema or a tool's
parameters with fitting values. Anything else gets a number in a box that depends on the prompt alone.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any

_SUM = re.compile(r"(-?\d{1,9})\s*([-+*x\u00d7])\s*(\d{1,9})")
_CODE_WORD = re.compile(r"code ?word is[\s:]+[\"'`]?([\w-]+)", re.IGNORECASE)
_REPEAT = re.compile(
    r"(?:repeat|say|echo|reply with)[^\"“`]{0,60}[\"“`]([^\"”`]{1,2000})[\"”`]", re.IGNORECASE
)
_OPERATIONS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "x": operator.mul,
    "\u00d7": operator.mul,
}
_MAX_DEPTH = 12


def prompt_of(body: Mapping[str, Any]) -> str:
    """All text of a chat's or completion's request, in order."""
    messages = body.get("messages")
    if isinstance(messages, list):
        return "\n".join(_text(m.get("content")) for m in messages if isinstance(m, dict))
    prompt = body.get("prompt", "")
    return prompt if isinstance(prompt, str) else "\n".join(str(part) for part in prompt)


def _text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def answer(body: Mapping[str, Any]) -> str:
    """The text for a chat or completion; JSON where `response_format` asks for it."""
    prompt = prompt_of(body)
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        schema = (wanted.get("json_schema") or {}).get("schema") or {}
        return json.dumps(instance(schema, prompt), ensure_ascii=False)
    if wanted.get("type") == "json_object":
        return json.dumps({"answer": _plain(prompt)}, ensure_ascii=False)
    return _plain(prompt)


def _plain(prompt: str) -> str:
    # The last fitting place counts: instructions and examples stand before the question.
    for pattern, reply in ((_CODE_WORD, _group), (_REPEAT, _group), (_SUM, _calculate)):
        found = list(pattern.finditer(prompt))
        if found:
            return reply(found[-1])
    number = int(hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest()[:4], 16) % 1000
    return f"The answer is \\boxed{{{number}}}."


def _group(match: re.Match[str]) -> str:
    return match[1]


def _calculate(match: re.Match[str]) -> str:
    left, sign, right = match.groups()
    return str(_OPERATIONS[sign](int(left), int(right)))


def tool_call(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The call of the tool that `tool_choice` names, else of the one the prompt mentions, else of the first.
    None where no tool is offered, `tool_choice` is none, or a tool's answer already stands in the chat."""
    tools = [t["function"] for t in body.get("tools") or [] if isinstance(t, dict) and "function" in t]
    choice = body.get("tool_choice")
    last = (body.get("messages") or [{}])[-1]
    if not tools or choice == "none" or (isinstance(last, dict) and last.get("role") == "tool"):
        return None
    prompt = prompt_of(body)
    named = choice["function"]["name"] if isinstance(choice, dict) else None
    tool = next((t for t in tools if t.get("name") == named), None) or _mentioned(tools, prompt)
    arguments = instance(tool.get("parameters") or {}, prompt)
    identity = hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest()[:12]
    return {
        "id": f"call_{identity}",
        "type": "function",
        "function": {"name": tool["name"], "arguments": json.dumps(arguments, ensure_ascii=False)},
    }


def _mentioned(tools: Sequence[dict[str, Any]], prompt: str) -> dict[str, Any]:
    lowered = prompt.lower()

    def hits(tool: dict[str, Any]) -> int:
        return sum(word in lowered for word in str(tool.get("name", "")).lower().split("_"))

    return max(tools, key=hits)


def instance(schema: Mapping[str, Any], prompt: str, depth: int = 0) -> Any:
    """A value that satisfies the common part of JSON Schema, with numbers and quoted words of the prompt in
    the order they stand there."""
    return _Filler(prompt).fill(schema, depth)


class _Filler:
    def __init__(self, prompt: str) -> None:
        self.numbers = [int(n) for n in re.findall(r"(?<![\w.])-?\d{1,15}(?![\w.])", prompt)]
        self.words = re.findall(r"[\"“'`]([^\"”'`\n]{1,200})[\"”'`]", prompt)
        self.lowered = prompt.lower()

    def fill(self, schema: Mapping[str, Any], depth: int) -> Any:
        if depth > _MAX_DEPTH:
            return None
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            options = list(schema["enum"])
            return next((o for o in options if str(o).lower() in self.lowered), options[0])
        for key in ("anyOf", "oneOf", "allOf"):
            if schema.get(key):
                return self.fill(schema[key][0], depth + 1)
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = kind[0]
        if kind == "object" or "properties" in schema:
            return {
                name: self.fill(part, depth + 1) for name, part in (schema.get("properties") or {}).items()
            }
        if kind == "array":
            count = max(1, int(schema.get("minItems", 1)))
            return [self.fill(schema.get("items") or {}, depth + 1) for _ in range(min(count, 100))]
        return self._scalar(kind, schema)

    def _scalar(self, kind: object, schema: Mapping[str, Any]) -> Any:
        if kind in ("integer", "number"):
            value = self.numbers.pop(0) if self.numbers else 1
            low, high = schema.get("minimum", value), schema.get("maximum", value)
            return min(max(value, low), high)
        if kind == "boolean":
            return True
        if kind == "null":
            return None
        return self.words.pop(0) if self.words else "value"


def embedding(text: str, dimensions: int = 64) -> list[float]:
    """A unit vector of hashed words: texts that share words are near each other."""
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()) or [""]:
        hashed = hashlib.sha256(word.encode()).digest()
        vector[int.from_bytes(hashed[:4]) % dimensions] += 1.0 if hashed[4] % 2 else -1.0
    length = math.sqrt(sum(v * v for v in vector)) or 1.0
    return [v / length for v in vector]


def tokens(text: str) -> int:
    """A count that is steady, not a tokenizer's: words and marks."""
    return len(re.findall(r"\w+|[^\w\s]", text))
