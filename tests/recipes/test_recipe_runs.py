"""Recipes that really run, on processes and in containers."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from git_commands import git
from launched import wait_for
from planned_runs import HARNESSES
from running import Ran, evaldock
from services.processes import free_port

Write = Callable[..., Path]
pytestmark = pytest.mark.timeout(900)  # the image and the environment are made once, on an empty cache

METADATA = (
    "[tool.runspec]",
    'name = "team/tell"',
    "setup = '''",
    'export PREPARED="by setup"',
    "'''",
    "[tool.runspec.run]",
    'launch = "python"',
    "[tool.runspec.env]",
    'TOLD = "it\'s here"',
)
# Tells all that it knows of where it is, and ends as its configuration has it.
BODY = """
import json, os, sys
from pathlib import Path

from beside import helper

config = json.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
told = {
    "config": config,
    "same": json.loads(Path(os.environ["EVALDOCK_CONFIG"]).read_text()) == config,
    "setup": os.environ["PREPARED"],
    "env": os.environ["TOLD"],
    "helper": helper(),
    "folder": os.getcwd() == os.environ["EVALDOCK_CODE"],
}
print("working on", config["size"])
kept = Path(os.environ["EVALDOCK_RESULTS"], "told.json")
told["before"] = kept.exists()
kept.write_text(json.dumps(told))
sys.exit(0 if told["before"] else config["first"])
"""


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.service("docker"))])
def where(request: pytest.FixtureRequest) -> list[str]:
    """Overrides that make a recipe run on a backend, Python in its image where it has one."""
    if request.param == "process":
        return ["execution.type=process"]
    image = request.getfixturevalue("harness_image")(HARNESSES / "quickcheck")
    return ["execution.type=docker", f"execution.image={image}", "execution.network=none"]


@pytest.fixture
def tell(recipe: Write) -> Path:
    path = recipe("recipes/tell", *METADATA, body=BODY)
    config = path.parent / "config"
    config.mkdir()
    (config / "default.yaml").write_text("size: 3\nname: size-${size}\nfirst: 0\n")
    (config / "large.yaml").write_text("defaults: [default, _self_]\nsize: 300\n")
    (path.parent / "beside.py").write_text("def helper():\n    return 'imported'\n")
    return path


def job_folder(ran: Ran) -> Path:
    (job,) = ran.json["jobs"]
    return Path(job["directory"])


def told(ran: Ran) -> Any:
    return json.loads((job_folder(ran) / "artifacts" / "told.json").read_bytes())


def test_configuration_overrides_setup_and_code_arrive(where: list[str], tell: Path) -> None:
    ran = evaldock("run", "recipes/tell.py", "-c", "large", *where, "name=other", "list=[1, two]", "--json")
    assert ran.code == 0, ran.err
    assert told(ran) == {
        "config": {"size": 300, "name": "other", "first": 0, "list": [1, "two"]},
        "same": True,
        "setup": "by setup",
        "env": "it's here",
        "helper": "imported",
        "folder": True,
        "before": False,
    }
    (job,) = ran.json["jobs"]
    assert (job["task"], job["model"], job["state"]) == ("team/tell", "", "succeeded")
    assert b"working on 300" in (job_folder(ran) / "logs" / "job.log").read_bytes()


def test_an_exit_code_is_its_own_and_a_resumed_one_finds_what_it_left(where: list[str], tell: Path) -> None:
    ran = evaldock("run", "./recipes/tell.py", *where, "first=7", "--json")
    (job,) = ran.json["jobs"]
    assert (ran.code, job["state"], job["exit_code"]) == (1, "failed", 7)
    assert json.loads((job_folder(ran) / "exit.json").read_bytes())["exit_code"] == 7
    assert evaldock("resume", ran.json["run"]).code == 0
    assert evaldock("tick", "--loop", ran.json["run"]).code == 0
    assert told(ran)["before"] is True
    (job,) = evaldock("status", ran.json["run"], "--json").json
    assert (job["state"], job["attempt"]) == ("succeeded", 2)


def test_one_that_is_asked_to_stop_has_time_for_its_last_word(where: list[str], recipe: Write) -> None:
    recipe(
        "long",
        "[tool.runspec]",
        'setup = "export A=b"',
        "[tool.runspec.run]",
        'launch = "python"',
        body="import os, signal, sys, time\n"
        "results = os.environ['EVALDOCK_RESULTS']\n"
        "if os.path.exists(results + '/checkpoint'):\n    sys.exit(0)\n"
        "def stop(*_):\n    open(results + '/checkpoint', 'w').close()\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "open(results + '/started', 'w').close()\n"
        "time.sleep(600)\n",
    )
    ran = evaldock("run", "long.py", *where, "--detach", "--json")
    folder = Path(ran.json["directory"]) / "jobs" / "000-long" / "artifacts"
    wait_for(folder / "started")
    assert evaldock("kill", ran.json["run"]).code == 0
    wait_for(folder / "checkpoint")
    assert evaldock("status", ran.json["run"], "--watch", "--interval", "0.2").code == 0
    (job,) = evaldock("status", ran.json["run"], "--json").json
    assert (job["state"], job["reason"]) == ("cancelled", "stopped on request")
    assert evaldock("resume", ran.json["run"]).code == 0
    assert evaldock("tick", "--loop", ran.json["run"]).code == 0
    (job,) = evaldock("status", ran.json["run"], "--json").json
    assert (job["state"], job["attempt"]) == ("succeeded", 2)


def test_a_setup_that_fails_ends_the_job(where: list[str], recipe: Write) -> None:
    recipe("bad", "[tool.runspec]", "setup = '''", "false", "echo never", "'''", body="print('never')")
    ran = evaldock("run", "bad.py", *where, "execution.gpus_per_node=0", "--json")
    (job,) = ran.json["jobs"]
    assert (ran.code, job["state"], job["exit_code"]) == (1, "failed", 1)
    assert job["reason"] == "its setup failed"
    assert b"never" not in (job_folder(ran) / "logs" / "job.log").read_bytes()


def test_setup_with_an_open_quote_ends_the_job_and_nothing_else(where: list[str], recipe: Write) -> None:
    recipe("bad", "[tool.runspec]", "setup = 'echo \"'", "[tool.runspec.run]", "launch = 'python'")
    ran = evaldock("run", "bad.py", *where, "--json")
    (job,) = ran.json["jobs"]
    assert (ran.code, job["state"]) == (1, "failed")
    assert json.loads((job_folder(ran) / "exit.json").read_bytes())["exit_code"] != 0


def test_dependencies_are_installed_for_it_alone(recipe: Write, project: Path) -> None:
    """A wheel of the project's own, since no package index can be taken for granted."""
    wheel = _wheel(project, "greeting_wheel", "WORD = 'hello'\n")
    recipe(
        "uses",
        f'dependencies = ["greeting_wheel @ {wheel.as_uri()}"]',
        "[tool.runspec]",
        "[tool.runspec.run]",
        'launch = "direct"',
        body="import greeting_wheel as g, sys; print('says', g.WORD, sys.prefix != sys.base_prefix)",
    )
    ran = evaldock("run", "./uses.py", "--json")
    assert ran.code == 0, ran.err
    assert b"says hello True" in (job_folder(ran) / "logs" / "job.log").read_bytes()
    packages = json.loads((job_folder(ran) / "packages.json").read_bytes())
    assert packages["greeting-wheel"] == "1.0"


def test_direct_is_what_its_first_line_says(recipe: Write) -> None:
    path = recipe("shell", "[tool.runspec]", "[tool.runspec.run]", 'launch = "direct"', body='echo "$0 $1"')
    path.write_text(f"#!/bin/sh -eu\n{path.read_text()}")
    ran = evaldock("run", "./shell.py", "--json")
    assert ran.code == 0, ran.err
    assert (job_folder(ran) / "logs" / "job.log").read_text().endswith("/shell.py --config\n")


def test_a_call_of_its_own_and_a_folder_to_work_in(recipe: Write, project: Path) -> None:
    (project / "data").mkdir()
    (project / "data" / "one.txt").write_text("")
    recipe(
        "own",
        "[tool.runspec.run]",
        "cmd = 'ls && basename -a {script} {config}'",
        'workdir = "data"',
    )
    ran = evaldock("run", "own.py", "--json")
    assert ran.code == 0, ran.err
    assert (job_folder(ran) / "logs" / "job.log").read_text().endswith("one.txt\nown.py\nrun_config.yml\n")


def test_only_the_script_is_shipped_where_that_is_asked(tell: Path) -> None:
    ran = evaldock("run", "recipes/tell.py", "--code", "script", "--json")
    assert ran.code == 1
    assert b"No module named 'beside'" in (job_folder(ran) / "logs" / "job.log").read_bytes()
    assert sorted(path.name for path in (job_folder(ran).parents[1] / "code").glob("*/*")) == ["tell.py"]


def test_a_detached_recipe_goes_on_by_itself(tell: Path, project: Path) -> None:
    (project / "env.toml").write_text('[here]\nexecutor = "process"\nenv = { TOLD = "profile" }\n')
    ran = evaldock("run", "recipes/tell.py", "--batch", "here", "--json")
    assert ran.json["detached"] is True
    assert evaldock("status", ran.json["run"], "--watch", "--interval", "0.2").code == 0
    (job,) = evaldock("status", ran.json["run"], "--json").json
    assert job["state"] == "succeeded"
    assert json.loads(Path(job["directory"], "artifacts", "told.json").read_bytes())["env"] == "profile"


def test_nothing_of_this_machine_is_in_what_is_sent(tell: Path, project: Path) -> None:
    """What a remote backend gets is this script and this configuration."""
    ran = evaldock(
        "run", "recipes/tell.py", "execution.type=docker", "execution.image=x", "--dry-run", "--json"
    )
    assert ran.code == 0, ran.err
    (job,) = ran.json["plan"]["jobs"]
    assert str(project) not in json.dumps({**job, "config": ran.json["submissions"][0]["scripts"]})
    assert not (project / "evaldock-runs").exists()


def test_results_of_a_step_reach_the_next(where: list[str], recipe: Write, project: Path) -> None:
    python = ("[tool.runspec]", "[tool.runspec.run]", 'launch = "python"')
    recipe("one", *python, body="import os; open(os.environ['EVALDOCK_RESULTS'] + '/a', 'w').write('first')")
    recipe(
        "two",
        *python,
        body="import json, os\n"
        "config = json.load(open(os.environ['EVALDOCK_CONFIG']))\n"
        "assert config['from'] == os.environ['EVALDOCK_INPUT_ONE'], config\n"
        "print(open(config['from'] + '/a').read(), 'read')",
    )
    (project / "pipeline.toml").write_text(
        '[[step]]\nname = "one"\nrecipe = "one.py"\n'
        '[[step]]\nname = "two"\nrecipe = "two.py"\nneeds = ["one"]\noverrides = ["from=${run.inputs.one}"]\n'
    )
    ran = evaldock("run", "pipeline.toml", *where, "--json")
    assert ran.code == 0, ran.err
    assert "first read\n" in Path(ran.json["jobs"][1]["directory"], "logs", "job.log").read_text()


def test_artifacts_by_name_and_commits_of_git(
    where: list[str], recipe: Write, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALDOCK_ARTIFACTS", str(tmp_path / "registry"))
    (project / "numbers.txt").write_text("one two")
    assert evaldock("artifact", "put", "numbers", "numbers.txt").code == 0
    upstream = tmp_path / "upstream"
    git(tmp_path, "init", "--quiet", "upstream")
    git(upstream, "commit", "--quiet", "--allow-empty", "-m", "none")
    (upstream / "letters.txt").write_text("a b")
    git(upstream, "add", ".")
    git(upstream, "commit", "--quiet", "-m", "letters")
    recipe(
        "reads",
        "[tool.runspec]",
        "[tool.runspec.run]",
        'launch = "python"',
        body="import json, os\n"
        "config = json.load(open(os.environ['EVALDOCK_CONFIG']))\n"
        "print(open(config['numbers'] + '/numbers.txt').read(), open(config['git'] + '/letters.txt').read())",
    )
    mount = f"git=${{auto_mount:git+file://{upstream}@main,/letters}}"
    ran = evaldock("run", "reads.py", *where, "numbers=${art:numbers}", mount, "--json")
    assert ran.code == 0, ran.err
    assert b"one two a b" in (job_folder(ran) / "logs" / "job.log").read_bytes()


def test_a_model_server_beside_a_recipe(recipe: Write, project: Path) -> None:
    port = free_port()
    recipe(
        "asks",
        "[tool.runspec]",
        "[tool.runspec.run]",
        'launch = "python"',
        body="import json, os, urllib.request\n"
        "config = json.load(open(os.environ['EVALDOCK_CONFIG']))\n"
        "print('answered', urllib.request.urlopen(config['url']).status)",
    )
    server = f"python3 -m http.server --bind 127.0.0.1 {port}"
    deployment = f"deployment={{type: generic, port: {port}, health_path: /, command: {server}}}"
    ran = evaldock("run", "asks.py", deployment, f"url=http://127.0.0.1:{port}/", "--json")
    assert ran.code == 0, ran.err
    assert b"answered 200" in (job_folder(ran) / "logs" / "job.log").read_bytes()


def _wheel(folder: Path, name: str, text: str) -> Path:
    """The smallest wheel that installers take: a module of the package's name."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", text)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path
