"""Comment blocks, held against the regular expression that PEP 723 publishes."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catalog.errors import InvalidInput
from launcher.recipes.blocks import find_blocks, script_block

# From the PEP, as it stands.
PEP_723 = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")

LINES = (
    "# /// script",
    "# /// other",
    "# ///",
    "#",
    "# key = 1",
    "#key = 1",
    "#  indented",
    "#\tkey = 1",
    "# /// script ",
    " # /// script",
    "# ////",
    "#/// script",
    "# /// two words",
    "",
    "    ",
    "x = 1",
)


def by_the_pep(text: str) -> list[tuple[str, str]]:
    """Type and content of each block, as the PEP's reference implementation has them."""
    return [
        (
            match["type"],
            "".join(
                line[2:] if line.startswith("# ") else line[1:]
                for line in match["content"].splitlines(keepends=True)
            ),
        )
        for match in PEP_723.finditer(text)
    ]


def ours(text: str) -> list[tuple[str, str]]:
    return [(block.type, block.content) for block in find_blocks(text).whole]


@given(st.lists(st.sampled_from(LINES), max_size=14), st.booleans())
@example(["# /// script", "# ///", "# ///"], False)
@example(["# /// script", "# /// other", "# a", "# ///", "# b", "# ///", "x = 1"], True)
def test_whole_lines_make_the_blocks_that_the_pep_finds(lines: list[str], ends: bool) -> None:
    text = "\n".join(lines) + ("\n" if ends else "")
    assert ours(text) == by_the_pep(text)


# No quotes: what stands in a string is no comment, which no regular expression can know.
@given(st.text(st.sampled_from("# /scriptx=1\n"), max_size=80))
def test_any_text_makes_the_blocks_that_the_pep_finds(text: str) -> None:
    assert ours(text) == by_the_pep(text)


@given(
    st.from_regex(r"[a-zA-Z0-9-]+", fullmatch=True).map(lambda kind: kind[:20]),
    st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=30), min_size=1),
)
def test_what_was_wrapped_comes_out_again(kind: str, lines: list[str]) -> None:
    content = [f"# {line}" if line else "#" for line in lines]
    text = "\n".join(["import this", f"# /// {kind}", *content, "# ///", "", "x = 1"])
    (block,) = [each for each in find_blocks(text).whole if each.line == 3]
    assert (block.type, block.content) == (kind, "".join(f"{line}\n" for line in lines))


def test_a_block_in_a_string_is_no_comment() -> None:
    text = '"""How to write one:\n\n# /// script\n# dependencies = []\n# ///\n"""\n'
    assert by_the_pep(text)
    assert ours(text) == []


def test_what_no_python_reads_is_taken_by_its_lines() -> None:
    assert ours("# /// script\n# a = 1\n# ///\nmatch (\n") == [("script", "a = 1\n")]


def test_lines_are_those_of_the_script() -> None:
    text = "#!/usr/bin/env python3\n\n# /// script\n# a = 1\n# ///\n"
    assert [block.line for block in find_blocks(text).whole] == [4]


def test_two_blocks_of_the_type_are_an_error() -> None:
    block = "# /// script\n# a = 1\n# ///\n\n"
    with pytest.raises(InvalidInput) as caught:
        script_block(block * 2, "recipe.py")
    assert str(caught.value) == (
        "recipe.py: its inline metadata (PEP 723) can't be read:\n"
        "  - lines 1 and 5: 2 blocks of type script; a script has one at most: join them"
    )
    assert script_block(block + block.replace("script", "other"), "recipe.py") is not None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# /// script\n# a = 1\n", "line 1: the block is not closed; end it with a line '# ///'"),
        (
            "# /// script\n# a = 1\n#b = 2\n# ///\n",
            "line 3: '#b = 2' ends the block that line 1 opens: put a space after the #",
        ),
        ("# /// script\n# a = 1\n\n# ///\n", "line 1: the block is not closed; end it with a line '# ///'"),
    ],
)
def test_an_unfinished_block_is_told_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        script_block(text, "recipe.py")
    assert caught.value.problems == (problem,)


def test_many_comments_take_no_time() -> None:
    assert ours("# /// a\n" * 50_000 + "x\n") == []
