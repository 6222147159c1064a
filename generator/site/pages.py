"""The bodies of all pages: which template, with what in it. Pure but for reading templates and git."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from catalog.models import Catalog, Harness, Task
from generator.site.addresses import BENCHMARKS, Addresses
from generator.site.defaults import default_rows
from generator.site.example import rendered_example
from generator.site.exports import address_file
from generator.site.fingerprints import Records, fingerprint, of_our_code
from generator.site.history import ChangeLog
from generator.site.registries import registry_page
from generator.site.results.section import section
from generator.site.results.shown import MODELS, Results
from generator.site.run_commands import RunCommands
from generator.site.settings import Settings
from generator.site.templating import Place, Templates

Row = tuple[Harness, Task]


@dataclass(frozen=True, slots=True)
class Files:
    """Addresses, below the site's root, of the data beside a page."""

    json: str
    csv: str
    command_script: str = ""


def files_of(page: str, *, command_of: str = "") -> Files:
    return Files(
        address_file(page, "json"),
        address_file(page, "csv"),
        address_file(command_of, "command.js") if command_of else "",
    )


@dataclass(frozen=True, slots=True)
class TablePart:
    """One page of a harness's table. The first is the harness's own page."""

    page: str
    label: str
    tasks: Sequence[Task]


class Site:
    """Everything that pages are made from. `address_of` turns a page name into its address below the root."""

    def __init__(self, catalog: Catalog, settings: Settings, address_of: Callable[[str], str]) -> None:
        self.catalog = catalog
        self.settings = settings
        self.address_of = address_of
        self.addresses = Addresses.of(catalog)
        self._templates = Templates()

    @cached_property
    def records(self) -> Records:
        return Records.of(self.catalog, self.settings)

    @cached_property
    def results(self) -> Results:
        return Results.of(self.catalog)

    @cached_property
    def change_log(self) -> ChangeLog:
        return ChangeLog(self.catalog)

    @cached_property
    def harness_at(self) -> dict[str, Harness]:
        """By page name."""
        return {self.addresses.harness(harness): harness for harness in self.catalog.harnesses}

    def task(self, harness: Harness, position: int) -> str:
        """The page of the harness's task at `position`."""
        task = harness.tasks[position]
        page, harness_page = self.addresses.task(task), self.addresses.harness(harness)
        endpoint = self.settings.example.for_task(task)
        return self.render(
            "task",
            page,
            harness=harness,
            task=task,
            files=files_of(page, command_of=harness_page),
            rows=default_rows(task),
            registry_page=registry_page(harness.image.container),
            run=RunCommands.of(endpoint, task, self.settings),
            endpoint=endpoint,
            command=rendered_example(task, endpoint),
            measured=section(self.results, harness, task, page),
            shares_command=harness.command is not None and task.command == harness.command,
            previous=harness.tasks[position - 1] if position else None,
            next=harness.tasks[position + 1] if position + 1 < len(harness.tasks) else None,
        )

    def task_key(self, harness: Harness, position: int) -> str:
        """Changes whenever `task` would; costs no rendering."""
        near = harness.tasks[max(position - 1, 0) : position + 2]
        return fingerprint(
            self.records.harnesses[harness.name],
            self.records.tasks[harness.tasks[position].id],
            [(task.name, self.addresses.task(task)) for task in near],
            self.results.of_task_key(harness.tasks[position].id),
        )

    def block(self, kind: str, page: str) -> str:
        """A part of a document: `kind` is `numbers`, `harnesses`, `changes`, `data`, `benchmarks`, or for the
        page of a harness `facts`, `tasks`, `command`, `origin`."""
        context = self._block_context(kind, page)
        return self.render(_BLOCKS[kind], page, **context)

    def block_key(self, kind: str, page: str) -> str:
        harness = self.harness_at.get(page)
        record = self.records.whole if harness is None else self.records.with_tasks[harness.name]
        commits = self.change_log.commits if kind == "changes" else ()
        measured = self._measured() if kind == "numbers" else None
        return fingerprint(kind, record, commits, measured, self.settings, of_our_code())

    def _measured(self) -> dict[str, int]:
        return {"published": len(self.results.published), "models": len(self.results.models)}

    def _block_context(self, kind: str, page: str) -> dict[str, Any]:
        match kind:
            case "numbers":
                return {"numbers": _numbers(self.catalog), **self._measured(), "models_page": MODELS}
            case "harnesses":
                return {"catalog": self.catalog}
            case "changes":
                return {"history": self.change_log.history()}
            case "data":
                return {"files": files_of(BENCHMARKS)}
            case "benchmarks":
                return self._benchmarks()
            case "tasks":
                return self.table_part(self.harness_at[page], 0)
        harness = self.harness_at[page]
        return {
            "harness": harness,
            "endpoint_types": _all_values(task.endpoint_types for task in harness.tasks),
            "capabilities": _all_values(task.capabilities for task in harness.tasks),
            "registry_page": registry_page(harness.image.container),
        }

    def _benchmarks(self) -> dict[str, Any]:
        total = len(self.catalog.tasks)
        fits = total <= self.settings.table_rows
        rows = (
            [(harness, task) for harness in self.catalog.harnesses for task in harness.tasks] if fits else []
        )
        return {
            "catalog": self.catalog,
            "rows": rows,
            "total": total,
            "with_harness": True,
            "files": files_of(BENCHMARKS),
        }

    def table_parts(self, harness: Harness) -> list[TablePart]:
        page, size = self.addresses.harness(harness), self.settings.table_rows
        return [
            TablePart(
                page if start == 0 else f"{page}.part-{start // size + 1}",
                f"{start + 1:,} to {min(start + size, len(harness.tasks)):,}",
                harness.tasks[start : start + size],
            )
            for start in range(0, max(len(harness.tasks), 1), size)
        ]

    def table_part(self, harness: Harness, number: int) -> dict[str, Any]:
        parts = self.table_parts(harness)
        return {
            "rows": [(harness, task) for task in parts[number].tasks],
            "total": len(harness.tasks),
            "with_harness": False,
            "parts": [
                {"page": part.page, "label": part.label, "current": at == number}
                for at, part in enumerate(parts)
            ],
            "files": files_of(self.addresses.harness(harness)),
        }

    def further_part(self, harness: Harness, number: int) -> str:
        """The page of a part of a harness's table that isn't the first."""
        page = self.table_parts(harness)[number].page
        return self.render("harness_part", page, harness=harness, **self.table_part(harness, number))

    def browse(self, page: str) -> str:
        return self.render(
            "browse", page, catalog=self.catalog, total=len(self.catalog.tasks), benchmarks_page=BENCHMARKS
        )

    def render(self, template: str, page: str, **context: Any) -> str:
        place = Place(self.address_of(page), self.address_of)
        return self._templates.render(template, place=place, addresses=self.addresses, **context)


_BLOCKS = {
    "numbers": "numbers",
    "harnesses": "harnesses",
    "changes": "changes",
    "data": "data",
    "benchmarks": "benchmarks",
    "facts": "harness_facts",
    "tasks": "harness_tasks",
    "command": "harness_command",
    "origin": "harness_origin",
}


def _numbers(catalog: Catalog) -> list[tuple[str, int]]:
    tasks = catalog.tasks
    return [
        ("tasks", len(tasks)),
        ("harnesses", len(catalog.harnesses)),
        ("endpoint types", len(_all_values(task.endpoint_types for task in tasks))),
        ("architectures", len(_all_values(harness.image.architectures for harness in catalog.harnesses))),
    ]


def _all_values(groups: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> list[str]:
    return sorted({str(value) for group in groups for value in group})
