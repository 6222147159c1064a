from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.console import bold, safe
from catalog.tables import Column, display_width, fields, paragraphs, shorten, table, wrap

COLUMNS = (Column("task"), Column("tasks", right=True), Column("description", flexible=True))
ROWS = [("mmath.mmath_en", "1", "English mathematics, with many words in it"), ("b.c", "10", "数学の問題")]


def plain(text: str) -> str:
    return text.replace("\x1b[1m", "").replace("\x1b[0m", "")


def test_a_table_without_a_limit_cuts_nothing() -> None:
    assert plain(table(COLUMNS, ROWS, width=None)).splitlines() == [
        "TASK            TASKS  DESCRIPTION",
        "mmath.mmath_en      1  English mathematics, with many words in it",
        "b.c                10  数学の問題",
    ]


def test_a_table_gives_way_in_its_flexible_column() -> None:
    assert plain(table(COLUMNS, ROWS, width=50)).splitlines() == [
        "TASK            TASKS  DESCRIPTION",
        "mmath.mmath_en      1  English mathematics, with…",
        "b.c                10  数学の問題",
    ]


def test_rows_are_stacked_where_columns_do_not_fit() -> None:
    assert plain(table(COLUMNS, ROWS, width=30)).splitlines() == [
        "mmath.mmath_en",
        "  1 tasks · English mathemati…",
        "b.c",
        "  10 tasks · 数学の問題",
    ]


def test_cells_cannot_move_the_cursor_or_break_the_line() -> None:
    shown = plain(table((Column("a"), Column("b", flexible=True)), [("x\x1b[2J", "y\nz")], width=80))
    assert shown.splitlines()[1] == r"x\x1b[2J  y z"


def test_a_column_in_which_nothing_stands_is_left_out() -> None:
    columns = (Column("a"), Column("state"), Column("b"))
    assert plain(table(columns, [("x", "", "y")], width=None)).splitlines() == ["A  B", "x  y"]


def test_styles_do_not_count_as_width() -> None:
    shown = table((Column("a", style=bold), Column("b")), [("x", "y"), ("xxx", "y")], width=80)
    assert shown.splitlines()[1:] == ["\x1b[1mx\x1b[0m    y", "\x1b[1mxxx\x1b[0m  y"]


def test_fields_stand_beside_their_names_or_below_them() -> None:
    pairs = [("image", "registry.example/team/mmath:1.0"), ("endpoint", "chat")]
    assert plain(fields(pairs, width=80)).splitlines() == [
        "image     registry.example/team/mmath:1.0",
        "endpoint  chat",
    ]
    assert plain(fields(pairs, width=24)).splitlines() == [
        "image",
        "  registry.example/team/",
        "  mmath:1.0",
        "endpoint  chat",
    ]


def test_paragraphs_keep_blank_lines_between_them() -> None:
    assert paragraphs("one two\nthree\n\n\n\nfour", 9) == ["one two", "three", "", "four"]


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("数学", 4), ("e\u0301", 1), ("a\u200bb", 2), ("", 0)]
)
def test_display_width(text: str, columns: int) -> None:
    assert display_width(text) == columns


@given(st.text(), st.integers(min_value=8, max_value=60))
def test_wrapping_loses_no_character_and_keeps_the_width(text: str, columns: int) -> None:
    lines = wrap(text, columns)
    assert all(display_width(line) <= columns for line in lines)
    assert "".join("".join(lines).split()) == "".join(safe(text).split())


@given(st.text(), st.integers(min_value=2, max_value=40))
def test_shortening_keeps_the_width(text: str, columns: int) -> None:
    short = shorten(text, columns)
    assert display_width(short) <= columns
    assert short == text or short.endswith("…")
