"""`evaldock export`: published results in other formats."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from catalog import exporters
from catalog.comparison import of_model, of_run
from catalog.console import catalog_option, note
from catalog.errors import NotFound, UsageError
from catalog.record_files import Published, load_all, safe_name
from catalog.store import find_root

FORMATS = ("json", "csv", "every-eval-ever", "huggingface", "mlflow", "wandb")


@click.command()
@click.argument("names", nargs=-1, metavar="[MODEL|RUN]...")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="json",
    show_default=True,
    help="json and csv have one row per metric; the others are the formats of those tools.",
)
@click.option("--output", type=click.Path(path_type=Path), help="File, or folder for every-eval-ever.")
@click.option("--dataset", "datasets", multiple=True, metavar="TASK=OWNER/NAME[:ID]", help="For huggingface.")
@click.option(
    "--organization", default="unknown", show_default=True, help="Who evaluated, for every-eval-ever."
)
@click.option(
    "--project", help="Experiment or project, for mlflow and wandb. [default: evaldock; [wandb] of env.toml]"
)
@catalog_option
def export(
    *,
    names: tuple[str, ...],
    form: str,
    output: Path | None,
    datasets: tuple[str, ...],
    organization: str,
    project: str | None,
    catalog_dir: Path | None,
) -> None:
    """Export published results, all or those of some models or runs.

    mlflow and wandb need their packages (`pip install 'evaldock[mlflow]'`, `'evaldock[wandb]'`) and use their
    own environment variables for address and login. For wandb, env.toml's [wandb] says project and entity.

    \b
    Examples:
      evaldock export --format csv --output results.csv
      evaldock export org/model-a --format huggingface --dataset mmath.mmath_en=org/mmath:en
      evaldock export --format every-eval-ever --output data --organization "Our lab"
    """
    published, _ = load_all(find_root(catalog_dir))
    chosen = _chosen(published, names)
    if form == "every-eval-ever":
        _every_eval_ever(chosen, output or Path("data"), organization)
    elif form in ("mlflow", "wandb"):
        from launcher.results import tracking  # noqa: PLC0415

        settings = _wandb_settings() if form == "wandb" else {}
        own = settings.pop("project", "evaldock")
        tracking.log(form, chosen, project or own, settings)
        note(f"{len(chosen)} records logged to {form}")
    else:
        _write(_text(chosen, form, datasets), output)


def _wandb_settings() -> dict[str, str]:
    from launcher.profiles import env_file  # noqa: PLC0415

    section = env_file.section("wandb")
    return {key: str(section[key]) for key in ("project", "entity", "group", "mode") if key in section}


def _chosen(published: Sequence[Published], names: Sequence[str]) -> list[Published]:
    if not names:
        return list(published)
    chosen: list[Published] = []
    for name in names:
        found = of_model(published, name) or of_run(published, name)
        if not found:
            raise NotFound(f"no published result of a model or run {name!r}")
        chosen += found
    return chosen


def _text(chosen: Sequence[Published], form: str, datasets: Sequence[str]) -> bytes:
    if form == "csv":
        from catalog.csv_text import csv_file  # noqa: PLC0415

        rows = ([_cell(row[name]) for name in exporters.COLUMNS] for row in exporters.rows(chosen))
        return csv_file(exporters.COLUMNS, rows)
    if form == "huggingface":
        import yaml  # noqa: PLC0415

        entries = exporters.huggingface(chosen, _datasets(datasets))
        if not entries:
            raise UsageError("no task has a data set", hint="say which with --dataset TASK=OWNER/NAME[:ID]")
        return yaml.safe_dump(entries, sort_keys=False, allow_unicode=True).encode()
    return (json.dumps(list(exporters.rows(chosen)), ensure_ascii=False, indent=1) + "\n").encode()


def _datasets(given: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    wrong = [text for text, (name, equals, value) in zip(given, pairs, strict=True) if not (name and value)]
    if wrong:
        raise UsageError(f"not a data set: {wrong[0]!r}", hint="expected TASK=OWNER/NAME[:ID]")
    return {name: value for name, _, value in pairs}


def _every_eval_ever(chosen: Sequence[Published], folder: Path, organization: str) -> None:
    written = 0
    for one in chosen:
        try:
            data = exporters.every_eval_ever(one.record, organization=organization)
        except UsageError as problem:
            note(problem.message)
            continue
        record = one.record
        file = folder / safe_name(record.task_id) / safe_name(record.model) / f"{safe_name(record.run)}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n")
        written += 1
    note(f"{written} files in {folder}")


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def _write(data: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        output.write_bytes(data)
        note(f"written to {output}")
