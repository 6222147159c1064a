"""What is sent to Slurm for a job: the text for sbatch, and the files beside it. Pure.

The job's folder on the cluster is where sbatch is called, so that no path stands in the text.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from launcher.backends.docker_arguments import SERVER_FOLDER
from launcher.configuration.slurm import clock
from launcher.jobs import JobPlan, RunPlan
from launcher.node.node_script import NODE_SCRIPT, node_files
from launcher.runs import run_directory as files

if TYPE_CHECKING:
    from jinja2 import Template

RAY_DEADLINE = 180  # seconds for a Ray cluster to come up inside a job
SUBMISSION = "slurm.sub"
# Beside a file of secrets, which each start of the job deletes: what the next start gets.
_KEPT = ".slurm"
_DEFAULTS = {"nodes": 1, "auto_resume": True, "stop_before": 120, "container_runtime": "none"}
Files = dict[str, tuple[bytes, int]]


def job_name(job: JobPlan, attempt: int) -> str:
    """By which a job is found again."""
    return f"evaldock-{job.key}-{attempt}"


def root_of(run: RunPlan) -> str:
    """The folder on the cluster below which runs, and what they share, have theirs."""
    return str(PurePosixPath(run.remote or run.directory).parent)


def runtime_of(run: RunPlan) -> str:
    return str(_setting(run, "container_runtime"))


def secret_files() -> list[tuple[str, str]]:
    """Every file that may hold secrets, as it is kept for further starts and as a start reads it."""
    names = (files.SECRETS, f"{SERVER_FOLDER}/{files.SECRETS}")
    return [(f"{name}{_KEPT}", name) for name in names]


def submission(run: RunPlan, job: JobPlan, attempt: int) -> str:
    settings = run.settings
    walltime, most = settings.get("walltime"), settings.get("max_walltime")
    return _template().render(
        name=job_name(job, attempt),
        key=job.key,
        attempt=attempt,
        task=_line(job.task),
        model=_line(job.endpoint.model_id),
        # The steps of a pipeline can differ in these.
        nodes=job.resources.nodes if job.kind == "recipe" else _setting(run, "nodes"),
        flags=_flags(settings, job.resources.gpus if job.kind == "recipe" else settings.get("gpus_per_node")),
        resume=_setting(run, "auto_resume"),
        stop_before=_setting(run, "stop_before"),
        walltime=walltime,
        max_walltime=most,
        all_used=f"its total walltime of {clock(most or 0)} is used up",
        not_again="Slurm took its time or its place, and would not start it again",
        secrets=secret_files(),
        log=files.JOB_LOG,
        exit_file=files.EXIT,
        node_script=NODE_SCRIPT,
        ray_bin=shlex.quote(settings["ray_bin"]) if settings.get("ray_bin") else "",
        ray_deadline=RAY_DEADLINE,
        part="slurm_ray.sh.j2" if settings.get("with_ray") else "slurm_plain.sh.j2",
    )


def job_files(run: RunPlan, job: JobPlan, attempt: int, secrets: Mapping[str, str]) -> Files:
    """Everything that lies in the job's folder before sbatch is called: path → content and mode."""
    made = node_files(run, job, attempt, secrets, runtime=runtime_of(run), root=root_of(run))
    if _setting(run, "auto_resume"):
        for kept, name in secret_files():
            if name in made:
                made[kept] = made.pop(name)
    return {**made, SUBMISSION: (submission(run, job, attempt).encode(), 0o644)}


def _flags(settings: Mapping[str, Any], gpus: int | None) -> list[str]:
    made = []
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
    return [*made, *settings.get("sbatch_args", ())]


def _setting(run: RunPlan, name: str) -> Any:
    return run.settings.get(name, _DEFAULTS[name])


def _line(text: str) -> str:
    return " ".join(text.split())[:200]


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
