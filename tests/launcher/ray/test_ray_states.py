"""What a job may have written beside itself on shared storage, and how it stands all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.backends import ray_entry, ray_states
from launcher.backends.ray_api import Cluster
from launcher.jobs import JobHandle, State


@pytest.mark.parametrize("since", [{}, {"since": "long ago"}, {"since": None}])
def test_a_note_that_is_not_the_launchers_is_written_anew(since: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "stage.pre-start").touch()
    note = tmp_path / ray_entry.GONE
    note.write_text(json.dumps({"attempt": 1, "alive": 0, **since}))
    settings = {"shared_dir": str(tmp_path)}
    handle = JobHandle(key="k", backend="ray", native_id="i", directory=str(tmp_path), settings=settings)
    said = ray_states.judge(Cluster("http://127.0.0.1:9"), handle, None, 1.0)
    assert said.state is State.RUNNING
    assert isinstance(json.loads(note.read_text())["since"], float)
