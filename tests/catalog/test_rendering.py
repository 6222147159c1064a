"""Commands: rendered as their runners render them, and never at the expense of who renders them."""

from __future__ import annotations

from typing import Any

import pytest

from catalog import rendering, sandbox
from catalog.rendering import Unrenderable, check_template, example, example_overrides, render, render_text
from samples import task


def refused(template: str, **values: Any) -> str:
    with pytest.raises(Unrenderable) as caught:
        render_text(template, values)
    assert caught.value.exit_code == 5
    return caught.value.message


def test_a_command_is_rendered_with_what_a_run_gives() -> None:
    one = task("h", "t", command="run {{target.api_endpoint.url}} {{config.params.top_p}} {{config.type}}")
    overrides = {"target": {"api_endpoint": {"url": "http://x"}}, "config": {"params": {"top_p": 0.5}}}
    assert render(one, overrides) == "run http://x 0.5 t"


def test_known_fields_are_null_when_nobody_gave_them() -> None:
    one = task("h", "t", command="{% if config.params.limit_samples is not none %}--limit{% endif %}x")
    assert render(one) == "x"
    fields = task("h", "t", command="{{ target.api_endpoint.api_key_name }} {{ config.output_dir }}")
    assert render(fields) == "None None"


def test_what_nobody_gave_and_nobody_knows_is_an_error() -> None:
    one = task("h", "t", command="{{config.params.extra.version}}")
    with pytest.raises(Unrenderable) as caught:
        render(one)
    assert str(caught.value) == (
        "command of h.t: a value is missing: 'dict object' has no attribute 'version'\n"
        "  give it as a parameter of the run"
    )
    assert not caught.value.forbidden


def test_rendering_repeats_until_nothing_changes() -> None:
    values = {"a": "{{ b }}", "b": "{{ c }}", "c": "end"}
    assert render_text("{{ a }}!", values) == "end!"
    assert refused("{{ a }}", a="{{ a }} again") == "still a template after 10 rounds of rendering"


def test_text_without_marks_stays_but_for_newlines_at_its_end() -> None:
    assert render_text("a\n b\t\n\n\n", {}) == "a\n b\t"


@pytest.mark.parametrize(
    ("listed", "kind", "url"),
    [
        (("chat",), "chat", "https://endpoint.example/v1/chat/completions"),
        (("completions", "chat"), "completions", "https://endpoint.example/v1/completions"),
        (("vlm",), "chat", "https://endpoint.example/v1/chat/completions"),
        (("embedding",), "embedding", "https://endpoint.example/v1/embeddings"),
        ((), "chat", "https://endpoint.example/v1/chat/completions"),
        (("undefined",), "undefined", "https://endpoint.example/v1/chat/completions"),
        (("invented", "completions"), "completions", "https://endpoint.example/v1/completions"),
    ],
)
def test_the_example_endpoint_is_of_a_type_that_the_task_takes(
    listed: tuple[str, ...], kind: str, url: str
) -> None:
    one = task("h", "t", endpoints=listed, command="{{target.api_endpoint.type}} {{target.api_endpoint.url}}")
    assert example(one) == f"{kind} {url}"
    assert example_overrides(one)["config"] == {"output_dir": "/results"}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ ' '.join(['a', 'b']) }} {{ [1, none]|join(', ') }}", "a b 1, None"),
        ("{% for k, v in {'a': 1}.items() %}{{ loop.index }}{{ k }}{{ v }}{% endfor %}", "1a1"),
        ("{% for x in [1, 2, 3] if x > 1 %}{{ x }}{{ '.' if loop.last }}{% else %}-{% endfor %}", "23."),
        ("{{ 'a' ~ 1 ~ none ~ [1] }}", "a1None[1]"),
        ("{{ 'a,b'.split(',')[1] }} {{ 'abc'.startswith('a') }}", "b True"),
        ("{{ {'a': [1, true, none]}|tojson }}", '{"a": [1, true, null]}'),
        ("{{ x|default('d') }} {{ x is defined }}", "d False"),
        ("{{ 'a-b'|replace('-', '_') }} {{ 'a-b-c'.replace('-', '_', 1) }}", "a_b a_b-c"),
        ("{{ (7 / 2)|int }} {{ 5000000 + 1 }} {{ 2 ** 10 }} {{ 7 % 4 }} {{ 100000 * 100000 }}", None),
        ("{{ 'ab' * 2 }}{{ [1] * 2 }}{{ -1 * 'a' }}", "abab[1, 1]"),
        ("{% set x = 'a' %}{% with y = x %}{{ y }}{% endwith %}{% raw %}{ {% endraw %}", "a{ "),
        ("{{ range(3)|list }}{{ ['b', 'a']|sort|first }}", "[0, 1, 2]a"),
    ],
)
def test_what_commands_need_works(template: str, text: str | None) -> None:
    assert render_text(template, {}) == (text or "3 5000001 1024 3 10000000000")


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ 'x' * 10**9 }}", "makes a text or list of more"),
        ("{{ 10**9 * 'x' }}", "makes a text or list of more"),
        ("{{ [0] * 10**9 }}", "makes a text or list of more"),
        ("{{ 9**9**99 }}", "makes a number of more"),
        (
            "{% set a = 9**99 %}{% set a = a * a %}{% set a = a * a %}{% set a = a * a %}{{ a }}",
            "makes a number",
        ),
        ("{{ range(10**9)|list }}", "counts further than 10000"),
        (
            "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
            "takes more than 10000 steps",
        ),
        ("{{ '%1000000000d' % 1 }}", "formats text by %"),
        (
            "{% set a = 'x' * 1000000 %}" + "{% set a = a ~ a %}" * 40 + "{{ a }}",
            "makes a text or list of more",
        ),
        (
            "{% set a = 'x' * 1000000 %}" + "{% set a = a + a %}" * 40 + "{{ a }}",
            "makes a text or list of more",
        ),
        ("{% set a = ['x' * 100000] * 1000 %}{{ a }}", "makes a text or list of more"),
        ("{% set a = ['x' * 100000] * 1000 %}{{ a|string|length }}", "makes a text or list of more"),
        ("{% set a = ['x' * 100000] * 1000 %}{{ a|join }}", "makes a text or list of more"),
        ("{% set a = ['x' * 100000] * 1000 %}{{ ''.join(a) }}", "makes a text or list of more"),
        ("{% set a = ['x' * 100000] * 1000 %}{{ a ~ '' }}", "makes a text or list of more"),
        ("{{ ('a' * 100000)|replace('a', 'b' * 100000) }}", "makes a text or list of more"),
        ("{{ ('a' * 100000).replace('a', 'b' * 100000) }}", "makes a text or list of more"),
        ("{{ '\"'" + "|tojson" * 60 + " }}", "makes a text or list of more"),
        (
            "{{ ('a' * 100000)|list|map('replace', 'a', 'b' * 100000)|list|length }}",
            "makes texts and lists of more",
        ),
        ("{% for a in range(100) %}{{ 'x' * 100000 }}{% endfor %}", "makes more than 1048576 characters"),
        ("x" * (sandbox.MAX_SOURCE + 1), "is longer than 131072 characters"),
    ],
)
def test_templates_that_ask_for_too_much_end_early(template: str, problem: str) -> None:
    with pytest.raises(Unrenderable) as caught:
        render_text(template, {})
    assert caught.value.message.startswith(f"it {problem}")
    assert caught.value.forbidden


def test_what_is_merely_slow_ends_at_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "MAX_SECONDS", 0.05)
    slow = "{% set x = 'a' * 1000000 %}{% for a in range(10000) %}{{ 'ab' in x }}{% endfor %}"
    assert refused(slow) == "it takes longer than 0.05 seconds"
    # The next rendering has its own time.
    assert render_text("{{ 1 }}", {}) == "1"


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ ''.__class__.__mro__ }}", "line 1: the attribute __mro__ is not for commands"),
        ("{{ ''|attr('__class__') }}", "line 1: No filter named 'attr'."),
        ("{{ ''['__class__'] }}", "not allowed: access to attribute '__class__' of 'str' object is unsafe."),
        ("{{ config['__init__']['__globals__'] }}", "not allowed: access to attribute '__init__'"),
        ("{{ '{0.__class__}'.format(1) }}", "line 1: the method format() is not for commands"),
        ("{{ 'x'.center(9) }}", "line 1: the method center() is not for commands"),
        ("{{ config.clear() }}", "line 1: the method clear() is not for commands"),
        ("{{ lipsum() }}", "line 1: commands call methods of values and range(), nothing else"),
        ("{{ namespace(a=1) }}", "line 1: commands call methods of values and range(), nothing else"),
        ("{{ (1).real() }}", "line 1: the method real() is not for commands"),
        (
            "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
            "line 1: {% macro %} is not for commands",
        ),
        ("{% set x %}text{% endset %}", "line 1: {% set … endset %} is not for commands"),
        ("{% filter upper %}{% endfilter %}", "line 1: {% filter %} is not for commands"),
        ("{% include '/etc/passwd' %}", "line 1: {% include %} is not for commands"),
        ("{% import 'x' as y %}", "line 1: {% import %} is not for commands"),
        ("{% extends 'x' %}", "line 1: {% extends %} is not for commands"),
        ("{% block b %}{% endblock %}", "line 1: {% block %} is not for commands"),
        ("\n{% for a in [] recursive %}{% endfor %}", "line 2: recursive loops are not for commands"),
        ("{{ 1/0 }}", "ZeroDivisionError: division by zero"),
        ("{{ 'a' + 1 }}", "TypeError: "),
        ("{{ " + "[" * 5000 + "]" * 5000 + " }}", "it is nested too deeply"),
        ("{{ " + "not " * 20000 + "1 }}", "it is nested too deeply"),
        ("{{ a" + ".b" * 20000 + " }}", "it is nested too deeply"),
        ("{% if 1 %}" * 200 + "x" + "{% endif %}" * 200, "it is nested too deeply"),
    ],
)
def test_templates_that_are_refused(template: str, problem: str) -> None:
    assert refused(template, config={"a": 1}).startswith(problem)


def test_values_are_not_changed_by_a_template() -> None:
    values = {"items": [1]}
    refused("{{ items.append(2) }}", **values)
    assert values == {"items": [1]}


def test_checking_needs_no_values() -> None:
    assert check_template("{{ anything.at.all }}") is None
    assert (
        check_template("{{ open") == "line 1: unexpected end of template, expected 'end of print statement'."
    )


def test_compiled_templates_are_kept_but_not_all_of_them() -> None:
    for n in range(200):
        render_text(f"{{{{ {n} }}}}", {})
    kept = rendering._sandbox()._compiled
    assert 0 < len(kept) <= 64
