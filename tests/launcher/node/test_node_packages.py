"""A harness that only the launching machine has, shipped, installed once and run on another."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launched import slow_package, until
from launcher.backends import processes
from launcher.code import harness_code, packaging
from launcher.jobs import JobPlan
from launcher.node.runtimes import code_folder
from launcher.results import results_file
from planned_runs import HARNESSES, plan
from standins import standin

pytestmark = pytest.mark.timeout(300)


def shipped(one: Any, job: JobPlan) -> Any:
    """The node with quickcheck's job for its own, and the archive where it belongs."""
    folder = one.run.jobs[0].directory
    out = f"{one.run.remote}/{folder}/artifacts"
    tree = harness_code.harness_code(HARNESSES.parent, job.packages)
    assert tree is not None
    made = replace(
        job,
        key=one.job.key,
        directory=folder,
        code=tree.digest,
        command=job.command.replace(str(job.config["config"]["output_dir"]), out),
    )
    packaging.write(tree, Path(code_folder(str(one.root), made)).parent)
    return replace(one, run=replace(one.run, jobs=(made,)))


@pytest.mark.parametrize("runtime", ["none"], indirect=True)
def test_a_shipped_harness_is_installed_once_and_run(node: Any, tmp_path: Path) -> None:
    with standin(tmp_path) as url:
        data = {
            "execution": {"type": "process"},
            "target": {"api_endpoint": {"model_id": "stand-in", "url": url}},
            "evaluation": {"tasks": [{"name": "quickcheck.chat", "params": {"limit_samples": 3}}]},
        }
        job = plan(data).jobs[0]
        one = shipped(node(""), job)
        second = shipped(replace(node(""), root=one.root), job)
        for each in (one, second):
            each.stage()
        both = [each.start() for each in (one, second)]
        assert [process.wait(timeout=240) for process in both] == [0, 0]
    for each in (one, second):
        scores = {metric.label: metric.value for metric in results_file.read(each.artifacts).metrics}
        assert scores["accuracy"] == 1.0
        assert json.loads((each.folder / "packages.json").read_bytes())["evaldock-quickcheck"] == "1.0.0"
    environments = [path for path in (one.root / ".evaldock" / "environments").iterdir() if path.is_dir()]
    assert len(environments) == 1
    unpacked = [
        path
        for path in (one.root / ".evaldock" / "code").iterdir()
        if path.name.removesuffix(".tar.gz") != one.job.code
    ]
    assert unpacked == []


@pytest.mark.parametrize("runtime", ["none"], indirect=True)
def test_what_cannot_be_installed_is_told_with_the_installers_words(node: Any) -> None:
    one = node("true", packages=("./nowhere/requirements.txt",))
    assert one.work() == 70
    assert "nowhere/requirements.txt" in one.exit()["reason"]


@pytest.mark.parametrize("runtime", ["none"], indirect=True)
def test_damaged_code_is_not_run(node: Any) -> None:
    one = node("touch {out}/ran", code="0" * 64)
    folder = Path(code_folder(str(one.root), one.job))
    folder.parent.mkdir(parents=True)
    assert one.work() == 70
    assert "missing or damaged" in one.exit()["reason"]
    (folder.parent / f"{'0' * 64}.tar.gz").write_bytes(b"torn")
    assert one.work() == 70
    assert "missing or damaged" in one.exit()["reason"]
    assert not (one.artifacts / "ran").exists()


@pytest.mark.parametrize("runtime", ["none"], indirect=True)
def test_a_request_while_installing_ends_the_job_at_once(node: Any, tmp_path: Path) -> None:
    slow, started = slow_package(tmp_path)
    one = node("touch {out}/ran", packages=(str(slow),))
    one.stage()
    running = one.start()

    builder = until(lambda: started.exists() and int(started.read_text() or 0), "the package is built")
    running.terminate()
    assert running.wait(timeout=20) == 143
    assert one.exit()["reason"] == "stopped on request"
    assert not (one.artifacts / "ran").exists()
    until(lambda: processes.start_time(builder) is None, "the installer ends", patience=20)
