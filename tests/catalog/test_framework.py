"""framework.yml: what tasks follow from it, and what is said about its mistakes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from catalog import framework
from catalog.errors import InvalidInput
from catalog.framework import Framework, parse
from catalog.normal_form import same

HEAD = """\
framework:
  name: sample
  pkg_name: sample_pkg
  full_name: Sample
  description: A sample.
  url: https://sample.example
"""
DEFAULTS = """\
defaults:
  command: run --task {{config.params.task}} --model {{target.api_endpoint.model_id}}
  config:
    supported_endpoint_types: [chat]
    params:
      limit_samples: null
      max_new_tokens: 10
      temperature: 0.5
      task: shared
      extra:
        languages: [en, de]
        judge:
          model: null
          retries: 3
  target:
    api_endpoint:
      stream: false
"""


def read(evaluations: str, *, head: str = HEAD, defaults: str = DEFAULTS, strict: bool = False) -> Framework:
    text = f"{head}{defaults}evaluations:{evaluations}"
    return parse(text.encode(), "framework.yml", strict=strict)


def problems(data: str, *, strict: bool = False) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        parse(data.encode(), "framework.yml", strict=strict)
    assert caught.value.place == "framework.yml"
    assert caught.value.exit_code == 2
    return list(caught.value.problems)


def test_an_evaluation_is_laid_over_the_shared_defaults() -> None:
    (task,) = read("""
  - name: First
    description: The first.
    defaults:
      config:
        type: first
        supported_endpoint_types: [completions, chat]
        params:
          task: own
          max_new_tokens: null
          extra:
            languages: [fr]
            judge: {retries: 5, model: null, seed: null}
            fresh: {kept: null, deeper: {kept: null}}
            absent: null
""").tasks
    assert task.id == "sample.first"
    assert (task.title, task.description, task.internal) == ("First", "The first.", False)
    assert task.defaults == {
        "command": "run --task {{config.params.task}} --model {{target.api_endpoint.model_id}}",
        "framework_name": "sample",
        "pkg_name": "sample_pkg",
        "config": {
            "type": "first",
            # Lists replace.
            "supported_endpoint_types": ["completions", "chat"],
            "params": {
                # A null clears nothing; a model field that stays null is dropped.
                "max_new_tokens": 10,
                "temperature": 0.5,
                "task": "own",
                "extra": {
                    "languages": ["fr"],
                    # Inside extra the shared nulls stay; a new one is not added to a mapping that is there.
                    "judge": {"model": None, "retries": 5},
                    # A new mapping keeps its nulls.
                    "fresh": {"kept": None, "deeper": {"kept": None}},
                },
            },
        },
        "target": {"api_endpoint": {"stream": False}},
    }


def test_tasks_do_not_touch_each_other() -> None:
    one, other = read("""
  - defaults: {config: {type: one, params: {extra: {judge: {retries: 9}}}}}
  - defaults: {config: {type: other}}
""").tasks
    assert one.params["extra"]["judge"]["retries"] == 9
    assert other.params["extra"]["judge"]["retries"] == 3


def test_the_harness_is_what_the_framework_part_says() -> None:
    definition = read(" []").definition
    assert (definition.name, definition.pkg_name, definition.full_name) == ("sample", "sample_pkg", "Sample")
    assert (definition.description, definition.url) == ("A sample.", "https://sample.example")
    assert definition.tasks == ()
    assert definition.command is None


def test_of_two_definitions_the_last_counts_in_the_place_of_the_first() -> None:
    tasks = read("""
  - {description: early, defaults: {config: {type: a, params: {task: early}}}}
  - {description: between, defaults: {config: {type: b}}}
  - {description: late, defaults: {config: {type: a, params: {task: late}}}}
""").tasks
    assert [(task.name, task.description, task.params["task"]) for task in tasks] == [
        ("a", "late", "late"),
        ("b", "between", "shared"),
    ]


def test_the_name_is_the_type_and_the_title_the_name() -> None:
    tasks = read("""
  - {name: MMLU, defaults: {config: {type: mmlu}}}
  - {name: mmath, defaults: {config: {type: mmath}}}
  - {defaults: {config: {type: bare}}}
""").tasks
    assert [(task.name, task.title) for task in tasks] == [("mmlu", "MMLU"), ("mmath", None), ("bare", None)]


def test_a_task_may_have_its_own_command() -> None:
    found = read(
        """
  - {defaults: {command: "run a", config: {type: a}, target: {}}}
  - {defaults: {command: "run b", config: {type: b}, target: {}}}
""",
        defaults="defaults: {config: {}}\n",
    )
    assert [task.command for task in found.tasks] == ["run a", "run b"]
    assert found.definition.command is None


def test_descriptions_may_be_lists() -> None:
    (task,) = read("\n  - {description: [One., Two.], defaults: {config: {type: a}}}\n").tasks
    assert task.description == "One.\nTwo."
    assert task.description_parts == ("One.", "Two.")


def test_internal_tasks_say_so() -> None:
    tasks = read(
        "\n  - {internal: true, defaults: {config: {type: a}}}\n  - {defaults: {config: {type: b}}}\n"
    )
    assert [task.internal for task in tasks.tasks] == [True, False]


def test_unquoted_dates_are_texts_that_remember_it() -> None:
    (task,) = read("""
  - defaults:
      config:
        type: a
        params:
          extra: {start: 2024-07-01, quoted: "2024-07-01", "a/b~c": [2024-08-01], at: 2024-07-01 10:00:00}
""").tasks
    extra = task.params["extra"]
    assert {key: extra[key] for key in ("start", "quoted", "a/b~c", "at")} == {
        "start": "2024-07-01",
        "quoted": "2024-07-01",
        "a/b~c": ["2024-08-01"],
        "at": "2024-07-01 10:00:00",
    }
    assert type(extra["start"]) is str
    assert task.dates == (
        "/config/params/extra/at",
        "/config/params/extra/a~1b~0c/0",
        "/config/params/extra/start",
    )


@pytest.mark.parametrize(
    ("field", "given", "taken"),
    [
        ("temperature", "1e-7", 1e-7),  # a text to YAML 1.1
        ("temperature", "0", 0.0),
        ("temperature", "'0.5'", 0.5),
        ("top_p", "1", 1.0),
        ("parallelism", "8.0", 8),
        ("parallelism", "'8'", 8),
        ("parallelism", "1:20", 80),  # sixty minutes to YAML 1.1
        ("max_retries", "true", 1),
        ("limit_samples", "10", 10),
        ("limit_samples", "0.1", 0.1),
        ("limit_samples", "'10'", 10),
        ("limit_samples", "'0.1'", 0.1),
        ("request_timeout", "1_000", 1000),
    ],
)
def test_numbers_are_taken_as_runners_take_them(field: str, given: str, taken: Any) -> None:
    (task,) = read(f"\n  - {{defaults: {{config: {{type: a, params: {{{field}: {given}}}}}}}}}\n").tasks
    assert same(task.params[field], taken)


@pytest.mark.parametrize(
    ("given", "taken"), [("yes", True), ("'on'", True), ("0", False), ("'F'", False), ("1.0", True)]
)
def test_flags_are_taken_as_runners_take_them(given: str, taken: bool) -> None:
    (task,) = read(
        f"\n  - {{defaults: {{config: {{type: a}}, target: {{api_endpoint: {{stream: {given}}}}}}}}}\n"
    ).tasks
    assert task.defaults["target"]["api_endpoint"]["stream"] is taken


def test_vlm_as_the_type_of_an_endpoint_is_chat() -> None:
    found = read(
        "\n  - defaults:\n      config: {type: a, supported_endpoint_types: [vlm]}\n"
        "      target: {api_endpoint: {type: vlm}}\n"
    )
    (task,) = found.tasks
    assert task.defaults["target"]["api_endpoint"]["type"] == "chat"
    assert task.endpoint_types == ("vlm",)
    assert found.warnings == (
        "evaluations[0].defaults.target.api_endpoint.type: 'vlm' is an old name; 'chat' is meant (line 27)",
    )


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


def test_what_a_command_needs_beyond_an_endpoint_is_told() -> None:
    found = read(
        """
  - {defaults: {config: {type: a}}}
  - {defaults: {config: {type: b, params: {extra: {version: 1}}}}}
  - {defaults: {config: {type: c}}}
""",
        defaults=DEFAULTS.replace("{{config.params.task}}", "{{config.params.extra.version}}"),
    )
    assert found.warnings == (
        "evaluations[0]: with its defaults alone its command can't be rendered: a value is missing:"
        " 'dict object' has no attribute 'version'; the same in 1 more (line 25)",
    )
    # It isn't a mistake of the file.
    assert len(found.tasks) == 3


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
