from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from catalog.errors import InvalidInput, NotFound
from catalog.readme import fill
from samples import catalog, harness, task

HARNESSES = "<!-- evaldock:harnesses -->\n<!-- evaldock:end -->\n"
NUMBERS = "<!-- evaldock:numbers -->\n<!-- evaldock:end -->\n"
MATHS_ROW = "[maths](https://maths.example/a_b) | 1 | `registry.example/team/maths:1.0` | About \\*numbers\\*"
EVIL = "a | b <script>alert(1)</script> [x](javascript:y) `code` *b* $1$\n\n# title\n<!-- evaldock:end -->"
MATHS = harness("maths", ["algebra"], description="About *numbers*", url="https://maths.example/a_b")
EVILS = harness("evil", [task("evil", "x", description=EVIL)], description=EVIL, url="javascript:alert(1)")


def test_a_table_of_harnesses_stands_between_its_markers() -> None:
    text = "# Hi\n\n<!-- evaldock:harnesses -->\nold\n<!-- evaldock:end -->\nrest"
    filled, blocks = fill(text, catalog(MATHS), "README.md")
    assert blocks == 1
    assert filled == (
        "# Hi\n\n<!-- evaldock:harnesses -->\n\n"
        "| Harness | Tasks | Image | About |\n|---|---:|---|---|\n"
        f"| {MATHS_ROW} |\n\n<!-- evaldock:end -->\nrest"
    )
    assert fill(filled, catalog(MATHS), "README.md") == (filled, 1)


def test_tasks_of_one_harness_and_numbers() -> None:
    text = "<!-- evaldock:tasks maths -->\n<!-- evaldock:end -->\n" + NUMBERS
    filled, _ = fill(text, catalog(MATHS, EVILS), "README.md")
    assert "| `maths.algebra` | chat | About algebra. |\n" in filled
    assert "\n\n2 harnesses, 2 tasks\n\n" in filled


def test_text_from_an_image_is_text_in_the_page() -> None:
    text = HARNESSES + "\n<!-- evaldock:tasks evil -->\n<!-- evaldock:end -->\n"
    filled, _ = fill(text, catalog(EVILS), "README.md")
    assert fill(filled, catalog(EVILS), "README.md")[0] == filled
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(filled)
    assert set(re.findall(r"<(\w+)", page)) == {"table", "thead", "tbody", "tr", "th", "td", "code"}
    assert page.count("&lt;script&gt;") == 2


def test_line_ends_stay_as_they_are() -> None:
    text = "a\r\n<!-- evaldock:numbers -->\r\n<!-- evaldock:end -->\r\nb\n"
    filled, _ = fill(text, catalog(MATHS), "README.md")
    assert filled == (
        "a\r\n<!-- evaldock:numbers -->\r\n\r\n1 harness, 1 task\r\n\r\n<!-- evaldock:end -->\r\nb\n"
    )


@pytest.mark.parametrize("fence", ["```", "~~~~", "- ```", "  ```markdown"])
def test_markers_in_code_are_text(fence: str) -> None:
    closing = fence.lstrip("- ").removesuffix("markdown")
    text = f"{fence}\n<!-- evaldock:harnesses -->\n{closing}\n"
    assert fill(text, catalog(MATHS), "README.md") == (text, 0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<!-- evaldock:harnesses -->", "line 1: no `<!-- evaldock:end -->` follows"),
        ("\n<!-- evaldock:end -->", "line 2: an end without a beginning"),
        (
            "<!-- evaldock:harness -->\n<!-- evaldock:end -->",
            "line 1: no block is named 'harness'; did you mean 'harnesses'?"
            " (there are harnesses, tasks, numbers)",
        ),
        (
            "<!-- evaldock:tasks -->\n<!-- evaldock:end -->",
            "line 1: expected `<!-- evaldock:tasks HARNESS -->`",
        ),
        (
            "<!-- evaldock:numbers x -->\n<!-- evaldock:end -->",
            "line 1: 'numbers' takes nothing after its name",
        ),
    ],
)
def test_wrong_markers_are_told_with_their_line(text: str, problem: str) -> None:
    expected = f"docs/x.md: wrong markers\n  - {problem}"
    with pytest.raises(InvalidInput, match=f"^{re.escape(expected)}$"):
        fill(text, catalog(MATHS), "docs/x.md")


def test_a_block_inside_of_a_block_is_told_with_all_other_mistakes() -> None:
    text = "<!-- evaldock:numbers -->\n<!-- evaldock:harnesses -->\n<!-- evaldock:end -->\n"
    with pytest.raises(InvalidInput) as error:
        fill(text, catalog(MATHS), "x.md")
    assert error.value.problems == (
        "line 2: a block inside of the block of line 1",
        "line 1: no `<!-- evaldock:end -->` follows",
    )


def test_a_harness_that_is_not_there_is_told() -> None:
    with pytest.raises(NotFound, match="no harness named 'math'"):
        fill("<!-- evaldock:tasks math -->\n<!-- evaldock:end -->\n", catalog(MATHS), "x.md")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_page_without_markers_stays_as_it_is(text: str) -> None:
    assert fill(text, catalog(MATHS), "x.md") == (text, 0)
