"""framework.yml: what is said about its mistakes, and what is too much."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from catalog import framework
from catalog.framework import parse
from framework_texts import DEFAULTS, HEAD, problems


def test_all_mistakes_are_told_at_once_with_their_key_paths() -> None:
    assert problems("""\
framework:
  name: has space
  full_name: [1]
  description: 3
  url: 1.5
defaults:
  command: "{% if %}"
  config:
    params:
      parallelism: many
      extra: 3
evaluations:
  - name: 7
    description: {a: b}
    internal: maybe
    defaults:
      config:
        type: one
  - defaults:
      config: {params: {task: 2024-07-01}}
  - not a mapping
  - {}
  - defaults: {config: {type: a/b}}
  - defaults: {config: {type: c, supported_endpoint_types: chat}, target: {api_endpoint: {type: phone}}}
  - defaults: 7
  - defaults: {config: text}
""") == [
        "framework.name: 'has space' can't name a harness: letters, digits, '_', '-' and '+', at"
        " most 100, none of '-' and '+' first (line 2)",
        "framework.description: expected text or a list of texts, found 3 (line 4)",
        "framework.pkg_name: missing (line 1)",
        "framework.full_name: expected text, found [1] (line 3)",
        "framework.url: expected text, found 1.5 (line 5)",
        "defaults.config.params.parallelism: expected a whole number, found 'many' (line 10)",
        "defaults.config.params.extra: expected a mapping, found 3 (line 11)",
        "evaluations[0].name: expected text, found 7 (line 13)",
        "evaluations[0].description: expected text or a list of texts, found {'a': 'b'} (line 14)",
        "evaluations[0].internal: expected true or false, found 'maybe' (line 15)",
        "defaults.command: can't be rendered: line 1: Expected an expression, got 'end of"
        " statement block' (line 7)",
        "evaluations[1].defaults.config.params.task: expected text (an unquoted date is none),"
        " found '2024-07-01' (line 20)",
        "evaluations[1].defaults.config.type: missing: it names the task (line 20)",
        "evaluations[2]: expected a mapping, found 'not a mapping' (line 21)",
        "evaluations[3].defaults: missing (line 22)",
        "evaluations[4].defaults.config.type: 'a/b' can't name a task: letters, digits, '_', '-',"
        " '+' and '.', at most 150, none of '-', '+' and '.' first, no '.' last (line 23)",
        "evaluations[5].defaults.config.supported_endpoint_types: expected a list of texts, found"
        " 'chat' (line 24)",
        "evaluations[5].defaults.target.api_endpoint.type: expected one of undefined, chat,"
        " completions, completions_logprob, embedding, found 'phone' (line 24)",
        "evaluations[6].defaults: expected a mapping, found 7 (line 25)",
        "evaluations[7].defaults.config: expected a mapping, found 'text' (line 26)",
        "evaluations[7].defaults.config.type: missing: it names the task (line 26)",
        "evaluations[0]: no target, neither in its own defaults nor in the shared ones; the same"
        " in 3 more (line 13)",
    ]


def test_an_empty_file_is_no_definition() -> None:
    assert problems("") == ["expected a mapping, found nothing"]
    assert problems("[]") == ["expected a mapping, found []"]
    assert problems("a: b: c")[0].startswith("line 1, column 5: ")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("evaluation: []", "unknown key; did you mean 'evaluations'?"),
        ("something_else: 1", "unknown key"),
    ],
)
def test_unknown_keys_at_the_top_are_warned_about(given: str, meant: str) -> None:
    found = parse(f"{HEAD}{DEFAULTS}evaluations: []\n{given}\n".encode(), "f")
    key = given.partition(":")[0]
    assert found.warnings == (f"{key}: {meant} (line 25)",)


def test_unknown_keys_are_kept_and_warned_about_and_refused_when_strict() -> None:
    text = """\
framework: {name: a, pkg_name: a, sourc: x, source: y}
defaults: {command: run, config: {params: {temprature: 1}}, target: {}}
evaluations:
  - {tags: [2024-01-01], defaults: {config: {type: t, required_capabilities: [tool], extra: {a: null}}}}
"""
    found = parse(text.encode(), "f")
    warnings = [
        "framework.sourc: unknown key; did you mean 'source'? (line 1)",
        "defaults.config.params.temprature: unknown key; did you mean 'temperature'? (line 2)",
        "evaluations[0].tags: unknown key (line 4)",
        "evaluations[0].defaults.config.extra: unknown key (line 4)",
        "evaluations[0].defaults.config.required_capabilities: unknown value 'tool'; did you mean 'tools'?"
        " (line 4)",
    ]
    assert sorted(found.warnings) == sorted(warnings)
    assert found.definition.other == {"source": "y", "sourc": "x"}
    (task,) = found.tasks
    assert task.other == {"tags": ["2024-01-01"]}
    assert task.defaults["config"] == {
        "params": {"temprature": 1},
        "type": "t",
        "required_capabilities": ["tool"],
        "extra": {"a": None},
    }
    assert sorted(problems(text, strict=True)) == sorted(warnings)


@pytest.mark.parametrize("part", ["command", "config", "target"])
def test_parts_must_come_from_somewhere(part: str) -> None:
    defaults = {"command": "run", "config": {}, "target": {}}
    del defaults[part]
    own: dict[str, Any] = {"config": {"type": "a"}}
    data = {
        "framework": {"name": "a", "pkg_name": "a"},
        "defaults": defaults,
        "evaluations": [{"defaults": own}],
    }
    if part == "config":
        # The type makes a config.
        assert len(parse(yaml.safe_dump(data).encode(), "f").tasks) == 1
        return
    (problem,) = problems(yaml.safe_dump(data, sort_keys=False))
    assert problem.startswith(
        f"evaluations[0]: no {part}, neither in its own defaults nor in the shared ones"
    )
    own[part] = defaults.get(part, "run" if part == "command" else {})
    assert len(parse(yaml.safe_dump(data).encode(), "f").tasks) == 1


@pytest.mark.parametrize("missing", ["framework", "defaults", "evaluations"])
def test_parts_of_the_file_must_be_there(missing: str) -> None:
    data = yaml.safe_load(f"{HEAD}{DEFAULTS}evaluations: []\n")
    del data[missing]
    assert problems(yaml.safe_dump(data)) == [f"{missing}: missing"]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("{{ unclosed", "line 1: unexpected end of template"),
        ("{% for x in y %}", "line 1: Unexpected end of template"),
        ("{{ ''.__class__ }}", "line 1: the attribute __class__ is not for commands"),
        ("{% macro f() %}{% endmacro %}", "line 1: {% macro %} is not for commands"),
        ("{{ x|nosuchfilter }}", "line 1: No filter named 'nosuchfilter'"),
    ],
)
def test_commands_must_be_templates(command: str, problem: str) -> None:
    data = yaml.safe_load(f"{HEAD}{DEFAULTS}evaluations: []\n")
    data["defaults"]["command"] = command
    data["evaluations"] = [{"defaults": {"config": {"type": name}}} for name in "ab"]
    found = problems(yaml.safe_dump(data))
    # Said once for the command that they share.
    assert len(found) == 1
    assert found[0].startswith(f"defaults.command: can't be rendered: {problem}")


def test_a_command_that_would_fill_the_memory_is_refused() -> None:
    found = problems(f"""{HEAD}{DEFAULTS}evaluations:
  - defaults:
      command: "{{{{ 'x' * 10000000000 }}}}"
      config: {{type: a}}
""")
    assert found == [
        "evaluations[0]: its command can't be rendered: it makes a text or list of more than 1048576"
        " characters or items (line 25)"
    ]


def test_size_and_work_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems("x" * (framework.MAX_BYTES + 1)) == [f"larger than {framework.MAX_BYTES} bytes"]
    monkeypatch.setattr(framework, "MAX_WORK", 20)
    many = "\n".join(f"  - {{defaults: {{config: {{type: t{n}}}}}}}" for n in range(5))
    assert problems(f"{HEAD}{DEFAULTS}evaluations:\n{many}\n") == [
        "evaluations: too many evaluations of too large defaults (line 24)"
    ]


def test_endless_mistakes_are_cut_short() -> None:
    many = "\n".join("  - 1" for _ in range(150))
    found = problems(f"{HEAD}{DEFAULTS}evaluations:\n{many}\n")
    assert len(found) == framework.MAX_PROBLEMS + 1
    assert found[-1] == "and 50 more"
