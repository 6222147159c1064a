"""A difference as text, as Markdown for a pull request's comment, and as JSON data. Pure.

Names and values are untrusted: they stand as safe text, or in Markdown's code spans and fences, where neither
HTML nor mentions nor links are read.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from catalog.console import green, one_line, red, safe, yellow
from catalog.difference import ABSENT, Changed, Changes, Difference, FieldChange

# GitHub refuses longer comments. It counts as JavaScript does: a character beyond U+FFFF is two.
COMMENT_LIMIT = 65_536
_INLINE = 60  # longer values stand below each other
_LONGEST = 4_000  # of one value in Markdown
_NAMED = 12  # tasks named where many changed alike


def summary(difference: Difference) -> str:
    """`2 harnesses changed; 3 tasks added, 1 removed`, or `nothing changed`."""
    parts = [
        part for part in (_counts(difference.harnesses, "harness"), _counts(difference.tasks, "task")) if part
    ]
    return "; ".join(parts) or "nothing changed"


def _counts(changes: Changes, noun: str) -> str:
    kinds = ("added", "removed", "renamed", "changed")
    counted = [(len(getattr(changes, kind)), kind) for kind in kinds]
    parts = [f"{count} {kind}" for count, kind in counted if count]
    if not parts:
        return ""
    first, *rest = parts
    number, kind = first.split(" ")
    plural = "" if number == "1" else "es" if noun.endswith("s") else "s"
    return ", ".join([f"{number} {noun}{plural} {kind}", *rest])


def difference_data(difference: Difference) -> dict[str, Any]:
    """`{harnesses, tasks}`, each `{added, removed, renamed: [{old, new}], changed: [{name, fields}]}` with
    fields `[{path, old?, new?}]`: a value that one side doesn't have is left out."""
    return {"harnesses": _changes_json(difference.harnesses), "tasks": _changes_json(difference.tasks)}


def _changes_json(changes: Changes) -> dict[str, Any]:
    return {
        "added": list(changes.added),
        "removed": list(changes.removed),
        "renamed": [{"old": one.old, "new": one.new} for one in changes.renamed],
        "changed": [
            {"name": one.name, "fields": [_field_json(change) for change in one.fields]}
            for one in changes.changed
        ],
    }


def _field_json(change: FieldChange) -> dict[str, Any]:
    sides = {"old": change.old, "new": change.new}
    return {"path": change.path, **{side: value for side, value in sides.items() if value is not ABSENT}}


def as_text(difference: Difference) -> str:
    """Safe text, styled for a terminal; a line per name, with changed fields below it."""
    lines: list[str] = []
    for noun, changes in (("harness ", difference.harnesses), ("", difference.tasks)):
        for names in _together(changes.added, difference.harnesses.added):
            lines.append(green(f"+ {noun}{_several(names, one_line, 'tasks')}"))
        for names in _together(changes.removed, difference.harnesses.removed):
            lines.append(red(f"- {noun}{_several(names, one_line, 'tasks')}"))
        lines += [
            yellow(f"> {noun}{one_line(old)} → {one_line(new)} (renamed)")
            for old, new in _renames(difference, noun)
        ]
        for names, fields in _alike(changes.changed):
            lines.append(yellow(f"~ {noun}{_several(names, one_line, 'alike')}"))
            lines += [line for change in fields for line in _field_text(change)]
    return "\n".join([*lines, summary(difference)])


def _together(ids: Sequence[str], harnesses: Sequence[str]) -> Iterator[list[str]]:
    """The tasks of each of `harnesses`, which came or went as a whole, together; all others alone."""
    for harness, group in groupby(ids, key=lambda name: name.partition(".")[0]):
        names = list(group)
        yield from [names] if harness in harnesses else ([name] for name in names)


def _renames(difference: Difference, noun: str) -> Iterator[tuple[str, str]]:
    """Without those tasks that only went along with their harness."""
    if noun:
        yield from ((one.old, one.new) for one in difference.harnesses.renamed)
        return
    harnesses = {one.old: one.new for one in difference.harnesses.renamed}
    for one in difference.tasks.renamed:
        went_along = any(
            one.old.startswith(f"{old}.") and one.new == new + one.old.removeprefix(old)
            for old, new in harnesses.items()
        )
        if not went_along:
            yield one.old, one.new


def _alike(changed: Sequence[Changed]) -> Iterator[tuple[list[str], tuple[FieldChange, ...]]]:
    """Those whose fields changed in the same way, together: one changed default touches every task."""
    groups: dict[str, list[Changed]] = defaultdict(list)
    for one in changed:
        groups[json.dumps([_field_json(change) for change in one.fields])].append(one)
    for group in groups.values():
        yield [one.name for one in group], group[0].fields


def _several(names: Sequence[str], show: Callable[[str], str], what: str) -> str:
    if len(names) == 1:
        return show(names[0])
    listed = ", ".join(show(name) for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} {what}: {listed}{more}"


def _field_text(change: FieldChange) -> list[str]:
    old, new = _value(change.old), _value(change.new)
    if max(len(old), len(new)) <= _INLINE:
        return [f"    {one_line(change.path)}: {old} → {new}"]
    return [f"    {one_line(change.path)}:", red(f"      - {old}"), green(f"      + {new}")]


def _value(value: Any) -> str:
    """On one line. Text stands without quotes where it can't be taken for anything else."""
    if value is ABSENT:
        return "(absent)"
    if isinstance(value, str) and re.fullmatch(r"[^\s\"'\[{(][^\n]*", value) and not _looks_like_data(value):
        return safe(value)
    return safe(json.dumps(value, ensure_ascii=False))


def _looks_like_data(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def as_markdown(difference: Difference, *, base: str, head: str, limit: int = COMMENT_LIMIT) -> str:
    """At most `limit` characters; what doesn't fit is counted in a closing note."""
    title = f"### Catalog: {summary(difference)}\n\n{code(base)} → {code(head)}\n"
    note = "\n_… and {} more changes; `evaldock diff` shows them all._\n"
    blocks = list(_blocks(difference))
    room = limit - _length(title) - _length(note.format(len(blocks)))
    text = title
    for at, block in enumerate(blocks):
        room -= _length(block)
        if room < 0:
            return text + note.format(len(blocks) - at)
        text += block
    return text


def _length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _blocks(difference: Difference) -> Iterator[str]:
    """Pieces that can be left out from the end on, each Markdown of its own."""
    for noun, changes in (("harness ", difference.harnesses), ("", difference.tasks)):
        first = True
        for block in _change_blocks(difference, noun, changes):
            heading = "\n**Harnesses**\n\n" if noun else "\n**Tasks**\n\n"
            yield heading + block if first else block
            first = False


def _change_blocks(difference: Difference, noun: str, changes: Changes) -> Iterator[str]:
    for names in _together(changes.added, difference.harnesses.added):
        yield f"- added {_several(names, code, 'tasks')}\n"
    for names in _together(changes.removed, difference.harnesses.removed):
        yield f"- removed {_several(names, code, 'tasks')}\n"
    yield from (f"- renamed {code(old)} → {code(new)}\n" for old, new in _renames(difference, noun))
    for names, fields in _alike(changes.changed):
        yield f"- changed {_several(names, code, 'alike')}\n" + "".join(
            _field_markdown(change) for change in fields
        )


def _field_markdown(change: FieldChange) -> str:
    old, new = (_cut(_value(value)) for value in (change.old, change.new))
    if max(len(old), len(new)) <= _INLINE:
        return f"  - {code(change.path)}: {code(old)} → {code(new)}\n"
    fence = _fence(old + new, least=3)
    return f"  - {code(change.path)}\n    {fence}diff\n    - {old}\n    + {new}\n    {fence}\n"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


def code(text: str) -> str:
    """A code span (CommonMark 6.1): its fence is longer than any run of backticks inside."""
    shown = one_line(text) or " "
    fence = _fence(shown, least=1)
    padding = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{padding}{shown}{padding}{fence}"


def _fence(text: str, *, least: int) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)
