"""JSON pointers (RFC 6901) into plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from catalog.yaml_text import DateText


def pointer(*parts: str | int) -> str:
    """`/config/params/extra/start~1date`."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def parts(text: str) -> list[str]:
    """The reverse; positions in lists stay text."""
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def put_dates(data: Mapping[str, Any], dates: Iterable[str]) -> Mapping[str, Any]:
    """The reverse of `take_dates`. A pointer that leads to no text leads nowhere."""
    for each in dates:
        data = _with_date(data, parts(each))
    return data


def _with_date(value: Any, path: Sequence[str]) -> Any:
    if not path:
        return DateText(value) if isinstance(value, str) else value
    head, *rest = path
    if isinstance(value, Mapping) and head in value:
        return {**value, head: _with_date(value[head], rest)}
    if isinstance(value, list) and head.isdecimal() and int(head) < len(value):
        at = int(head)
        return [*value[:at], _with_date(value[at], rest), *value[at + 1 :]]
    return value


def take_dates(data: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """`data` with its dates as ordinary texts, and pointers to them, sorted."""
    found: list[str] = []
    plain = _without_dates(data, "", found)
    return plain, tuple(sorted(found))


def _without_dates(value: Any, path: str, found: list[str]) -> Any:
    # What holds no date is shared, not copied.
    if isinstance(value, DateText):
        found.append(path)
        return str(value)
    if isinstance(value, Mapping):
        items = {key: _without_dates(each, path + pointer(key), found) for key, each in value.items()}
        return items if any(items[key] is not value[key] for key in items) else value
    if isinstance(value, list):
        each_item = [_without_dates(each, f"{path}/{at}", found) for at, each in enumerate(value)]
        return each_item if any(new is not old for new, old in zip(each_item, value, strict=True)) else value
    return value
