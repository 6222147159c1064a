"""Writes docs/reference/cli.md from the commands themselves: `python -m docs.cli_reference`.

The page is committed, so that it can be read without building; a test says when it is out of date.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from catalog.cli import root

PAGE = Path(__file__).parent / "reference" / "cli.md"
HEAD = """\
<!-- Made by `make reference` from the commands' own help. -->
# Commands

`evaldock COMMAND --help` shows the same. [Exit codes](exit-codes.md) are alike for all commands.
"""


def page() -> str:
    group = root()
    with click.Context(group, info_name="evaldock") as context:
        sections = [
            section for name, command in _commands(group, context) for section in _section(name, command)
        ]
    return "\n\n".join([HEAD.rstrip(), *sections]) + "\n"


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[click.Context, click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        below = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(command, below)
        else:
            yield below, command


def _section(context: click.Context, command: click.Command) -> Iterator[str]:
    yield f"## {context.command_path}"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```"
    yield from _prose(inspect.cleandoc(command.help or ""))
    arguments = [p for p in command.params if isinstance(p, click.Argument) and getattr(p, "help", None)]
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    rows = [(p.make_metavar(context), str(getattr(p, "help", ""))) for p in arguments]
    rows += [record for option in options if (record := option.get_help_record(context))]
    if rows:
        yield "\n".join(["| option | |", "|---|---|", *(_row(name, text) for name, text in rows)])


def _row(name: str, text: str) -> str:
    escaped = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return f"| `{name.replace('|', '&#124;') if '|' not in name else name.replace('|', '/')}` | {escaped} |"


def _prose(help_text: str) -> Iterator[str]:
    """Paragraphs as they are; a paragraph after click's `\\b` mark keeps its lines, in a block of code."""
    for paragraph in help_text.split("\n\n"):
        if not paragraph.startswith("\b"):
            yield paragraph
            continue
        lines = paragraph.removeprefix("\b").strip("\n").splitlines()
        if lines and lines[0].rstrip().endswith(":") and not lines[0].startswith(" "):
            yield lines.pop(0)
        yield "```text\n" + inspect.cleandoc("\n".join(lines)) + "\n```"


if __name__ == "__main__":
    PAGE.write_text(page())
