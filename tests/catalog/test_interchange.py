"""Catalogs of the other launcher: in and out again without losing a field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog import mapping, store
from catalog.errors import InvalidInput
from catalog.interchange import MISSING, assign, from_nel, to_nel
from catalog.models import Catalog, Entry, EntryState, MappingEntry
from running import evaldock
from samples import harness, task

NEL = """\
metadata:
  mapping_toml_checksum: sha256:{checksum}
  num_tasks: 3
  num_harnesses: 2
harnesses:
- name: ruler
  description: Long contexts.
  full_name: RULER
  url: null
  container: registry.example/evals/long-context:26.03
  container_digest: sha256:{digest}
  arch: multiarch
- name: AA-LCR
  description: ''
  full_name: null
  url: https://lcr.example
  container: registry.example/evals/aa-lcr:26.03
  container_digest: null
  arch: null
tasks:
- name: ruler-4k
  description: At 4k.
  harness: ruler
  defaults:
    command: 'run {{{{config.params.task}}}}

      '
    framework_name: ruler
    pkg_name: ruler_pkg
    config:
      params:
        task: niah
        temperature: 1.0e-07
        extra: {{}}
      supported_endpoint_types: [chat]
      type: ruler-4k
    target:
      api_endpoint: {{}}
- name: ruler-dates
  description: [One., Two.]
  harness: ruler
  defaults:
    command: other
    framework_name: ruler
    pkg_name: ruler_pkg
    config:
      params:
        extra:
          start: 2024-07-01
          quoted: '2024-07-01'
          "off": null
          list: [2024-08-01, '1:20', yes]
      type: ruler-dates
    target: {{}}
- name: aa_lcr
  description: ''
  harness: AA-LCR
  defaults:
    command: run
    framework_name: AA-LCR
    pkg_name: aa_lcr
    config:
      params: {{extra: {{}}}}
      type: aa_lcr
    target: {{}}
""".format(checksum="c" * 64, digest="d" * 64)

MAPPING = """\
[long_context_eval]
container = "registry.example/evals/long-context:26.03"
# container-digest:sha256:ab3aa4a83cac15e10e198f0b3a34eb8476cddd52621eb6a4f7c9c47a72a53524

[aa-lcr]
container = "registry.example/evals/aa-lcr:26.03"
"""


def nel_for(mapping_text: str) -> str:
    return NEL.replace("c" * 64, store.checksum(mapping_text.encode()))


@pytest.fixture
def resources(tmp_path: Path) -> Path:
    """As the other tool's package holds them."""
    folder = tmp_path / "resources"
    folder.mkdir()
    (folder / "mapping.toml").write_text(MAPPING)
    (folder / "all_tasks_irs.yaml").write_text(nel_for(MAPPING))
    return folder


def test_what_is_imported_says_what_is_known_and_what_is_not() -> None:
    imported = from_nel(NEL.encode(), "f")
    assert imported.mapping_sha256 == "c" * 64
    ruler, lcr = imported.harnesses
    assert (ruler.name, ruler.pkg_name, ruler.full_name, ruler.url) == ("ruler", "ruler_pkg", "RULER", None)
    assert ruler.command is None
    assert ruler.sources == ()
    assert ruler.state is EntryState.IMPORTED
    assert ruler.image.digest == "sha256:" + "d" * 64
    assert (ruler.image.manifest_digest, ruler.image.platform, ruler.image.complete) == ("", "", False)
    assert ruler.image.architectures == ("amd64", "arm64")
    assert (lcr.image.digest, lcr.image.platforms, lcr.command) == ("", (), "run")
    dated = ruler.tasks[1]
    assert dated.description == "One.\nTwo."
    assert dated.params["extra"]["start"] == "2024-07-01"
    assert dated.dates == ("/config/params/extra/list/0", "/config/params/extra/start")


def test_nothing_is_lost_on_the_way_there_and_back(resources: Path, tmp_path: Path) -> None:
    given = resources / "all_tasks_irs.yaml"
    catalog, back = tmp_path / "catalog", tmp_path / "back.yaml"
    ran = evaldock("convert", "--from", "nel", given, "--catalog", catalog)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == f"evaldock: {catalog}: 3 tasks of 2 harnesses imported\n"
    assert store.load(catalog).verified
    ran = evaldock("convert", "--to", "nel", "--output", back, "--catalog", catalog)
    assert (ran.code, ran.out) == (0, "")
    assert repr_sorted(yaml.safe_load(back.read_text())) == repr_sorted(yaml.safe_load(given.read_text()))
    # Beside the same mapping, so that the other tool finds its checksum right.
    assert (catalog / "mapping.toml").read_text() == MAPPING
    assert evaldock("convert", "--to", "nel", "--output", "-", "--catalog", catalog).out == back.read_text()


def repr_sorted(value: Any) -> str:
    """Tells 1 from 1.0 and a date from its text, not one order of keys from another."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {repr_sorted(value[key])}' for key in sorted(value))}}}"
    return f"[{', '.join(map(repr_sorted, value))}]" if isinstance(value, list) else repr(value)


def test_harnesses_find_the_entries_with_their_containers() -> None:
    imported = from_nel(NEL.encode(), "f")
    wanted = [
        MappingEntry(key="aa-lcr", container="registry.example/evals/aa-lcr:26.03", abilities=("resume",)),
        MappingEntry(key="known", container="registry.example/known:1"),
        MappingEntry(key="new", container="registry.example/new:1"),
    ]
    known = Entry(mapping=wanted[1], harnesses=(harness("known", ["t"]),))
    entries, homeless = assign(imported, wanted, {"known": known, "gone": known})
    assert [entry.mapping.key for entry in entries] == ["aa-lcr", "known", "new"]
    assert entries[0].state is EntryState.IMPORTED
    assert entries[0].harnesses[0].entry == "aa-lcr"
    assert entries[0].harnesses[0].abilities == ("resume",)
    assert entries[1] is known
    assert (entries[2].state, entries[2].reason, entries[2].image) == (EntryState.STALE, MISSING, None)
    assert [each.name for each in homeless] == ["ruler"]


def test_internal_tasks_stay_at_home() -> None:
    catalog = Catalog(
        root="c",
        mapping_sha256="0",
        harnesses=(harness("h", [task("h", "public"), task("h", "secret", internal=True)]),),
    )
    data = yaml.safe_load(to_nel(catalog))
    assert [each["name"] for each in data["tasks"]] == ["public"]
    assert data["metadata"] == {"mapping_toml_checksum": "sha256:0", "num_tasks": 1, "num_harnesses": 1}
    assert data["harnesses"][0]["description"] == ""


@pytest.mark.parametrize(
    ("platforms", "arch"),
    [
        (("linux/amd64", "linux/arm64", "linux/s390x"), "multiarch"),
        (("linux/amd64",), "amd"),
        (("linux/arm64/v8",), "arm"),
        (("linux/s390x",), None),
        ((), None),
    ],
)
def test_architectures_have_labels(platforms: tuple[str, ...], arch: str | None) -> None:
    one = harness("h", ["t"])
    one = replace(one, image=replace(one.image, platforms=platforms))
    catalog = Catalog(root="c", mapping_sha256="0", harnesses=(one,))
    assert yaml.safe_load(to_nel(catalog))["harnesses"][0]["arch"] == arch


def test_all_mistakes_of_an_import_are_told() -> None:
    data = yaml.safe_load(NEL)
    del data["metadata"]["mapping_toml_checksum"]
    data["harnesses"][0]["arch"] = "riscv"
    data["harnesses"][1]["name"] = "../up"
    data["harnesses"].append(7)
    data["tasks"][0]["defaults"]["config"].pop("type")
    data["tasks"][1]["description"] = {"a": 1}
    data["tasks"][2]["name"] = "a/b"
    data["tasks"].append({"name": "t", "harness": "nobody", "defaults": data["tasks"][2]["defaults"]})
    with pytest.raises(InvalidInput) as caught:
        from_nel(yaml.safe_dump(data).encode(), "irs.yaml")
    assert caught.value.place == "irs.yaml"
    assert list(caught.value.problems) == [
        "metadata.mapping_toml_checksum: expected text, found NoneType",
        "tasks[0].defaults.config.type: expected text, found NoneType",
        "tasks[1].description: expected text or a list of texts",
        "tasks[2].name: not a name that can be an address: 'a/b'",
        "harnesses[0].arch: expected one of amd, arm, multiarch, found 'riscv'",
        "harnesses[1].name: not a name that can be an address: '../up'",
        "harnesses[2]: expected a mapping",
        "tasks: harness 'nobody' is not among the harnesses",
    ]


@pytest.mark.parametrize("text", ["", "[]", "a: b: c", "tasks: 1\n"])
def test_what_is_no_such_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "irs.yaml"
    path.write_text(text)
    ran = evaldock("convert", "--from", "nel", path, "--catalog", tmp_path / "c")
    assert ran.code == 2
    assert str(path) in ran.err
    assert not (tmp_path / "c").exists()


def test_without_a_mapping_one_is_written(resources: Path, tmp_path: Path) -> None:
    (resources / "mapping.toml").write_text("# another one\n")
    root = tmp_path / "new"
    assert evaldock("convert", "--from", "nel", resources / "all_tasks_irs.yaml", "--catalog", root).code == 0
    assert [entry.key for entry in mapping.read(root / "mapping.toml").entries] == ["ruler", "AA-LCR"]
    assert store.load(root).verified


def test_missing_entries_are_added_and_the_rest_is_left(resources: Path, tmp_path: Path) -> None:
    root = tmp_path / "new"
    evaldock("init", root)
    mine = '# mine\n[mine]\ncontainer = "oci:mine"\n'
    (root / "mapping.toml").write_text(mine)
    ran = evaldock("convert", "--from", "nel", resources / "all_tasks_irs.yaml", "--catalog", root)
    assert ran.code == 0
    assert (root / "mapping.toml").read_text().startswith(mine)
    states = {entry.mapping.key: entry.state for entry in store.load(root).entries}
    assert states == {"mine": "stale", "ruler": "imported", "AA-LCR": "imported"}
    back = evaldock("convert", "--to", "nel", "--output", "-", "--catalog", root)
    assert back.code == 0
    assert "entry 'mine' is stale" in back.err
    assert "oci:mine is a local layout" in back.err


def test_entries_that_name_other_images_are_a_mistake(resources: Path, tmp_path: Path) -> None:
    root = tmp_path / "new"
    root.mkdir()
    (root / "mapping.toml").write_text('[ruler]\ncontainer = "registry.example/evals/long-context:26.04"\n')
    ran = evaldock("convert", "--from", "nel", resources / "all_tasks_irs.yaml", "--catalog", root)
    assert ran.code == 2
    assert (
        "ruler: registry.example/evals/long-context:26.04, not registry.example/evals/long-context:26.03"
        in ran.err
    )
    assert not (root / "ir").exists()


def test_what_evaldock_read_itself_is_not_overwritten_unasked(resources: Path, tmp_path: Path) -> None:
    root = tmp_path / "c"
    given = resources / "all_tasks_irs.yaml"
    evaldock("convert", "--from", "nel", given, "--catalog", root)
    catalog = store.load(root)
    own = [replace(entry, state=EntryState.CURRENT, reason=None) for entry in catalog.entries]
    store.write(root, catalog.mapping_sha256, own)
    ran = evaldock("convert", "--from", "nel", given, "--catalog", root)
    assert ran.code == 5
    assert "long_context_eval, aa-lcr" in ran.err
    assert store.load(root).entries[0].state is EntryState.CURRENT
    assert evaldock("convert", "--from", "nel", given, "--catalog", root, "--force").code == 0
    assert store.load(root).entries[0].state is EntryState.IMPORTED


def test_what_does_not_verify_is_not_written_unasked(resources: Path, tmp_path: Path) -> None:
    root = tmp_path / "c"
    evaldock("convert", "--from", "nel", resources / "all_tasks_irs.yaml", "--catalog", root)
    with (root / "mapping.toml").open("a") as file:
        file.write("# changed\n")
    out = tmp_path / "out.yaml"
    assert evaldock("convert", "--to", "nel", "--output", out, "--catalog", root).code == 5
    assert not out.exists()
    assert evaldock("convert", "--to", "nel", "--output", out, "--catalog", root, "--unverified").code == 0
    assert out.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--to", "nel"),
        ("--to", "nel", "--from", "nel", "f"),
        ("--from", "nel"),
        ("--from", "nel", "f", "--output", "g"),
        ("--to", "nel", "f", "--output", "g"),
        ("--to", "xml", "--output", "g"),
    ],
)
def test_arguments_that_do_not_fit_are_a_usage_error(arguments: tuple[str, ...]) -> None:
    assert evaldock("convert", *arguments).code == 2


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    assert evaldock("convert", "--from", "nel", tmp_path / "none.yaml", "--catalog", tmp_path).code == 3
