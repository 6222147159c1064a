"""What a site's owner can choose, and where the pieces of the extension lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from generator.site.example import ExampleEndpoint

HERE = Path(__file__).parent
TEMPLATES = HERE / "templates"
COMPONENTS = HERE / "components"
STATIC = HERE / "static"
SCHEMA = HERE / "schema" / "catalog.schema.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`table_rows`: the most rows that one page's table may have. `repository`: its address on GitHub, empty
    where it isn't known; `workflow`: the file name of the workflow there that runs tasks."""

    example: ExampleEndpoint = field(default_factory=ExampleEndpoint)
    repository: str = ""
    workflow: str = "evaluate.yml"
    table_rows: int = 1000
