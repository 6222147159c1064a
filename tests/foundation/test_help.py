"""Help that a newcomer can use: every command explains itself with examples."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping

import click
import pytest
from click.testing import CliRunner

from catalog.cli import COMMANDS, Lazy, root


def leaves(table: Mapping[str, Lazy | Mapping[str, Lazy]], prefix: str = "") -> Iterator[tuple[str, Lazy]]:
    for name, found in table.items():
        if isinstance(found, Mapping):
            yield from leaves(found, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", found


LEAVES = dict(leaves(COMMANDS))


def command(lazy: Lazy) -> click.Command:
    module, _, function = lazy.target.partition(":")
    loaded: click.Command = getattr(importlib.import_module(module), function)
    return loaded


def first_paragraph(text: str) -> str:
    """Without what stands in brackets."""
    return re.sub(r" \([^)]*\)", "", " ".join(text.strip().split("\n\n")[0].split()))


@pytest.mark.parametrize("name", LEAVES)
def test_the_list_of_commands_says_what_the_command_says(name: str) -> None:
    help_text = command(LEAVES[name]).help
    assert help_text
    assert first_paragraph(help_text).startswith(first_paragraph(LEAVES[name].help).rstrip("."))


@pytest.mark.parametrize("name", LEAVES)
def test_help_has_examples_that_parse(name: str) -> None:
    shown = CliRunner().invoke(root(), [*name.split(), "--help"], prog_name="evaldock")
    assert shown.exit_code == 0
    assert "Examples:" in shown.output or "Example:" in shown.output
    names = [other for other, lazy in LEAVES.items() if lazy.target == LEAVES[name].target]
    assert any(f"  evaldock {other}" in shown.output for other in names)


@pytest.mark.parametrize("name", LEAVES)
def test_every_option_is_explained(name: str) -> None:
    for parameter in command(LEAVES[name]).params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, f"evaldock {name} {parameter.opts[0]} has no help"


def test_what_lists_can_do_json() -> None:
    for name in ("ls harnesses", "ls tasks", "ls task", "show", "extract", "cache ls"):
        options = {option for parameter in command(LEAVES[name]).params for option in parameter.opts}
        assert "--json" in options, f"evaldock {name} has no --json"


def test_a_misspelt_command_gets_a_suggestion() -> None:
    answer = CliRunner().invoke(root(), ["extrat"])
    assert answer.exit_code == 2
    assert "Did you mean extract" in answer.output
