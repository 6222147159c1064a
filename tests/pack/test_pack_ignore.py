"""What of a harness folder is left out: the same as git leaves out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from catalog.ignoring import LEFT_OUT, Ignored

PATHS = [
    "a.log",
    "keep.log",
    "data/a.log",
    "data/keep.log",
    "data/raw/x.bin",
    "data/raw/deep/y.bin",
    "data/sets/one/z.csv",
    "docs/a.txt",
    "docs/notes/b.txt",
    "temporary/file",
    "src/temporary",
    "src/x1.c",
    "src/x2.c",
    "src/y1.c",
    "src/[odd].c",
    "#hash",
    "!bang",
    "ends ",
]
RULES = [
    ["*.log", "!keep.log"],
    ["data/*.log"],
    ["/a.log"],
    ["data/raw"],
    ["data/raw/", "!data/raw/x.bin"],
    ["temporary/"],
    ["temporary"],
    ["**/raw/deep"],
    ["data/**/z.csv"],
    ["docs/**"],
    ["docs/**/b.txt"],
    ["src/x?.c"],
    ["src/x[13].c"],
    ["src/x[!1].c"],
    ["src/[xy]1.c"],
    ["src/\\[odd\\].c"],
    ["# a comment", "", "\\#hash"],
    ["\\!bang"],
    ["ends   "],
    ["ends\\ "],
    ["*"],
    ["*", "!*/", "!*.c"],
    ["a*"],
    ["/*.txt"],
    ["*/a.txt"],
    ["sr[a-z]/"],
]


def kept_by_us(rules: list[str]) -> set[str]:
    ignored = Ignored(rules)

    def kept(path: str) -> bool:
        parts = path.split("/")
        folders = ["/".join(parts[:end]) for end in range(1, len(parts))]
        return not any(ignored(folder, folder=True) for folder in folders) and not ignored(path, folder=False)

    return {path for path in PATHS if kept(path)}


@pytest.mark.parametrize("rules", RULES, ids=" ".join)
def test_git_keeps_the_same(tmp_path: Path, rules: list[str]) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    for path in PATHS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / ".gitignore").write_text("".join(f"{rule}\n" for rule in rules))
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--others", "--exclude-standard"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert kept_by_us(rules) == set(listed.stdout.decode().split("\0")) & set(PATHS)


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        (".git", True),
        ("src/__pycache__", True),
        ("src/a.pyc", False),
        ("sums.egg-info", True),
        ("build", True),
        (".venv", True),
        (".env", False),
        ("notes.txt~", False),
    ],
)
def test_what_tools_leave_behind(path: str, folder: bool) -> None:
    assert Ignored(LEFT_OUT)(path, folder=folder)


@pytest.mark.parametrize("path", ["src/build", "src/dist", "environment", "git"])
def test_what_only_looks_like_it(path: str) -> None:
    assert not Ignored(LEFT_OUT)(path, folder=True)
