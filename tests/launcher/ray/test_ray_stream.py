"""What is the job's of a Ray job's log."""

from __future__ import annotations

import pytest

from launcher.backends.ray_entry import BEGIN
from launcher.backends.ray_stream import receive

ID = "evaldock-0mg4-000-1"
OURS = f"{BEGIN.format(id=ID)}\n".encode()
RAYS = f"Running entrypoint for job {ID}: exec sh x; exit 70\n".encode()


@pytest.mark.parametrize("at", range(len(b"caf\xc3\xa9\n") + 1))
def test_rays_own_line_is_left_out_wherever_it_arrives(at: int) -> None:
    printed = "café\n".encode()
    assert receive(b"ray: installing\n" + RAYS + OURS + printed, ID).log == printed
    assert receive(OURS + printed[:at] + RAYS + printed[at:], ID).log == printed
    assert receive(OURS + printed[:at] + RAYS[:-5], ID).log == printed[:at]


def test_such_a_line_that_the_job_prints_itself_is_the_jobs() -> None:
    assert receive(RAYS + OURS + b"a\n" + RAYS + b"b\n", ID).log == b"a\n" + RAYS + b"b\n"
