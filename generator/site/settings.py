"""What a site's owner can choose, and where the pieces of the extension lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import UsageError

HERE = Path(__file__).parent
TEMPLATES = HERE / "templates"
COMPONENTS = HERE / "components"
STATIC = HERE / "static"
SCHEMA = HERE / "schema" / "catalog.schema.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleEndpoint:
    """The endpoint that commands are shown for. `base_url` ends before `/chat/completions` and its kind."""

    base_url: str = "https://api.example.com/v1"
    model_id: str = "my-model"
    api_key_name: str = "API_KEY"

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> ExampleEndpoint:
        unknown = set(value) - {"base_url", "model_id", "api_key_name"}
        if unknown or not all(isinstance(text, str) for text in value.values()):
            raise UsageError(
                f"evaldock_example_endpoint can't be {dict(value)!r}",
                place="conf.py",
                hint="it holds texts named base_url, model_id and api_key_name",
            )
        return cls(**value)

    def url(self, endpoint_type: str) -> str:
        return self.base_url.rstrip("/") + _PATHS.get(endpoint_type, _PATHS["chat"])


# Where OpenAI-compatible servers answer; `vlm` is an old name of `chat`.
_PATHS = {
    "chat": "/chat/completions",
    "vlm": "/chat/completions",
    "completions": "/completions",
    "completions_logprob": "/completions",
    "embedding": "/embeddings",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`table_rows`: the most rows that one page's table may have. `workflow`: the file name of the workflow
    that runs tasks in the site's repository."""

    example: ExampleEndpoint = field(default_factory=ExampleEndpoint)
    workflow: str = "evaluate.yml"
    table_rows: int = 1000
