"""Writes docs/reference/action.md from the actions themselves: `python -m docs.action_reference`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "action.md"
NAMES = ("", "check", "collect", "site", "refresh")
HEAD = """\
<!-- Made by `make reference` from action/**/action.yml. -->
# GitHub actions

Each runs on Linux with bash, git and Python 3.11 or newer, and uses the evaldock that it lies in: the
action's commit is the version. Inputs are texts; where several values fit, each has a line of its own. An
input that can't be what was meant ends the step before anything starts; all such mistakes are told at once.
[How to use them](../how-to/evaluate-from-github.md)
"""


def page() -> str:
    return "\n\n".join([HEAD.rstrip(), *(part for name in NAMES for part in _section(name))]) + "\n"


def _section(name: str) -> Iterator[str]:
    folder = f"action/{name}".rstrip("/")
    content: dict[str, Any] = yaml.safe_load((ROOT / folder / "action.yml").read_text())
    yield f"## {folder}"
    yield f"`uses: evaldock/evaldock/{folder}@…` {content['description']}"
    rows = [
        f"| `{key}` | {_default(given)} | {_cell(given['description'])} |"
        for key, given in content["inputs"].items()
    ]
    yield "\n".join(["| input | default | |", "|---|---|---|", *rows])
    outputs = [f"| `{key}` | {_cell(given['description'])} |" for key, given in content["outputs"].items()]
    yield "\n".join(["| output | |", "|---|---|", *outputs])


def _default(given: dict[str, Any]) -> str:
    default = given.get("default")
    return f"`{default}`" if default else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
