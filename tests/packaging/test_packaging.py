"""Archives of code: the same everywhere, named after their content, unpacked once."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

import planned_runs
from catalog.errors import NotFound, Refused, UsageError
from launcher.code.harness_code import harness_code
from launcher.code.packaging import (
    as_data,
    collect_tree,
    keep,
    self_contained,
    summary,
    unpack,
    unpacking,
    write,
)
from launcher.plans.planning import Planned
from own_names import told


def project(root: Path) -> Path:
    for name, text in {
        "recipe.py": "print(1)\n",
        "lib/helpers.py": "",
        "tools/run.sh": "#!/bin/sh\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "tools" / "run.sh").chmod(0o775)
    (root / "lib" / ("long" * 60)).write_text("a name that no old header holds")
    (root / "newest").symlink_to(root / "lib" / "helpers.py")
    return root


def content(folder: Path) -> dict[str, str]:
    """Links as what they lead to; files as their mode and text."""
    return {
        path.relative_to(folder).as_posix(): f"-> {path.readlink()}"
        if path.is_symlink()
        else f"{path.stat().st_mode & 0o777:o} {path.read_text()}"
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_the_same_files_make_the_same_archive_anywhere(tmp_path: Path) -> None:
    one, two = project(tmp_path / "one"), project(tmp_path / "elsewhere" / "two")
    (two / "recipe.py").chmod(0o600)
    os.utime(two / "recipe.py", (1, 1))
    trees = [collect_tree(folder) for folder in (one, two)]
    assert trees[0].digest == trees[1].digest
    first, second = (write(tree, tmp_path / f"out{at}") for at, tree in enumerate(trees))
    assert first.read_bytes() == second.read_bytes()
    assert first.name == f"{trees[0].digest}.tar.gz"


def test_the_digest_is_that_of_the_tar_file(tmp_path: Path) -> None:
    tree = collect_tree(project(tmp_path / "one"))
    packed = gzip.decompress(write(tree, tmp_path).read_bytes())
    assert hashlib.sha256(packed).hexdigest() == tree.digest
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == sorted(name for name, _ in tree.files)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
    assert {oct(m.mode) for m in members if m.isfile()} == {"0o644", "0o755"}


def test_nothing_in_it_names_this_machine(tmp_path: Path) -> None:
    tree = collect_tree(project(tmp_path / "one"))
    archive = write(tree, tmp_path).read_bytes()
    assert told(gzip.decompress(archive), tmp_path) == []
    assert told(archive, tmp_path) == []


def test_more_than_the_limit_is_refused_with_the_largest_files(tmp_path: Path) -> None:
    for name, size in {"data/train.bin": 5000, "data/test.bin": 2000, "a.py": 10}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    with pytest.raises(Refused) as refused:
        collect_tree(tmp_path, limit=7000)
    assert str(refused.value) == (
        f"{tmp_path}: 7.0 kB of code, where 7.0 kB may be shipped; the largest files:\n"
        "  - data/train.bin (5.0 kB)\n  - data/test.bin (2.0 kB)\n  - a.py (10 bytes)\n"
        "  name in .gitignore what isn't code, ship some folders only, "
        "or keep data as artifacts (`evaldock artifact put`)"
    )
    assert collect_tree(tmp_path, limit=7010).size == 7010
    assert collect_tree(tmp_path, include=["a.py"], limit=10).size == 10


def test_a_tree_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="there is no code to ship"):
        collect_tree(tmp_path)


def test_code_that_changed_since_it_was_planned_is_refused(tmp_path: Path) -> None:
    tree = collect_tree(project(tmp_path / "one"))
    (tmp_path / "one" / "recipe.py").write_text("print(2)\n")
    with pytest.raises(Refused, match="code changed while the run was being planned"):
        write(tree, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_script_alone_and_with_its_configurations(tmp_path: Path) -> None:
    root = project(tmp_path)
    (root / "config").mkdir()
    (root / "config" / "default.yaml").write_text("a: 1\n")
    assert [name for name, _ in self_contained(root / "recipe.py").files] == ["recipe.py"]
    tree = self_contained(root / "recipe.py", root / "config")
    assert [name for name, _ in tree.files] == ["config/default.yaml", "recipe.py"]
    with pytest.raises(UsageError, match=r"is not in the folder of helpers\.py"):
        self_contained(root / "lib" / "helpers.py", root / "config")


def test_what_is_shipped_can_be_seen(tmp_path: Path) -> None:
    for number in range(22):
        (tmp_path / f"{number:02}.py").write_text("x" * 100)
    tree = collect_tree(tmp_path)
    lines = summary(tree).splitlines()
    assert lines[0] == f"shipped code {tree.digest[:12]}…: 22 files, 2.2 kB"
    assert (lines[1], lines[20:]) == ("  00.py", ["  19.py", "  … and 2 more"])
    assert as_data(tree)["files"] == [f"{number:02}.py" for number in range(22)]


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return write(collect_tree(project(tmp_path / "one")), tmp_path / "code")


def test_unpacking_gives_back_what_was_packed(tmp_path: Path, packed: Path) -> None:
    there = unpack(packed, tmp_path / "there")
    expected = content(tmp_path / "one") | {"newest": "-> lib/helpers.py", "tools/run.sh": "755 #!/bin/sh\n"}
    assert content(there) == expected
    # What is built from it may not know years before 1980.
    assert (there / "recipe.py").stat().st_mtime > 1_000_000_000
    # Once: whoever has it open keeps it.
    (there / "recipe.py").write_text("changed")
    assert unpack(packed, tmp_path / "there") == there
    assert (there / "recipe.py").read_text() == "changed"


def test_many_processes_unpack_once(tmp_path: Path, packed: Path) -> None:
    code = "import sys; from pathlib import Path; from launcher.code.packaging import unpack\n"
    code += "print(unpack(Path(sys.argv[1]), Path(sys.argv[2])).stat().st_ino)"
    command = [sys.executable, "-c", code, str(packed), str(tmp_path / "there")]
    root = Path(__file__).parents[2]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(4)]
    answers = {each.communicate(timeout=60)[0] for each in started}
    assert len(answers) == 1
    assert answers != {""}


def test_what_a_killed_process_left_is_no_obstacle(tmp_path: Path, packed: Path) -> None:
    digest = packed.name.removesuffix(".tar.gz")
    (tmp_path / "there" / f".{digest}.unpacking" / "half").mkdir(parents=True)
    there = unpack(packed, tmp_path / "there")
    assert "half" not in content(there)
    assert [path.name for path in there.parent.iterdir() if path.is_dir()] == [digest]


@pytest.mark.parametrize("damage", ["cut", "changed", "no archive"])
def test_a_damaged_archive_is_refused(tmp_path: Path, packed: Path, damage: str) -> None:
    data = packed.read_bytes()
    changed = gzip.compress(gzip.decompress(data).replace(b"print(1)", b"print(2)"))
    packed.write_bytes({"cut": data[:-40], "changed": changed, "no archive": b"<html>"}[damage])
    with pytest.raises(Refused, match="the archive of the shipped code is damaged"):
        unpack(packed, tmp_path / "there")
    assert not [path for path in (tmp_path / "there").iterdir() if path.is_dir()]


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="the archive of the shipped code is not there"):
        unpack(tmp_path / f"{'0' * 64}.tar.gz", tmp_path)


def test_no_archive_writes_outside_of_its_folder(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    digest = hashlib.sha256(sink.getvalue()).hexdigest()
    hostile = tmp_path / f"{digest}.tar.gz"
    hostile.write_bytes(gzip.compress(sink.getvalue()))
    with pytest.raises(Refused):
        unpack(hostile, tmp_path / "there")
    assert not (tmp_path / "there" / "outside").exists()


def in_shell(shell: list[str], digest: str, folder: Path) -> subprocess.CompletedProcess[str]:
    text = f"set -eu\n{unpacking(digest, str(folder))}unpack_code"
    return subprocess.run([*shell, "-c", text], capture_output=True, text=True, check=False)


def test_another_machine_unpacks_the_same_in_its_shell(
    tmp_path: Path, packed: Path, shell: list[str]
) -> None:
    folder = tmp_path / "the runs'" / "code"
    shutil.copytree(packed.parent, folder)
    digest = packed.name.removesuffix(".tar.gz")
    first = in_shell(shell, digest, folder)
    assert (first.returncode, first.stderr) == (0, "")
    assert content(folder / digest) == content(unpack(packed, tmp_path / "there"))
    assert (folder / digest / "recipe.py").stat().st_mtime > 1_000_000_000
    again = in_shell(shell, digest, folder)
    assert (again.returncode, again.stderr) == (0, "")
    assert {path.name for path in folder.iterdir()} == {digest, packed.name}


def test_shells_of_several_nodes_unpack_at_once(packed: Path, shell: list[str]) -> None:
    digest = packed.name.removesuffix(".tar.gz")
    text = f"{unpacking(digest, str(packed.parent))}unpack_code"
    started = [subprocess.Popen([*shell, "-c", text]) for _ in range(6)]
    assert [each.wait(timeout=60) for each in started] == [0] * 6
    assert {path.name for path in packed.parent.iterdir()} == {digest, packed.name}
    assert "recipe.py" in content(packed.parent / digest)


def test_a_shell_refuses_a_damaged_archive(packed: Path, shell: list[str]) -> None:
    digest = packed.name.removesuffix(".tar.gz")
    packed.write_bytes(packed.read_bytes()[:-40])
    said = in_shell(shell, digest, packed.parent)
    assert said.returncode == 1
    assert said.stderr == f"the archive of the shipped code is missing or damaged: {packed}\n"
    assert [path.name for path in packed.parent.iterdir()] == [packed.name]


def test_local_packages_of_a_harness_with_their_requirements(tmp_path: Path) -> None:
    for name, text in {
        "harnesses/chat/pyproject.toml": "",
        "harnesses/chat/src/chat.py": "",
        "harnesses/chat/build/lib/chat.py": "",
        "harnesses/other/pyproject.toml": "",
        "requirements/chat.txt": "-c constraints.txt\n-r ../more.txt # shared\nclick==8.1.7\n",
        "requirements/constraints.txt": "-c https://host.example/limits.txt\nclick<9\n",
        "more.txt": "--requirement=requirements/chat.txt\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    tree = harness_code(tmp_path, ["./harnesses/chat", "./requirements/chat.txt", "numpy==2.0.0"])
    assert tree is not None
    assert [name for name, _ in tree.files] == [
        *("harnesses/chat/pyproject.toml", "harnesses/chat/src/chat.py", "more.txt"),
        *("requirements/chat.txt", "requirements/constraints.txt"),
    ]
    assert harness_code(tmp_path, ["numpy==2.0.0"]) is None


@pytest.mark.parametrize("package", ["/srv/harness", "../harness", "./a/../../harness"])
def test_packages_elsewhere_on_this_machine_can_not_be_shipped(tmp_path: Path, package: str) -> None:
    with pytest.raises(Refused, match="lies outside of the catalog's folder"):
        harness_code(tmp_path, [package])


def test_a_plans_code_is_kept_in_its_runs_folder(tmp_path: Path) -> None:
    tree = collect_tree(project(tmp_path / "one"))
    plan = replace(
        planned_runs.plan({"evaluation": {"tasks": ["quickcheck.chat"]}, "execution": {"type": "process"}}),
        directory=str(tmp_path / "run"),
    )
    keep(Planned(plan, code=(tree,)))
    assert [path.name for path in (tmp_path / "run" / "code").iterdir()] == [f"{tree.digest}.tar.gz"]
