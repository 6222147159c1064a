"""`evaldock artifact ls`, `show`, `put`, `get` and `alias`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from catalog.console import json_option, note, one_line, out, print_json, safe, width

if TYPE_CHECKING:
    from launcher.artifacts.versions import Artifacts, Version

_REF = "NAME[:VERSION][/PATH]"


@click.command()
@click.argument("name", required=False)
@json_option
def ls(*, name: str | None, as_json: bool) -> None:
    """List artifacts, or the versions of one.

    The registry is a folder or URL: that of EVALDOCK_ARTIFACTS, else of [artifacts] in env.toml, else a
    folder of yours.

    \b
    Examples:
      evaldock artifact ls
      evaldock artifact ls llama --json
    """
    from launcher.artifacts.names import ArtifactNotFound, ArtifactRef  # noqa: PLC0415 # not for --help

    registry = _registry()
    if name is None:
        found = []
        for each in registry.names():
            # One whose first version is just being published isn't there yet.
            with contextlib.suppress(ArtifactNotFound):
                found.append(registry.find(ArtifactRef(each)))
    else:
        found = registry.versions(ArtifactRef.parse(name).name)
    if as_json:
        print_json([_data(registry, version) for version in found])
    elif found:
        _print(found)
    else:
        out(f"no artifacts in {safe(registry.place)}; `evaldock artifact put` publishes one")


@click.command()
@click.argument("artifact", metavar=_REF)
@json_option
def show(*, artifact: str, as_json: bool) -> None:
    """Show a version of an artifact: its files and where it came from.

    VERSION is vN, an alias, or latest, which it is when left out.

    \b
    Examples:
      evaldock artifact show llama
      evaldock artifact show llama:v3 --json
    """
    from catalog.amounts import bytes_text  # noqa: PLC0415
    from catalog.tables import Column, table  # noqa: PLC0415
    from launcher.artifacts.names import ArtifactRef  # noqa: PLC0415

    registry, ref = _registry(), ArtifactRef.parse(artifact)
    version = registry.find(ref)
    shown = {path: version.files[path] for path in version.below(ref.path).values()}
    if as_json:
        files = {path: {"checksum": file.checksum, "size": file.size} for path, file in shown.items()}
        print_json({**_data(registry, version), "files": files})
        return
    fields = {
        **_data(registry, version),
        "size": bytes_text(version.size),
        "aliases": ", ".join(version.aliases),
    }
    for key, value in fields.items():
        if value:
            out(f"{key:12} {one_line(str(value))}")
    out()
    rows = [
        (path, bytes_text(file.size), file.checksum.partition(":")[2][:16]) for path, file in shown.items()
    ]
    out(
        table(
            (Column("file", flexible=True), Column("size", right=True), Column("checksum")),
            rows,
            width=width(),
        )
    )


@click.command()
@click.argument("name")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--type", "kind", default="artifact", metavar="TYPE", help="weights, dataset …")
@click.option(
    "--alias", "aliases", multiple=True, metavar="ALIAS", help="Name of the version; can be repeated."
)
@click.option("--description", default="", help="One line about it.")
@json_option
def put(
    *, name: str, source: Path, kind: str, aliases: Sequence[str], description: str, as_json: bool
) -> None:
    """Publish a file, or what is in a folder, as a new version.

    Versions are counted: v1, v2 and so on. Nothing is ever replaced, and any number of publishers can work at
    the same time.

    \b
    Examples:
      evaldock artifact put llama ./checkpoint --type weights --alias best
      evaldock artifact put questions questions.jsonl --type dataset
    """
    from catalog.amounts import byte_progress  # noqa: PLC0415
    from launcher.artifacts.opening import open_to_publish  # noqa: PLC0415

    registry = open_to_publish()
    with byte_progress(name, "published") as progress:
        made = registry.put(
            name,
            source,
            type=kind,
            aliases=aliases,
            description=description,
            # Of a job that publishes what it made.
            made_by=os.environ.get("EVALDOCK_JOB", "").partition("/")[0] or None,
            progress=progress,
        )
    _say(registry, made, as_json)


@click.command()
@click.argument("artifact", metavar=_REF)
@click.argument("target", type=click.Path(path_type=Path), required=False)
@json_option
def get(*, artifact: str, target: Path | None, as_json: bool) -> None:
    """Copy a version, or a file or folder of it, and check every byte.

    TARGET is where to; by default the name of what is copied, here. Nothing is there before all of it is.

    \b
    Examples:
      evaldock artifact get llama:v3 ./llama
      evaldock artifact get questions:best/questions.jsonl
    """
    from catalog.amounts import byte_progress  # noqa: PLC0415
    from launcher.artifacts.names import ArtifactRef  # noqa: PLC0415
    from launcher.artifacts.versions import fetch  # noqa: PLC0415

    registry, ref = _registry(), ArtifactRef.parse(artifact)
    version = registry.find(ref)
    to = target or Path(ref.path.rpartition("/")[2] or ref.name)
    with byte_progress(str(version), "copied") as progress:
        files = fetch(registry, version, to, ref.path, progress)
    if as_json:
        print_json({"version": str(version), "files": [str(file) for file in files]})
    else:
        out(f"{version} is in {safe(str(to))}")


@click.command()
@click.argument("artifact", metavar="NAME[:VERSION]")
@click.argument("alias", metavar="ALIAS")
@json_option
def alias(*, artifact: str, alias: str, as_json: bool) -> None:
    """Give a version a name of its own. What that name meant before, it means no more.

    \b
    Examples:
      evaldock artifact alias llama:v3 best
    """
    from launcher.artifacts.names import ArtifactRef  # noqa: PLC0415
    from launcher.artifacts.opening import open_to_publish  # noqa: PLC0415

    registry = open_to_publish()
    _say(registry, registry.alias(ArtifactRef.parse(artifact), alias), as_json)


def _registry() -> Artifacts:
    from launcher.artifacts import open_registry  # noqa: PLC0415

    return open_registry()


def _say(registry: Artifacts, version: Version, as_json: bool) -> None:
    if as_json:
        print_json(_data(registry, version))
        return
    also = f" ({', '.join(version.aliases)})" if version.aliases else ""
    out(safe(f"{version}{also}"))
    note(f"in {registry.shown(version)}; name it in a configuration as ${{art:{version}}}")


def _data(registry: Artifacts, version: Version) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": version.name,
        "version": f"v{version.number}",
        "type": version.type,
        "aliases": list(version.aliases),
        "created": version.created,
        "size": version.size,
        "digest": version.digest,
        "made_by": version.made_by,
        "description": version.description,
        "at": registry.shown(version),
    }
    return data


def _print(versions: Sequence[Version]) -> None:
    from catalog.amounts import bytes_text  # noqa: PLC0415
    from catalog.tables import Column, table  # noqa: PLC0415

    rows = [
        (
            str(version),
            version.type,
            bytes_text(version.size),
            str(len(version.files)),
            version.created,
            ", ".join(version.aliases),
        )
        for version in versions
    ]
    columns = (
        *(Column("version"), Column("type"), Column("size", right=True), Column("files", right=True)),
        *(Column("created"), Column("aliases", flexible=True)),
    )
    out(table(columns, rows, width=width()))
