"""`evaldock readme [FILE…]`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from catalog import store
from catalog.console import catalog_option, green, note, out, red, safe
from catalog.errors import InvalidInput, NotFound
from catalog.readme import BLOCKS, fill


@click.command(
    epilog="Blocks: "
    + "; ".join(
        f"{name}{f' {block.argument}' if block.argument else ''}: {block.help}"
        for name, block in BLOCKS.items()
    )
    + "."
)
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path))
@click.option(
    "--check", is_flag=True, help="Change nothing; exit with 1 and a diff when a block is out of date."
)
@catalog_option
def readme(*, files: tuple[Path, ...], check: bool, catalog_dir: Path | None) -> None:
    """Write generated blocks into hand-written Markdown pages (README.md unless named).

    A block stands between two markers, each on a line of its own. What is outside of them is left alone.

    \b
      <!-- evaldock:harnesses -->
      <!-- evaldock:end -->

    \b
    Examples:
      evaldock readme
      evaldock readme README.md docs/index.md
      evaldock readme --check
    """
    catalog = store.load(store.find_root(catalog_dir))
    # What is written here gets committed and read elsewhere, without the warnings that a listing prints.
    store.require_verified(catalog)
    stale = False
    for file in files or (Path("README.md"),):
        old = _read(file)
        new, blocks = fill(old, catalog, str(file))
        if not blocks:
            note(f"{file} holds no block; see `evaldock readme --help`")
        if new == old:
            continue
        stale = True
        if check:
            _show_difference(file, old, new)
        else:
            _replace(file, new)
            note(f"{file}: written anew")
    if check and stale:
        raise click.exceptions.Exit(1)


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound("no such page", place=str(file)) from None
    except UnicodeDecodeError as error:
        raise InvalidInput("not UTF-8 text", [str(error)], place=str(file)) from None


def _show_difference(file: Path, old: str, new: str) -> None:
    import difflib  # noqa: PLC0415 # only when there is a difference

    for line in difflib.unified_diff(
        old.splitlines(), new.splitlines(), str(file), "up to date", lineterm=""
    ):
        style = {"+": green, "-": red}.get(line[:1], str)
        out(style(safe(line)))


def _replace(file: Path, text: str) -> None:
    target = file.resolve()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".evaldock-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as writing:
            writing.write(text.encode())
        temporary.chmod(target.stat().st_mode & 0o7777)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
