"""`evaldock profile ls` and `evaldock profile show`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from catalog.console import json_option, out, print_json, safe, warn, width
from catalog.tables import Column, table

if TYPE_CHECKING:
    from launcher.profiles.env_file import EnvFile
    from launcher.profiles.profile import Profile


@click.command()
@json_option
def ls(*, as_json: bool) -> int:
    """List the profiles of the env.toml that holds here, and what is wrong with them.

    Exit code 1 where a profile has mistakes.

    \b
    Examples:
      evaldock profile ls
      EVALDOCK_ENV_FILE=~/clusters.toml evaldock profile ls --json
    """
    from catalog.errors import EvaldockError  # noqa: PLC0415
    from launcher.profiles import profile as profiles  # noqa: PLC0415

    file = _file()
    rows: list[dict[str, Any]] = []
    for name in file.profiles:
        try:
            profile = profiles.of_file(file, name)
        except EvaldockError as error:
            rows.append({"profile": name, "problems": [str(error)]})
            continue
        rows.append(
            {
                "profile": name,
                "backend": profile.backend,
                "extends": list(profile.chain[1:]),
                "keys": len(profile.keys),
                "description": profile.description,
                "problems": profiles.problems(profile),
            }
        )
    if as_json:
        print_json({"file": str(file.path), "profiles": rows})
    elif rows:
        columns = ("profile", "backend", "extends", Column("description", flexible=True))
        cells = [
            (row["profile"], row.get("backend") or "", " ← ".join(row.get("extends", ())), _described(row))
            for row in rows
        ]
        heads = [each if isinstance(each, Column) else Column(each) for each in columns]
        out(table(heads, cells, width=width()))
    else:
        out(f"no profiles in {safe(file.shown)}")
    wrong = [problem for row in rows for problem in row["problems"]]
    for problem in [] if as_json else wrong:
        warn(problem)
    return 1 if wrong else 0


@click.command()
@click.argument("name", required=False)
@json_option
def show(*, name: str | None, as_json: bool) -> int:
    """Show what a profile comes to with all that it inherits, and where each value stands.

    Without NAME, the sections of env.toml that belong to no profile. Secrets are shown by name only.

    \b
    Examples:
      evaldock profile show prod
      evaldock profile show prod --json
      evaldock profile show
    """
    from launcher.profiles import profile as profiles  # noqa: PLC0415

    file = _file()
    if name is None:
        rows = list(_sections(file))
        wrong: list[str] = []
        head = {"file": str(file.path), "profiles": list(file.profiles)}
    else:
        profile = profiles.of_file(file, name)
        rows, wrong = list(_settings(profile)), profiles.problems(profile)
        head = {"file": str(file.path), "profile": name, "extends": list(profile.chain[1:])}
    if as_json:
        values = [dict(zip(("key", "value", "place"), row, strict=True)) for row in rows]
        print_json({**head, "values": values, "problems": wrong})
        return 1 if wrong else 0
    if rows:
        columns = (Column("key"), Column("value", flexible=True), Column("from"))
        out(table(columns, [(key, _text(value), place) for key, value, place in rows], width=width()))
    else:
        out(f"nothing of it is set in {safe(file.shown)}")
    for problem in wrong:
        warn(problem)
    return 1 if wrong else 0


def _file() -> EnvFile:
    from catalog.errors import NotFound  # noqa: PLC0415
    from launcher.profiles import env_file  # noqa: PLC0415

    file = env_file.load()
    if file is None:
        raise NotFound("there is no env.toml here", hint=env_file.WHERE)
    return file


def _described(row: Mapping[str, Any]) -> str:
    mistakes = len(row["problems"])
    return f"({mistakes} mistake{'s' if mistakes > 1 else ''})" if mistakes else str(row["description"])


def _settings(profile: Profile) -> Iterator[tuple[str, Any, str]]:
    parts = {
        "description": profile.description,
        "image": profile.image,
        **profile.layer.data,
        "keys": profile.keys,
        "secrets": list(profile.secrets),
        "wandb": profile.wandb,
    }
    for key, value in parts.items():
        if value:
            yield from _leaves((key,), value, profile)


def _leaves(path: tuple[str, ...], value: Any, profile: Profile) -> Iterator[tuple[str, Any, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves((*path, str(key)), inner, profile)
    else:
        place = profile.layer.place(path) or profile.file.place(path)
        yield ".".join(path), _shown(path[-1], value), place


def _sections(file: EnvFile) -> Iterator[tuple[str, Any, str]]:
    from launcher.profiles.env_file import SPECIAL  # noqa: PLC0415

    for name in SPECIAL:
        yield from _of_section((name,), file.section(name), file)


def _of_section(path: tuple[str, ...], value: Any, file: EnvFile) -> Iterator[tuple[str, Any, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _of_section((*path, str(key)), inner, file)
    else:
        yield ".".join(path), _shown(path[-1], value), file.place(path)


def _shown(key: str, value: Any) -> Any:
    """Where a name says that its value is a secret, only what certainly is none."""
    from launcher.secrets import REDACTED, SECRET_NAME  # noqa: PLC0415

    if not SECRET_NAME.search(key):
        return value
    named = isinstance(value, str) and value.startswith(("host:", "runtime:"))
    return value if named else REDACTED


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
