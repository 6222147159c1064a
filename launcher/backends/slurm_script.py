"""What is sent to Slurm for a job: the text for sbatch, and the files beside it. Pure.

The job's folder on the cluster is where sbatch is called, so that no path stands in the text.
"""

from __future__ import annotations

import shlex
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from launcher.backends.slurm_names import LARGEST, array_name, indexes, named
from launcher.configuration.slurm import clock
from launcher.jobs import JobPlan, RunPlan
from launcher.node.node_script import NODE_SCRIPT, node_files
from launcher.node.text import about
from launcher.runs import run_directory as files

if TYPE_CHECKING:
    from jinja2 import Template

RAY_DEADLINE = 180  # seconds for a Ray cluster to come up inside a job
SUBMISSION = "slurm.sub"
# Below a run's folder: what no job's container sees.
OWN = ".slurm"
# Seconds between two signs of life of a start; after how many that are missing it counts as dead; how many a
# newer start waits for one that lives.
BEAT, BEATS, PATIENCE = 5, 6, 24
# Beside a file of secrets, which each start of the job deletes: what the next start gets.
_KEPT = ".slurm"
_DEFAULTS = {"nodes": 1, "auto_resume": True, "stop_before": 120, "container_runtime": "none", "array": True}
Files = dict[str, tuple[bytes, int]]


def root_of(run: RunPlan) -> str:
    """The folder on the cluster below which runs, and what they share, have theirs."""
    return str(PurePosixPath(run.remote or run.directory).parent)


def runtime_of(run: RunPlan) -> str:
    return str(_setting(run, "container_runtime"))


def secret_files() -> list[tuple[str, str]]:
    """Every file that may hold secrets, as it is kept for further starts and as a start reads it."""
    names = (files.SECRETS, f"{files.SERVER}/{files.SECRETS}")
    return [(f"{name}{_KEPT}", name) for name in names]


def array_file(name: str) -> str:
    """Below the run's folder: the text for sbatch of an array of this name."""
    return f"{OWN}/{name}.sub"


def alike(run: RunPlan, job: JobPlan) -> Hashable | None:
    """Jobs for which this is the same can be tasks of one array; None for those that can't be of any."""
    return _asked(run, job) if _setting(run, "array") and job.index <= LARGEST else None


def array_of(run: RunPlan, job: JobPlan) -> tuple[JobPlan, ...]:
    """The jobs that would be submitted as one array with this one when the run begins."""
    wanted = alike(run, job)
    if wanted is None or job.depends_on:
        return (job,)
    found = [each for each in run.jobs if not each.depends_on and alike(run, each) == wanted]
    # With a limit for waiting, nobody is made to wait by an array of its own.
    first = found if run.queue_timeout is None else found[: run.parallel]
    return tuple(first) if job in first else (job,)


def submission_file(run: RunPlan, jobs: Sequence[JobPlan], attempt: int, at_once: int) -> Files:
    """The text for sbatch, below the run's folder."""
    text = submission(run, jobs, attempt, at_once)
    alone = f"{jobs[0].directory}/{SUBMISSION}"
    name = array_file(array_name(run.run_id, attempt)) if len(jobs) > 1 else alone
    return {name: (text.encode(), 0o644)}


def array_links(run: RunPlan, jobs: Sequence[JobPlan], attempt: int) -> dict[str, str]:
    """By which a task finds its job's folder, and Slurm the log in it; below the run's folder."""
    name = array_name(run.run_id, attempt)
    return {f"{OWN}/{name}.{job.index}": f"../{job.directory}" for job in jobs} if len(jobs) > 1 else {}


def submission(run: RunPlan, jobs: Sequence[JobPlan], attempt: int, at_once: int = 1) -> str:
    """For one job, or for several as the tasks of an array, of which so many may run `at_once`."""
    job, array = jobs[0], array_name(run.run_id, attempt) if len(jobs) > 1 else ""
    settings = run.settings
    walltime, most = settings.get("walltime"), settings.get("max_walltime")
    nodes, flags = _asked(run, job)
    if array:
        comment = f"{run.run_id}, attempt {attempt}: {len(jobs)} jobs, each by its index"
    else:
        comment = f"{job.key}, attempt {attempt}: {about(job)}"
    return _template().render(
        name=array or named(job.key, attempt).name,
        array=indexes(jobs, at_once) if array else "",
        folder=f"{OWN}/{array}." if array else "",
        about=comment,
        attempt=attempt,
        nodes=nodes,
        flags=flags,
        resume=_setting(run, "auto_resume"),
        stop_before=_setting(run, "stop_before"),
        walltime=walltime,
        max_walltime=most,
        all_used=f"its total walltime of {clock(most or 0)} is used up",
        not_again="Slurm took its time or its place, and would not start it again",
        secrets=secret_files(),
        start_file=files.START,
        first_start=_first_start(attempt),
        beat=BEAT,
        beats=BEATS,
        patience=PATIENCE,
        log=files.JOB_LOG,
        exit_file=files.EXIT,
        node_script=NODE_SCRIPT,
        ray_bin=shlex.quote(settings["ray_bin"]) if settings.get("ray_bin") else "",
        ray_deadline=RAY_DEADLINE,
        part="slurm_ray.sh.j2" if settings.get("with_ray") else "slurm_plain.sh.j2",
    )


def job_files(run: RunPlan, job: JobPlan, attempt: int, secrets: Mapping[str, str]) -> Files:
    """Everything but the text for sbatch that lies in the job's folder before sbatch is called: path →
    content and mode."""
    made = node_files(run, job, attempt, secrets, runtime=runtime_of(run), root=root_of(run))
    if _setting(run, "auto_resume"):
        for kept, name in secret_files():
            if name in made:
                made[kept] = made.pop(name)
    # An earlier attempt that lives still learns from it that its time is over.
    made[files.START] = (f"{_first_start(attempt)} submitted\n".encode(), 0o644)
    return made


def _first_start(attempt: int) -> int:
    """Below the numbers of all starts of this attempt, above those of earlier ones. They have ten digits for
    the job and five for its restarts."""
    return attempt * 10**15


def _asked(run: RunPlan, job: JobPlan) -> tuple[int, tuple[str, ...]]:
    """Nodes and flags, in which the steps of a pipeline can differ."""
    if job.kind == "recipe":
        return job.resources.nodes, _flags(run.settings, job.resources.gpus)
    return _setting(run, "nodes"), _flags(run.settings, run.settings.get("gpus_per_node"))


def _flags(settings: Mapping[str, Any], gpus: int | None) -> tuple[str, ...]:
    made: list[str] = []
    for name in ("account", "partition", "qos"):
        if settings.get(name):
            made.append(f"--{name}={settings[name]}")
    if gpus:
        made.append(f"--gpus-per-node={gpus}")
    if settings.get("cpus_per_task"):
        made.append(f"--cpus-per-task={settings['cpus_per_task']}")
    if settings.get("memory") is not None:
        # All of a node's memory is 0 in Slurm's words; its unit is MiB.
        made.append(f"--mem={-(-settings['memory'] // (1 << 20))}M")
    if settings.get("walltime"):
        made.append(f"--time={clock(settings['walltime'])}")
    return (*made, *settings.get("sbatch_args", ()))


def _setting(run: RunPlan, name: str) -> Any:
    return run.settings.get(name, _DEFAULTS[name])


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 # on use

    # Shell text: nothing to escape; what isn't checked by the configuration stands in comments only.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("slurm.sub.j2")
