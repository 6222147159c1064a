"""`evaldock convert --to nel | --from nel`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from catalog import mapping as mapping_file
from catalog import store
from catalog.atomic import replace_file
from catalog.console import catalog_option, note, warn
from catalog.errors import InvalidInput, NotFound, Refused, UsageError
from catalog.interchange import Imported, assign, from_nel, to_nel
from catalog.mapping_edit import with_entries
from catalog.models import Entry, EntryState, Harness, MappingEntry

FORMATS = click.Choice(["nel"])


@click.command()
@click.option("--to", "target", type=FORMATS, help="Write the catalog in this format.")
@click.option("--from", "source", type=FORMATS, help="Make or fill the catalog from FILE in this format.")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write (--to); - is stdout."
)
@click.option("--force", is_flag=True, help="Replace what evaldock read itself by what is imported.")
@click.option("--unverified", is_flag=True, help="Write a catalog that does not verify all the same.")
@catalog_option
def convert(
    *,
    target: str | None,
    source: str | None,
    file: Path | None,
    output: Path | None,
    force: bool,
    unverified: bool,
    catalog_dir: Path | None,
) -> None:
    """Exchange catalogs with NeMo Evaluator Launcher (nel): its all_tasks_irs.yaml.

    With --from, harnesses go to the entries of mapping.toml that name their images; entries that are missing
    are added. Where DIR (default: .) has no mapping.toml, the one beside FILE is taken over, if FILE was made
    from it. Imported entries count as such until `evaldock sync` has read their images.

    \b
    Examples:
      evaldock convert --to nel --output all_tasks_irs.yaml
      evaldock convert --from nel resources/all_tasks_irs.yaml --catalog imported
    """
    if (target is None) == (source is None):
        raise UsageError("either --to or --from, please", hint="see `evaldock convert --help`")
    if target is not None:
        if output is None or file is not None:
            raise UsageError("--to writes to --output FILE and reads the catalog, no FILE")
        _export(output, catalog_dir, unverified=unverified)
    else:
        if file is None or output is not None:
            raise UsageError("--from reads FILE and writes the catalog, no --output")
        _import(file, catalog_dir or Path(), force=force)


def _export(output: Path, catalog_dir: Path | None, *, unverified: bool) -> None:
    catalog = store.load(store.find_root(catalog_dir))
    if not unverified:
        store.require_verified(catalog)
    for entry in catalog.entries:
        if entry.state is EntryState.STALE:
            warn(f"entry {entry.mapping.key!r} is stale: {entry.reason}")
        if entry.mapping.container.startswith("oci:"):
            warn(f"{entry.mapping.container} is a local layout, which NeMo Evaluator Launcher can't run")
    text = to_nel(catalog)
    if str(output) == "-":
        click.echo(text, nl=False)
        return
    replace_file(output, text.encode())
    note(f"{output}: {len(catalog.tasks)} tasks; it belongs beside a copy of {catalog.root}/{store.MAPPING}")


def _import(file: Path, folder: Path, *, force: bool) -> None:
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise NotFound("there is no such file", place=str(file)) from None
    imported = from_nel(data, str(file))
    path = folder / store.MAPPING
    mapping = mapping_file.parse(_mapping_bytes(file, folder, imported), path)
    known = {entry.mapping.key: entry for entry in store.load(folder).entries} if path.is_file() else {}
    entries, homeless = assign(imported, mapping.entries, known)
    if homeless:
        mapping = _enlarged(mapping, homeless)
        entries, _ = assign(imported, mapping.entries, known)
    _refuse_overwriting(entries, known, force=force)
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(path, mapping.raw)
    store.write(folder, mapping.sha256, entries)
    tasks = sum(len(harness.tasks) for harness in imported.harnesses)
    note(f"{folder}: {tasks} tasks of {len(imported.harnesses)} harnesses imported")


def _mapping_bytes(file: Path, folder: Path, imported: Imported) -> bytes:
    """That of the catalog; else the one FILE was made from, if it is beside it; else an empty one."""
    for path in (folder / store.MAPPING, file.parent / store.MAPPING):
        if path.is_file():
            raw = path.read_bytes()
            if path.parent == folder or store.checksum(raw) == imported.mapping_sha256:
                return raw
    return b""


def _enlarged(mapping: mapping_file.Mapping, harnesses: Sequence[Harness]) -> mapping_file.Mapping:
    """With entries for harnesses that have none."""
    new = _new_entries(harnesses)
    taken = {entry.key: entry.container for entry in mapping.entries}
    clashes = [f"{each.key}: {taken[each.key]}, not {each.container}" for each in new if each.key in taken]
    if clashes:
        raise InvalidInput(
            "these entries name other images than the imported file",
            clashes,
            place=str(mapping.path),
            hint="change their containers, or import into an empty folder",
        )
    return mapping_file.parse(with_entries(mapping.raw.decode(), new).encode(), mapping.path)


def _new_entries(harnesses: Sequence[Harness]) -> list[MappingEntry]:
    uses = Counter(harness.image.container for harness in harnesses)
    entries: dict[str, MappingEntry] = {}
    for harness in harnesses:
        container = harness.image.container
        key = harness.name if uses[container] == 1 else container.rpartition("/")[2].partition(":")[0]
        if all(entry.container != container for entry in entries.values()):
            entries[key] = MappingEntry(key=key, container=container)
    return list(entries.values())


def _refuse_overwriting(entries: Sequence[Entry], known: dict[str, Entry], *, force: bool) -> None:
    own = [
        entry.mapping.key
        for entry in entries
        if entry.state is EntryState.IMPORTED
        and entry.mapping.key in known
        and known[entry.mapping.key].state is not EntryState.IMPORTED
        and known[entry.mapping.key].harnesses
    ]
    if own and not force:
        raise Refused(
            f"evaldock read these itself, from their images: {', '.join(own)}",
            hint="--force replaces that by what is imported",
        )
