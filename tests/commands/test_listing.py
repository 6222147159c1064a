from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from running import evaldock
from synthetic import make_catalog

HEAVY = (
    "jinja2",
    "markdown_it",
    "pydantic",
    "requests",
    "rich",
    "sphinx",
    "tomlkit",
    "urllib3",
    "yaml",
    "zstandard",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_catalog(tmp_path / "catalog", harnesses=3, tasks=21, stale=1)


def test_tasks_are_listed_one_a_line_where_there_is_no_terminal(root: Path) -> None:
    lines = evaldock("ls", "tasks", "--catalog", root).out.splitlines()
    assert lines[0].split() == ["TASK", "ENDPOINT", "NEEDS", "DESCRIPTION"]
    assert len(lines) == 22
    assert lines[1].startswith("harness-000.math_00000 ")


def test_a_narrow_terminal_gets_two_short_lines_a_task(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "48")
    lines = evaldock("ls", "tasks", "--catalog", root).out.splitlines()
    assert len(lines) == 42
    assert max(map(len, lines)) <= 48
    assert lines[0] == "harness-000.math_00000"


def test_filters_and_words_choose(root: Path) -> None:
    listed = evaldock("ls", "tasks", "--catalog", root, "--json", "--harness", "harness-001", "MATH").json
    assert {one["harness"] for one in listed} == {"harness-001"}
    assert listed
    endpoints = evaldock("ls", "tasks", "--catalog", root, "--json", "--endpoint", "embedding").json
    assert all("embedding" in one["endpoint_types"] for one in endpoints)
    assert endpoints
    needy = evaldock("ls", "tasks", "--catalog", root, "--json", "--capability", "tools").json
    assert all("tools" in one["capabilities"] for one in needy)
    assert needy


def test_harnesses_show_images_and_state(root: Path) -> None:
    listed = evaldock("ls", "harnesses", "--catalog", root, "--json").json
    assert [one["name"] for one in listed] == ["harness-000", "harness-001", "harness-002"]
    assert [one["tasks"] for one in listed] == [7, 7, 7]
    assert listed[2]["state"] == "stale"
    assert listed[2]["reason"] == "the registry did not answer"
    assert "stale" in evaldock("ls", "harnesses", "--catalog", root).out.splitlines()[3]
    arm = evaldock("ls", "harnesses", "--catalog", root, "--json", "--arch", "arm64").json
    assert [one["name"] for one in arm] == ["harness-001", "harness-002"]


def test_nothing_found_says_what_there_is(root: Path) -> None:
    ran = evaldock("ls", "tasks", "--catalog", root, "--capability", "telepathy")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.splitlines()[0] == "evaldock: none of 21 tasks is like that"
    assert ran.err.splitlines()[1].startswith("evaldock: capabilities in this catalog: ")
    assert evaldock("ls", "tasks", "--catalog", root, "--json", "--capability", "telepathy").json == []


def test_a_misspelt_harness_is_not_found(root: Path) -> None:
    ran = evaldock("ls", "tasks", "--catalog", root, "--harness", "harness-01")
    assert ran.code == 3
    assert ran.err.startswith("evaldock: no harness named 'harness-01'\n  did you mean ")


def test_an_ir_that_does_not_verify_is_listed_with_a_warning(root: Path) -> None:
    mapping = root / "mapping.toml"
    mapping.write_text(mapping.read_text() + "\n# a comment\n")
    ran = evaldock("ls", "tasks", "--catalog", root)
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 22
    assert "does not verify" in ran.err
    assert "mapping.toml: " in ran.err


def test_there_is_no_catalog_everywhere(tmp_path: Path) -> None:
    ran = evaldock("ls", "tasks", "--catalog", tmp_path)
    assert ran.code == 3
    assert "there is no mapping.toml" in ran.err


def test_a_catalog_and_an_image_exclude_each_other(root: Path) -> None:
    assert evaldock("ls", "tasks", "--catalog", root, "--from", "oci:x").code == 2


def test_show_tells_everything_about_a_task(root: Path) -> None:
    ran = evaldock("show", "harness-001.math_00000", "--catalog", root)
    assert ran.code == 0
    for part in (
        "harness-001: Synthetic Harness 1",
        "registry.example/evals/harness-001:1.1",
        "able to",
        "resume",
    ):
        assert part in ran.out
    assert "config.params.extra.judge.parallelism  4\n" in ran.out
    assert "  --task {{config.params.task}} --parallelism {{config.params.parallelism}}\n" in ran.out
    assert evaldock("ls", "task", "harness-001.math_00000", "--catalog", root).out == ran.out


def test_show_is_readable_in_sixty_columns(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    shown = evaldock("show", "harness-001.math_00000", "--catalog", root).out
    before_command = shown.split("Command template")[0]
    assert max(map(len, before_command.splitlines())) <= 60


def test_a_stale_task_says_so(root: Path) -> None:
    assert (
        "stale: the registry did not answer"
        in evaldock("show", "harness-002.math_00000", "--catalog", root).out
    )


def test_show_as_json_holds_the_effective_task(root: Path) -> None:
    shown = evaldock("show", "harness-000.math_00000", "--catalog", root, "--json").json
    assert shown["id"] == "harness-000.math_00000"
    assert shown["defaults"]["config"]["type"] == "math_00000"
    assert shown["harness"]["image"]["container"] == "registry.example/evals/harness-000:1.0"
    assert "rendered" not in shown


def test_a_name_that_three_harnesses_have_asks_which(root: Path) -> None:
    ran = evaldock("show", "math_00000", "--catalog", root)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "evaldock: 3 harnesses have a task 'math_00000'\n"
        "  name one: harness-000.math_00000, harness-001.math_00000 or harness-002.math_00000\n"
    )


def test_a_misspelt_task_is_not_found(root: Path) -> None:
    ran = evaldock("show", "maths_00000", "--catalog", root)
    assert ran.code == 3
    assert "did you mean math_00000" in ran.err


@pytest.mark.parametrize(
    "command", [("ls", "tasks"), ("ls", "harnesses"), ("show", "harness-000.math_00000")]
)
def test_listing_imports_nothing_heavy(root: Path, command: tuple[str, ...]) -> None:
    code = (
        "import sys\n"
        "from catalog.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    code = stop.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], code, file=sys.stderr)\n"
    )
    for _ in range(2):  # the second time what was parsed is in the cache
        done = subprocess.run(
            [sys.executable, "-c", code, *command, "--catalog", str(root)],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ,
        )
    assert done.stderr == "[] 0\n"
