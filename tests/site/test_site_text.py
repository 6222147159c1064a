from __future__ import annotations

from pathlib import Path

import pytest

from generator.site.registries import registry_page
from generator.site.scripts import command_script, script_value
from generator.site.templating import LONGEST, Place, command_html, plural, within
from generator.site.text import clean, plain, shorten, web_address


def test_control_characters_go_and_lines_stay() -> None:
    assert clean("a\r\nb\rc\td\x00\x1b[0m\u202e\ufeff\ud800") == "a\nb\nc\td[0m"
    assert plain("  a \n\n b\u00a0c ") == "a b c"


@pytest.mark.parametrize(
    ("text", "length", "shown"),
    [
        ("short enough", 12, "short enough"),
        ("cut at a word, if one is near", 16, "cut at a word…"),
        ("x" * 30, 10, "x" * 9 + "…"),
        ("abcde\u0301f", 6, "abcd…"),
    ],
)
def test_a_text_is_cut_where_it_reads_best(text: str, length: int, shown: str) -> None:
    assert shorten(text, length) == shown
    assert len(shown) <= length


@pytest.mark.parametrize(
    "text", ["https://a.example/x?y=1#z", "http://a.example", " https://a.example:8080/ "]
)
def test_a_web_address_is_a_link(text: str) -> None:
    assert web_address(text) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "javascript:alert(1)",
        "JAVASCRIPT://a.example/%0aalert(1)",
        "data:text/html,x",
        "//a.example",
        "https://",
        "https://user:secret@a.example/",
        "https://a.example/ onclick=alert(1)",
        'https://a.example/"x',
        "https://a.example/<x>",
        "https://[::1",
        "file:///etc/passwd",
    ],
)
def test_nothing_else_is(text: str | None) -> None:
    assert web_address(text) is None


@pytest.mark.parametrize(
    ("container", "page"),
    [
        ("ubuntu:22.04", "https://hub.docker.com/_/ubuntu"),
        ("team/name:1", "https://hub.docker.com/r/team/name"),
        (
            "nvcr.io/nvidia/eval-factory/mmath:26.03",
            "https://catalog.ngc.nvidia.com/orgs/nvidia/teams/eval-factory/containers/mmath",
        ),
        ("nvcr.io/nvidia/pytorch:1", "https://catalog.ngc.nvidia.com/orgs/nvidia/containers/pytorch"),
        ("quay.io/a/b@sha256:" + "0" * 64, "https://quay.io/repository/a/b"),
        ("ghcr.io/a/b:1", "https://ghcr.io/a/b"),
        ("registry.gitlab.com/a/b/c:1", "https://registry.gitlab.com/a/b/c"),
        ("localhost:5000/a/b:1", None),
        ("127.0.0.1:5000/a:1", None),
        ("[::1]:5000/a:1", None),
        ("registry.internal/a:1", None),
        ("oci:images/a:1", None),
        ("docker-daemon:a:1", None),
        ("not an image", None),
    ],
)
def test_an_image_leads_to_its_registry(container: str, page: str | None) -> None:
    assert registry_page(container) == page


def test_the_parts_of_a_command_are_marked_and_escaped() -> None:
    assert command_html('a --b "<c" && echo $D {{ e.f }} {% if g %}h{% endif %}') == (
        'a <span class="ed-option">--b</span> &#34;&lt;c&#34; '
        '<span class="ed-operator">&amp;&amp;</span> echo '
        '<span class="ed-variable">$D</span> <span class="ed-jinja">{{ e.f }}</span> '
        '<span class="ed-jinja">{% if g %}</span>h<span class="ed-jinja">{% endif %}</span>'
    )


@pytest.mark.timeout(60)  # a pattern that tried again from every place would take minutes
@pytest.mark.parametrize("unit", ["{{", "{%", "--", "$", "$" + "x" * 90, " -a" * 9, "&|;"])
def test_no_command_keeps_the_builder_busy(unit: str) -> None:
    assert "more characters in the JSON" in command_html(unit * 2 * LONGEST)


def test_a_long_text_is_cut_and_says_so() -> None:
    shown = within("word " * 5000)
    assert len(shown) < LONGEST + 100
    assert shown.endswith("\n\n[5,000 more characters in the JSON of this page]")


def test_a_script_holds_no_end_of_itself() -> None:
    assert script_value("</script><!--\u2028\u2029") == '"\\u003c/script>\\u003c!--\\u2028\\u2029"'
    assert "<" not in command_script("echo '</script>' {{ x }}")


@pytest.mark.parametrize(
    ("here", "there", "way"),
    [
        ("index.html", "browse.html", "browse.html"),
        ("a/b/c.html", "a/d.html", "../d.html"),
        ("a/b/c.html", "", "../.."),
        ("a/b/c.html", "a/b/c.html", "c.html"),
        ("a/b/", "a/c/", "../c/"),
        ("index.html", "", "."),
    ],
)
def test_pages_find_each_other(here: str, there: str, way: str) -> None:
    assert Place(here, lambda page: page).file(there) == way


def test_counting() -> None:
    assert [plural(count, "task") for count in (0, 1, 1234)] == ["0 tasks", "1 task", "1,234 tasks"]
    assert plural(2, "harness", "harnesses") == "2 harnesses"


def test_static_files_are_named_like_ours() -> None:
    static = Path(__file__).parents[2] / "generator" / "site" / "static"
    assert {path.name.split("-")[0].split(".")[0] for path in static.iterdir()} == {"evaldock"}
