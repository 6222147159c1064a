"""Jobs on one Ray node have GPUs of their own, though an engine starts their containers outside of Ray."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from launched import changed, ended, until
from launcher.jobs import Resources
from ray_place import place_on
from services.ray_head import RayHead, start_ray_head
from services.required import Unavailable, unavailable
from services.shared import Shared

pytestmark = [pytest.mark.service("ray"), pytest.mark.timeout(300)]
# An engine with every image, which keeps what it is asked for; its containers run until they are told to end.
ENGINE = """#!/bin/sh
case $1 in
create)
  printf '%s\\n' "$@" | grep -e '^--gpus' -e '^--device' >"{folder}/.$$"
  mv "{folder}/.$$" "{folder}/$$.asked"
  ;;
wait) until [ -e {folder}/go ]; do sleep 0.1; done; echo 0 ;;
esac
"""
EXPECTED: Mapping[str, Callable[[Sequence[str]], list[str]]] = {
    "docker": lambda devices: [f'--gpus="device={",".join(devices)}"'],
    "podman": lambda devices: [f"--device=nvidia.com/gpu={device}" for device in devices],
}


@pytest.fixture
def head(shared: Shared) -> Iterator[RayHead]:
    """A head that says of itself to have four GPUs: Ray hands out their numbers, whatever is there."""
    try:
        found = shared.once("r-gpu", lambda folder: start_ray_head(shared, folder, gpus=4))
    except Unavailable as error:
        unavailable(f"ray: {error}")
    yield RayHead.of(found)
    RayHead.of(found).kill()


def test_jobs_on_one_node_have_gpus_of_their_own(head: RayHead, tmp_path: Path) -> None:
    for engine, words in EXPECTED.items():
        asked = asked_of(engine, head, tmp_path / engine)
        assert sorted(asked) == [words(devices) for devices in (["0", "1"], ["2", "3"])]


def asked_of(engine: str, head: RayHead, folder: Path) -> list[list[str]]:
    """The words about GPUs for the containers of two jobs that run at once."""
    folder.mkdir()
    (folder / engine).write_text(ENGINE.format(folder=folder))
    (folder / engine).chmod(0o755)
    place = place_on(head, folder / "shared", container_runtime=engine)
    handles = []
    for number in range(2):
        run = changed(
            place.run(folder / f"run{number}", "true"),
            image="registry.example/evals/shell@sha256:" + "1" * 64,
            resources=Resources(gpus=2),
            env={"PATH": f"{folder}:{os.environ['PATH']}"},
        )
        handles.append(place.submit(run))
    until(lambda: len(list(folder.glob("*.asked"))) == 2, "both have asked")
    asked = [path.read_text().splitlines() for path in folder.glob("*.asked")]
    (folder / "go").touch()
    for handle in handles:
        ended(place, handle)
    return asked
