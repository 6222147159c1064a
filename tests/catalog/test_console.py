from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.console import one_line, out, print_json, safe, wants_colour, width
from catalog.progress import progress
from running import evaldock

HOSTILE = "a\x1b[31mred\x9b2J\u202eevil\ud800\x00"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_control_characters_become_visible_and_line_breaks_stay() -> None:
    assert safe(HOSTILE + "\n\tb") == r"a\x1b[31mred\x9b2J\u202eevil\ud800\x00" + "\n\tb"
    assert safe("Prüfung 数学 ✓") == "Prüfung 数学 ✓"
    assert one_line(" a\n\n b\tc ") == "a b c"


def test_json_gives_back_the_same_text_without_a_raw_control_character(
    capsys: pytest.CaptureFixture[str],
) -> None:
    value = {"text": HOSTILE + "##[add-mask]", "name": "数学"}
    print_json(value)
    printed = capsys.readouterr().out
    assert json.loads(printed) == value
    assert safe(printed) == printed
    assert "##[" not in printed
    assert "数学" in printed


def test_json_is_ascii_where_the_output_is_not_utf8() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from catalog.console import print_json; print_json(['数学', '\U0001f600'])"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout.decode("ascii")) == ["数学", "\U0001f600"]


def test_text_that_the_output_cannot_encode_is_escaped() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from catalog.console import out; out('Prüfung 数学')"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode("latin-1") == "Prüfung \\u6570\\u5b66\n"


def test_a_workflow_run_sees_no_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    out("first\n  ::add-mask::x\nthen ##[group]y and a::b")
    lines = capsys.readouterr().out.splitlines()
    assert not any(line.strip().startswith("::") or "##[" in line for line in lines)
    assert "a::b" in lines[2]


def test_an_error_cannot_move_the_cursor() -> None:
    ran = evaldock("ls", "tasks", "--from", "oci:nowhere\x1b[2J")
    assert ran.code == 3
    assert "\x1b" not in ran.err
    assert r"nowhere\x1b[2J" in ran.err


def test_logged_warnings_are_lines_of_the_command() -> None:
    # In a process of its own, since logging is configured once.
    code = (
        "import logging, catalog.logs\n"
        "catalog.logs.show_warnings(); catalog.logs.show_warnings()\n"
        "logging.getLogger('generator.registry').warning('odd: %s', 'a\\x1b[2J\\nb')\n"
        "logging.getLogger('generator.registry').info('not shown')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "evaldock: warning: odd: a\\x1b[2J b\n"


def test_colours_follow_the_terminal_and_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert wants_colour(_Terminal())
    assert not wants_colour(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_colour(_Terminal())
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert wants_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(_Terminal())


def test_width_is_that_of_columns_and_else_unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    assert width() is None
    monkeypatch.setenv("COLUMNS", "61")
    assert width() == 61
    monkeypatch.setenv("COLUMNS", "wide")
    assert width() is None


def test_progress_prints_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Reading", 10) as done:
        done("mmath: 10\ntasks")
        done("bfcl: \x1b[2J")
    assert capsys.readouterr().err == "[ 1/10] mmath: 10 tasks\n[ 2/10] bfcl: \\x1b[2J\n"


def test_progress_draws_a_bar_on_a_terminal(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from catalog.progress import progress\n"
        "with progress('Reading', 2) as done:\n"
        "    done('one [bold]is[/bold] done')\n"
        "    done('two is done')\n"
    )
    master, slave = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, str(script)], stderr=slave, env={**os.environ, "TERM": "xterm"}, check=True
        )
        drawn = os.read(master, 100_000).decode()
    finally:
        os.close(slave)
        os.close(master)
    assert "Reading" in drawn
    assert "2/2" in drawn
    assert "one [bold]is[/bold] done" in drawn
    assert "\x1b[?25h" in drawn  # the cursor is shown again


def test_the_console_of_a_listing_imports_no_drawing_library() -> None:
    code = "import sys, catalog.console, catalog.tables, catalog.progress; print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
