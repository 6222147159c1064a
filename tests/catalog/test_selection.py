from __future__ import annotations

import re

import pytest

from catalog.errors import NotFound, UsageError
from catalog.selection import Filters, find_harness, find_task, select_harnesses, select_tasks
from samples import catalog, harness, image, task

MATHS = harness("maths", ["algebra", task("maths", "plots", capabilities=["image_url"], endpoints=["vlm"])])
CODE = harness(
    "code",
    [
        task("code", "humaneval", endpoints=["completions"], description="Python functions"),
        task("code", "algebra", endpoints=[]),
    ],
    image=image(platforms=("linux/arm64",)),
    full_name="Code Benchmarks",
)
EMPTY = harness("empty", image=image(platforms=()))
CATALOG = catalog(MATHS, CODE, EMPTY)


def ids(**filters: list[str]) -> list[str]:
    return [one.task.id for one in select_tasks(CATALOG, Filters(**filters))]


def test_no_filter_selects_everything_in_the_order_of_the_catalog() -> None:
    assert ids() == ["maths.algebra", "maths.plots", "code.humaneval", "code.algebra"]


def test_values_of_one_filter_are_alternatives_and_filters_combine() -> None:
    assert ids(endpoints=["chat"]) == ["maths.algebra", "maths.plots"]
    assert ids(endpoints=["chat", "completions"], harnesses=["code"]) == ["code.humaneval"]
    assert ids(architectures=["arm64"], words=["PYTHON"]) == ["code.humaneval"]


def test_an_old_name_of_an_endpoint_type_means_the_new_one() -> None:
    assert ids(endpoints=["vlm"]) == ["maths.algebra", "maths.plots"]


def test_missing_metadata_is_a_value_of_its_own() -> None:
    assert ids(endpoints=["unknown"]) == ["code.algebra"]
    assert ids(capabilities=["none"], harnesses=["maths"]) == ["maths.algebra"]
    assert [one.name for one in select_harnesses(CATALOG, Filters(architectures=["unknown"]))] == ["empty"]


def test_every_word_must_occur_somewhere_in_task_or_harness() -> None:
    assert ids(words=["benchmarks", "functions"]) == ["code.humaneval"]
    assert ids(words=["benchmarks", "plots"]) == []


def test_harnesses_are_those_that_hold_an_accepted_task() -> None:
    assert [one.name for one in select_harnesses(CATALOG, Filters())] == ["maths", "code", "empty"]
    assert [one.name for one in select_harnesses(CATALOG, Filters(endpoints=["chat"]))] == ["maths"]
    assert [one.name for one in select_harnesses(CATALOG, Filters(words=["humaneval"]))] == ["code"]


def test_a_task_is_found_by_id_and_by_a_name_that_one_harness_has() -> None:
    assert find_task(CATALOG, "code.algebra").task.id == "code.algebra"
    assert find_task(CATALOG, "plots").harness is MATHS


def test_a_task_that_two_harnesses_have_must_be_named_with_one() -> None:
    expected = "2 harnesses have a task 'algebra'\n  name one: maths.algebra or code.algebra"
    with pytest.raises(UsageError, match=f"^{re.escape(expected)}$"):
        find_task(CATALOG, "algebra")


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("humanevel", "did you mean humaneval?"),
        ("HumanEval", "did you mean humaneval?"),
        ("human", "did you mean humaneval?"),
        ("code.humanevel", "did you mean code.humaneval?"),
        ("zzz", "`evaldock ls tasks` lists them"),
    ],
)
def test_a_misspelt_task_gets_suggestions(wanted: str, hint: str) -> None:
    with pytest.raises(NotFound, match=f"^{re.escape(f'no task named {wanted!r}')}\n  {re.escape(hint)}$"):
        find_task(CATALOG, wanted)


def test_a_misspelt_harness_gets_suggestions_wherever_it_is_named() -> None:
    expected = "no harness named 'math'\n  did you mean maths?"
    for call in (lambda: find_harness(CATALOG, "math"), lambda: ids(harnesses=["math"])):
        with pytest.raises(NotFound, match=f"^{re.escape(expected)}$"):
            call()
