"""A recipe on a real Ray cluster, within a profile: its code lies there, its results come back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ray_place import shared_root
from running import evaldock
from services.ray_head import RayHead
from services.shared import Shared

RECIPE = """# /// script
# requires-python = ">=3.11"
# dependencies = []
#
# [tool.runspec]
# name = "sums/add"
#
# [tool.runspec.run]
# launch = "python"
# ///
import json, os
from pathlib import Path
import beside

config = json.loads(Path(os.environ["EVALDOCK_CONFIG"]).read_text())
Path(os.environ["EVALDOCK_RESULTS"], "sum.json").write_text(json.dumps(beside.add(config["numbers"])))
print("added", os.environ["WORD"])
"""


def test_a_recipe_and_its_code_on_shared_storage(
    ray_head: RayHead, shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project"
    (folder / "recipes" / "config").mkdir(parents=True)
    (folder / "recipes" / "add.py").write_text(RECIPE)
    (folder / "recipes" / "beside.py").write_text("def add(numbers):\n    return sum(numbers)\n")
    (folder / "recipes" / "config" / "default.yaml").write_text("numbers: [1, 2, 3]\n")
    (folder / "env.toml").write_text(
        f'[cluster]\nexecutor = "ray"\ndashboard_url = "{ray_head.url}"\n'
        f'shared_dir = "{shared_root(shared)}"\n'
        'env = { WORD = "lit:up" }\n'
    )
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EVALDOCK_STATE", str(tmp_path / "state"))
    ran = evaldock("run", "recipes/add.py", "--profile", "cluster", "--json", "numbers=[4,5]")
    assert ran.code == 0, ran.err + ran.out
    (job,) = ran.json["jobs"]
    results = Path(job["directory"]) / "artifacts" / "sum.json"
    assert json.loads(results.read_text()) == 9
    assert "added up\n" in (Path(job["directory"]) / "logs" / "job.log").read_text()
