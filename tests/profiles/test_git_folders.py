"""`${auto_mount:git+…}`: commits of real repositories as folders of jobs, and hostile sources."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import EvaldockError, InvalidInput, NotFound, Refused, Unreachable, UsageError
from git_commands import git
from launcher.code import git_checkouts
from launcher.code.git_checkouts import checkout
from launcher.code.git_sources import GitMount, read_mount
from launcher.configuration.model import Execution
from launcher.profiles import env_file, surroundings
from running import evaldock


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits on main (the first with the tag v1), and a hook and a link that nobody may follow."""
    folder = tmp_path / "team" / "data.git"
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / "value.txt").write_text("one\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "run").write_text("#!/bin/sh\n")
    (folder / "sub" / "run").chmod(0o755)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "one")
    git(folder, "tag", "v1")
    (folder / "value.txt").write_text("two\n")
    git(folder, "commit", "--quiet", "-am", "two")
    return folder


def mount(repository: Path, ref: str) -> GitMount:
    return read_mount(f"git+file://{repository}@{ref}")


def test_branches_tags_and_commits(repository: Path, tmp_path: Path) -> None:
    first, second = git(repository, "rev-parse", "v1"), git(repository, "rev-parse", "main")
    cache = tmp_path / "cache"
    tag, branch, commit = (checkout(mount(repository, ref), cache) for ref in ("v1", "main", first))
    assert (tag.name, branch.name) == (first, second)
    assert tag == commit
    assert (tag / "value.txt").read_text() == "one\n"
    assert (branch / "value.txt").read_text() == "two\n"
    assert os.access(tag / "sub" / "run", os.X_OK)
    assert not (tag / ".git").exists()
    assert sorted(path.name for path in (cache / "commits").iterdir()) == sorted([first, second])


def test_a_branch_that_moved_and_a_commit_that_is_there(repository: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    before = checkout(mount(repository, "main"), cache)
    git(repository, "commit", "--quiet", "--amend", "-m", "three")
    after = checkout(mount(repository, "main"), cache)
    assert before != after
    repository.rename(tmp_path / "gone")
    assert checkout(mount(repository, after.name), cache) == after, "needs nobody"
    with pytest.raises(Unreachable, match="git can't fetch main from file://"):
        checkout(mount(repository, "main"), cache)


def test_many_at_once(repository: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        refs = ["main", "v1"] * 3
        found = list(pool.map(lambda ref: checkout(mount(repository, ref), tmp_path / "cache"), refs))
    assert len(set(found)) == 2
    assert all((folder / "value.txt").exists() for folder in found)
    assert len(list((tmp_path / "cache" / "commits").iterdir())) == 2


def test_what_a_repository_does_not_have(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="has no branch or tag 'nowhere'"):
        checkout(mount(repository, "nowhere"), tmp_path / "cache")
    with pytest.raises(EvaldockError):
        checkout(mount(repository, "0" * 40), tmp_path / "cache")


def test_a_git_around_us_changes_nothing(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"touch {tmp_path}/owned")
    assert (checkout(mount(repository, "main"), tmp_path / "cache") / "value.txt").exists()
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "source",
    [
        "git+ext::sh -c 'touch owned'@main",
        "git+ext::sh%20-c%20touch@main",
        "git+fd::3@main",
        "git+git://host.example/x@main",
        "git+http://host.example/x@main",
        "git+ftp://host.example/x@main",
        "git+--upload-pack=touch owned@main",
        "git+-oProxyCommand=x@main",
        "git+ssh://-oProxyCommand=touch/x@main",
        "git+ssh://git@-oProxyCommand=touch/x@main",
        "git+ssh://-x@host.example/x@main",
        "git+https://user:password@host.example/x@main",
        "git+https://token@host.example/x@main",
        "git+https://host.example/x y@main",
        "git+https://host.example/x\n@main",
        "git+https://host.example/../x@main",
        "git+https://host.example/x?y@main",
        "git+https://host.example/$(touch owned)@main",
        "git+https://host.example/`touch owned`@main",
        "git+https://host.example/x@--upload-pack=touch",
        "git+https://host.example/x@-q",
        "git+https://host.example/x@main:refs/heads/other",
        "git+https://host.example/x@main^{commit}",
        "git+https://host.example/x@a..b",
        "git+https://host.example/x@HEAD~1",
        "git+https://host.example/x@+main",
        "git+https://host.example/x@a b",
        "git+https://host.example/x@a/.b",
        "git+https://host.example/x@a.lock",
        "git+https://host.example/x@refs/*",
    ],
)
def test_hostile_sources_are_refused(source: str) -> None:
    with pytest.raises(Refused) as caught:
        read_mount(source)
    assert "password" not in str(caught.value).replace("a password stands in no configuration", "")


@pytest.mark.parametrize(
    "source", ["", "git+", "https://host.example/x@main", "git+https://host.example/x", "git+file://x/y@main"]
)
def test_what_is_no_source(source: str) -> None:
    with pytest.raises((UsageError, Refused)):
        read_mount(source)


@pytest.mark.parametrize("target", ["data", "/", "/a/../b", "/a:ro", "/a b", "/.x", "//a", "/a//b", "/a/"])
def test_targets_are_plain_folders(target: str) -> None:
    with pytest.raises(UsageError, match="not an absolute folder in the job"):
        read_mount("git+https://host.example/x@main", target)


def test_names_of_mounts() -> None:
    assert read_mount("git+https://host.example/team/My.Data.git@v1").target == "/mounts/My-Data"
    assert read_mount("git+ssh://git@host.example:22/team/x@v1").url == "ssh://git@host.example:22/team/x"
    assert read_mount("git+https://host.example/~me/x@feature/a+b", "/opt/x").target == "/opt/x"


Run = Callable[[Execution, bool], dict[str, object]]


@pytest.fixture
def composed(repository: Path, tmp_path: Path) -> Callable[..., dict[str, object]]:
    def compose(execution: Execution, *, dry_run: bool = False, cache: str = "") -> dict[str, object]:
        (tmp_path / "env.toml").write_text(f"[p]\n[cache]\n{cache}\n")
        (tmp_path / "run.yaml").write_text(
            "execution: {mounts: ['/own:/own']}\n"
            f"data: '${{auto_mount:git+file://{repository}@v1,/opt/data}}/value.txt'\n"
            f"again: ['${{auto_mount:git+file://{repository}@v1,/opt/data}}']\n"
        )
        environ = {env_file.VARIABLE: str(tmp_path / "env.toml")}
        around = surroundings.of(None, kind="tasks", run={}, environ=environ)
        made = around.compose(tmp_path / "run.yaml", [])
        return around.settled(made, execution, dry_run=dry_run).data

    return compose


def test_mistakes_of_the_cache_section(composed: Callable[..., dict[str, object]], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        composed(Execution(), cache="git_dri = 'x'\ngit_dir = 3")
    assert str(caught.value) == (
        f"{tmp_path}/env.toml:2: [cache] has mistakes:\n"
        "  - git_dri: unknown key; did you mean 'git_dir'?\n"
        "  - git_dir: expected the path of a folder, got 3"
    )


def test_containers_see_a_mount(
    composed: Callable[..., dict[str, object]], repository: Path, tmp_path: Path
) -> None:
    data = composed(Execution(), cache='git_dir = "git"')
    commit = git(repository, "rev-parse", "v1")
    assert data == {
        "execution": {"mounts": ["/own:/own", f"{tmp_path}/git/commits/{commit}:/opt/data:ro"]},
        "data": "/opt/data/value.txt",
        "again": ["/opt/data"],
    }


def test_processes_see_the_folder_itself(
    composed: Callable[..., dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALDOCK_CACHE", str(tmp_path / "cache"))
    data = composed(Execution(type="process"))
    assert data["execution"] == {"mounts": ["/own:/own"]}
    assert Path(str(data["data"])).read_text() == "one\n"
    assert str(data["data"]).startswith(f"{tmp_path}/cache/git/commits/")


def test_a_dry_run_fetches_nothing(
    composed: Callable[..., dict[str, object]],
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> Path:
        raise AssertionError("git was asked")

    monkeypatch.setattr(git_checkouts, "checkout", refuse)
    data = composed(Execution(), dry_run=True, cache=f'git_dir = "{tmp_path}/git"')
    written = f"${{auto_mount:git+file://{repository}@v1,/opt/data}}"
    assert data == {
        "execution": {"mounts": ["/own:/own"]},
        "data": f"{written}/value.txt",
        "again": [written],
    }


class Elsewhere(Execution):
    @property
    def remote(self) -> str | None:
        return "/far"


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """What a configuration with an artifact comes to for an execution."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "weights").write_text("w")

    def compose(execution: Execution, *, dry_run: bool = False, toml: str = "") -> dict[str, Any]:
        (tmp_path / "env.toml").write_text(toml)
        assert evaldock("artifact", "put", "llama", "weights").code == 0
        (tmp_path / "run.yaml").write_text(
            "execution: {mounts: ['/own:/own']}\n"
            "deployment: {type: generic, checkpoint_path: '${art:llama:v1}'}\n"
            "data: ['${art:llama:v1}', '${art:llama:v1,version}']\n"
        )
        around = surroundings.of(None, kind="tasks", run={}, dry_run=dry_run)
        made = around.compose(tmp_path / "run.yaml", [])
        return around.settled(made, execution, dry_run=dry_run).data

    return compose


def test_containers_see_artifacts_where_they_lie(artifact: Callable[..., dict[str, Any]]) -> None:
    for dry_run in (False, True):
        data = artifact(Execution(), dry_run=dry_run)
        path = data["data"][0]
        assert Path(path).is_dir()
        assert data["execution"]["mounts"] == ["/own:/own", f"{path}:{path}:ro"]
        assert data["deployment"]["mounts"] == [f"{path}:{path}:ro"]
    plain = artifact(Execution(type="process"))
    assert "mounts" not in plain["deployment"]


def test_what_is_mounted_already_is_not_mounted_again(
    artifact: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    data = artifact(Execution(), toml=f'[artifacts]\nroot = "{tmp_path}/own"\n')
    assert len(data["execution"]["mounts"]) == 2
    (tmp_path / "run.yaml").unlink()
    own = compose_plainly(tmp_path, f"{tmp_path}:{tmp_path}")
    assert own == [f"{tmp_path}:{tmp_path}"]


def compose_plainly(folder: Path, mount: str) -> list[str]:
    (folder / "run.yaml").write_text(f"execution: {{mounts: ['{mount}']}}\ndata: '${{art:llama}}'\n")
    around = surroundings.of(None, kind="tasks", run={})
    made = around.compose(folder / "run.yaml", [])
    found: list[str] = around.settled(made, Execution(), dry_run=False).data["execution"]["mounts"]
    return found


def test_an_artifact_of_this_machine_is_of_no_use_elsewhere(
    artifact: Callable[..., dict[str, Any]],
) -> None:
    with pytest.raises(Refused, match=r"lies on this machine, and jobs run on another\n.*\[artifacts\] root"):
        artifact(Elsewhere())
    assert artifact(Elsewhere(), toml='[artifacts]\nroot = "shared"\n')["data"][1] == "v1"


def test_other_machines_need_a_shared_folder(
    composed: Callable[..., dict[str, object]], tmp_path: Path
) -> None:
    with pytest.raises(Refused, match=r"jobs run on another\n.*\[cache\] git_dir"):
        composed(Elsewhere())
    assert composed(Elsewhere(), cache=f'git_dir = "{tmp_path}/git"')["data"] == "/opt/data/value.txt"
