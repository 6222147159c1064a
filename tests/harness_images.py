"""Images of small harnesses, in a fake registry or in a layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from image_parts import Layer, Layout, member, tar
from services.fake_registry import FakeRegistry

COMMAND = "run {{target.api_endpoint.url}} --top-p {{config.params.top_p}}"


def framework(name: str, *tasks: str, command: str = COMMAND, **params: Any) -> bytes:
    """A framework.yml (JSON is YAML) whose tasks share `params`."""
    definition = {
        "framework": {"name": name, "pkg_name": name},
        "defaults": {
            "command": command,
            "config": {"params": {"top_p": 0.9, **params}, "supported_endpoint_types": ["chat"]},
            "target": {"api_endpoint": {"stream": False}},
        },
        "evaluations": [
            {"name": task, "description": f"About {task}.", "defaults": {"config": {"type": task}}}
            for task in tasks
        ],
    }
    return json.dumps(definition).encode()


def path_of(name: str) -> str:
    return f"opt/metadata/{name}/framework.yml"


def push(
    registry: FakeRegistry, repository: str, files: Mapping[str, bytes], *, tag: str = "1.0", **image: Any
) -> str:
    """An image of a base layer and one with `files`; gives back its digest."""
    layers = [
        registry.add_layer(repository, {"etc/os-release": b"ID=none\n"}),
        registry.add_layer(repository, dict(files)),
    ]
    digest: str = registry.add_image(repository, layers, tag=tag, **image)["digest"]
    return digest


def lay_out(root: Path, files: Mapping[str, bytes], *, tag: str | None = None) -> Layout:
    """The same as a layout."""
    layout = Layout(root)
    layout.image(Layer.gzipped(tar(*(member(path, data) for path, data in files.items()))), tag=tag)
    return layout
