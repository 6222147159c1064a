"""`evaldock doctor`: what a run would miss, before it misses it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from catalog.console import (
    bold,
    catalog_option,
    green,
    json_option,
    out,
    print_json,
    red,
    safe,
    width,
    yellow,
)

if TYPE_CHECKING:
    from launcher.checks.answers import Check

_STYLES = {"ok": green, "warn": yellow, "fail": red}
# Columns of "warn  ", and of the width that lines have where no terminal says otherwise.
_INDENT, _WIDEST = 6, 110


@click.command()
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--profile", metavar="NAME", help="A profile of env.toml.")
@click.option("--backend", metavar="NAME", help="The backend to look at. [default: the configuration's]")
@click.option(
    "--config-dir", type=click.Path(path_type=Path), default=Path(), help="Folder of configurations."
)
@click.option("--config-name", metavar="NAME", help="The YAML configuration in it.")
@catalog_option
@json_option
def doctor(
    *,
    overrides: tuple[str, ...],
    profile: str | None,
    backend: str | None,
    config_dir: Path,
    config_name: str | None,
    catalog_dir: Path | None,
    as_json: bool,
) -> int:
    """Check that runs can work, and say what is missing.

    Looks at this machine, the catalog, the configuration, and the backend from end to end; says how to mend
    what is missing. Starts no job.

    \b
    Examples:
      evaldock doctor
      evaldock doctor --backend process
      evaldock doctor --profile cluster
      evaldock doctor --config-name nightly execution.resource_shape=cpu.small --json

    Exit codes: 0 nothing is missing, 1 something is, 2 there is no such backend.
    """
    from catalog.errors import UsageError  # noqa: PLC0415
    from launcher.configuration.compose import find  # noqa: PLC0415
    from launcher.doctor import Asked, examine  # noqa: PLC0415

    strange = [word for word in overrides if "=" not in word]
    if strange:
        raise UsageError(f"not KEY=VALUE: {strange[0]!r}", hint="--profile and --backend say what to look at")
    asked = Asked(
        profile=profile,
        backend=backend,
        file=find(config_dir, config_name) if config_name else None,
        overrides=overrides,
        catalog=catalog_dir,
    )
    found: list[tuple[str, Check]] = []
    for part, check in examine(asked):
        if not as_json:
            _print(check, part if not found or found[-1][0] != part else None)
        found.append((part, check))
    if as_json:
        print_json([_data(part, check) for part, check in found])
    else:
        _print_sum([check for _, check in found])
    return 1 if any(check.grade == "fail" for _, check in found) else 0


def _data(part: str, check: Check) -> dict[str, str | None]:
    return {
        "part": part,
        "check": check.name,
        "grade": check.grade.value,
        "said": check.said,
        "remedy": check.remedy,
    }


def _print(check: Check, part: str | None) -> None:
    from catalog.tables import wrap  # noqa: PLC0415

    columns = width() or _WIDEST
    if part is not None:
        out(bold(part))
    indent = " " * _INDENT
    grade = _STYLES[check.grade](f"{check.grade.value:<{_INDENT}}")
    for number, line in enumerate(wrap(safe(f"{check.name}: {check.said}"), columns, indent=indent)):
        out(grade + line[_INDENT:] if number == 0 else line)
    if check.remedy:
        for number, line in enumerate(wrap(safe(check.remedy), columns, indent=f"{indent}  ")):
            out(f"{indent}→ {line[_INDENT + 2 :]}" if number == 0 else line)


def _print_sum(checks: list[Check]) -> None:
    failed = sum(1 for check in checks if check.grade == "fail")
    warned = sum(1 for check in checks if check.grade == "warn")
    if failed:
        out(red(f"{failed} of {len(checks)} checks failed"))
    elif warned:
        out(f"all that is needed is there; {warned} warning{'s' if warned > 1 else ''}")
    else:
        out("everything is there")
