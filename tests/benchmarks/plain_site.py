"""What one would have written without evaldock: a Sphinx project with a Markdown document for each task."""

from __future__ import annotations

from pathlib import Path

import yaml

from catalog.models import Catalog, Harness, Task

CONF = """\
project = "Tasks"
extensions = ["myst_parser"]
html_theme = "pydata_sphinx_theme"
"""


def write_source(catalog: Catalog, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "conf.py").write_text(CONF)
    (folder / "index.md").write_text(_page("Tasks", "", [harness.name for harness in catalog.harnesses]))
    for harness in catalog.harnesses:
        pages = [f"{harness.name}-{task.name}" for task in harness.tasks]
        (folder / f"{harness.name}.md").write_text(_page(harness.name, harness.description or "", pages))
        for name, task in zip(pages, harness.tasks, strict=True):
            (folder / f"{name}.md").write_text(_task(harness, task))


def _page(title: str, text: str, below: list[str]) -> str:
    listed = "\n".join(below)
    return f"# {title}\n\n{text}\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"


def _task(harness: Harness, task: Task) -> str:
    defaults = yaml.safe_dump(dict(task.defaults), sort_keys=False)
    facts = {
        "harness": harness.name,
        "image": harness.image.container,
        "digest": harness.image.digest,
        "endpoint types": ", ".join(task.endpoint_types),
        "capabilities": ", ".join(task.capabilities),
    }
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    return (
        f"# {task.name}\n\n{task.description}\n\n| | |\n|---|---|\n{rows}\n\n"
        f"## Defaults\n\n```yaml\n{defaults}```\n"
    )
