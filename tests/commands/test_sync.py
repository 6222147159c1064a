"""`evaldock sync`: what it writes the first time and after every kind of change."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from catalog import store
from commands.conftest import Place
from harness_images import framework, path_of, push


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


def test_a_dry_run_writes_nothing(two: Place) -> None:
    two.push("maths", "algebra")
    before = two.files()
    ran = two.sync("--dry-run")
    assert ran.code == 0
    assert "maths: 1 harness changed; 1 task removed" in ran.out
    assert "nothing was written: --dry-run" in ran.out
    assert two.files() == before


def test_what_mapping_toml_says_beside_the_image_needs_no_read(two: Place) -> None:
    mapping = two.root / "mapping.toml"
    mapping.write_text(mapping.read_text() + 'packages = ["code-harness==1.0"]\nabilities = ["resume"]\n')
    assert two.sync("--json").json["entries"][1]["result"] == "unchanged"
    assert [one.method for one in two.registry.log] == ["HEAD", "HEAD"]
    harness = store.load(two.root).harnesses[1]
    assert harness.packages == ("code-harness==1.0",)
    assert harness.abilities == ("resume",)


def test_an_empty_mapping_makes_an_empty_catalog(place: Place) -> None:
    place.write()
    assert place.sync().code == 0
    assert place.tasks() == []
    assert place.check().code == 0


def test_nothing_of_a_sync_is_left_but_the_ir(two: Place) -> None:
    assert sorted(two.files()) == ["ir/code.yaml", "ir/index.yaml", "ir/maths.yaml", "mapping.toml"]
