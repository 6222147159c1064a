"""A step's outputs, summary and commands, and its inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from action.workflow_log import Ran, assignments, read_commands
from catalog.errors import InvalidInput, UsageError
from catalog.github import workflow_step
from catalog.github.workflow_commands import annotation
from catalog.github.workflow_inputs import Inputs
from catalog.github.workflow_step import Failed, Workflow, problem
from synthetic import make_catalog


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    files = {name: str(tmp_path / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    return Workflow({**files, "GITHUB_WORKSPACE": str(tmp_path), "GITHUB_ACTIONS": "true"})


@pytest.mark.parametrize("value", ["", "plain", "a\nb=c\nd<<EOF\nEOF", "%0A::error::x", "=<<", "\n\n"])
def test_an_output_is_one_value_whatever_it_says(workflow: Workflow, value: str) -> None:
    workflow.output("first", value)
    workflow.output("second", "x")
    assert assignments(Path(workflow.environ["GITHUB_OUTPUT"]).read_text()) == {"first": value, "second": "x"}


def test_without_a_runner_there_is_nothing_to_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Workflow({}).output("name", "value")
    Workflow({}).summary("text")
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_a_summary_that_is_too_long_is_left_out(workflow: Workflow) -> None:
    workflow.summary("x" * 600_000)
    workflow.summary("y" * 600_000)
    workflow.summary("z")
    text = Path(workflow.environ["GITHUB_STEP_SUMMARY"]).read_text()
    assert set(text) == {"x", "z", "\n"}


def test_what_is_printed_in_a_group_commands_nothing(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    with workflow.group("Work"):
        workflow_step.say("::error::inside\n::set-output name=a::b\n::endgroup::")
    workflow.error("outside\n::error::still inside it", title="a,b::c")
    ran = Ran()
    read_commands(capsys.readouterr().out, ran)
    (only,) = ran.annotations
    assert (only.message, only.properties) == ("outside\n::error::still inside it", {"title": "a,b::c"})
    assert ran.commands == []


def test_a_command_may_print_more_than_a_pipe_holds(workflow: Workflow, tmp_path: Path) -> None:
    make_catalog(tmp_path / "many", harnesses=1, tasks=400)
    done = Failed.unless(workflow.evaldock("ls", "tasks", "--json", "--catalog", str(tmp_path / "many")))
    assert len(done.out) > 1 << 16
    assert len(done.data) == 400


def test_a_command_that_fails_ends_the_step_with_its_own_code(workflow: Workflow, tmp_path: Path) -> None:
    done = workflow.evaldock("ls", "tasks", "--json", "--catalog", str(tmp_path / "none"))
    assert (done.code, problem(done.said).partition(":")[0]) == (3, str(tmp_path / "none"))
    with pytest.raises(Failed, match=r"no mapping\.toml") as raised:
        Failed.unless(done)
    assert raised.value.exit_code == 3
    assert Failed.unless(workflow.evaldock("--version")).out.startswith("evaldock")


def test_the_last_error_is_what_is_wrong() -> None:
    said = "evaldock: warning: slow\nworking\nevaldock: x.toml: this is wrong\n  - first\n  try again\n"
    assert problem(said) == "x.toml: this is wrong\n  - first\n  try again"
    assert problem("Usage: evaldock\nError: No such option '--x'\n") == "Error: No such option '--x'"
    assert problem("Traceback\n  one\nValueError: x\n") == "Traceback\n  one\nValueError: x"
    assert problem("") == ""


def test_an_annotation_has_a_level_that_runners_know() -> None:
    assert annotation("notice", "50% done") == "::notice::50%25 done"
    assert annotation("error", "x", file="a:b,c", line=3) == "::error file=a%3Ab%2Cc,line=3::x"
    with pytest.raises(ValueError, match="fatal"):
        annotation("fatal", "x")


def inputs(**given: str) -> Inputs:
    return Inputs(
        {f"EVALDOCK_INPUT_{name.upper()}": value for name, value in given.items()}, Path("/checkout")
    )


def test_inputs_are_read_as_what_they_are() -> None:
    read = inputs(text=" a b ", many=" a, b\nc\n\n", yes="TRUE", file="x/y", one="b")
    assert read.text("text") == "a b"
    assert read.lines("many") == ("a, b", "c")
    assert read.words("many") == ("a", "b", "c")
    assert (read.flag("yes"), read.flag("unset"), read.flag("unset", default=True)) == (True, False, True)
    assert read.path("file") == Path("/checkout/x/y")
    assert read.path("unset") is None
    assert read.choice("one", ("a", "b")) == "b"
    assert read.choice("unset", ("a", "b")) == "a"
    assert read.parsed("unset", int) is None
    read.done()


@pytest.mark.parametrize(
    "name", ["-x", "a..b", "a b", "a~1", "x.lock", "/a", "a/", "@{u}", "a:b", "a\\b", "a//b", "."]
)
def test_what_git_would_not_take_is_no_branch(name: str) -> None:
    read = inputs(branch=name)
    read.branch("branch", "main")
    with pytest.raises(InvalidInput, match="not the name of a branch"):
        read.done()


def test_all_that_is_wrong_is_told_at_once() -> None:
    def parse(_text: str) -> int:
        raise UsageError("not a number", hint="expected 1")

    read = inputs(text="a\x1bb", many="a\x00", yes="maybe", one="c", number="x")
    read.text("text")
    read.lines("many")
    read.flag("yes")
    read.choice("one", ("a", "b"))
    read.parsed("number", parse)
    with pytest.raises(InvalidInput) as raised:
        read.done()
    assert [each.partition(":")[0] for each in raised.value.problems] == [
        "text",
        "many",
        "yes",
        "one",
        "number",
    ]
