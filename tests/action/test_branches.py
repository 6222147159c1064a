"""Files on a branch of a remote: nobody's change is lost, whoever pushes at the same moment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from catalog.errors import NotFound, Refused, UsageError
from catalog.github import branches
from catalog.github.branches import Branch, Unpushed, with_token
from git_commands import git


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Of an upstream with one commit on `main`."""
    git(tmp_path, "init", "--quiet", "--bare", "-b", "main", "upstream.git")
    git(tmp_path, "clone", "--quiet", "upstream.git", "clone")
    made = tmp_path / "clone"
    (made / "kept.txt").write_text("kept")
    git(made, "add", ".")
    git(made, "commit", "--quiet", "-m", "first")
    git(made, "push", "--quiet", "-u", "origin", "HEAD")
    return made


def add(path: str, content: bytes = b"x") -> branches.Edit:
    def edit(_files: Mapping[str, bytes]) -> Mapping[str, bytes | None]:
        return {path: content}

    return edit


def test_a_file_is_added_on_top_and_the_clone_is_left_alone(clone: Path) -> None:
    before = git(clone, "rev-parse", "HEAD")
    commit = Branch(clone=clone, name="main").change(add("results/a.json", b"{}\n"), message="Add a")
    assert git(clone, "ls-remote", "origin", "main").split()[0] == commit
    git(clone, "fetch", "--quiet")
    assert git(clone, "log", "--format=%s", "origin/main").splitlines() == ["Add a", "first"]
    assert sorted(git(clone, "ls-tree", "-r", "--name-only", "origin/main").split()) == [
        "kept.txt",
        "results/a.json",
    ]
    assert git(clone, "rev-parse", "HEAD") == before
    assert git(clone, "status", "--porcelain") == ""


def test_the_same_again_changes_nothing(clone: Path) -> None:
    branch = Branch(clone=clone, name="main")
    assert branch.change(add("a"), message="Add") is not None
    assert branch.change(add("a"), message="Add") is None


def test_a_branch_without_history_is_one_commit(clone: Path) -> None:
    branch = Branch(clone=clone, name="open-runs", history=False)
    assert branch.read() == {}
    branch.change(add("runs/1"), message="One")
    branch.change(add("runs/2"), message="Two")
    assert branch.read("runs/") == {"runs/1": b"x", "runs/2": b"x"}
    branch.change(dict.fromkeys, message="None", paths=["runs/"])
    assert branch.read() == {}
    git(clone, "fetch", "--quiet")
    assert git(clone, "log", "--format=%s", "origin/open-runs").splitlines() == ["None"]


def test_a_shallow_clone_of_another_commit_does(clone: Path, tmp_path: Path) -> None:
    git(clone, "commit", "--quiet", "--allow-empty", "-m", "second")
    git(clone, "push", "--quiet")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{tmp_path}/upstream.git", "shallow")
    git(tmp_path / "shallow", "checkout", "--quiet", "--detach")
    Branch(clone=tmp_path / "shallow", name="main").change(add("a"), message="Add")
    git(clone, "pull", "--quiet")
    assert git(clone, "log", "--format=%s").splitlines() == ["Add", "second", "first"]


def test_a_new_branch_begins_at_another(clone: Path) -> None:
    Branch(clone=clone, name="proposed/one").change(add("a"), message="Add", base="main")
    assert set(Branch(clone=clone, name="proposed/one").read()) == {"a", "kept.txt"}
    with pytest.raises(NotFound, match="no branch 'gone' to begin from"):
        Branch(clone=clone, name="proposed/two").change(add("a"), message="Add", base="gone")


@pytest.mark.parametrize("history", [True, False])
def test_of_five_at_once_all_come_through(clone: Path, tmp_path: Path, history: bool) -> None:
    script = (
        "import sys; from pathlib import Path; from catalog.github.branches import Branch\n"
        "branch = Branch(clone=Path(sys.argv[1]), name='shared', history=sys.argv[3] == 'True')\n"
        "for n in range(2):\n"
        "    branch.change(lambda _: {f'runs/{sys.argv[2]}-{n}': b'x'}, message='Add')\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(clone), str(n), str(history)]) for n in range(5)
    ]
    assert [process.wait(120) for process in running] == [0] * 5
    assert len(Branch(clone=clone, name="shared").read()) == 10


def test_a_push_that_is_refused_says_what_to_do(clone: Path, tmp_path: Path) -> None:
    hook = tmp_path / "upstream.git" / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'protected branch' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(Refused, match="doesn't take what is pushed to 'main'") as raised:
        Branch(clone=clone, name="main").change(add("a"), message="Add")
    assert "pull-request" in str(raised.value)


def test_a_remote_that_is_gone_is_unreachable(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branches, "NETWORK_TRIES", 1)
    (tmp_path / "upstream.git").rename(tmp_path / "gone")
    with pytest.raises(Unpushed, match="can't be reached") as raised:
        Branch(clone=clone, name="main").change(add("a"), message="Add")
    assert raised.value.exit_code == 4


def test_a_folder_without_a_remote_is_a_mistake(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    with pytest.raises(UsageError, match="no git remote 'origin'"):
        Branch(clone=tmp_path, name="main").read()


def test_odd_names_stay_names(clone: Path, tmp_path: Path) -> None:
    odd = "results/--exec=touch pwned; $(touch pwned) `x`\t\"'é\n.json"
    Branch(clone=clone, name="main").change(add(odd), message="$(touch pwned)\n`x`")
    assert Branch(clone=clone, name="main").read("results/") == {odd: b"x"}
    assert not list(tmp_path.rglob("pwned"))


def test_a_token_goes_to_its_server_alone() -> None:
    environ = with_token(
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.b"}, "https://github.example", "t0p"
    )
    assert environ["GIT_CONFIG_COUNT"] == "2"
    assert environ["GIT_CONFIG_KEY_1"] == "http.https://github.example/.extraheader"
    assert "t0p" not in "".join(environ.values())  # base64, as the header wants it

    def header(url: str) -> str:
        done = subprocess.run(
            ["git", "config", "--get-urlmatch", "http.extraheader", url],
            env={**environ, "PATH": "/usr/bin:/bin", "HOME": "/nowhere", "GIT_CONFIG_VALUE_0": "x"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    assert header("https://github.example/team/repository.git").startswith("AUTHORIZATION: basic ")
    assert header("https://github.example.evil.example/x") == ""
    assert header("http://github.example/x") == ""


def test_what_the_clone_is_configured_with_is_used(clone: Path, tmp_path: Path) -> None:
    """As actions/checkout leaves it: the remote under one address, a rule that leads elsewhere."""
    git(clone, "remote", "set-url", "origin", "https://github.example/team/repository")
    git(clone, "config", f"url.{tmp_path}/upstream.git.insteadOf", "https://github.example/team/repository")
    commit = Branch(clone=clone, name="main").change(add("a"), message="Add")
    assert git(tmp_path / "upstream.git", "rev-parse", "main") == commit
