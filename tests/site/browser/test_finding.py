"""Searching and filtering all tasks on the browse page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs

import pytest

from built_site import BuiltSite, Reader
from catalog.models import Harness, Task

Look = dict[str, Any]
Find = Callable[..., list[Look]]
Pair = tuple[Harness, Task]

FACETS: dict[str, Callable[[Pair], Sequence[str]]] = {
    "Harness": lambda pair: [pair[0].name],
    "Endpoint type": lambda pair: pair[1].endpoint_types or ["unknown"],
    "Capability": lambda pair: pair[1].capabilities or ["none declared"],
    "Architecture": lambda pair: pair[0].image.architectures or ["unknown"],
}


@pytest.fixture
def find(catalog_site: BuiltSite, read: Reader) -> Find:
    """What the reader sees at each "look", after the steps before it."""

    def follow(*steps: Sequence[str | int], at: str = "", **options: Any) -> list[Look]:
        seen: list[Look] = read(
            "browse", {"url": catalog_site.url("browse", at), "steps": steps}, **options
        ).value
        return seen

    return follow


def _expected(catalog_site: BuiltSite, chosen: dict[str, set[str]]) -> tuple[int, dict[str, Counter[str]]]:
    """How many tasks fit, and each facet's counts given what is chosen in the others: by the catalog."""
    pairs = [(harness, task) for harness in catalog_site.catalog.harnesses for task in harness.tasks]

    def fits(pair: Pair, but: str = "") -> bool:
        return all(
            not chosen.get(name) or name == but or chosen[name] & set(has(pair))
            for name, has in FACETS.items()
        )

    counts = {
        name: Counter(value for pair in pairs if fits(pair, but=name) for value in has(pair))
        for name, has in FACETS.items()
    }
    return sum(fits(pair) for pair in pairs), counts


def test_all_tasks_are_there_at_first(catalog_site: BuiltSite, find: Find) -> None:
    [seen] = find(["look"])
    assert seen["summary"] == "130 tasks"
    assert len(seen["hits"]) == 50
    assert (seen["pages"], seen["note"], seen["chosen"]) == ("Page 1 of 3", "", [])
    assert seen["facets"] == _expected(catalog_site, {})[1]


@pytest.mark.parametrize(
    "chosen",
    [
        {"Endpoint type": {"chat"}},
        {"Endpoint type": {"chat", "unknown"}},
        {"Endpoint type": {"unknown"}, "Capability": {"none declared"}},
        {"Harness": {"harness-001", "harness-003"}, "Endpoint type": {"embedding", "vlm"}},
        {"Architecture": {"unknown"}},
        {"Architecture": {"arm64"}, "Capability": {"tools", "logprobs"}, "Endpoint type": {"chat"}},
    ],
)
def test_facets_count_what_the_others_leave(
    catalog_site: BuiltSite, find: Find, chosen: dict[str, set[str]]
) -> None:
    ticks = [["tick", facet, value] for facet, values in chosen.items() for value in sorted(values)]
    [seen] = find(*ticks, ["look"])
    found, counts = _expected(catalog_site, chosen)
    assert seen["summary"] == f"{found} of 130 tasks"
    assert {name: Counter(values) - Counter() for name, values in seen["facets"].items()} == counts
    assert len(seen["ticked"]) == len(ticks)


def test_a_facet_without_a_choice_lets_all_pass_again(find: Find) -> None:
    first, last = find(
        ["tick", "Endpoint type", "chat"], ["look"], ["untick", "Endpoint type", "chat"], ["look"]
    )
    assert first["summary"] != last["summary"] == "130 tasks"


def test_values_that_show_nothing_make_room_and_keep_the_focus(find: Find) -> None:
    first, ticked, unticked = find(
        *(["tick", "Architecture", "unknown"], ["look"]),
        *(["tick", "Harness", "harness-003"], ["untick", "Architecture", "unknown"]),
        *(["tick", "Architecture", "arm64"], ["look"]),
        *(["untick", "Harness", "harness-003"], ["look"]),
    )
    orders = [[name[-1] for name in seen["facets"]["Harness"]] for seen in (first, ticked, unticked)]
    assert orders == [["3", "0", "1", "2"], ["1", "2", "3", "0"], ["1", "2", "0", "3"]]
    assert unticked["focus"] == "harness-003"


def test_words_and_facets_narrow_each_other_and_keep_each_other(catalog_site: BuiltSite, find: Find) -> None:
    [seen] = find(["tick", "Endpoint type", "chat"], ["type", "math"], ["look"])
    assert seen["ticked"] == ["chat"]
    assert seen["query"] == "math"
    assert all("chat" in hit["tags"] for hit in seen["hits"])
    chat = [t for t in catalog_site.catalog.tasks if "chat" in t.endpoint_types]
    about = [t.name for t in chat if "math" in f"{t.name} {t.description}"]
    assert {hit["name"] for hit in seen["hits"]} >= set(about[:50])


def test_values_that_nothing_fits_stay_to_be_chosen(find: Find) -> None:
    before, after = find(["look"], ["tick", "Endpoint type", "embedding"], ["type", "zzzz"], ["look"])
    assert after["summary"] == "No task fits"
    assert "Fewer filters" in after["note"]
    assert after["facets"].keys() == before["facets"].keys()
    assert after["facets"]["Harness"].keys() == before["facets"]["Harness"].keys()
    assert after["ticked"] == ["embedding"]


def test_the_exact_name_comes_first(catalog_site: BuiltSite, find: Find) -> None:
    name = catalog_site.catalog.harnesses[2].tasks[7].name
    for words in (name, f"harness-002.{name}", name.replace("_", " "), name.upper()):
        [seen] = find(["type", words], ["look"])
        assert seen["hits"][0]["name"] == name, words
    assert seen["hits"][0]["marked"][:2] == name.split("_")


def test_parts_of_words_and_letters_with_accents_find(find: Find) -> None:
    beginning, inside, accent, several = find(
        *(["type", "vis"], ["look"]),
        *(["type", "000"], ["look"]),
        *(["type", "Mäth"], ["look"]),
        *(["type", "synth harness math law"], ["look"]),
    )
    assert beginning["hits"][0]["name"].startswith("vision_")
    assert all("000" in hit["name"] for hit in inside["hits"])
    assert accent["hits"][0]["name"].startswith("math_")
    assert several["hits"]
    assert several["hits"][0]["name"].startswith(("math_", "law_"))


@pytest.mark.parametrize(
    ("words", "finds"),
    [
        ("programming", "code_"),
        ("function calling", "tools_"),
        ("function cal", "tools_"),
        ("mathematics", "math_"),
        ("images", "vision_"),
        ("legal", "law_"),
        ("healthcare", "medicine_"),
    ],
)
def test_synonyms_find(find: Find, words: str, finds: str) -> None:
    [seen] = find(["type", words], ["look"])
    assert seen["hits"][0]["name"].startswith(finds)
    assert finds.removesuffix("_") in [text.lower() for text in seen["hits"][0]["marked"]]


def test_a_name_that_nothing_has_leads_to_its_subject(find: Find) -> None:
    [seen] = find(["type", "gsm8k"], ["look"])
    assert seen["hits"][0]["name"].startswith("math_")
    assert "same subject" in seen["note"]


def test_what_was_found_is_told_once_typing_rests(find: Find) -> None:
    first, early, late = find(
        *(["told"], ["look"], ["hold"]),
        *(["type", "math"], ["pass", 399], ["look"]),
        *(["pass", 1], ["look"]),
    )
    assert first["said"] == early["said"] == "130 tasks" != early["summary"]
    assert late["said"] == late["summary"] != "130 tasks"


def test_pages_hold_fifty_and_keep_the_order(catalog_site: BuiltSite, find: Find) -> None:
    first, second, third, back = find(
        *(["sort", "name"], ["look"]),
        *(["press", "Next"], ["look"]),
        *(["press", "Next"], ["keys", "Enter"], ["look"]),
        *(["press", "Previous"], ["look"]),
    )
    names = [hit["name"] for seen in (first, second, third) for hit in seen["hits"]]
    assert sorted(names) == sorted(task.name for task in catalog_site.catalog.tasks)
    assert names == sorted(names)
    assert (third["pages"], len(third["hits"])) == ("Page 3 of 3", 30)
    assert third["focus"] == "Next"
    assert [hit["name"] for hit in back["hits"]] == [hit["name"] for hit in second["hits"]]


def test_sorting_by_harness(find: Find) -> None:
    [seen] = find(["sort", "harness"], ["look"])
    harnesses = [hit["harness"] for hit in seen["hits"]]
    assert len(set(harnesses)) > 1
    assert harnesses == sorted(harnesses)


def test_each_hit_leads_to_its_page(catalog_site: BuiltSite, find: Find) -> None:
    [seen] = find(["look"])
    assert seen["hits"]
    for hit in seen["hits"]:
        assert (catalog_site.folder / hit["href"]).is_file()


def test_everything_chosen_can_be_taken_back(find: Find) -> None:
    chosen, one_less, cleared = find(
        *(["type", "math"], ["tick", "Endpoint type", "chat"], ["tick", "Harness", "harness-002"], ["look"]),
        *(["press", "Remove filter Harness: harness-002"], ["look"]),
        *(["press", "Clear all"], ["look"]),
    )
    assert chosen["chosen"] == ["Remove filter Harness: harness-002", "Remove filter Endpoint type: chat"]
    assert one_less["chosen"] == ["Remove filter Endpoint type: chat"]
    assert one_less["focus"].startswith("Endpoint type: chat")
    assert (cleared["query"], cleared["ticked"], cleared["summary"]) == ("", [], "130 tasks")
    assert (cleared["fragment"], cleared["focus"]) == ("", "ed-query")


def test_the_address_keeps_the_state(find: Find) -> None:
    steps = (
        ["type", "math & more"],
        ["tick", "Endpoint type", "unknown"],
        ["tick", "Endpoint type", "chat"],
        ["sort", "name"],
    )
    made, reloaded = find(*steps, ["look"], ["reload"], ["look"])
    assert parse_qs(made["fragment"].removeprefix("#")) == {
        "q": ["math & more"],
        "endpoint": ["unknown", "chat"],
        "sort": ["name"],
    }
    [shared] = find(["look"], at=made["fragment"])
    for key in ("query", "ticked", "summary", "hits", "facets"):
        assert made[key] == reloaded[key] == shared[key]


def test_back_and_forward_go_through_what_was_looked_for(find: Find) -> None:
    seen = find(
        *(["type", "m"], ["type", "ma"], ["type", "math"], ["wait"]),
        *(["tick", "Endpoint type", "chat"], ["press", "Clear all"]),
        *(["back"], ["look"], ["back"], ["look"], ["back"], ["look"], ["forward"], ["look"]),
    )
    assert [(one["query"], one["ticked"]) for one in seen] == [
        ("math", ["chat"]),
        ("math", []),
        ("", []),
        ("math", []),
    ]


def test_the_home_page_asks_here(catalog_site: BuiltSite, read: Reader) -> None:
    steps = [["ask", "math 000"], ["wait"], ["look"]]
    [seen] = read("browse", {"url": catalog_site.url("index"), "steps": steps}).value
    assert (seen["query"], seen["fragment"], seen["search"]) == ("math 000", "#q=math+000", "")
    assert seen["hits"][0]["name"].startswith("math_")


@pytest.mark.parametrize(
    "fragment",
    [
        "#q=%3Cscript%3Ealert(1)%3C%2Fscript%3E&harness=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E",
        "#__proto__=1&constructor=2&endpoint=__proto__&harness=toString&sort=__proto__&page=constructor",
        "#page=999999&sort=name",
        "#page=-1&page=1e9&q=%",
        "#%E0%A4%A&&&===#q=x",
        f"#q={'a' * 50_000}&endpoint={'b' * 50_000}",
        "#q=" + "%20".join("math" for _ in range(300)),
        "#q=%00%1B%5B31m%E2%80%AE%F0%9F%A7%AA(((((.*%2B%3F%5B%5C",
    ],
)
def test_any_fragment_is_taken_as_text(find: Find, fragment: str) -> None:
    [seen] = find(["look"], at=fragment)
    assert len(seen["query"]) <= 200
    assert seen["ticked"] == []
    assert seen["summary"]


def test_what_the_catalog_does_not_know_is_said(find: Find) -> None:
    [seen] = find(["look"], at="#endpoint=chat&endpoint=telepathy")
    assert seen["ticked"] == ["chat"]
    assert seen["note"] == "Not in this catalog, so left out: telepathy."


def test_the_keyboard_is_enough(catalog_site: BuiltSite, find: Find) -> None:
    seen = find(
        *(["keys", "/"], ["look"]),
        *(["keys", *"math", "ArrowDown"], ["look"]),
        *(["keys", "ArrowDown", "ArrowDown", "ArrowUp"], ["look"]),
        *(["keys", "End"], ["look"], ["keys", "Home", "ArrowUp"], ["look"]),
        *(["keys", "Enter"], ["look"], ["keys", "Escape"], ["look"]),
        *(["keys", "Tab", " "], ["look"]),
        *(["keys", "Shift+Tab", "Enter", "ArrowDown", "Enter"], ["arrive"], ["look"]),
    )
    in_query, first, second, last, up, entered, escaped, ticked, opened = seen
    hits = [hit["name"] for hit in first["hits"]]
    assert (in_query["focus"], in_query["query"]) == ("ed-query", "")
    assert first["focus"] == hits[0]
    assert second["focus"] == hits[1]
    assert last["focus"] == hits[-1]
    assert up["focus"] == escaped["focus"] == "ed-query"
    assert entered["focus"] == hits[0]
    assert ticked["ticked"] == ["harness-000"]
    name = ticked["hits"][1]["name"]
    assert opened["title"].startswith(
        next(t.title or t.name for t in catalog_site.catalog.tasks if t.name == name)
    )


def test_a_phone_folds_the_filters_away(find: Find) -> None:
    folded, unfolded = find(["look"], ["unfold"], ["tick", "Endpoint type", "chat"], ["look"], width=360)
    assert folded["facets"] == {}
    assert unfolded["ticked"] == ["chat"]
