"""Puts a user's values into a rendered shell command so that they arrive unchanged and execute nothing.

A command template writes `--model {{…}}`, `--args "url={{…}}"` or `'{"a": {{… | tojson}}}'`: which quoting a
value needs depends on where it lands. So a value that holds anything but plain characters goes into the
template as a token, and when the template has been rendered, `reveal` walks over the command as a POSIX shell
reads it (XCU 2.2 Quoting, 2.6.3 Command Substitution) and replaces each token by the value, quoted for that
place.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from catalog.errors import Refused

_PLAIN = re.compile(r"[\w@%+=:,./-]*", re.ASCII)
_TOKEN = re.compile(r"EVALDOCKVALUE(\d+)E")


@dataclass(slots=True)
class Protected:
    """The values that tokens stand for. `words` marks those that are lists of arguments (`args`): outside of
    quotes they are split as a shell would split them, and each word is quoted."""

    values: list[str] = field(default_factory=list)
    words: set[int] = field(default_factory=set)

    def protect(self, value: Any, name: str = "") -> Any:
        """`value` with every string in it that isn't plain replaced by a token. `name` is its key."""
        if isinstance(value, str):
            return value if _PLAIN.fullmatch(value) and value else self._token(value, name)
        if isinstance(value, Mapping):
            return {key: self.protect(part, str(key)) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.protect(part, name) for part in value]
        return value

    def _token(self, value: str, name: str) -> str:
        if not value:
            return value
        if "\0" in value:
            raise Refused(f"{name or 'a value'} holds a NUL byte, which no command line can carry")
        number = len(self.values)
        self.values.append(value)
        if name == "args" or name.endswith("_args"):
            self.words.add(number)
        return f"EVALDOCKVALUE{number}E"

    def reveal(self, command: str) -> str:
        """Raises Refused for a value inside a here-document, where no quoting would hold."""
        return _Walk(self, command).run() if self.values else command

    def plain(self, text: str) -> str:
        """`text` with the values as they are: for people, never for a shell."""
        return _TOKEN.sub(lambda match: self.values[int(match[1])], text)


@dataclass(slots=True)
class _Context:
    """`quote` is '' outside of quotes, `'` or `"`; `depth` counts open parentheses; `literal` is True within
    a double-quoted literal of whatever language stands inside single quotes."""

    quote: str = ""
    depth: int = 0
    backtick: bool = False
    literal: bool = False


class _Walk:
    def __init__(self, protected: Protected, command: str) -> None:
        self.protected = protected
        self.command = command
        self.stack = [_Context()]
        self.out: list[str] = []
        self.here = False

    def run(self) -> str:
        position = 0
        while position < len(self.command):
            token = _TOKEN.match(self.command, position)
            if token and int(token[1]) < len(self.protected.values):
                self.out.append(self._quoted(int(token[1])))
                position = token.end()
            else:
                length = self._step(position)
                self.out.append(self.command[position : position + length])
                position += length
        return "".join(self.out)

    def _step(self, at: int) -> int:
        """Reads one lexical element and returns how many characters it had."""
        context, char = self.stack[-1], self.command[at]
        if context.quote == "'":
            return self._in_single(context, char, at)
        if char == "\\":
            return 2
        if char == "`":
            self._backtick(context)
        elif self.command.startswith("$((", at):
            context.depth += 2 if not context.quote else 0
            return 3
        elif self.command.startswith("$(", at):
            self.stack.append(_Context())
            return 2
        elif char == '"':
            context.quote = "" if context.quote else '"'
        elif not context.quote:
            self._unquoted(context, char, at)
        return 1

    def _in_single(self, context: _Context, char: str, at: int) -> int:
        if char == "'":
            context.quote, context.literal = "", False
        elif char == '"' and self.command[at - 1] != "\\":
            context.literal = not context.literal
        return 1

    def _backtick(self, context: _Context) -> None:
        if context.backtick and not context.quote:
            self.stack.pop()
        else:
            self.stack.append(_Context(backtick=True))

    def _unquoted(self, context: _Context, char: str, at: int) -> None:
        if char == "'":
            context.quote = "'"
        elif char == "(":
            context.depth += 1
        elif char == ")":
            if context.depth:
                context.depth -= 1
            elif len(self.stack) > 1:
                self.stack.pop()
        elif char == "<" and re.match(r"<<(?!<)", self.command[at:]) and self.command[at - 1 : at] != "<":
            self.here = True

    def _quoted(self, number: int) -> str:
        value, context = self.protected.values[number], self.stack[-1]
        if self.here:
            raise Refused(
                f"{value!r:.80} would land behind a here-document of the harness's command",
                hint="use letters, digits and @%+=:,./- only for this value",
            )
        if any(each.backtick for each in self.stack):
            raise Refused(
                f"{value!r:.80} would land between backticks of the harness's command",
                hint="use letters, digits and @%+=:,./- only for this value",
            )
        if context.quote == "'":
            inner = json.dumps(value, ensure_ascii=False)[1:-1] if context.literal else value
            return inner.replace("'", "'\\''")
        if context.quote == '"':
            return re.sub(r'([\\"$`])', r"\\\1", value)
        if number in self.protected.words:
            return shlex.join(shlex.split(value))
        return shlex.quote(value)
