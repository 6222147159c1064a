"""The endpoint that commands are shown for, and a task's command for it, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from catalog import rendering
from catalog.errors import UsageError
from catalog.models import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """`type` is the kind of endpoint that a task asks for; the key is named, never shown."""

    type: str
    url: str
    model_id: str
    api_key_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleEndpoint:
    """What a site's owner chose; empty: evaldock's own choice. `base_url` ends before `/chat/completions`."""

    base_url: str = ""
    model_id: str = ""
    api_key_name: str = ""

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> ExampleEndpoint:
        known = ("base_url", "model_id", "api_key_name")
        if not value.keys() <= set(known) or not all(isinstance(text, str) for text in value.values()):
            raise UsageError(
                f"evaldock_example_endpoint can't be {dict(value)!r}",
                place="conf.py",
                hint=f"it holds texts named {', '.join(known)}",
            )
        return cls(**value)

    def for_task(self, task: Task) -> Endpoint:
        common = rendering.example_overrides(task)["target"]["api_endpoint"]
        url = common["url"]
        if self.base_url:
            url = self.base_url.rstrip("/") + urlsplit(url).path.removeprefix("/v1")
        return Endpoint(
            type=common["type"],
            url=url,
            model_id=self.model_id or common["model_id"],
            api_key_name=self.api_key_name or common["api_key_name"],
        )


@dataclass(frozen=True, slots=True)
class Shown:
    """Either the command's `text` or the `problem` that kept it from being rendered."""

    text: str | None
    problem: str | None = None


def rendered_example(task: Task, endpoint: Endpoint) -> Shown:
    overrides = rendering.example_overrides(task)
    overrides["target"]["api_endpoint"] = {
        "type": endpoint.type,
        "url": endpoint.url,
        "model_id": endpoint.model_id,
        "api_key_name": endpoint.api_key_name,
    }
    try:
        return Shown(rendering.render(task, overrides).strip())
    except rendering.Unrenderable as error:
        return Shown(None, error.message)
