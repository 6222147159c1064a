from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.difference import ABSENT, Changed, FieldChange, Renamed, compare, field_changes
from catalog.difference_text import as_markdown, as_text, code, difference_data, summary
from samples import harness, image, task


def test_equal_catalogs_do_not_differ() -> None:
    one = [harness("a", ["x", "y"])]
    assert not compare(one, one)
    assert summary(compare(one, one)) == "nothing changed"


def test_added_and_removed_tasks_and_harnesses_are_named() -> None:
    difference = compare(
        [harness("a", ["x", task("a", "y", params={"top_p": 1})]), harness("gone", ["z"])],
        [harness("a", ["x", task("a", "w", params={"top_p": 2})]), harness("new", [])],
    )
    assert difference.harnesses.added == ("new",)
    assert difference.harnesses.removed == ("gone",)
    assert difference.tasks.added == ("a.w",)
    assert difference.tasks.removed == ("a.y", "gone.z")
    assert summary(difference) == "1 harness added, 1 removed; 1 task added, 2 removed"


def test_fields_are_compared_by_dotted_path() -> None:
    old = task("a", "x", params={"extra": {"a.b": 1, "gone": None}})
    new = task("a", "x", params={"top_p": 0.5, "extra": {"a.b": 1.0, "new": [1]}}, internal=True)
    (changed,) = compare([harness("a", [old])], [harness("a", [new])]).tasks.changed
    assert changed == Changed(
        "a.x",
        (
            FieldChange("internal", False, True),
            FieldChange("config.params.top_p", 0.9, 0.5),
            FieldChange('config.params.extra."a.b"', 1, 1.0),
            FieldChange("config.params.extra.gone", None, ABSENT),
            FieldChange("config.params.extra.new", ABSENT, [1]),
        ),
    )


def test_a_task_renamed_with_the_same_content_is_no_new_task() -> None:
    old = task("a", "mmlu_old", description="Questions")
    new = task("a", "mmlu", description="Questions")
    difference = compare([harness("a", [old, "x"])], [harness("a", [new, "x"])])
    assert difference.tasks.renamed == (Renamed("a.mmlu_old", "a.mmlu"),)
    assert not difference.tasks.added
    assert not difference.tasks.removed


def test_a_name_that_the_command_uses_is_content() -> None:
    command = "run --task {{ config.type }}"
    old, new = (task("a", name, description="", command=command) for name in ("gsm8k", "mmlu"))
    difference = compare([harness("a", [old])], [harness("a", [new])])
    assert difference.tasks.added == ("a.mmlu",)
    assert difference.tasks.removed == ("a.gsm8k",)


def test_what_could_be_several_renames_is_none() -> None:
    old = [task("a", name, description="same") for name in ("x", "y")]
    new = [task("a", name, description="same") for name in ("v", "w")]
    difference = compare([harness("a", old)], [harness("a", new)])
    assert not difference.tasks.renamed
    assert difference.tasks.added == ("a.v", "a.w")


def test_a_task_that_moved_to_another_harness_is_renamed() -> None:
    difference = compare(
        [harness("a", ["x", "p", "q"]), harness("b", ["y"])],
        [harness("a", ["p", "q"]), harness("b", ["y", "x"])],
    )
    assert difference.tasks.renamed == (Renamed("a.x", "b.x"),)


def test_a_renamed_harness_takes_its_tasks_along_and_may_change_some() -> None:
    old = harness("old", ["x", "y", "z"])
    new = harness("new", ["x", "y", task("new", "z", params={"top_p": 0.1})], image=old.image, entry="old")
    difference = compare([old], [new])
    assert difference.harnesses.renamed == (Renamed("old", "new"),)
    assert difference.harnesses.changed == (Changed("new", (FieldChange("pkg_name", "old", "new"),)),)
    assert difference.tasks.renamed == tuple(Renamed(f"old.{name}", f"new.{name}") for name in "xyz")
    assert difference.tasks.changed == (Changed("new.z", (FieldChange("config.params.top_p", 0.9, 0.1),)),)
    assert "old.x" not in as_text(difference)  # it only went along


def test_a_shared_command_changes_once_and_not_in_every_task() -> None:
    old = harness("a", [task("a", name) for name in "xyz"])
    new = harness("a", [task("a", name, command="other {{config.output_dir}}") for name in "xyz"])
    difference = compare([old], [new])
    assert [change.path for change in difference.harnesses.changed[0].fields] == ["command"]
    assert not difference.tasks


def test_the_image_is_a_field_of_the_harness() -> None:
    old = harness("a", ["x"])
    moved = replace(old, image=image(digest="sha256:" + "c" * 64, container=old.image.container))
    (changed,) = compare([old], [moved]).harnesses.changed
    assert [change.path for change in changed.fields] == ["image.digest"]


def test_json_leaves_out_the_side_that_has_no_value() -> None:
    old = harness("a", [task("a", "x", params={"gone": None})])
    new = harness("a", [task("a", "x", params={"new": 1})])
    assert difference_data(compare([old], [new]))["tasks"]["changed"] == [
        {
            "name": "a.x",
            "fields": [
                {"path": "config.params.gone", "old": None},
                {"path": "config.params.new", "new": 1},
            ],
        }
    ]


def unstyled(text: str) -> list[str]:
    for code_ in ("\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"):
        text = text.replace(code_, "")
    return text.splitlines()


def test_text_tells_what_changed_alike_once() -> None:
    old = [task("a", name) for name in ("x", "y")]
    new = [task("a", name, params={"top_p": 0.1}) for name in ("x", "y")]
    difference = compare([harness("a", old)], [harness("a", [*new, task("a", "z\x1b[2J")])])
    assert unstyled(as_text(difference)) == [
        r"+ a.z\x1b[2J",
        "~ 2 alike: a.x, a.y",
        "    config.params.top_p: 0.9 → 0.1",
        "1 task added, 2 changed",
    ]


def test_text_shows_long_values_below_each_other_and_tells_texts_from_data() -> None:
    old = task("a", "x", description="7", params={"n": 7})
    new = task("a", "x", description="many words " * 9, params={"n": "7"})
    lines = unstyled(as_text(compare([harness("a", [old])], [harness("a", [new])])))
    assert lines[1:5] == [
        "    description:",
        '      - "7"',
        f"      + {'many words ' * 9}",
        '    config.params.n: 7 → "7"',
    ]


def test_markdown_holds_untrusted_text_in_code_only() -> None:
    evil = "<img src=x onerror=alert(1)> @everyone [x](javascript:y) `` ` ```\n# title"
    old = harness("a", [task("a", "x", description="before")])
    new = harness("a", [task("a", "x", description=evil), task("a", "`y`")])
    text = as_markdown(compare([old], [new]), base="main", head="`x`")
    assert "`main` → `` `x` ``" in text
    assert "- added `` a.`y` ``" in text
    outside = text.split("    ````diff\n")[0] + text.split("    ````\n")[1]
    assert "onerror" not in outside
    assert "\n# title" not in text


def test_markdown_fits_a_comment_and_says_what_it_left_out() -> None:
    new = harness("a", ["x", *(task("a", f"task-\U0001f600-{number:05}") for number in range(4000))])
    text = as_markdown(compare([harness("a", ["x"])], [new]), base="main", head="head")
    assert len(text.encode("utf-16-le")) // 2 <= 65_536
    listed = text.count("- added ")
    assert 1000 < listed < 4000
    assert f"… and {4000 - listed} more changes" in text


def test_the_tasks_of_a_new_harness_stand_together() -> None:
    difference = compare(
        [harness("a", ["x"])], [harness("a", ["x", "y"]), harness("b", [*"abcdefghijklmnop"])]
    )
    assert unstyled(as_text(difference)) == [
        "+ harness b",
        "+ a.y",
        "+ 16 tasks: b.a, b.b, b.c, b.d, b.e, b.f, b.g, b.h, b.i, b.j, b.k, b.l and 4 more",
        "1 harness added; 17 tasks added",
    ]


def test_a_difference_of_one_change_fits_whole() -> None:
    text = as_markdown(compare([], [harness("a", ["x"])]), base="1", head="2")
    assert text == (
        "### Catalog: 1 harness added; 1 task added\n\n`1` → `2`\n"
        "\n**Harnesses**\n\n- added `a`\n\n**Tasks**\n\n- added `a.x`\n"
    )


@pytest.mark.parametrize(
    ("text", "shown"), [("a", "`a`"), ("a`b", "``a`b``"), ("`", "`` ` ``"), ("", "` `"), ("a\nb", "`a b`")]
)
def test_code_spans(text: str, shown: str) -> None:
    assert code(text) == shown


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
_records = st.dictionaries(st.text(max_size=5), _values, max_size=4)


@given(_records, _records)
def test_fields_differ_exactly_when_the_data_does(old: dict[str, object], new: dict[str, object]) -> None:
    same = json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
    assert (list(field_changes(old, new)) == []) == same
