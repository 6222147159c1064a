from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog import store
from catalog.models import EntryState
from harness_images import framework, lay_out, path_of, push
from image_parts import Layer, Layout, member, tar
from running import Ran, evaldock
from services.fake_registry import FakeRegistry


class Place:
    """A catalog whose images are in a fake registry."""

    def __init__(self, root: Path, registry: FakeRegistry) -> None:
        self.root = root
        self.registry = registry
        root.mkdir()

    def write(self, *names: str, **containers: str) -> None:
        """Entries for images in the registry by their names, and for other containers."""
        given = {name: self.registry.reference(name, tag="1.0") for name in names} | containers
        tables = [f'[{name}]\ncontainer = "{container}"\n' for name, container in given.items()]
        (self.root / "mapping.toml").write_text("\n".join(tables))

    def push(self, name: str, *tasks: str, **params: Any) -> str:
        return push(self.registry, name, {path_of(name): framework(name, *tasks, **params)})

    def sync(self, *arguments: str) -> Ran:
        return evaldock("sync", *arguments, "--catalog", self.root)

    def check(self) -> Ran:
        return evaldock("check", "--json", "--catalog", self.root)

    def codes(self) -> list[str]:
        return [finding["code"] for finding in self.check().json["findings"]]

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Bytes and times of everything."""
        return {
            str(path.relative_to(self.root)): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }

    def tasks(self) -> list[str]:
        catalog = store.load(self.root)
        assert catalog.problems == ()
        return [task.id for task in catalog.tasks]


@pytest.fixture
def place(tmp_path: Path, fake: FakeRegistry) -> Place:
    return Place(tmp_path / "catalog", fake)


@pytest.fixture
def two(place: Place) -> Place:
    """Two entries, synced once."""
    place.push("maths", "algebra", "sets")
    place.push("code", "python")
    place.write("maths", "code")
    ran = place.sync()
    assert ran.code == 0, ran.err
    place.registry.reset()
    return place


def test_images_become_a_catalog_that_verifies(place: Place) -> None:
    place.push("maths", "algebra", "sets")
    place.push("code", "python")
    place.write("maths", "code")
    ran = place.sync()
    assert ran.code == 0
    assert re.sub(r"\x1b\[\d+m", "", ran.out).splitlines() == [
        "maths: 1 harness added; 2 tasks added",
        "  + harness maths",
        "  + 2 tasks: maths.algebra, maths.sets",
        "code: 1 harness added; 1 task added",
        "  + harness code",
        "  + code.python",
        "2 entries; 2 read",
        "wrote ir/maths.yaml; wrote ir/code.yaml; wrote ir/index.yaml",
    ]
    assert sorted(re.sub(r"^\[./2\] ", "", line) for line in ran.err.splitlines()) == [
        "code: read, 1 task",
        "maths: read, 2 tasks",
    ]
    assert place.tasks() == ["maths.algebra", "maths.sets", "code.python"]
    assert place.check().code == 0


def test_a_second_sync_asks_one_head_each_and_changes_not_one_byte(two: Place) -> None:
    before = two.files()
    ran = two.sync("--json")
    assert ran.code == 0
    assert two.files() == before
    assert [one["result"] for one in ran.json["entries"]] == ["unchanged", "unchanged"]
    assert ran.json["changed"] == ran.json["removed"] == []
    assert ran.json["cost"] == {"requests": 2, "bytes": 0}
    assert [one.method for one in two.registry.log] == ["HEAD", "HEAD"]


def test_without_a_cache_what_is_on_record_still_is_not_read(
    two: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EVALDOCK_CACHE", str(tmp_path / "another"))
    assert two.sync().code == 0
    assert [one.method for one in two.registry.log] == ["HEAD", "HEAD"]


def test_an_image_pinned_by_digest_costs_nothing_the_second_time(place: Place) -> None:
    digest = place.push("maths", "algebra")
    place.write(maths=place.registry.reference("maths", tag="1.0", digest=digest))
    assert place.sync().code == 0
    place.registry.reset()
    before = place.files()
    assert place.sync().code == 0
    assert place.registry.log == []
    assert place.files() == before


def test_a_moved_tag_is_read_and_what_changed_is_named(two: Place) -> None:
    digest = two.push("maths", "algebra", "groups", top_p=0.5)
    ran = two.sync("--json")
    assert ran.code == 0
    entry = ran.json["entries"][0]
    assert entry["result"] == "read"
    assert entry["digest"] == digest
    assert entry["difference"]["tasks"]["added"] == ["maths.groups"]
    assert entry["difference"]["tasks"]["removed"] == ["maths.sets"]
    assert entry["difference"]["tasks"]["changed"] == [
        {"name": "maths.algebra", "fields": [{"path": "config.params.top_p", "old": 0.9, "new": 0.5}]}
    ]
    assert two.tasks() == ["maths.algebra", "maths.groups", "code.python"]


def test_a_harness_that_an_image_no_longer_holds_loses_its_file(two: Place) -> None:
    push(two.registry, "maths", {path_of("other"): framework("other", "x")})
    ran = two.sync("--json")
    assert ran.json["removed"] == ["ir/maths.yaml"]
    assert not (two.root / "ir" / "maths.yaml").exists()
    assert two.tasks() == ["other.x", "code.python"]


def test_an_entry_that_fails_keeps_its_ir_and_stands_as_stale(two: Place) -> None:
    two.registry.inject("/code/", status=404, times=10)
    ran = two.sync()
    assert ran.code == 1
    assert "mapping.toml:5: entry 'code' could not be read" in ran.err
    assert "its last good IR was kept, marked as stale" in ran.err
    assert two.tasks() == ["maths.algebra", "maths.sets", "code.python"]
    checked = two.check()
    assert checked.code == 1
    assert [one["code"] for one in checked.json["findings"]] == ["entry-stale"]
    before = two.files()
    assert two.sync().code == 1
    assert two.files() == before
    two.registry.reset()
    assert two.sync().code == 0
    assert two.check().code == 0
    assert len(two.registry.log) == 2  # no more than a look: the IR was good all along


def test_a_new_entry_that_fails_is_on_record_all_the_same(two: Place) -> None:
    two.write("maths", "code", "missing")
    ran = two.sync()
    assert ran.code == 1
    assert "nothing is known of it yet" in ran.err
    assert two.tasks() == ["maths.algebra", "maths.sets", "code.python"]
    assert two.codes() == ["entry-stale"]


def test_when_everything_fails_alike_the_exit_code_says_how(two: Place) -> None:
    two.registry.inject(status=503, times=20)
    assert two.sync().code == 4
    two.registry.reset()
    two.registry.inject(status=404, times=20)
    assert two.sync().code == 3


def test_what_is_recorded_of_a_failure_names_no_folder_of_this_machine(place: Place) -> None:
    place.write(maths="oci:images/nowhere")
    assert place.sync().code == 3
    assert str(place.root) not in (place.root / "ir" / "index.yaml").read_text()


def test_an_image_without_a_framework_file_is_an_error(place: Place) -> None:
    push(place.registry, "maths", {"etc/other": b""})
    place.write("maths")
    ran = place.sync()
    assert ran.code == 3
    assert "the image holds no framework.yml; all of its layers were read" in ran.err


@pytest.fixture
def large(place: Place) -> Place:
    """An image whose framework file is in a layer too large to be read by default, and without a hint."""
    noise = random.Random(1).randbytes(9 << 20)
    files = {"opt/noise": noise, path_of("maths"): framework("maths", "algebra")}
    layers = [
        place.registry.add_layer("maths", files),
        place.registry.add_layer("maths", {"etc/os-release": b""}),
    ]
    place.registry.add_image("maths", layers, tag="1.0")
    place.write("maths")
    return place


def test_a_file_in_a_large_layer_that_nothing_hints_at_is_found(large: Place) -> None:
    assert large.sync().code == 0
    assert large.tasks() == ["maths.algebra"]


def test_a_read_on_record_as_incomplete_is_made_complete_when_asked(place: Place) -> None:
    noise = random.Random(1).randbytes(9 << 20)
    layers = [
        place.registry.add_layer("maths", {"opt/noise": noise}),
        place.registry.add_layer("maths", {path_of("maths"): framework("maths", "algebra")}),
    ]
    place.registry.add_image("maths", layers, tag="1.0")
    place.write("maths")
    assert "not every layer was read (`--complete` does) of: maths" in place.sync().out
    assert place.codes() == ["entry-incomplete"]
    assert place.sync("--json").json["entries"][0]["complete"] is False
    ran = place.sync("--json", "--complete").json["entries"][0]
    assert (ran["result"], ran["complete"]) == ("read", True)
    assert place.codes() == []
    assert place.sync("--json", "--complete").json["entries"][0]["result"] == "unchanged"


def test_one_image_may_hold_several_harnesses(place: Place) -> None:
    files = {path_of(name): framework(name, "x") for name in ("one", "two")}
    push(place.registry, "both", files)
    place.write("both")
    assert place.sync().code == 0
    assert place.tasks() == ["one.x", "two.x"]
    assert {harness.entry for harness in store.load(place.root).harnesses} == {"both"}


def test_two_entries_must_not_hold_one_harness(two: Place) -> None:
    push(two.registry, "again", {path_of("maths"): framework("maths", "x")})
    two.write("maths", "code", "again")
    before = two.files()
    ran = two.sync()
    assert ran.code == 2
    assert "harness 'maths' stands in two entries: 'maths' and 'again'" in ran.err
    assert two.files() == before


def test_equal_containers_are_read_once(place: Place) -> None:
    place.push("maths", "algebra")
    container = place.registry.reference("maths", tag="1.0")
    place.write(one=container)
    assert place.sync().code == 0
    alone = len(place.registry.log)
    (place.root / "ir" / "index.yaml").unlink()
    place.registry.reset()
    place.write(one=container, other=container)
    assert place.sync().code == 2  # both would hold the same harness
    assert len(place.registry.log) <= alone


def test_an_entry_that_left_mapping_toml_vanishes_with_a_line(two: Place) -> None:
    two.write("maths")
    ran = two.sync()
    assert ran.code == 0
    assert "code: no longer in mapping.toml; 1 harness removed; 1 task removed" in ran.out
    assert two.tasks() == ["maths.algebra", "maths.sets"]


def test_a_sync_of_some_entries_keeps_the_others_as_recorded(two: Place) -> None:
    two.push("maths", "algebra")
    two.push("code", "python", "rust")
    ran = two.sync("code", "--json")
    assert [one["result"] for one in ran.json["entries"]] == ["kept", "read"]
    assert two.tasks() == ["maths.algebra", "maths.sets", "code.python", "code.rust"]
    assert two.registry.count("/maths/") == 0


def test_a_sync_of_some_entries_does_not_vouch_for_the_others(two: Place) -> None:
    two.push("new", "x")
    two.write("maths", "new", code=two.registry.reference("code", tag="2.0"))
    assert two.sync("new").code == 0
    assert store.load(two.root).problems != ()
    assert two.codes() == ["entry-changed"]
    push(two.registry, "code", {path_of("code"): framework("code", "python")}, tag="2.0")
    assert two.sync("code").code == 0
    assert two.check().code == 0


def test_an_unknown_entry_is_not_found(two: Place) -> None:
    ran = two.sync("math")
    assert ran.code == 3
    assert "no entry 'math'; did you mean 'maths'?" in ran.err


def test_an_ir_edited_by_hand_is_made_anew(two: Place) -> None:
    before = two.files()
    ir = two.root / "ir" / "maths.yaml"
    ir.write_text(ir.read_text().replace("algebra", "alchemy"))
    assert two.check().code == 1
    assert two.sync().code == 0
    assert {name: data for name, (data, _) in two.files().items()} == {
        name: data for name, (data, _) in before.items()
    }


@pytest.mark.parametrize("arguments", [(), ("code",)])
def test_an_ir_edited_by_hand_is_never_vouched_for(two: Place, arguments: Iterable[str]) -> None:
    ir = two.root / "ir" / "maths.yaml"
    ir.write_text(ir.read_text().replace("algebra", "alchemy"))
    two.registry.inject("/maths/", status=404, times=10)
    before = two.files()
    ran = two.sync(*arguments)
    assert ran.code == 5
    assert "entry 'maths' was not read, and its IR can't be kept either: ir/maths.yaml: " in ran.err
    assert two.files() == before


def test_every_mistake_of_a_framework_file_is_told(two: Place) -> None:
    push(two.registry, "code", {path_of("code"): b"framework: {name: 7}\nevaluations: []\n"})
    ran = two.sync()
    assert ran.code == 1
    for part in ("framework.name", "framework.pkg_name", "defaults"):
        assert f"/opt/metadata/code/framework.yml: {part}: " in ran.err
    assert two.codes() == ["entry-stale"]


def test_unknown_keys_are_warned_about_and_refused_when_strict(place: Place) -> None:
    push(place.registry, "maths", {path_of("maths"): framework("maths", "algebra", tempratur=1)})
    place.write("maths")
    ran = place.sync()
    assert ran.code == 0
    assert (
        "maths: /opt/metadata/maths/framework.yml: defaults.config.params.tempratur: unknown key" in ran.err
    )
    strict = place.sync("--strict")
    assert strict.code == 2
    assert "defaults.config.params.tempratur: unknown key" in strict.err
    assert place.tasks() == ["maths.algebra"]


def test_a_command_that_reaches_for_python_is_refused(place: Place) -> None:
    command = "{{ config.__class__.__mro__ }}"
    push(place.registry, "maths", {path_of("maths"): framework("maths", "algebra", command=command)})
    place.write("maths")
    ran = place.sync()
    assert ran.code == 2
    assert "/opt/metadata/maths/framework.yml" in ran.err
    assert not (place.root / "ir" / "maths.yaml").exists()


def test_a_dry_run_writes_nothing(two: Place) -> None:
    two.push("maths", "algebra")
    before = two.files()
    ran = two.sync("--dry-run")
    assert ran.code == 0
    assert "maths: 1 harness changed; 1 task removed" in ran.out
    assert "nothing was written: --dry-run" in ran.out
    assert two.files() == before


def test_a_platform_chooses_the_image_of_an_index(place: Place) -> None:
    images = [
        place.registry.add_image(
            "maths",
            [place.registry.add_layer("maths", {path_of("maths"): framework("maths", f"on_{arch}")})],
            platform=f"linux/{arch}",
        )
        for arch in ("amd64", "arm64")
    ]
    place.registry.add_index("maths", images, tag="1.0")
    place.write("maths")
    assert place.sync().code == 0
    assert place.tasks() == ["maths.on_amd64"]
    mapping = place.root / "mapping.toml"
    mapping.write_text(mapping.read_text() + 'platform = "linux/arm64"\n')
    assert place.sync().code == 0
    assert place.tasks() == ["maths.on_arm64"]
    (harness,) = store.load(place.root).harnesses
    assert harness.image.architectures == ("amd64", "arm64")
    assert harness.image.manifest_digest == images[1]["digest"]


def test_what_mapping_toml_says_beside_the_image_needs_no_read(two: Place) -> None:
    mapping = two.root / "mapping.toml"
    mapping.write_text(mapping.read_text() + 'packages = ["code-harness==1.0"]\nabilities = ["resume"]\n')
    assert two.sync("--json").json["entries"][1]["result"] == "unchanged"
    assert [one.method for one in two.registry.log] == ["HEAD", "HEAD"]
    harness = store.load(two.root).harnesses[1]
    assert harness.packages == ("code-harness==1.0",)
    assert harness.abilities == ("resume",)


def test_what_was_imported_is_read_whatever_digest_it_came_with(place: Place) -> None:
    digest = place.push("maths", "algebra")
    place.write("maths")
    assert place.sync().code == 0
    # Another tool's word for the same image, as an import leaves it: no framework.yml was ever seen.
    (read,) = store.load(place.root).entries
    harness = replace(read.harnesses[0], sources=(), tasks=read.harnesses[0].tasks[:0])
    imported = replace(read, state=EntryState.IMPORTED, harnesses=(harness,))
    store.write(place.root, store.load(place.root).mapping_sha256, [imported])
    place.registry.inject(status=404, times=10)
    assert place.sync().code == 3
    assert place.codes() == ["entry-stale"]
    place.registry.reset()
    assert place.sync().code == 0
    assert place.tasks() == ["maths.algebra"]
    assert store.load(place.root).harnesses[0].image.digest == digest


def test_layouts_lie_relative_to_the_catalog(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.root.parent)
    lay_out(place.root / "images" / "maths", {path_of("maths"): framework("maths", "algebra")}, tag="1.0")
    place.write(maths="oci:images/maths:1.0")
    assert evaldock("sync", "--catalog", place.root.name).code == 0
    assert place.tasks() == ["maths.algebra"]
    text = (place.root / "ir" / "index.yaml").read_text()
    assert "oci:images/maths:1.0" in text
    assert str(place.root) not in text
    before = place.files()
    assert place.sync().code == 0
    assert place.files() == before


def test_several_framework_files_with_mistakes_are_told_together(place: Place) -> None:
    files = {path_of(name): b"framework: {}\n" for name in ("one", "two")}
    lay_out(place.root / "image", files)
    place.write(both="oci:image")
    ran = place.sync()
    assert ran.code == 2
    assert "/opt/metadata/one/framework.yml: framework.name: missing" in ran.err
    assert "/opt/metadata/two/framework.yml: framework.name: missing" in ran.err


def test_a_catalog_that_cannot_be_written_is_told(two: Place) -> None:
    two.push("maths", "algebra")
    ir = two.root / "ir"
    moved = two.root / "elsewhere"
    ir.rename(moved)
    ir.write_text("not a folder")
    ran = two.sync()
    assert ran.code == 5
    assert "the IR can't be written" in ran.err
    assert ir.read_text() == "not a folder"


def test_an_empty_mapping_makes_an_empty_catalog(place: Place) -> None:
    place.write()
    assert place.sync().code == 0
    assert place.tasks() == []
    assert place.check().code == 0


def test_an_image_is_listed_on_the_fly(place: Place) -> None:
    place.push("maths", "algebra", "sets")
    image = place.registry.reference("maths", tag="1.0")
    listed = evaldock("ls", "tasks", "--from", image, "--json")
    assert [one["id"] for one in listed.json] == ["maths.algebra", "maths.sets"]
    shown = evaldock("show", "sets", "--from", image, "--rendered")
    assert "run https://endpoint.example/v1/chat/completions --top-p 0.9" in shown.out
    missing = evaldock("show", "set", "--from", image)
    assert missing.code == 3
    assert "did you mean sets?" in missing.err


def test_on_the_fly_every_layer_is_read_before_nothing_is_said_to_be_there(large: Place) -> None:
    listed = evaldock("ls", "harnesses", "--from", large.registry.reference("maths", tag="1.0"), "--json")
    assert [one["name"] for one in listed.json] == ["maths"]


def test_hostile_text_reaches_no_terminal(place: Place) -> None:
    layout = Layout(place.root / "image")
    text = framework("maths", "algebra").replace(b"About algebra.", rb"About \u001b[2J\u202e algebra.")
    layout.image(Layer.plain(tar(member(path_of("maths"), text))))
    place.write(maths="oci:image")
    place.sync()
    for command in (("ls", "tasks"), ("show", "algebra"), ("ls", "tasks", "--json")):
        shown = evaldock(*command, "--catalog", place.root).out
        assert "\x1b[2J" not in shown
        assert "\u202e" not in shown
        assert "[2J" in shown


def test_nothing_of_a_sync_is_left_but_the_ir(two: Place) -> None:
    assert sorted(two.files()) == ["ir/code.yaml", "ir/index.yaml", "ir/maths.yaml", "mapping.toml"]
