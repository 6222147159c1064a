"""`evaldock run`: plan, record, submit, and watch or leave."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from catalog.console import catalog_option, json_option, note, out, print_json, warn
from catalog.errors import Unreachable, UsageError
from launcher.jobs import RunPlan, State

if TYPE_CHECKING:
    from launcher.plans.planning import Planned
    from launcher.runs.database import JobRow


@click.command()
@click.argument("what", nargs=-1, metavar="[TASK | RECIPE | PIPELINE | KEY=VALUE]...")
@click.option("--config-dir", type=click.Path(path_type=Path), help="Folder of configurations.")
@click.option("-c", "--config-name", metavar="NAME", help="The YAML configuration in it.")
@click.option("--profile", metavar="NAME", help="Profile of env.toml: where and how it is run.")
@click.option("--run", "attached", metavar="PROFILE", help="The same as --profile.")
@click.option("--batch", "detached", metavar="PROFILE", help="The same as --profile with --detach.")
@click.option("--model-id", "models", multiple=True, metavar="MODEL", help="Model to ask; can be repeated.")
@click.option("--url", help="Its endpoint; up to /v1 is enough.")
@click.option("--api-key-name", metavar="NAME", help="Variable that holds its key (a name, not the key).")
@click.option("--backend", metavar="NAME", help="docker, process, slurm, ray or lepton. [default: docker]")
@click.option("--limit", type=float, help="Samples per task: a number, or below 1 a part.")
@click.option("-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE", help="Like KEY=VALUE.")
@click.option("--output-dir", type=click.Path(path_type=Path), help="Parent of the run's folder.")
@click.option("--dry-run", is_flag=True, help="Print exactly what would be sent; send nothing.")
@click.option("--detach", is_flag=True, help="Leave a supervisor behind and return.")
@click.option(
    "--code",
    default="tree",
    metavar="tree|script|DIR",
    show_default=True,
    help="What is shipped with a recipe: its project, its script alone, or a folder.",
)
@click.option("--pipe", is_flag=True, help="Run a pipeline here, each step's output the next one's input.")
@click.option("--hold", is_flag=True, help="Record the run and start nothing; `evaldock tick` starts it.")
@catalog_option
@json_option
def run(
    *,
    what: tuple[str, ...],
    config_name: str | None,
    dry_run: bool,
    detach: bool,
    hold: bool,
    pipe: bool,
    profile: str | None,
    attached: str | None,
    detached: str | None,
    as_json: bool,
    overrides: tuple[str, ...],
    **given: Any,
) -> int:
    """Run tasks of a catalog, or a recipe.

    What is run comes from a YAML configuration, from task names on the command line, or both; KEY=VALUE
    overrides come last. A name with a slash or ending in .py is a recipe: a script whose [tool.runspec] says
    how it is run; -c then names one of its own configurations. The run is recorded before anything starts, so
    that it can always be found again.

    A name ending in .toml is a pipeline: recipes and tasks that need one another, as one run.

    \b
    Examples:
      evaldock run quickcheck.chat --model-id m --url http://127.0.0.1:8000/v1 --backend process
      evaldock run --config-dir . --config-name local_config execution.mode=parallel
      evaldock run mmath_en --model-id m --url https://api.example/v1 --api-key-name API_KEY --dry-run
      evaldock run recipes/score.py -c small --profile cluster data.limit=100
      evaldock run --config-name nightly --batch cluster
      evaldock run pipeline.toml score.limit=100

    Exit codes: 0 every job succeeded (or was started, with --detach), 1 one did not, 2 the run can't be
    planned, 4 the backend can't be reached.
    """
    if len([name for name in (profile, attached, detached) if name is not None]) > 1:
        raise UsageError("--profile, --run and --batch name a profile each", hint="give one of them")
    asked = Asked(
        names=tuple(word for word in what if not _is_override(word)),
        overrides=(*(word for word in what if _is_override(word)), *overrides),
        config=config_name,
        profile=profile or attached or detached,
        options=given,
    )
    if pipe:
        return _run_pipe(asked, dry_run or detach or hold)
    planned = _planned(asked, dry_run)
    for line in planned.warnings:
        warn(line)
    if dry_run:
        from launcher.commands.dry_run import print_plan  # noqa: PLC0415

        print_plan(planned, as_json)
        return 0
    from launcher import preflight  # noqa: PLC0415
    from launcher.code.packaging import keep  # noqa: PLC0415 # hashing and tar, not for --help
    from launcher.plans.plan_files import keep_config  # noqa: PLC0415

    for line in preflight.check(planned.plan):
        warn(line)
    keep(planned)
    keep_config(planned.plan.directory, planned.config)
    return _start(planned.plan, detach=detach or detached is not None, hold=hold, as_json=as_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The command line, sorted. `options` are the other options by their names."""

    names: tuple[str, ...]
    overrides: tuple[str, ...]
    config: str | None
    profile: str | None
    options: Mapping[str, Any]


def _planned(asked: Asked, dry_run: bool) -> Planned:
    # OmegaConf and pydantic are not for --help.
    from launcher.commands import planning, recipe_planning  # noqa: PLC0415

    if any(map(recipe_planning.is_recipe, asked.names)):
        return recipe_planning.plan(
            asked.names,
            asked.config,
            asked.overrides,
            profile=asked.profile,
            options=asked.options,
            dry_run=dry_run,
        )
    if asked.config is None and not asked.names:
        raise UsageError("nothing to run", hint="name tasks, a recipe, or a configuration with --config-name")
    options = dict(asked.options)
    config_dir, output_dir = options.pop("config_dir") or Path(), options.pop("output_dir")
    catalog_dir = options.pop("catalog_dir")
    return planning.plan(
        asked.names,
        config_dir,
        asked.config,
        asked.overrides,
        options,
        output_dir=output_dir,
        catalog_dir=catalog_dir,
        profile=asked.profile,
        dry_run=dry_run,
    )


def _run_pipe(asked: Asked, elsewhere: bool) -> int:
    from launcher.commands import recipe_planning  # noqa: PLC0415

    if len(asked.names) != 1 or not recipe_planning.is_pipeline(asked.names[0]) or asked.config is not None:
        raise UsageError("--pipe runs one pipeline", hint="evaldock run pipeline.toml --pipe")
    if elsewhere:
        raise UsageError("--pipe runs here and now: no --dry-run, --detach or --hold")
    return recipe_planning.run_pipe(
        Path(asked.names[0]), asked.overrides, profile=asked.profile, options=asked.options
    )


def _is_override(word: str) -> bool:
    """A file whose name holds a `=` is still a file."""
    return "=" in word and not (word.endswith((".py", ".toml")) and "/" in word.partition("=")[0])


def _start(plan: RunPlan, *, detach: bool, hold: bool, as_json: bool) -> int:
    from launcher.commands.options import database  # noqa: PLC0415
    from launcher.commands.views import Watch, job_data, print_rows, say_where_logs_are, waiting  # noqa: PLC0415
    from launcher.runs import handle  # noqa: PLC0415
    from launcher.runs.supervisor import tick  # noqa: PLC0415
    from launcher.runs.watching import detach as leave  # noqa: PLC0415
    from launcher.runs.watching import outcome, until_finished  # noqa: PLC0415

    with database() as opened:
        opened.record(plan)
        handle.write(opened, plan)
        note(f"run {plan.run_id} in {plan.directory}")
        if hold:
            if as_json:
                print_json({"run": plan.run_id, "directory": plan.directory, "backend": plan.backend})
            return 0
        if detach:
            leave(plan.run_id, opened.path.parent)
            _say_detached(plan, as_json)
            return 0
        watch = Watch(plan)
        try:
            with waiting(f"handing {len(plan.jobs)} jobs over to {plan.backend} …"):
                rows = tick(opened, plan.run_id, os.environ)
            _give_up_unreachable(plan, rows)
            rows = until_finished(opened, plan.run_id, os.environ, seen=watch)
        except KeyboardInterrupt:
            _say_interrupted(plan, opened.jobs(plan.run_id))
            return 130
        finally:
            watch.close()
        if as_json:
            print_json(
                {"run": plan.run_id, "directory": plan.directory, "jobs": [job_data(plan, r) for r in rows]}
            )
        else:
            print_rows([(plan, row) for row in rows])
            say_where_logs_are(rows)
        return outcome(rows)


def _give_up_unreachable(plan: RunPlan, rows: Sequence[JobRow]) -> None:
    """Where the first round could hand over nothing, waiting would look like working."""
    waiting = [row for row in rows if row.state is State.PLANNED and row.not_before]
    if waiting and all(row.state is State.PLANNED for row in rows):
        raise Unreachable(
            f"nothing was started: {waiting[0].reason}",
            hint=f"the run is recorded; `evaldock tick {plan.run_id} --loop` starts it later, "
            f"`evaldock kill {plan.run_id}` drops it",
        )


def _say_detached(plan: RunPlan, as_json: bool) -> None:
    if as_json:
        print_json({"run": plan.run_id, "directory": plan.directory, "detached": True})
    else:
        out(f"{plan.run_id} goes on; `evaldock status {plan.run_id} --watch` follows it")


def _say_interrupted(plan: RunPlan, rows: Sequence[JobRow]) -> None:
    going = sum(1 for row in rows if not row.state.terminal and row.native_id is not None)
    waiting = sum(1 for row in rows if row.state is State.PLANNED)
    note(f"no longer watched: {going} of {len(rows)} jobs go on by themselves, {waiting} wait to be started")
    note(f"`evaldock tick {plan.run_id} --loop` looks after them, `evaldock kill {plan.run_id}` ends them")
