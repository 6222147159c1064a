"""What is sent to Slurm: a pure function of the plan, held to texts that are kept; and what it refuses."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import InvalidInput, Refused
from launched import Place
from launcher.backends.slurm import plan as plan_of
from launcher.backends.slurm import submit
from launcher.backends.slurm_script import job_files, submission
from launcher.configuration.slurm import clock, sbatch_flag, seconds_of
from launcher.jobs import RunPlan, SecretName
from planned_runs import RUN_ID, plan

GOLDENS = Path(__file__).parent / "goldens"
EVERYTHING = {
    "type": "slurm",
    "hostname": "cluster.example.com",
    "username": "me",
    "port": 2222,
    "ssh_key_path": "~/.ssh/id",
    "account": "team",
    "partition": "gpu,long",
    "qos": "normal",
    "nodes": 2,
    "gpus_per_node": 8,
    "cpus_per_task": 32,
    "memory": "256G",
    "walltime": "04:00:00",
    "max_walltime": "2-12",
    "stop_before": 300,
    "output_dir": "/shared/results",
    "container_mounts": ["/shared/data:/data:ro"],
    "container_runtime": "pyxis",
    "sbatch_args": ["--constraint=a100&nvlink", "--exclusive", "--comment=two words", "-x node[1-3]"],
}


def planned(execution: Mapping[str, Any]) -> RunPlan:
    return plan({"execution": execution, "evaluation": {"tasks": ["quickcheck.chat"]}})


def check(name: str, text: str, folder: Path) -> None:
    golden, actual = GOLDENS / name, folder / name
    actual.write_text(text)
    subprocess.run(["sh", "-n", str(actual)], check=True)
    assert text == golden.read_text(), f"if it is as it should be: cp {actual} {golden}"


CASES: Mapping[str, Mapping[str, Any]] = {
    "plain.sub": {"type": "slurm"},
    "everything.sub": EVERYTHING,
    "once.sub": {"type": "slurm", "container_runtime": "docker", "auto_resume": False},
    "with-ray.sub": {
        "type": "slurm",
        "nodes": 2,
        "cpus_per_task": 4,
        "with_ray": True,
        "container_runtime": "none",
    },
}


@pytest.mark.parametrize("name", CASES)
def test_the_text_for_sbatch(name: str, tmp_path: Path) -> None:
    run = planned(CASES[name])
    check(name, submission(run, run.jobs, 1), tmp_path)


def test_the_text_for_an_array(tmp_path: Path) -> None:
    run = planned({"type": "slurm"})
    jobs = [replace(run.jobs[0], index=index) for index in (0, 1, 2, 7)]
    check("array.sub", submission(run, jobs, 2, 3), tmp_path)


def test_settings_reach_the_job_too() -> None:
    run = planned(EVERYTHING)
    (job,) = run.jobs
    assert run.remote == f"/shared/results/{RUN_ID}"
    resources = job.resources
    assert (resources.nodes, resources.gpus, resources.cpus, resources.memory) == (2, 8, 32, 256 << 30)
    assert [(mount.source, mount.target, mount.read_only) for mount in job.mounts] == [
        ("/shared/data", "/data", True)
    ]
    text = plan_of(run, job)["scripts"]["node.sh"]
    assert "--container-image=/shared/results/.evaldock/images/" in text
    assert "/shared/data:/data:ro" in text


def test_a_plan_holds_no_secrets_and_no_path_of_this_machine(tmp_path: Path) -> None:
    run = replace(planned(EVERYTHING), directory=str(tmp_path))
    job = replace(run.jobs[0], secrets=(SecretName(name="KEY", source="HOST_KEY"),))
    shown = plan_of(run, job)
    assert (shown["host"], shown["secrets"]) == ("cluster.example.com", ["KEY"])
    assert str(tmp_path) not in str(shown)
    made = job_files(run, job, 1, {"HOST_KEY": "only-here"})
    assert [(name, mode) for name, (content, mode) in made.items() if b"only-here" in content] == [
        (".secrets.slurm", 0o600)
    ]


@pytest.mark.parametrize("model", ["x\n#SBATCH --partition=other", "x\r\nrm -rf /", "$(touch pwned)"])
def test_no_value_becomes_a_line_of_its_own(model: str, tmp_path: Path) -> None:
    run = Place("slurm").run(tmp_path, "true")
    job = replace(run.jobs[0], task=model, endpoint=replace(run.jobs[0].endpoint, model_id=model))
    lines = submission(run, [job], 1).splitlines()
    plain = submission(run, run.jobs, 1).splitlines()
    changed = [(a, b) for a, b in zip(lines, plain, strict=True) if a != b]
    assert len(changed) == 1
    assert changed[0][0].startswith("# ")


WRONG = [
    ("account", "me\n#SBATCH --uid=0", "not a name that Slurm could know"),
    ("partition", "-p", "not a name that Slurm could know"),
    ("hostname", "-oProxyCommand=x", "not a host's name"),
    ("walltime", 43200, "YAML reads 12:00:00 without them as the number 43200"),
    ("walltime", "soon", 'expected a time such as "04:00:00"'),
    ("walltime", "00:00:00", "a job needs some time"),
    ("sbatch_args", ["--wrap=rm -rf /"], "evaldock sets --wrap itself"),
    ("sbatch_args", ["--outp=/etc/x"], "evaldock sets --outp itself"),
    ("sbatch_args", ["--partition=x"], "use execution.partition"),
    ("sbatch_args", ["-J x"], "evaldock sets -J itself"),
    ("sbatch_args", ["--comment=x\n#SBATCH --uid=0"], "expected one flag of sbatch"),
    ("sbatch_args", ['--comment=a"b'], "quotes and backslashes can't stand in a flag"),
    *(
        ("sbatch_args", [flag], "another cluster: name its head node in execution.hostname")
        for flag in ("--clusters=other", "-M other", "-Mother", "--clus=other", "--cluster-constraint=x")
    ),
    ("sbatch_args", ["rm"], "expected one flag of sbatch"),
    ("slurm_bin", "bin", "expected an absolute path"),
    ("partiton", "x", "no such setting; did you mean 'partition'?"),
]


@pytest.mark.parametrize(("name", "value", "said"), WRONG, ids=lambda value: str(value)[:20])
def test_settings_that_are_wrong_say_so(name: str, value: object, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        planned({"type": "slurm", name: value})
    assert f"execution.{name}" in str(caught.value)
    assert said in str(caught.value)


def test_a_host_needs_a_folder_there() -> None:
    with pytest.raises(InvalidInput, match=r"execution\.output_dir: a folder on the cluster is needed"):
        planned({"type": "slurm", "hostname": "x"})
    with pytest.raises(
        InvalidInput, match=r"execution\.output_dir: expected an absolute path, got 'results'"
    ):
        planned({"type": "slurm", "hostname": "x", "output_dir": "results"})
    with pytest.raises(InvalidInput, match=r"execution\.walltime: 00:01:30 leaves nothing"):
        planned({"type": "slurm", "walltime": "1:30"})


@pytest.mark.parametrize("folder", ["/shared/100%j", "/shared/a\\b", "/shared/a\nb"])
def test_no_folder_that_slurm_would_read_otherwise(folder: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"execution\.output_dir: "):
        planned({"type": "slurm", "hostname": "x", "output_dir": folder})
    run = Place("slurm").run(tmp_path / Path(folder).name, "true")
    with pytest.raises(Refused, match="in this folder's path means something to Slurm") as caught:
        submit(run, run.jobs[0], 1, {})
    assert "--output-dir" in str(caught.value.hint)


def test_times_are_those_of_slurm() -> None:
    asked = ("90", "1:30", "04:00:00", "2-0", "1-12:30", "0-0:0:7")
    assert [seconds_of(text) for text in asked] == [5400, 90, 14400, 172800, 131400, 7]
    assert clock(seconds_of("2-12")) == "60:00:00"


def test_extra_flags_become_lines() -> None:
    asked = ["--exclusive", "--gres=gpu:2", "-x node[1-3]", "--comment='two words'", "--gpus=4"]
    assert [sbatch_flag(text) for text in asked] == [
        *("--exclusive", "--gres=gpu:2", "-x node[1-3]", '--comment="two words"', "--gpus=4")
    ]
