"""Lines that a GitHub runner takes out of a step's output: annotations of files and of the run.

What stands in them may come from a model's name or a log. A message can't end its line, nor a property its
list: the runner undoes exactly the escapes below.
"""

from __future__ import annotations

from catalog.console import safe

LEVELS = ("error", "warning", "notice")


def annotation(
    level: str, message: str, *, title: str | None = None, file: str | None = None, line: int | None = None
) -> str:
    """One workflow command. `level` is one of LEVELS, `file` a path below the repository's top."""
    if level not in LEVELS:
        raise ValueError(level)
    properties = {"file": file, "line": line and str(line), "title": title}
    given = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::{level}{' ' if given else ''}{given}::{_data(message)}"


def _data(text: str) -> str:
    text = "\r".join(safe(part) for part in text.split("\r"))
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
