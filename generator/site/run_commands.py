"""How a task is run, from a shell and by the workflow of the site's repository."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from catalog.errors import UsageError
from catalog.models import Task
from generator.site.example import Endpoint
from generator.site.settings import Settings
from generator.site.text import web_address

# A long command goes on in the next line.
_SPLIT = " \\\n  "


@dataclass(frozen=True, slots=True)
class RunCommands:
    """`fields` are what the workflow's form wants; `page` is the address of that form, None where the
    repository isn't known."""

    shell: str
    workflow: str
    file: str
    fields: Mapping[str, str]
    page: str | None

    @classmethod
    def of(cls, endpoint: Endpoint, task: Task, settings: Settings) -> RunCommands:
        shell = [
            f"evaldock run {shlex.quote(task.id)}",
            f"--model-id {shlex.quote(endpoint.model_id)}",
            f"--url {shlex.quote(endpoint.url)}",
            f"--api-key-name {shlex.quote(endpoint.api_key_name)}",
        ]
        fields = {"task": task.id, "model_id": endpoint.model_id, "url": endpoint.url}
        dispatch = [
            f"gh workflow run {shlex.quote(settings.workflow)}",
            *([f"--repo {shlex.quote(_short(settings.repository))}"] if settings.repository else ()),
            *(f"-f {shlex.quote(f'{name}={value}')}" for name, value in fields.items()),
        ]
        page = f"{settings.repository}/actions/workflows/{quote(settings.workflow, safe='')}"
        return cls(
            shell=_SPLIT.join(shell),
            workflow=_SPLIT.join(dispatch),
            file=settings.workflow,
            fields=fields,
            page=page if settings.repository else None,
        )


def repository_address(text: str) -> str:
    """`text` as `https://HOST/OWNER/NAME`, empty for nothing. Raises UsageError for anything else."""
    if not text:
        return ""
    address = (web_address(text) or "").rstrip("/").removesuffix(".git")
    parts = urlsplit(address)
    if len(parts.path.split("/")) != 3 or parts.query or parts.fragment:
        raise UsageError(
            f"evaldock_repository: not the address of a repository: {text!r}",
            hint="expected https://github.com/OWNER/NAME",
        )
    return address


def _short(repository: str) -> str:
    """As gh takes it: the host only where it isn't GitHub's own."""
    parts = urlsplit(repository)
    return f"{'' if parts.netloc == 'github.com' else parts.netloc + '/'}{parts.path.strip('/')}"
