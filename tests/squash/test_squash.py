"""Squashfs files made once per digest, with a stand-in for enroot, which Debian doesn't have."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from catalog.errors import Refused
from launcher.node.squash import enroot_uri, squashed, squashing

HEX = "1f" * 32
IMAGE = f"registry.example:5000/evals/chat@sha256:{HEX}"
URI = f"docker://registry.example:5000#evals/chat:sha256:{HEX}"
# As far as anybody looks: the magic number, and at byte 40 how long the file system is.
WHOLE = b"hsqs" + bytes(36) + struct.pack("<Q", 4000) + bytes(4048)
# It notes how it was called, takes its time, and writes what it is told to.
ENROOT = """#!/bin/sh
echo "$@" >>{folder}/calls
echo "[INFO] Fetching" >&2
sleep "${{FAKE_SECONDS:-0}}"
cat {folder}/gives >"$3"
echo "$$" >{folder}/pid
sleep "${{FAKE_SECONDS_MORE:-0}}"
exit "${{FAKE_CODE:-0}}"
"""
TEXT = f"""squash_whole() {{
  [ "$(head -c 4 "$1" 2>/dev/null)" = hsqs ] || return 1
  [ "$(wc -c <"$1")" -ge "$(od -An -tu8 -j40 -N8 "$1" | tr -d ' ')" ]
}}
squash_image() {{
  squash_whole '/our runs/.evaldock/images/{HEX}.sqsh' && return 0
"""


@dataclass(frozen=True)
class Node:
    """A machine with (or without) an enroot, and a folder that all of them share."""

    folder: Path
    shell: Sequence[str] = ("sh",)

    @property
    def root(self) -> str:
        return str(self.folder / "the runs'")

    @property
    def file(self) -> Path:
        return Path(squashed(IMAGE, self.root))

    def start(self, **environ: str) -> subprocess.Popen[str]:
        text = f"set -u\n{squashing(IMAGE, self.root)}squash_image"
        return subprocess.Popen(
            [*self.shell, "-c", text],
            env={"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def run(self, **environ: str) -> tuple[int, str]:
        started = self.start(**environ)
        _, errors = started.communicate(timeout=60)
        return started.returncode, errors

    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def left(self) -> list[str]:
        return sorted(path.name for path in self.file.parent.iterdir() if path.suffix != ".lock")


@pytest.fixture
def node(tmp_path: Path, shell: list[str]) -> Node:
    made = tmp_path / "bin" / "enroot"
    made.parent.mkdir()
    made.write_text(ENROOT.format(folder=tmp_path))
    made.chmod(0o755)
    (tmp_path / "gives").write_bytes(WHOLE)
    return Node(tmp_path, shell)


def test_the_image_is_imported_by_its_digest_and_used_again(node: Node) -> None:
    assert node.run() == (0, "[INFO] Fetching\n")
    assert node.file.read_bytes() == WHOLE
    assert node.run() == (0, "")
    [call] = node.calls()
    words = call.split()
    assert (words[0], words[-2], words[-1]) == ("import", "--", URI)
    assert node.left() == [f"{HEX}.sqsh"]


def test_many_at_once_import_once(node: Node) -> None:
    started = [node.start(FAKE_SECONDS="0.5") for _ in range(6)]
    for each in started:
        each.communicate(timeout=60)
    assert [each.returncode for each in started] == [0] * 6
    assert len(node.calls()) == 1
    assert node.left() == [f"{HEX}.sqsh"]


def test_a_failing_import_leaves_nothing_and_the_next_one_succeeds(node: Node) -> None:
    code, said = node.run(FAKE_CODE="3")
    assert code == 1
    assert f"{IMAGE} can't be imported: enroot ended with exit code 3" in said
    assert node.left() == []
    assert node.run()[0] == 0
    assert node.left() == [f"{HEX}.sqsh"]


@pytest.mark.parametrize("broken", [b"", WHOLE[:2000], b"sqsh" + WHOLE[4:]], ids=["empty", "cut", "other"])
def test_a_broken_file_is_made_again(node: Node, broken: bytes) -> None:
    node.file.parent.mkdir(parents=True)
    node.file.write_bytes(broken)
    assert node.run()[0] == 0
    assert node.file.read_bytes() == WHOLE


def test_what_enroot_leaves_is_looked_at(node: Node) -> None:
    (node.folder / "gives").write_bytes(WHOLE[:100])
    code, said = node.run()
    assert (code, said.splitlines()[-1]) == (1, f"enroot left no whole squashfs file of {IMAGE}")
    assert node.left() == []


def test_a_stopped_import_leaves_neither_a_file_nor_a_process(node: Node) -> None:
    started = node.start(FAKE_SECONDS_MORE="30")
    while not (node.folder / "pid").exists():
        time.sleep(0.02)
    os.killpg(started.pid, signal.SIGTERM)
    started.communicate(timeout=60)
    assert started.returncode != 0
    assert node.left() == []


def test_what_a_killed_import_left_is_cleared_by_the_next(node: Node) -> None:
    started = node.start(FAKE_SECONDS_MORE="30")
    while not (node.folder / "pid").exists():
        time.sleep(0.02)
    os.killpg(started.pid, signal.SIGKILL)
    started.communicate(timeout=60)
    assert len(node.left()) == 1
    assert node.run()[0] == 0
    assert node.left() == [f"{HEX}.sqsh"]


def test_without_enroot_the_message_says_so(node: Node) -> None:
    (node.folder / "bin" / "enroot").unlink()
    assert node.run() == (
        1,
        f"enroot is not on this node, so {IMAGE} can't be made into a squashfs file\n",
    )


def test_the_text_quotes_the_folder() -> None:
    assert squashing(IMAGE, "/our runs/").startswith(TEXT)


@pytest.mark.parametrize(
    ("image", "uri"),
    [
        (IMAGE, URI),
        (f"busybox@sha256:{HEX}", f"docker://registry-1.docker.io#library/busybox:sha256:{HEX}"),
        (f"team/name:1.0@sha256:{HEX}", f"docker://registry-1.docker.io#team/name:sha256:{HEX}"),
        (f"nvcr.io/nvidia/nemo:25.11@sha256:{HEX}", f"docker://nvcr.io#nvidia/nemo:sha256:{HEX}"),
    ],
)
def test_references_as_enroot_takes_them(image: str, uri: str) -> None:
    assert enroot_uri(image) == uri


@pytest.mark.parametrize("image", ["registry.example/evals/chat:1", "oci:folder"])
def test_images_without_a_digest_are_refused(image: str) -> None:
    with pytest.raises(Refused, match="is not pinned in a registry"):
        squashing(image, "/runs")
