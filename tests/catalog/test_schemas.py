"""The committed JSON Schemas: valid, agreeing with the readers, and true of what is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli
import yaml
from jsonschema import Draft202012Validator

from catalog import index, mapping, names, normal_form
from catalog.definition_fields import API_ENDPOINT, CONFIG, DEFAULTS, ENDPOINT_TYPES, PARAMS
from synthetic import make_catalog

FOLDER = Path(normal_form.__file__).parent / "schema"
QUICKCHECK = Path(normal_form.__file__).parent / "harnesses/quickcheck/framework.yml"


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.schema.json").read_text())
    return found


def mistakes(name: str, data: Any) -> list[str]:
    return [
        f"{error.json_path}: {error.message}"
        for error in Draft202012Validator(schema(name)).iter_errors(data)
    ]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.name)
def test_schemas_are_valid(path: Path) -> None:
    Draft202012Validator.check_schema(json.loads(path.read_text()))


def test_synthetic_catalogs_are_valid(tmp_path: Path) -> None:
    root = make_catalog(tmp_path, harnesses=6, tasks=80, stale=1)
    for path in (root / "ir").iterdir():
        name = "index" if path.name == "index.yaml" else "ir"
        assert mistakes(name, yaml.safe_load(path.read_text())) == []
    assert mistakes("mapping", tomli.loads((root / "mapping.toml").read_text())) == []


def test_the_projects_own_catalog_is_valid() -> None:
    own = FOLDER.parent
    assert mistakes("mapping", tomli.loads((own / "mapping.toml").read_text())) == []
    for path in (own / "ir").glob("*.yaml"):
        name = "index" if path.name == "index.yaml" else "ir"
        assert mistakes(name, yaml.safe_load(path.read_text())) == []
    assert mistakes("framework", yaml.safe_load(QUICKCHECK.read_text())) == []


@pytest.mark.parametrize("name", ["ir", "framework"])
def test_the_fields_are_those_that_the_reader_knows(name: str) -> None:
    defs = schema(name)["$defs"]
    assert set(defs["params"]["properties"]) == set(PARAMS)
    assert set(defs["config"]["properties"]) == set(CONFIG)
    endpoint = defs["target"]["properties"]["api_endpoint"]["properties"]
    assert set(endpoint) == set(API_ENDPOINT)
    assert set(endpoint["type"]["enum"]) - {"vlm", None} == set(ENDPOINT_TYPES)
    known = set(defs["defaults"]["properties"])
    assert known - {"framework_name", "pkg_name"} == set(DEFAULTS)


def test_names_and_versions_are_those_of_the_readers() -> None:
    ir, framework = schema("ir"), schema("framework")
    assert pattern(ir["properties"]["harness"]) == names.HARNESS.pattern
    assert pattern(ir["$defs"]["task"]["properties"]["name"]) == names.TASK.pattern.replace("(?:", "(")
    assert pattern(framework["properties"]["framework"]["properties"]["name"]) == names.HARNESS.pattern
    assert pattern(schema("mapping")["propertyNames"]) == mapping.KEY.pattern.replace("(?:", "(")
    assert set(schema("mapping")["additionalProperties"]["properties"]) == set(mapping.FIELDS)
    file = schema("index")["$defs"]["harness"]["properties"]["file"]
    assert pattern(file) == index.SAFE_FILE.pattern
    assert ir["properties"]["version"]["const"] == normal_form.VERSION
    assert schema("index")["properties"]["version"]["const"] == index.VERSION


def pattern(part: Mapping[str, Any]) -> str:
    return str(part["pattern"]).removeprefix("^").removesuffix("$")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("ir", {"version": 1}),
        ("ir", {"version": 1, "harness": "../x", "pkg_name": "x", "defaults": {}, "tasks": []}),
        ("ir", {"version": 1, "harness": "x", "pkg_name": "x", "defaults": {}, "tasks": [], "more": 1}),
        ("index", {"version": 1, "mapping_sha256": "short", "entries": []}),
        ("mapping", {"a": {}}),
        ("mapping", {"a": {"container": "x", "abilities": ["fly"]}}),
        ("framework", {"framework": {"name": "a"}, "defaults": {}, "evaluations": []}),
        (
            "framework",
            {"framework": {"name": "a", "pkg_name": "a"}, "defaults": {}, "evaluations": [{"defaults": {}}]},
        ),
    ],
)
def test_what_is_wrong_is_not_valid(name: str, data: Any) -> None:
    assert mistakes(name, data)
