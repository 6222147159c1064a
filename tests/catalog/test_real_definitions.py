"""Real definitions, out of published wheels, against what the other tool made of them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog import interchange, mapping, store
from catalog.framework import parse
from catalog.normal_form import same
from catalog.pointers import put_dates
from catalog.rendering import Unrenderable, example
from catalog.yaml_text import DateText
from services.pypi import RealWheels
from yaml_dates import undated

pytestmark = pytest.mark.service("pypi")

RESOURCES = "nemo_evaluator_launcher/resources"


@pytest.fixture(scope="module")
def cached() -> dict[str, Any]:
    return {}


@pytest.fixture
def theirs(real_wheels: RealWheels, cached: dict[str, Any]) -> dict[str, Any]:
    """The other tool's catalog, as YAML gives it."""
    if not cached:
        text = zipfile.ZipFile(real_wheels.launcher).read(f"{RESOURCES}/all_tasks_irs.yaml")
        cached |= yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) | {"text": text}
    return cached


def definitions(wheels: RealWheels) -> list[bytes]:
    found = []
    for wheel in wheels.harnesses:
        with zipfile.ZipFile(wheel) as archive:
            found += [archive.read(name) for name in archive.namelist() if name.endswith("/framework.yml")]
    return found


def test_every_task_is_the_same_in_every_field(real_wheels: RealWheels, theirs: dict[str, Any]) -> None:
    compared = 0
    for data in definitions(real_wheels):
        framework = parse(data, "framework.yml", strict=True)
        expected = [task for task in theirs["tasks"] if task["harness"] == framework.name]
        (about,) = [each for each in theirs["harnesses"] if each["name"] == framework.name]
        ours = framework.definition
        assert (ours.description, ours.full_name, ours.url) == tuple(
            about[key] for key in ("description", "full_name", "url")
        )
        assert [task.name for task in framework.tasks] == [task["name"] for task in expected]
        for task, other in zip(framework.tasks, expected, strict=True):
            defaults = undated(other["defaults"], DateText)
            # The one thing that the other tool adds.
            if defaults["config"]["params"]["extra"] == {} and "extra" not in task.params:
                del defaults["config"]["params"]["extra"]
            assert same(put_dates(task.defaults, task.dates), defaults), task.id
            assert task.description == other["description"]
            compared += 1
    assert compared == 239


def test_the_other_tools_catalog_comes_back_equal_in_every_field(
    real_wheels: RealWheels, theirs: dict[str, Any], tmp_path: Path
) -> None:
    raw = zipfile.ZipFile(real_wheels.launcher).read(f"{RESOURCES}/mapping.toml")
    (tmp_path / "mapping.toml").write_bytes(raw)
    read = mapping.read(tmp_path / "mapping.toml")
    imported = interchange.from_nel(theirs["text"], "all_tasks_irs.yaml")
    assert imported.mapping_sha256 == read.sha256
    entries, homeless = interchange.assign(imported, read.entries, {})
    assert homeless == []
    store.write(tmp_path, read.sha256, entries)
    catalog = store.load(tmp_path)
    assert catalog.verified
    assert len(catalog.tasks) == 421
    back = yaml.load(
        interchange.to_nel(catalog).encode(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    given = {key: theirs[key] for key in ("metadata", "harnesses", "tasks")}
    assert same(undated(back, DateText), undated(given, DateText))
    # Commands and defaults once: a fraction of the size.
    written = sum(path.stat().st_size for path in (tmp_path / "ir").iterdir())
    assert written * 5 < len(theirs["text"])
    without = [task.id for task in catalog.tasks if not renders(task)]
    assert without == ["livecodebench.codegeneration_notfast"]


def renders(task: Any) -> bool:
    try:
        example(task)
    except Unrenderable:
        return False
    return True
