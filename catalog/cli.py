"""The root command. The only place that knows the commands of every package, and it knows them as text."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import click

from catalog import __version__
from catalog.errors import EvaldockError, refusal
from catalog.interrupts import keep_interrupts


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command as `module:function` with the line that `--help` shows, so that help imports no command."""

    target: str
    help: str


COMMANDS: Mapping[str, Lazy | Mapping[str, Lazy]] = {
    "help": Lazy("launcher.commands.recipes:help_command", "Show the help of a command, or of a recipe."),
    "init": Lazy("catalog.commands.init:init", "Make a new catalog."),
    "ls": {
        "harnesses": Lazy("generator.commands.listing:harnesses", "List harnesses."),
        "tasks": Lazy("generator.commands.listing:tasks", "List tasks."),
        "task": Lazy("generator.commands.show:show", "Show a task (the same as `evaldock show`)."),
        "recipes": Lazy(
            "launcher.commands.recipes:recipes", "List recipes: scripts that say how they are run."
        ),
        "runs": Lazy("launcher.commands.runs:runs", "List runs, the newest first, as they were last seen."),
    },
    "show": Lazy(
        "generator.commands.show:show", "Show a task: its description, harness, image, defaults and command."
    ),
    "check": Lazy("generator.commands.check:check", "Check that mapping.toml, the index and the IR agree."),
    "diff": Lazy("catalog.commands.diff:diff", "Compare two states of a catalog."),
    "convert": Lazy("catalog.commands.convert:convert", "Exchange catalogs with NeMo Evaluator Launcher."),
    "readme": Lazy(
        "catalog.commands.readme:readme", "Write generated blocks into hand-written Markdown pages."
    ),
    "extract": Lazy(
        "generator.commands.extract:extract", "Read framework.yml out of images without pulling them."
    ),
    "sync": Lazy("generator.commands.sync:sync", "Read every image of mapping.toml and write the IR."),
    "attach": Lazy("generator.commands.attach:attach", "Push an image's framework files as a small sidecar."),
    "pack": Lazy(
        "generator.commands.pack:pack", "Make an image layout from a harness folder, without Docker."
    ),
    "build": Lazy("generator.commands.build:build", "Build the catalog's site."),
    "run": Lazy("launcher.commands.run:run", "Run tasks of a catalog, or a recipe."),
    "status": Lazy("launcher.commands.status:status", "Show how jobs are."),
    "logs": Lazy("launcher.commands.logs:logs", "Print the logs of jobs."),
    "kill": Lazy("launcher.commands.control:kill", "Stop the jobs of runs that have not ended."),
    "resume": Lazy("launcher.commands.control:resume", "Run again what ended without success."),
    "info": Lazy("launcher.commands.runs:info", "Show all that is known of runs: plan, jobs, folders."),
    "doctor": Lazy("launcher.commands.doctor:doctor", "Check that runs can work, and say what is missing."),
    "tick": Lazy("launcher.commands.control:tick", "One round of looking after runs."),
    "adopt": Lazy("launcher.commands.control:adopt", "Take over runs from their handles."),
    "prune": Lazy("launcher.commands.control:prune", "Forget runs that have ended and are old."),
    "publish": Lazy("launcher.commands.publish:publish", "Publish the results of runs."),
    "report": Lazy("launcher.commands.report:report", "Show what came out of runs."),
    "compare": Lazy(
        "launcher.commands.compare:compare", "Compare two models, published runs or record files."
    ),
    "gate": Lazy(
        "launcher.commands.compare:gate", "Say by exit code whether a run's scores are good enough."
    ),
    "export": Lazy(
        "launcher.commands.export:export", "Export published results, all or those of some models or runs."
    ),
    "artifact": {
        "ls": Lazy("launcher.commands.artifact:ls", "List artifacts, or the versions of one."),
        "show": Lazy(
            "launcher.commands.artifact:show",
            "Show a version of an artifact: its files and where it came from.",
        ),
        "put": Lazy(
            "launcher.commands.artifact:put", "Publish a file, or what is in a folder, as a new version."
        ),
        "get": Lazy(
            "launcher.commands.artifact:get",
            "Copy a version, or a file or folder of it, and check every byte.",
        ),
        "alias": Lazy("launcher.commands.artifact:alias", "Give a version a name of its own."),
    },
    "standin": Lazy("launcher.commands.standin:standin", "Run a stand-in model server."),
    "profile": {
        "ls": Lazy("launcher.commands.profile:ls", "List the profiles of the env.toml that holds here."),
        "show": Lazy("launcher.commands.profile:show", "Show what a profile comes to."),
    },
    "cache": {
        "ls": Lazy("generator.commands.cache:ls", "Show what the cache holds and how much."),
        "prune": Lazy(
            "generator.commands.cache:prune", "Remove cached reads, all or those not used for some days."
        ),
    },
}

GROUP_HELP = {
    "ls": "List what a catalog holds.",
    "artifact": "Keep weights, data sets and other files by name and version.",
    "profile": "Look at the named environments of env.toml.",
    "cache": "Look after the cache of what was read from images.",
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command runs."""

    def __init__(self, name: str, table: Mapping[str, Lazy | Mapping[str, Lazy]], **attrs: object) -> None:
        super().__init__(name=name, **attrs)  # type: ignore[arg-type] # click's own keyword arguments
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = self.table.get(cmd_name)
        if found is None:
            return None
        if isinstance(found, Mapping):
            return LazyGroup(cmd_name, found, help=GROUP_HELP[cmd_name])
        module, _, function = found.target.partition(":")
        command = getattr(importlib.import_module(module), function)
        from catalog.logs import show_warnings  # noqa: PLC0415 # `--help` has nothing to warn of

        show_warnings()
        assert isinstance(command, click.Command)  # noqa: S101 # a wrong entry of the table above
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib  # noqa: PLC0415 # only when a command was misspelt

            near = difflib.get_close_matches(args[0], self.table, n=3, cutoff=0.5)
            if near:
                raise click.UsageError(f"{error.message} Did you mean {' or '.join(near)}?", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [
            (name, GROUP_HELP[name] if isinstance(c, Mapping) else c.help) for name, c in self.table.items()
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


ROOT_HELP = """The dock for evaluation containers.

\b
Examples:
  evaldock ls tasks --endpoint chat math
  evaldock show mmath_en
  evaldock extract registry.example/team/harness:1.0 --json
  evaldock sync && evaldock check --remote
  evaldock build --output site
"""


def root() -> click.Group:
    group = LazyGroup(
        "evaldock", COMMANDS, help=ROOT_HELP, context_settings={"help_option_names": ["-h", "--help"]}
    )
    return click.version_option(__version__, prog_name="evaldock")(group)


def main() -> None:
    """Entry point of the console script: the one place where an error becomes an exit code."""
    keep_interrupts()
    try:
        code = root().main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except EvaldockError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("evaldock: interrupted; nothing was left half-written", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # `evaldock ls tasks | head`: the reader has what it wanted.
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        refused = refusal(error)
        _say(str(refused))
        sys.exit(refused.exit_code)


def _say(message: str) -> None:
    """Names and keys out of images stand in messages; none of them may talk to the terminal."""
    from catalog.console import safe  # noqa: PLC0415 # only for errors

    click.echo(f"evaldock: {safe(message)}", err=True)


if __name__ == "__main__":
    main()
