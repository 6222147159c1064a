"""What the shell text of all runtimes on a node is made with."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any

from launcher.jobs import CODE, JobPlan, RunPlan
from launcher.runs import run_directory as files

# Of a run, a job in it, its attempt, and the root folder on the other side.
Piece = Callable[[RunPlan, JobPlan, int, str], str]


def fill(template: str, **values: str) -> str:
    """Shell text is full of braces: names stand between at signs. One alone on a line stands for lines, or
    for none."""

    def value(match: re.Match[str]) -> str:
        found = values[match[1] or match[2]]
        return found if match[2] or not found or found.endswith("\n") else f"{found}\n"

    return re.sub(r"^@([a-z_]+)@\n|@([a-z_]+)@", value, template.lstrip("\n"), flags=re.MULTILINE)


def quoted(words: Sequence[str]) -> str:
    return " ".join(shlex.quote(word) for word in words)


def about(job: JobPlan) -> str:
    """Task and model for a comment: one line, whatever their names hold."""
    shown = [" ".join(name.split())[:200] for name in (job.task, job.endpoint.model_id)]
    return " for ".join(name for name in shown if name)


def code_folder(root: str, job: JobPlan) -> str:
    """Where shipped code lies on the other side, shared by all runs below `root`."""
    return f"{root.rstrip('/')}/.evaldock/code/{job.code}"


def with_code_below(root: str, job: JobPlan, mounts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**mount, "source": code_folder(root, job)} if mount["target"] == CODE and job.code else mount
        for mount in mounts
    ]


def there(run: RunPlan) -> RunPlan:
    """The run with its folder on the other side as its only one."""
    return dataclasses.replace(run, directory=run.remote or run.directory, remote=None)


def give(job: JobPlan) -> str:
    """Who runs as a user of its own must be able to write in the job's folder; a name is the image's to know.
    Variables of the node go the way of all secrets."""
    lines = [
        f'  [ -z "${{{s.source}+set}}" ] || hand {s.source} "${s.source}" {files.SECRETS}\n'
        for s in job.secrets
        if s.where == "runtime"
    ]
    uid = (job.user or "").partition(":")[0]
    if uid.isdigit():
        lines.append(f'  [ "$(id -u)" != 0 ] || chown -R {shlex.quote(job.user or "")} .\n')
    return "".join(lines)
