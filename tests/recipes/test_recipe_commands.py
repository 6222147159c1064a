"""`evaldock ls recipes`, `evaldock help`, and what `evaldock run` refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from running import evaldock

Write = Callable[..., Path]
SAMPLES = Path(__file__).with_name("samples")
PYTHON = ("[tool.runspec.run]", 'launch = "python"')


def test_recipes_are_found_and_nothing_else(recipe: Write, project: Path) -> None:
    recipe("b/score", "[tool.runspec]", 'name = "team/score"', *PYTHON, body='"""Scores.\n\nAnd more."""')
    recipe("a", "[tool.runspec]", 'docs = "Says so itself."', body='"""Not this."""')
    recipe("tool", "[tool.other]")
    recipe("node_modules/skipped", "[tool.runspec]")
    recipe(".hidden/skipped", "[tool.runspec]")
    recipe("venv/skipped", "[tool.runspec]")
    (project / "venv" / "pyvenv.cfg").touch()
    (project / "text.py").write_text('TEXT = """\n# /// script\n# [tool.runspec]\n# ///\n"""\n')
    found = evaldock("ls", "recipes", "--json")
    assert [(each["recipe"], each.get("name"), each.get("docs")) for each in found.json] == [
        ("a.py", "", "Says so itself."),
        ("b/score.py", "team/score", "Scores."),
    ]
    shown = evaldock("ls", "recipes", "b")
    assert shown.out.splitlines() == [
        "RECIPE      NAME        LAUNCH  SAYS",
        "b/score.py  team/score  python  Scores.",
    ]


def test_what_cannot_be_read_is_told_beside_the_rest() -> None:
    shown = evaldock("ls", "recipes", SAMPLES)
    assert "samples/every-field" in shown.out
    assert "every_mistake.py: this recipe has mistakes" in shown.err
    assert shown.code == 0
    assert evaldock("ls", "recipes", "nowhere").code == 3


def test_an_empty_folder_says_so(project: Path) -> None:
    assert evaldock("ls", "recipes").out == (
        "no recipes below .; the guide on recipes says how to write one\n"
    )


@pytest.fixture
def told(recipe: Write, project: Path) -> Path:
    path = recipe(
        "recipes/score",
        'dependencies = ["pyyaml"]',
        "[tool.runspec]",
        'name = "team/score"',
        'image = "registry.example/score:1"',
        *PYTHON,
        "[tool.runspec.resources]",
        "nodes = 2",
        'gpus_per_node = "gpu"',
        "[tool.runspec.env]",
        'HF_HOME = "/cache"',
        body='"""Scores answers.\n\nWith care."""',
    )
    config = path.parent / "config"
    config.mkdir()
    (config / "default.yaml").write_text(
        "# What is usual.\nlimit: 3\ndata: {name: sums, twice: '${limit}'}\n"
    )
    (config / "small.yaml").write_text("defaults: [default]\n")
    (project / "env.toml").write_text(
        '[lab]\nexecutor = "process"\ndescription = "The machine beside the door."\n'
    )
    return path


def test_help_of_a_recipe(told: Path) -> None:
    shown = evaldock("help", "recipes/score.py")
    assert shown.err == ""
    assert (
        shown.out
        == """\
team/score
Scores answers.

With care.

recipe     recipes/score.py
launch     python
image      registry.example/score:1
resources  2 nodes, all GPUs on each
needs      pyyaml
variables  HF_HOME

Configurations
  default  (default) What is usual.
  small    -

Overrides
  limit       3
  data.name   "sums"
  data.twice  3

Profiles
  lab  process: The machine beside the door.

Run it
  evaldock run recipes/score.py -c small --profile lab key=value…
"""
    )


def test_help_of_a_recipe_as_json(told: Path) -> None:
    data = evaldock("help", "recipes/score.py", "--json").json
    assert data["overrides"] == {"limit": 3, "data.name": "sums", "data.twice": 3}
    assert [each["name"] for each in data["configurations"]] == ["default", "small"]
    assert data["profiles"] == [
        {"name": "lab", "backend": "process", "description": "The machine beside the door."}
    ]
    assert data["docs"] == "Scores answers.\n\nWith care."


def test_help_says_what_it_could_not_read(told: Path, project: Path) -> None:
    (told.parent / "config" / "default.yaml").write_text("a: [")
    (project / "env.toml").write_text("x = 1\n")
    shown = evaldock("help", "recipes/score.py")
    assert shown.code == 0
    assert "not YAML" in shown.err
    assert "env.toml holds tables only" in shown.err


def test_help_of_commands() -> None:
    assert evaldock("help", "ls", "tasks").out == evaldock("ls", "tasks", "--help").out
    assert evaldock("help").out == evaldock("--help").out
    wrong = evaldock("help", "statsu")
    assert (wrong.code, "Did you mean status" in wrong.err) == (2, True)
    deep = evaldock("help", "status", "more")
    assert (deep.code, "'evaldock status' has no commands" in deep.err) == (2, True)
    assert evaldock("help", "status", "--json").code == 2
    assert evaldock("help", "./nowhere.py").code == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.py", "b.py"], "2 names, one of them a recipe: a.py, b.py"),
        (["a.py", "--model-id", "m", "--url", "u"], "--model-id, --url can't be given to a recipe"),
        (["a.py", "--run", "x", "--batch", "y"], "--profile, --run and --batch name a profile each"),
        (["a.py", "--pipe"], "--pipe runs one pipeline"),
        (["./a"], "no such recipe"),
        (["./"], "a folder, not a recipe"),
        (["a.py", "--profile", "nope"], "there is no env.toml, so no profile 'nope'"),
    ],
)
def test_what_run_refuses(recipe: Write, words: list[str], message: str) -> None:
    recipe("a", "[tool.runspec]", *PYTHON)
    ran = evaldock("run", *words, "--dry-run")
    assert ran.code in (2, 3)
    assert message in ran.err


def test_a_dry_run_prints_what_would_be_sent(told: Path) -> None:
    ran = evaldock("run", "recipes/score.py", "limit=4", "execution.nodes=1", "--dry-run")
    assert ran.code == 0, ran.err
    assert "configuration:\n  limit: 4\n  data:\n    name: sums\n    twice: 4\n" in ran.out
    assert "image: registry.example/score:1" in ran.out
    assert 'python3 "$EVALDOCK_CODE"/recipes/score.py' in ran.out


def test_what_recipes_say_does_not_talk_to_the_terminal(recipe: Write) -> None:
    hostile = "\\u001b[31mred\\u001b]0;title\\u0007"
    path = recipe(
        "a",
        "[tool.runspec]",
        f'docs = "{hostile}"',
        f'"{hostile}" = 1',
        *PYTHON,
        f'cmd = "{hostile} {{script}}"',
        "[tool.runspec.env]",
    )
    (path.parent / "config").mkdir()
    (path.parent / "config" / "default.yaml").write_text(f'# {hostile}\n"{hostile}": "{hostile}"\n')
    for words in (["ls", "recipes"], ["help", "./a.py"], ["run", "a.py", "--dry-run"]):
        shown = evaldock(*words)
        assert "\x1b" not in shown.out + shown.err, words
        assert "\x07" not in shown.out + shown.err, words
