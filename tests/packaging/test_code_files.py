"""Which files of a folder are shipped: what git would keep, without what no other machine should have."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.errors import NotFound, Refused, UsageError
from launcher.code import code_files
from launcher.code.code_files import collect


def make(root: Path, *names: str) -> Path:
    """Files with their name as content."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def ignore(folder: Path, *lines: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("".join(f"{line}\n" for line in lines))


def git_keeps(root: Path) -> set[str]:
    done = subprocess.run(
        ["git", "ls-files", "-z", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    return set(done.stdout.decode().split("\0")) - {""}


def test_every_folders_gitignore_counts_and_the_deepest_decides(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    make(tmp_path, "a.log", "keep.log", "src/b.log", "src/c.log", "src/deep/d.log", "src/deep/e.py", "data/x")
    ignore(tmp_path, "*.log", "!keep.log", "data/")
    ignore(tmp_path / "src", "!*.log", "c.log")
    ignore(tmp_path / "src" / "deep", "*.log", "!/d.log", "e.*")
    expected = {
        *(".gitignore", "keep.log", "src/.gitignore", "src/b.log"),
        *("src/deep/.gitignore", "src/deep/d.log"),
    }
    assert set(collect(tmp_path)) == expected == git_keeps(tmp_path)


def test_nothing_comes_back_out_of_a_folder_that_is_left_out(tmp_path: Path) -> None:
    make(tmp_path, "out/keep.py", "in/keep.py", "in/other.py")
    ignore(tmp_path, "out/", "!out/keep.py", "in/*", "!in/keep.py")
    assert set(collect(tmp_path)) == {".gitignore", "in/keep.py"}


NAMES = st.sampled_from(["a", "b", "c.py", "d.txt"])
PATTERNS = st.sampled_from(
    [
        "a",
        "/a",
        "a/",
        "b/*",
        "*.py",
        "!*.py",
        "!a",
        "!a/",
        "!b",
        "*",
        "!*/",
        "**/c.py",
        "a/**",
        "!/b/c.py",
        "?",
    ]
)


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.sets(st.lists(NAMES, min_size=1, max_size=4).map("/".join), min_size=1, max_size=8),
    st.dictionaries(st.sampled_from([".", "a", "b", "a/b"]), st.lists(PATTERNS, max_size=5), max_size=3),
)
def test_git_keeps_the_same(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], ignored: dict[str, list[str]]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    # What is a folder for one name can't be a file for another.
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    make(root, *(names - folders))
    for folder, lines in ignored.items():
        if (root / folder).is_dir():
            ignore(root / folder, *lines)
    subprocess.run(["git", "init", "--quiet", root], check=True)
    assert set(collect(root)) == git_keeps(root)


def test_what_the_repository_above_leaves_out_is_left_out(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    ignore(tmp_path, "*.bin", "/project/secret.txt", "made/")
    (tmp_path / ".git" / "info" / "exclude").write_text("mine.txt\n")
    make(tmp_path / "project", "a.py", "a.bin", "secret.txt", "deep/secret.txt", "mine.txt", "deep/made/x")
    assert set(collect(tmp_path / "project")) == {"a.py", "deep/secret.txt"}


def test_what_is_named_is_shipped_although_a_pattern_names_it_too(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    ignore(tmp_path, "*")
    make(tmp_path, "one/a.py", "one/b.log", "two/c.py", "local.yaml")
    ignore(tmp_path / "one", "*.log")
    assert set(collect(tmp_path, ["one", "local.yaml"])) == {"one/.gitignore", "one/a.py", "local.yaml"}
    assert set(collect(tmp_path / "two")) == {"c.py"}


def test_what_tools_and_this_machine_leave_stays_here(tmp_path: Path) -> None:
    make(
        tmp_path,
        *(
            "src/a.py",
            "src/__pycache__/a.pyc",
            ".git/config",
            "sub/.git",
            ".venv/x",
            "build/x",
            "src/build/y",
        ),
        *("odd-environment/pyvenv.cfg", "odd-environment/lib/x", "cache/CACHEDIR.TAG", "cache/x"),
        *(
            ".env",
            "env.toml",
            ".netrc",
            "evaldock-runs/0abc/run.json",
            "out/0abc/run.json",
            "out/0abc/jobs/0/x",
        ),
        "run.json",
    )
    assert set(collect(tmp_path)) == {"run.json", "src/a.py", "src/build/y"}


def test_links_within_are_kept_and_broken_ones_are_not(tmp_path: Path) -> None:
    make(tmp_path, "configs/v3.yaml", "src/deep/a.py")
    (tmp_path / "latest.yaml").symlink_to("configs/v3.yaml")
    (tmp_path / "absolute").symlink_to(tmp_path / "src")
    (tmp_path / "src" / "up").symlink_to("..")
    (tmp_path / ".#lock").symlink_to("somebody@machine.4711")
    (tmp_path / "loop").symlink_to("loop")
    kept = {"configs/v3.yaml", "src/deep/a.py", "latest.yaml", "absolute", "src/up"}
    assert set(collect(tmp_path)) == kept


def test_a_link_out_of_the_tree_is_refused_by_name(tmp_path: Path) -> None:
    make(tmp_path, "elsewhere/data.bin", "project/a.py")
    (tmp_path / "project" / "data").symlink_to("../elsewhere")
    with pytest.raises(Refused) as refused:
        collect(tmp_path / "project")
    assert str(refused.value) == (
        f"{tmp_path / 'project'}: link data leads out of what is shipped, to ../elsewhere\n"
        "  copy what it leads to, or name the link in .gitignore"
    )
    ignore(tmp_path / "project", "data")
    assert set(collect(tmp_path / "project")) == {".gitignore", "a.py"}


def test_a_link_to_what_is_not_shipped_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "data/big.bin", "a.py")
    ignore(tmp_path, "data/")
    (tmp_path / "sample").symlink_to("data/big.bin")
    with pytest.raises(Refused, match=r"link sample leads to data/big\.bin, which is not shipped"):
        collect(tmp_path)


def test_devices_sockets_and_pipes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.py")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refused, match="pipe is neither a file nor a folder nor a link"):
        collect(tmp_path)
    (tmp_path / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        # The whole path may be longer than an address can be.
        monkeypatch.chdir(tmp_path)
        listening.bind("s")
        with pytest.raises(Refused, match="s is neither a file"):
            collect(tmp_path)


def test_a_whole_disk_is_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_files, "MAX_FILES", 3)
    make(tmp_path, "1", "2", "3")
    assert len(collect(tmp_path)) == 3
    make(tmp_path, "4")
    with pytest.raises(Refused, match="more than 3 files"):
        collect(tmp_path)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not a path below"):
        collect(tmp_path, [name])


def test_names_behind_a_link_and_names_of_nothing(tmp_path: Path) -> None:
    make(tmp_path, "src/a.py")
    (tmp_path / "link").symlink_to("src")
    with pytest.raises(UsageError, match=r"'link/a\.py' lies behind a link"):
        collect(tmp_path, ["link/a.py"])
    with pytest.raises(NotFound, match="nothing at 'scr'"):
        collect(tmp_path, ["scr"])
    with pytest.raises(NotFound, match="no such folder"):
        collect(tmp_path / "nothing")


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff")).touch()
    with pytest.raises(Refused, match="is not a name in UTF-8"):
        collect(tmp_path)
