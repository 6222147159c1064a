"""Which paths of an image are wanted: an absolute path whose parts may hold `*`, `?`, `[...]`, or be `**`.

`*` stays within a part and, unlike a shell's, matches names that begin with a dot. `**` is any number of
directories, none among them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from glob import escape, has_magic

from catalog.errors import UsageError

DEFAULT_PATTERN = "/opt/metadata/**/framework.yml"
DEEP = "**"

_ESCAPED = re.compile(r"\[([*?[])\]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """`parts` as written; `literal` are the names that come before the first wildcard, without escapes."""

    parts: tuple[str, ...]
    literal: tuple[str, ...] = field(init=False, compare=False)
    _match: re.Pattern[str] = field(init=False, compare=False, repr=False)
    _way: re.Pattern[str] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        names = [literal_name(part) for part in self.parts]
        first = names.index(None) if None in names else len(names)
        object.__setattr__(self, "literal", tuple(name for name in names[:first] if name is not None))
        object.__setattr__(self, "_match", re.compile(_match_expression(self.parts), re.DOTALL))
        object.__setattr__(self, "_way", re.compile(_way_expression(self.parts), re.DOTALL))

    @classmethod
    @lru_cache(maxsize=256)
    def parse(cls, text: str) -> Pattern:
        """Raises UsageError for a pattern that can't match."""
        parts: list[str] = []
        for part in text.split("/"):
            if part == "..":
                raise UsageError(f"a path inside an image has no '..': {text[:200]!r}")
            if part in ("", ".") or (part == DEEP and parts[-1:] == [DEEP]):
                continue
            parts.append(part)
        if not parts or text.endswith("/") or "\0" in text:
            raise UsageError(
                f"not the path of a file inside an image: {text[:200]!r}",
                hint=f"expected for example {DEFAULT_PATTERN}",
            )
        if parts[-1] == DEEP:
            parts.append("*")
        try:
            return cls(tuple(parts))
        except re.error as error:
            raise UsageError(f"not a usable pattern: {text[:200]!r}: {error}") from None

    @classmethod
    def of_names(cls, names: tuple[str, ...], rest: tuple[str, ...] = ()) -> Pattern:
        """`names` as they are, whatever characters they hold; then parts of a pattern."""
        return cls((*(escape(name) for name in names), *rest))

    @property
    def text(self) -> str:
        return "/" + "/".join(self.parts)

    @property
    def exact(self) -> bool:
        return len(self.literal) == len(self.parts)

    def matches(self, path: str) -> bool:
        """`path` without a leading slash."""
        return self._match.fullmatch(path) is not None

    def on_way(self, path: str) -> bool:
        """Whether something matching can lie below `path`; the root is ''."""
        return not path or self._way.fullmatch(path) is not None

    def covers(self, other: Pattern) -> bool:
        """Whether everything that decides `other` is known where everything that decides this one is."""
        if self.parts == other.parts:
            return True
        if other.exact:
            return self.matches("/".join(other.literal))
        start = len(self.literal)
        rest = self.parts[start:]
        return (
            rest[0:1] == (DEEP,)
            and other.parts[len(other.literal) :] == rest
            and other.literal[:start] == self.literal
        )


def literal_name(part: str) -> str | None:
    """The name that a part without wildcards stands for, else None."""
    name = _ESCAPED.sub(r"\1", part)
    return name if not has_magic(part) or escape(name) == part else None


def part_expression(part: str) -> str:
    """A regular expression for the names that one part (not `**`) matches."""
    name = literal_name(part)
    if name is not None:
        return re.escape(name)
    out: list[str] = []
    position = 0
    while position < len(part):
        character = part[position]
        position += 1
        if character == "*":
            out.append("[^/]*")
        elif character == "?":
            out.append("[^/]")
        elif character == "[" and (end := part.find("]", position + 1)) > 0:
            out.append(_class(part[position:end]))
            position = end + 1
        else:
            out.append(re.escape(character))
    return "".join(out)


def part_matches(part: str, name: str) -> bool:
    return _compiled(part).fullmatch(name) is not None


@lru_cache(maxsize=256)
def _compiled(part: str) -> re.Pattern[str]:
    return re.compile(part_expression(part), re.DOTALL)


def _class(content: str) -> str:
    negated = content[0] in "!^"
    inner = content[1:] if negated else content
    if not inner:
        return re.escape(f"[{content}]")
    safe = re.sub(r"([\\\[\]^&~|])", r"\\\1", inner)
    return f"(?!/)[{'^' if negated else ''}{safe}]"


def _match_expression(parts: tuple[str, ...]) -> str:
    last = len(parts) - 1
    return "".join(
        "(?:[^/]+/)*" if part == DEEP else part_expression(part) + ("/" if number < last else "")
        for number, part in enumerate(parts)
    )


def _way_expression(parts: tuple[str, ...]) -> str:
    expression = ""
    for number in range(len(parts) - 2, -1, -1):
        start = "" if number == 0 else "/"
        if parts[number] == DEEP:
            expression = f"(?:{start}.+)?"  # from here on everything may lead to a match
        else:
            inner = f"{start}{part_expression(parts[number])}{expression}"
            expression = inner if number == 0 else f"(?:{inner})?"
    return expression
