from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness_images import framework, lay_out, path_of, push
from running import evaldock
from services.fake_registry import FakeRegistry

MAPPING = """\
# Harnesses of the team

[maths]
platform = "linux/amd64"
container = "{maths}"

[code]
container = "{code}"
"""


@pytest.fixture
def root(tmp_path: Path, fake: FakeRegistry) -> Path:
    """A synced catalog in a folder of a git repository."""
    subprocess.run(["git", "init", "-q", str(tmp_path / "repository")], check=True)
    root = tmp_path / "repository" / "my, evals"
    root.mkdir()
    for name in ("maths", "code"):
        push(fake, name, {path_of(name): framework(name, "x")})
    references = {name: fake.reference(name, tag="1.0") for name in ("maths", "code")}
    (root / "mapping.toml").write_text(MAPPING.format(**references))
    assert evaldock("sync", "--catalog", root).code == 0
    fake.reset()
    return root


def moved(fake: FakeRegistry, name: str) -> str:
    return push(fake, name, {path_of(name): framework(name, "x", "y")})


def test_what_agrees_is_said_to_agree_without_asking_anybody(root: Path, fake: FakeRegistry) -> None:
    ran = evaldock("check", "--catalog", root)
    assert (ran.code, ran.out, ran.err) == (0, "mapping.toml, the index and the IR agree\n", "")
    assert fake.log == []


def test_remote_asks_one_head_each(root: Path, fake: FakeRegistry) -> None:
    ran = evaldock("check", "--remote", "--catalog", root)
    assert ran.code == 0
    assert ran.out == "mapping.toml, the index and the IR agree, and so do the images\n"
    assert sorted(ran.err.splitlines())[0].endswith("as recorded")
    assert [one.method for one in fake.log] == ["HEAD", "HEAD"]


def test_a_moved_tag_is_annotated_on_its_very_line(root: Path, fake: FakeRegistry) -> None:
    digest = moved(fake, "maths")
    ran = evaldock("check", "--remote", "--format", "github", "--catalog", root)
    assert ran.code == 1
    annotation, verdict = ran.out.splitlines()
    assert annotation.startswith(
        "::error file=my%2C evals/mapping.toml,line=5,title=evaldock%3A image-moved::"
        f"{fake.reference('maths', tag='1.0')} is {digest} now; on record is sha256:"
    )
    assert annotation.endswith("%0A`evaldock sync maths` reads it again")
    assert verdict == "1 error"


def test_a_runner_names_files_from_its_workspace(
    root: Path, fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(root.parent.parent))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    moved(fake, "code")
    ran = evaldock("check", "--remote", "--format", "github", "--catalog", root)
    assert ran.out.startswith("::error file=repository/my%2C evals/mapping.toml,line=8,")


def test_text_names_file_line_and_next_step(root: Path, fake: FakeRegistry) -> None:
    moved(fake, "code")
    ran = evaldock("check", "--remote", "--catalog", root)
    first, hint, verdict = ran.out.splitlines()
    assert first.startswith(f"{root}/mapping.toml:8: error: {fake.reference('code', tag='1.0')} is sha256:")
    assert first.endswith(" [image-moved]")
    assert hint == "  `evaldock sync code` reads it again"
    assert verdict == "1 error"


def test_json_and_sarif_hold_the_findings(root: Path, fake: FakeRegistry) -> None:
    moved(fake, "code")
    as_json = evaldock("check", "--remote", "--json", "--catalog", root)
    assert as_json.code == 1
    assert as_json.json["ok"] is False
    (finding,) = as_json.json["findings"]
    assert (finding["code"], finding["file"], finding["line"]) == ("image-moved", "my, evals/mapping.toml", 8)
    sarif = evaldock("check", "--remote", "--format", "sarif", "--catalog", root)
    assert sarif.code == 1
    (result,) = sarif.json["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 8}


def test_a_tag_that_is_gone_is_drift(root: Path, fake: FakeRegistry) -> None:
    del fake.tags["code", "1.0"]
    ran = evaldock("check", "--remote", "--json", "--catalog", root)
    assert ran.code == 1
    assert [one["code"] for one in ran.json["findings"]] == ["image-gone"]


def test_a_registry_that_does_not_answer_is_no_drift(root: Path, fake: FakeRegistry) -> None:
    fake.inject("/code/", status=503, times=20)
    ran = evaldock("check", "--remote", "--json", "--catalog", root)
    assert ran.code == 4
    assert [one["code"] for one in ran.json["findings"]] == ["image-unreachable"]
    moved(fake, "maths")
    fake.inject("/code/", status=503, times=20)
    assert evaldock("check", "--remote", "--catalog", root).code == 1


def test_a_registry_that_denies_access_is_no_drift_either(root: Path, fake: FakeRegistry) -> None:
    fake.inject("/code/", status=403, times=20)
    ran = evaldock("check", "--remote", "--json", "--catalog", root)
    assert ran.code == 5
    assert [one["code"] for one in ran.json["findings"]] == ["image-refused"]


def test_what_a_pull_request_changed_in_mapping_toml_is_found_offline(root: Path, fake: FakeRegistry) -> None:
    mapping = root / "mapping.toml"
    mapping.write_text(mapping.read_text().replace("/code:1.0", "/code:2.0"))
    ran = evaldock("check", "--format", "github", "--catalog", root)
    assert ran.code == 1
    assert ",line=8,title=evaldock%3A entry-changed::" in ran.out
    # Nobody is asked about an entry that is known to be out of date.
    remote = evaldock("check", "--remote", "--json", "--catalog", root)
    assert [one["code"] for one in remote.json["findings"]] == ["entry-changed"]
    assert fake.count("/code/") == 0


def test_mistakes_in_mapping_toml_are_findings_too(root: Path) -> None:
    mapping = root / "mapping.toml"
    mapping.write_text(mapping.read_text() + "\n[broken]\ncontainer = 7\n")
    ran = evaldock("check", "--remote", "--format", "github", "--catalog", root)
    assert ran.code == 1
    assert ran.out.startswith(
        "::error file=my%2C evals/mapping.toml,line=11,title=evaldock%3A mapping-invalid::"
    )


def test_a_layout_in_the_catalog_is_looked_at_without_being_asked_to(tmp_path: Path) -> None:
    lay_out(tmp_path / "one", {path_of("maths"): framework("maths", "x")})
    (tmp_path / "mapping.toml").write_text('[maths]\ncontainer = "oci:one"\n')
    assert evaldock("sync", "--catalog", tmp_path).code == 0
    assert evaldock("check", "--catalog", tmp_path).code == 0
    (tmp_path / "one").rename(tmp_path / "old")
    lay_out(tmp_path / "one", {path_of("maths"): framework("maths", "y")})
    ran = evaldock("check", "--json", "--catalog", tmp_path)
    assert ran.code == 1
    assert [(one["code"], one["line"]) for one in ran.json["findings"]] == [("image-moved", 2)]


def test_warnings_do_not_fail_a_check(root: Path) -> None:
    mapping = root / "mapping.toml"
    mapping.write_text(mapping.read_text() + 'platfrom = "linux/amd64"\n')
    assert evaldock("sync", "--catalog", root).code == 0
    ran = evaldock("check", "--catalog", root)
    assert ran.code == 0
    assert "mapping.toml:9: warning: " in ran.out
    assert ran.out.endswith("mapping.toml, the index and the IR agree (1 warning)\n")


def test_an_image_pinned_by_digest_cannot_move(tmp_path: Path, fake: FakeRegistry) -> None:
    digest = push(fake, "maths", {path_of("maths"): framework("maths", "x")})
    reference = fake.reference("maths", tag="1.0", digest=digest)
    (tmp_path / "mapping.toml").write_text(f'[maths]\ncontainer = "{reference}"\n')
    assert evaldock("sync", "--catalog", tmp_path).code == 0
    moved(fake, "maths")
    fake.reset()
    assert evaldock("check", "--remote", "--catalog", tmp_path).code == 0
    assert fake.log == []
