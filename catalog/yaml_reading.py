"""Reading YAML that nobody vouches for.

YAML 1.1 as PyYAML's safe loader understands it, so that a file means what it means to the tools that run
it, but: only plain data (mappings with text keys, lists, text, numbers, booleans, null), repeated keys are
mistakes, and depth, size and what aliases may expand to are limited. Built from parser events without
recursion, so a hostile file can exhaust neither stack nor memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

from catalog.yaml_text import DateText

MAX_DEPTH = 64
MAX_KEY = 256
# What aliases may add, in rough bytes; a file without aliases is limited by its own size.
MAX_ALIASED = 32 << 20

_TAG = "tag:yaml.org,2002:"
_SURROGATE = re.compile("[\ud800-\udfff]")

Path = tuple[str | int, ...]


class YamlMistakes(ValueError):
    """What is wrong with a text; `problems` are complete lines."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Document:
    """`lines` leads from a key path to the 1-based line of the key or list item; `dates` says whether any
    text is a DateText."""

    value: Any
    lines: dict[Path, int]
    dates: bool


def spelled(path: Path) -> str:
    """`evaluations[3].defaults.config`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass(slots=True)
class _Frame:
    """A mapping or list being read. `key` waits for its value; `merges` are the values of `<<`."""

    value: dict[str, Any] | list[Any]
    path: Path
    anchor: str | None
    line: int
    weight: int = 64
    key: str | None = None
    key_line: int = 0
    merging: bool = False
    skipping: bool = False
    merges: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Anchored:
    value: Any
    weight: int


_OPEN = object()


def read_yaml(data: bytes, *, max_bytes: int = 64 << 20) -> Document:
    """The one document in `data` (None when it is empty). Raises YamlMistakes."""
    if len(data) > max_bytes:
        raise YamlMistakes([f"larger than {max_bytes} bytes"])
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder()
    try:
        for event in yaml.parse(data, Loader=loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise YamlMistakes([f"{where}{error.problem or error.context}"]) from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise YamlMistakes([" ".join(str(error).split())]) from None
    if builder.problems:
        raise YamlMistakes(builder.problems)
    return Document(builder.root, builder.lines, builder.dates)


class _Builder:
    def __init__(self) -> None:
        self.root: Any = None
        self.lines: dict[Path, int] = {}
        self.problems: list[str] = []
        self.dates = False
        self._documents = 0
        self._stack: list[_Frame] = []
        self._anchors: dict[str, Any] = {}
        self._aliased = 0
        self._resolve: Callable[..., Any] = yaml.resolver.Resolver().resolve

    def take(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._open(event, line)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(str(event.anchor), line)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise YamlMistakes(
                    [*self.problems, f"line {line}: a second document begins; one was expected"]
                )

    def _wrong(self, path: Path, line: int, message: str) -> None:
        where = f"{spelled(path)}: " if path else ""
        self.problems.append(f"{where}{message} (line {line})")
        if len(self.problems) >= 100:
            raise YamlMistakes([*self.problems, "and perhaps more"])

    def _open(self, event: Any, line: int) -> None:
        mapping = isinstance(event, yaml.MappingStartEvent)
        path = self._next_path()
        if len(self._stack) >= MAX_DEPTH:
            raise YamlMistakes([*self.problems, f"line {line}: nested deeper than {MAX_DEPTH} levels"])
        if event.tag not in (None, "!", _TAG + ("map" if mapping else "seq")):
            self._wrong(path, line, f"the tag {event.tag!r:.80} makes something else than plain data")
        if self._wants_key():
            self._wrong(path, line, "a key that is not text but a list or mapping")
        frame = _Frame({} if mapping else [], path, event.anchor, line)
        if event.anchor is not None:
            self._anchors[event.anchor] = _OPEN
        self._stack.append(frame)

    def _close(self) -> None:
        frame = self._stack.pop()
        value = frame.value
        if frame.merges and isinstance(value, dict):
            merged: dict[str, Any] = {}
            for each in frame.merges:
                merged.update(each)
            value = {**merged, **value}
        if frame.anchor is not None:
            self._anchors[frame.anchor] = _Anchored(value, frame.weight)
        self._put(value, frame.weight, frame.line, is_text=False)

    def _alias(self, name: str, line: int) -> None:
        found = self._anchors.get(name)
        path = self._next_path()
        if not isinstance(found, _Anchored):
            message = "contains itself" if found is _OPEN else "stands for nothing"
            raise YamlMistakes(
                [*self.problems, f"{spelled(path)}: the alias *{name} {message} (line {line})"]
            )
        self._aliased += found.weight
        if self._aliased > MAX_ALIASED:
            raise YamlMistakes(
                [*self.problems, f"line {line}: aliases expand to more than {MAX_ALIASED} bytes"]
            )
        self._put(found.value, found.weight, line, is_text=isinstance(found.value, str))

    def _scalar(self, event: Any, line: int) -> None:
        path = self._next_path()
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._resolve(yaml.ScalarNode, event.value, event.implicit)
        value: Any = event.value
        is_key = self._wants_key()
        if is_key and tag == f"{_TAG}merge":
            self._stack[-1].merging = True
            return
        try:
            if tag != f"{_TAG}str":
                value = _CONSTRUCT[tag](yaml.ScalarNode(tag, event.value))
                self.dates = self.dates or isinstance(value, DateText)
            if _SURROGATE.search(event.value):
                self._wrong(path, line, "half of a surrogate pair is no text")
        except KeyError:
            self._wrong(
                path, line, f"{event.value!r:.40} with the tag {tag!r:.80} is not plain data; quote it"
            )
        except (ValueError, ArithmeticError, yaml.YAMLError) as error:
            self._wrong(path, line, f"{event.value!r:.40}: {error}")
        if is_key and (not isinstance(value, str) or isinstance(value, DateText)):
            message = f"the key {event.value} is not text: YAML 1.1 reads it as {_kind(value)}; quote it"
            self._wrong(path, line, message)
            value = event.value
        weight = 64 + len(event.value)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(value, weight)
        self._put(value, weight, line, is_text=isinstance(value, str))

    def _wants_key(self) -> bool:
        if not self._stack:
            return False
        frame = self._stack[-1]
        return isinstance(frame.value, dict) and frame.key is None and not (frame.merging or frame.skipping)

    def _next_path(self) -> Path:
        """Of the value that comes next; of the mapping itself when a key comes next."""
        if not self._stack:
            return ()
        frame = self._stack[-1]
        if isinstance(frame.value, list):
            return (*frame.path, len(frame.value))
        return frame.path if frame.key is None else (*frame.path, frame.key)

    def _put(self, value: Any, weight: int, line: int, *, is_text: bool) -> None:
        if not self._stack:
            self.root = value
            return
        frame = self._stack[-1]
        frame.weight += weight
        if isinstance(frame.value, list):
            self.lines[(*frame.path, len(frame.value))] = line
            frame.value.append(value)
        elif frame.merging:
            frame.merging = False
            self._merge(frame, value, line)
        elif frame.skipping:
            frame.skipping = False
        elif frame.key is None:
            self._put_key(frame, value, line, is_text=is_text)
        else:
            self.lines[(*frame.path, frame.key)] = frame.key_line
            frame.value[frame.key] = value
            frame.key = None

    def _put_key(self, frame: _Frame, key: Any, line: int, *, is_text: bool) -> None:
        if not is_text:
            frame.skipping = True
        elif key in frame.value:
            first = self.lines.get((*frame.path, key))
            self._wrong((*frame.path, key), line, f"this key stands twice, first in line {first}")
            frame.skipping = True
        elif len(key) > MAX_KEY:
            self._wrong(frame.path, line, f"a key of more than {MAX_KEY} characters: {key!r:.40}")
            frame.skipping = True
        else:
            frame.key, frame.key_line = key, line

    def _merge(self, frame: _Frame, value: Any, line: int) -> None:
        # "keys in mapping nodes earlier in the sequence override keys specified in later mapping nodes"
        # (YAML merge key), and own keys override them all.
        mappings = value[::-1] if isinstance(value, list) else [value]
        if all(isinstance(each, dict) for each in mappings):
            frame.merges.extend(mappings)
        else:
            self._wrong(frame.path, line, "<< takes a mapping or a list of mappings")


_safe = yaml.constructor.SafeConstructor()


def _float(node: Any) -> float:
    value = float(_safe.construct_yaml_float(node))
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def _date(node: Any) -> DateText:
    return DateText(_safe.construct_yaml_timestamp(node))


def _bool(node: Any) -> bool:
    if node.value.lower() not in _safe.bool_values:
        raise ValueError("not a boolean")
    return bool(_safe.bool_values[node.value.lower()])


_CONSTRUCT: dict[str, Callable[[Any], Any]] = {
    f"{_TAG}null": lambda _: None,
    f"{_TAG}bool": _bool,
    f"{_TAG}int": _safe.construct_yaml_int,
    f"{_TAG}float": _float,
    f"{_TAG}timestamp": _date,
}


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    return "a number" if isinstance(value, int | float) else "null" if value is None else "a date"
