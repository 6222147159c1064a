"""Jinja2 for templates that nobody vouches for.

Jinja's own immutable sandbox keeps templates away from Python's insides, not from time and memory. Here in
addition: no macros, imports, blocks or captured texts, so nothing recurses; loops together take a limited
number of steps; only methods and filters that commands need; every operation that can make a text, list or
number much larger than what it was given is checked before it runs; a deadline ends what is merely slow.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any

from jinja2 import StrictUndefined, nodes
from jinja2.environment import Template
from jinja2.exceptions import TemplateSyntaxError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_SOURCE = 1 << 17
MAX_TEXT = 1 << 20
# All texts and lists together that a rendering makes on its way.
MAX_MADE = 64 << 20
MAX_STEPS = 10_000
MAX_SECONDS = 5.0
# Decimal digits of a number.
MAX_DIGITS = 300

# Words, not a column of seventy lines.
# fmt: off
_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float",
    "int", "items", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr",
    "reverse", "round", "select", "selectattr", "sort", "string", "sum", "title", "tojson", "trim",
    "unique", "upper", "urlencode", "wordcount",
)
_METHODS = frozenset((
    "capitalize", "count", "cycle", "endswith", "get", "items", "join", "keys", "lower", "lstrip",
    "removeprefix", "removesuffix", "replace", "rsplit", "rstrip", "split", "splitlines",
    "startswith", "strip", "title", "upper", "values",
))
# fmt: on
_FORBIDDEN: tuple[tuple[type[nodes.Node], str], ...] = (
    (nodes.Macro, "macro"),
    (nodes.CallBlock, "call"),
    (nodes.FilterBlock, "filter"),
    (nodes.AssignBlock, "set … endset"),
    (nodes.Block, "block"),
    (nodes.Extends, "extends"),
    (nodes.Include, "include"),
    (nodes.Import, "import"),
    (nodes.FromImport, "from … import"),
)
# Not names that a template could write.
_COUNTED, _JOINED = "counted steps", "joined texts"


class LimitPassed(Exception):
    """A template asks for more than a command may need; the message completes "it …"."""


class Sandbox(ImmutableSandboxedEnvironment):
    """Renders one template at a time: not to be shared by threads."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, optimized=False, finalize=self._printable)
        self.globals = {"range": _range}
        self.filters = {name: self._measured(self.filters[name]) for name in _FILTERS}
        self.filters |= {"join": self._join, "replace": self._replace}
        self.filters |= {_COUNTED: self._counted, _JOINED: self._joined}
        self._compiled: dict[str, Template] = {}
        self._steps = self._made = 0
        self._deadline = 0.0

    def checked(self, source: str) -> Template:
        """The compiled template. Raises LimitPassed, or TemplateSyntaxError, also for statements, methods and
        filters that a command has no need for."""
        known = self._compiled.get(source)
        if known is not None:
            return known
        if len(source) > MAX_SOURCE:
            raise LimitPassed(f"is longer than {MAX_SOURCE} characters")
        tree = self.parse(source)
        _refuse(tree)
        if len(self._compiled) >= 64:
            self._compiled.clear()
        template = self._compiled[source] = self.from_string(_Bounded().visit(tree))
        return template

    def rendered(self, source: str, values: Mapping[str, Any]) -> str:
        """One pass over `source`. Raises LimitPassed, what `checked` raises, and what expressions raise."""
        template = self.checked(source)
        self._steps = self._made = 0
        self._deadline = time.monotonic() + MAX_SECONDS
        pieces: list[str] = []
        size = 0
        for piece in template.generate(values):
            size += len(piece)
            if size > MAX_TEXT:
                raise LimitPassed(f"makes more than {MAX_TEXT} characters")
            pieces.append(piece)
        return "".join(pieces)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str):
            raise LimitPassed("formats text by %, for which commands have filters and ~")
        if operator == "*":
            self._fits(_length(left) * _times(right) + _length(right) * _times(left))
            _fits_number(_digits(left) + _digits(right))
        elif operator == "+":
            self._fits(_length(left) + _length(right))
        elif operator == "**" and isinstance(right, int | float):
            _fits_number(_digits(left) * abs(right))
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 # as in Jinja
        __self._fits(__self._weight(args))
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str) and name == "replace":
            return __self._replace(owner, *args, **kwargs)
        if isinstance(owner, str) and name == "join":
            return __self._join(args[0] if args else (), owner)
        return super().call(__context, __obj, *args, **kwargs)

    def _printable(self, value: Any) -> Any:
        self._fits(self._weight(value))
        return value

    def _measured(self, filter_: Callable[..., Any]) -> Callable[..., Any]:
        """The filter, held to the limit before (lists of long texts) and after (escaping)."""

        @functools.wraps(filter_)
        def measured(*args: Any, **kwargs: Any) -> Any:
            self._fits(self._weight(args))
            result = filter_(*args, **kwargs)
            self._fits(_length(result))
            return result

        return measured

    def _counted(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self._steps += 1
            if self._steps > MAX_STEPS:
                raise LimitPassed(f"takes more than {MAX_STEPS} steps in its loops")
            self._fits(0)
            yield item

    def _joined(self, items: list[Any]) -> str:
        return self._join(items, "")

    def _join(self, items: Iterable[Any], glue: Any = "") -> str:
        listed = list(items)
        self._fits(self._weight(listed) + len(listed) * _length(glue))
        return str(glue).join(map(str, listed))

    def _replace(self, text: Any, old: Any, new: Any, count: int | None = None) -> str:
        whole, out, into = str(text), str(old), str(new)
        most = -1 if count is None else count
        found = whole.count(out) if most < 0 else min(most, whole.count(out))
        self._fits(len(whole) + found * len(into))
        return whole.replace(out, into, most)

    def _weight(self, value: Any) -> int:
        """About how long `str(value)` is; stops counting beyond the limit."""
        total, waiting = 0, [value]
        while waiting and total <= MAX_TEXT:
            each = waiting.pop()
            total += 1 + (len(each) if isinstance(each, str) else 0)
            if isinstance(each, Mapping):
                waiting.extend(each.keys())
                waiting.extend(each.values())
            elif isinstance(each, list | tuple):
                total += len(each)
                if total <= MAX_TEXT:
                    waiting.extend(each)
        return total

    def _fits(self, size: int) -> None:
        if size > MAX_TEXT:
            raise LimitPassed(f"makes a text or list of more than {MAX_TEXT} characters or items")
        self._made += size
        if self._made > MAX_MADE:
            raise LimitPassed(f"makes texts and lists of more than {MAX_MADE} characters and items in all")
        if time.monotonic() > self._deadline:
            raise LimitPassed(f"takes longer than {MAX_SECONDS:g} seconds")


class _Bounded(NodeTransformer):
    """Routes loops and `~` through filters that count."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 # Jinja's visitor names
        self.generic_visit(node)
        node.iter = _through(_COUNTED, node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 # Jinja2's name
        self.generic_visit(node)
        return _through(_JOINED, nodes.List(node.nodes, lineno=node.lineno, environment=node.environment))


def _through(name: str, node: nodes.Node) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=node.environment)


def _refuse(tree: nodes.Template) -> None:
    for kind, name in _FORBIDDEN:
        for found in tree.find_all(kind):
            raise TemplateSyntaxError(f"{{% {name} %}} is not for commands", found.lineno)
    for loop in tree.find_all(nodes.For):
        if loop.recursive:
            raise TemplateSyntaxError("recursive loops are not for commands", loop.lineno)
    for access in tree.find_all(nodes.Getattr):
        if access.attr.startswith("_"):
            raise TemplateSyntaxError(f"the attribute {access.attr} is not for commands", access.lineno)
    for call in tree.find_all(nodes.Call):
        target = call.node
        if isinstance(target, nodes.Getattr) and target.attr not in _METHODS:
            raise TemplateSyntaxError(f"the method {target.attr}() is not for commands", call.lineno)
        if not isinstance(target, nodes.Getattr) and not (
            isinstance(target, nodes.Name) and target.name == "range"
        ):
            raise TemplateSyntaxError(
                "commands call methods of values and range(), nothing else", call.lineno
            )


def _range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_STEPS:
        raise LimitPassed(f"counts further than {MAX_STEPS}")
    return numbers


def _length(value: Any) -> int:
    return len(value) if isinstance(value, Sized) else 0


def _times(value: Any) -> int:
    return max(value, 0) if isinstance(value, int) else 0


def _digits(value: Any) -> int:
    return 1 + value.bit_length() // 3 if isinstance(value, int) else 1


def _fits_number(digits: float) -> None:
    if digits > MAX_DIGITS:
        raise LimitPassed(f"makes a number of more than {MAX_DIGITS} digits")
