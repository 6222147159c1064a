from __future__ import annotations

from pathlib import Path

import pytest

from running import evaldock
from synthetic import make_catalog

PAGE = "# A\n<!-- evaldock:numbers -->\n<!-- evaldock:end -->\n"
FRESH = "# A\n<!-- evaldock:numbers -->\n\n2 harnesses, 4 tasks\n\n<!-- evaldock:end -->\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_catalog(tmp_path, harnesses=2, tasks=4)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_page_is_checked_and_then_written_once(place: Path) -> None:
    page = place / "README.md"
    page.write_text(PAGE)
    page.chmod(0o640)
    checked = evaldock("readme", "--check")
    assert checked.code == 1
    assert checked.out.splitlines()[3:] == [
        " # A",
        " <!-- evaldock:numbers -->",
        "+",
        "+2 harnesses, 4 tasks",
        "+",
        " <!-- evaldock:end -->",
    ]
    assert page.read_text() == PAGE
    assert evaldock("readme").code == 0
    assert page.read_text() == FRESH
    assert page.stat().st_mode & 0o777 == 0o640
    before = page.stat().st_mtime_ns
    assert evaldock("readme", "README.md").err == ""
    assert page.stat().st_mtime_ns == before
    assert evaldock("readme", "--check").code == 0


def test_the_readme_of_this_project_is_up_to_date() -> None:
    root = Path(__file__).parents[2]
    ran = evaldock("readme", root / "README.md", "--check", "--catalog", root / "catalog")
    assert ran.code == 0, f"{ran.out}\nrun `evaldock readme`"


def test_a_linked_page_stays_a_link(place: Path) -> None:
    (place / "real.md").write_text(PAGE)
    (place / "README.md").symlink_to("real.md")
    assert evaldock("readme").code == 0
    assert (place / "README.md").is_symlink()
    assert (place / "real.md").read_text() == FRESH


def test_what_is_not_there_or_not_text_is_told(place: Path) -> None:
    missing = evaldock("readme", "no.md")
    assert (missing.code, missing.err) == (3, "evaldock: no.md: no such page\n")
    (place / "image.md").write_bytes(b"\xff\xfe")
    assert evaldock("readme", "image.md").code == 2


def test_nothing_is_generated_from_an_ir_that_does_not_verify(place: Path) -> None:
    (place / "README.md").write_text(PAGE)
    (place / "mapping.toml").write_text("")
    assert evaldock("readme").code == 5
    assert (place / "README.md").read_text() == PAGE
