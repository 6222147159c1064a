"""framework.yml: what tasks follow from it."""

from __future__ import annotations

from typing import Any

import pytest

from catalog.normal_form import same
from framework_texts import DEFAULTS, read


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
