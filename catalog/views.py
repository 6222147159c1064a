"""Harnesses and tasks as the JSON data that listings print. Pure."""

from __future__ import annotations

from typing import Any

from catalog.models import Harness
from catalog.selection import Listed


def harness_data(harness: Harness) -> dict[str, Any]:
    image = harness.image
    return {
        "name": harness.name,
        "full_name": harness.full_name,
        "description": harness.description,
        "url": harness.url,
        "pkg_name": harness.pkg_name,
        "tasks": len(harness.tasks),
        "entry": harness.entry,
        "state": str(harness.state),
        "reason": harness.reason,
        "image": {
            "container": image.container,
            "digest": image.digest,
            "manifest_digest": image.manifest_digest,
            "platform": image.platform,
            "platforms": list(image.platforms),
            "complete": image.complete,
        },
        "packages": list(harness.packages),
        "abilities": list(harness.abilities),
        "sources": [
            {"path": source.path, "layer": source.layer, "sha256": source.sha256}
            for source in harness.sources
        ],
    }


def task_data(listed: Listed) -> dict[str, Any]:
    """One line of a listing: without the effective task."""
    task = listed.task
    return {
        "id": task.id,
        "harness": task.harness,
        "name": task.name,
        "title": task.title,
        "description": task.description,
        "endpoint_types": list(task.endpoint_types),
        "capabilities": list(task.capabilities),
        "architectures": list(listed.harness.image.architectures),
        "internal": task.internal,
    }


def full_task_data(listed: Listed) -> dict[str, Any]:
    """With the effective task (`defaults`) and the whole harness in place of its name."""
    return task_data(listed) | {
        "harness": harness_data(listed.harness),
        "dates": list(listed.task.dates),
        "defaults": listed.task.defaults,
    }
