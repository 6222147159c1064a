"""A pipeline as processes of this machine, each step's output the next one's input.

For trying things out: nothing is recorded, shipped or supervised. Recipes run where they lie, with the
caller's own environment beside theirs.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from catalog.errors import InvalidInput, Refused
from launcher.backends import environments
from launcher.jobs import JobPlan
from launcher.recipes.pipelines import Pipeline, Step
from launcher.secrets import named, resolve

# How long a step may take to end once it was asked to, in seconds.
PATIENCE = 10


def chain(pipeline: Pipeline) -> tuple[Step, ...]:
    """The steps from first to last. Raises InvalidInput where they are no chain of recipes."""
    ordered = pipeline.ordered()
    problems = [
        f"{step.name} is a task of a catalog: only recipes read and write pipes"
        for step in ordered
        if step.recipe is None
    ]
    for before, step in zip((None, *ordered), ordered, strict=False):
        wanted = (before.name,) if before is not None else ()
        if step.needs != wanted:
            needs = " and ".join(step.needs) or "no other"
            place = f"it comes after {before.name}" if before is not None else "it comes first"
            problems.append(f"{step.name} needs {needs}, and {place}")
    if problems:
        raise InvalidInput("these steps make no pipe:", problems, place=str(pipeline.path))
    return ordered


def run_pipe(
    jobs: Sequence[JobPlan],
    roots: Sequence[Path],
    folder: Path,
    *,
    environ: Mapping[str, str] = os.environ,
    say: Callable[[str], None] = print,
) -> int:
    """Runs the jobs as one pipe between this process's standard input and output; `roots` are the folders of
    their code, `folder` is where each gets one of its own. 0, or 1 where a step failed (which is said)."""
    made = [_prepared(job, root, folder, environ, say) for job, root in zip(jobs, roots, strict=True)]
    running: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        stack.callback(_end, running)
        for number, (script, environment) in enumerate(made):
            running.append(
                subprocess.Popen(
                    ["/bin/sh", "-c", script],
                    stdin=running[-1].stdout if running else None,
                    stdout=subprocess.PIPE if number < len(made) - 1 else None,
                    env=environment,
                )
            )
            if number:
                # Only the next step may hold that end: a step whose reader is gone has to learn of it.
                given = running[-2].stdout
                assert given is not None  # noqa: S101 # it was asked for above
                given.close()
        codes = [process.wait() for process in running]
    for job, code in zip(jobs, codes, strict=True):
        if code:
            say(f"{job.task} ended with exit code {code if code > 0 else 128 - code}")
    return 1 if any(codes) else 0


def _prepared(
    job: JobPlan, root: Path, folder: Path, environ: Mapping[str, str], say: Callable[[str], None]
) -> tuple[str, dict[str, str]]:
    """The shell text and the environment of one step, its folder made."""
    if job.deployment is not None:
        raise Refused(
            f"{job.task} has a deployment beside it, which a pipe can't start", hint="run it without --pipe"
        )
    own = folder / job.directory
    results = own / "artifacts"
    results.mkdir(parents=True)
    config = own / "run_config.yml"
    config.write_text(json.dumps(job.config, ensure_ascii=False, indent=1) + "\n")
    environment = environments.ensure(job.packages, root, say)
    runtime = {each.name: environ[each.source] for each in job.secrets if each.source in environ}
    values = {
        **environ,
        **job.env,
        **runtime,
        **named(job.secrets, resolve(job.secrets, environ)),
        "PATH": f"{environment / 'bin'}:{environ.get('PATH', os.defpath)}",
        "PYTHONPATH": os.pathsep.join(
            [str(root), str(root / "src"), *filter(None, [environ.get("PYTHONPATH")])]
        ),
        "EVALDOCK_CODE": str(root),
        "EVALDOCK_CONFIG": str(config),
        "EVALDOCK_RESULTS": str(results),
    }
    # What setup prints is no part of the pipe.
    setup = f"set -e\neval {shlex.quote(job.setup)} >&2\nset +e\n" if job.setup.strip() else ""
    return f'cd "$EVALDOCK_CODE" || exit 70\n{setup}{job.command}', values


def _end(running: Sequence[subprocess.Popen[bytes]]) -> None:
    """Whatever happened, nothing goes on behind."""
    for process in running:
        if process.poll() is None:
            process.terminate()
    for process in running:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
