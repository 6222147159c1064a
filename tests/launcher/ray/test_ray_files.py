"""Copying a job's folder back from shared storage, whatever the job left there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.backends.ray_files import copy


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "shared" / "job"
    (folder / "artifacts").mkdir(parents=True)
    (folder / "artifacts" / "results.yml").write_text("results")
    return folder


def test_what_came_already_is_not_copied_again(source: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    copy(source, here)
    kept = (here / "artifacts" / "results.yml").stat().st_ino
    (here / "artifacts" / "half").write_text("ha")
    (source / "artifacts" / "half").write_text("half")
    copy(source, here)
    copy(source, here)
    assert (here / "artifacts" / "half").read_text() == "half"
    assert (here / "artifacts" / "results.yml").stat().st_ino == kept
    copy(source, source)
    copy(tmp_path / "nowhere", here)


def test_secrets_and_what_only_the_node_needs_stay(source: Path, tmp_path: Path) -> None:
    for name in (".secrets", ".ray.alive", "home", "server"):
        (source / name).mkdir() if "." not in name else (source / name).write_text("x")
    (source / "artifacts" / "home").write_text("a harness's own")
    copy(source, tmp_path / "here")
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["artifacts"]
    assert (tmp_path / "here" / "artifacts" / "home").exists()


def test_links_stay_inside(source: Path, tmp_path: Path) -> None:
    artifacts = source / "artifacts"
    (artifacts / "same").symlink_to("results.yml")
    (artifacts / "out").symlink_to("../../../secret")
    (artifacts / "whole").symlink_to(tmp_path / "secret")
    os.mkfifo(artifacts / "pipe")
    copy(source, tmp_path / "here")
    copy(source, tmp_path / "here")
    found = {path.name for path in (tmp_path / "here" / "artifacts").iterdir()}
    assert found == {"results.yml", "same"}
    assert (tmp_path / "here" / "artifacts" / "same").read_text() == "results"


def test_nothing_is_written_through_a_link_of_an_earlier_attempt(source: Path, tmp_path: Path) -> None:
    here, own = tmp_path / "here", tmp_path / "own"
    own.mkdir()
    (own / "file").write_text("mine")
    (here / "artifacts").mkdir(parents=True)
    (here / "artifacts" / "file").symlink_to(own / "file")
    (here / "artifacts" / "folder").symlink_to(own)
    (here / "artifacts" / "turned").mkdir()
    (source / "artifacts" / "file").write_text("theirs")
    (source / "artifacts" / "folder").mkdir()
    (source / "artifacts" / "folder" / "file").write_text("theirs")
    (source / "artifacts" / "turned").write_text("a file now")
    copy(source, here)
    assert (own / "file").read_text() == "mine"
    assert (here / "artifacts" / "file").read_text() == "theirs"
    assert (here / "artifacts" / "folder" / "file").read_text() == "theirs"
    assert (here / "artifacts" / "turned").read_text() == "a file now"
