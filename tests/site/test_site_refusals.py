"""A catalog that can't be trusted becomes no site, unless somebody says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from running import evaldock
from site_builds import own_source, sphinx_build
from synthetic import make_catalog


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """A catalog with an IR file that somebody edited by hand."""
    root = make_catalog(tmp_path / "catalog", harnesses=2, tasks=4)
    ir = next((root / "ir").glob("harness-000*.yaml"))
    ir.write_text(ir.read_text().replace("Asks about math", "Asks about anything"))
    return root


def test_sphinx_build_refuses_it_by_name(edited: Path, tmp_path: Path) -> None:
    site = sphinx_build(tmp_path, edited, strict=False)
    assert site.exit_code == 2
    assert "the catalog's IR does not verify:" in site.said
    assert "ir/harness-000.yaml" in site.said
    assert "run `evaldock sync` to make it again" in site.said
    assert not (site.output / "index.html").exists()


def test_sphinx_build_goes_on_when_told(edited: Path, tmp_path: Path) -> None:
    site = sphinx_build(tmp_path, edited, "-D", "evaldock_allow_unverified=1")
    assert "evaldock: built although it does not verify: ir/harness-000.yaml" in site.said
    assert (site.output / "task_catalog/tasks/harness-001/math_00000.html").is_file()


def test_evaldock_build_refuses_it_with_its_exit_code(edited: Path, tmp_path: Path) -> None:
    ran = evaldock("build", "--catalog", edited, "--output", tmp_path / "site")
    assert ran.code == 5
    assert "the catalog's IR does not verify:\n  - ir/harness-000.yaml" in ran.err
    assert not (tmp_path / "site").exists()


def test_a_missing_catalog_is_said_to_be_missing(tmp_path: Path) -> None:
    source = own_source(tmp_path / "ours", {"index.md": "# Ours\n"})
    site = sphinx_build(tmp_path, tmp_path / "nowhere", source=source, strict=False)
    assert site.exit_code == 2
    assert "no catalog here: there is no mapping.toml" in site.said


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--title", "T", "--source", "."), 2, "--title goes without --source"),
        (("--source", "."), 2, "no conf.py here"),
        (("--source", "docs", "--output", "docs"), 2, "the output would cover its own source"),
        (("--catalog", "nowhere"), 3, "no catalog here"),
        (("--jobs", "0"), 2, "0 is not in the range"),
    ],
)
def test_what_evaldock_build_cannot_do(
    options: tuple[str, ...], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_catalog(tmp_path / "catalog", harnesses=1, tasks=1)
    own_source(tmp_path / "docs", {"index.md": "# Ours\n"})
    monkeypatch.chdir(tmp_path)
    ran = evaldock("build", *options)
    assert (ran.code, said in ran.err) == (code, True), ran.err
