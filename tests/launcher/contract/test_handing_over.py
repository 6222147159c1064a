"""What a job is given arrives as it was, where it was meant to, and nowhere else."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import InvalidInput
from catalog.models import Catalog
from launched import (
    RESULTS,
    SECRET,
    Place,
    artifacts,
    changed,
    ended,
    here,
    states,
    supervise,
    there,
    until,
    wait_for,
)
from launcher.jobs import Mount, Resources, RunPlan, SecretName, State
from launcher.runs import handle as run_handle
from launcher.runs import run_id
from launcher.runs.database import Database
from launcher.runs.supervisor import tick
from planned_runs import harness, plan
from services.engine import Engine

ODD = "ü '\" $(touch pwned) `touch pwned` ${HOME} \\ \n; touch pwned #é"
ECHO = """
framework: {name: echo, pkg_name: echo}
defaults:
  command: >-
    printf %s {{target.api_endpoint.model_id}} >{{config.output_dir}}/model
    && printf %s "{{target.api_endpoint.url}}" >{{config.output_dir}}/url
    && printf %s '{{config.params.extra.word}}' >{{config.output_dir}}/word
    && printf %s "$ODD" >{{config.output_dir}}/odd && """
ECHO += RESULTS.replace("{out}", "{{config.output_dir}}").replace("\n", " ") + "\n"
ECHO += """\
  config: {params: {extra: {word: ""}}}
  target: {api_endpoint: {stream: false}}
evaluations:
  - {name: All, defaults: {config: {type: all, supported_endpoint_types: [chat]}}}
"""


def planned(place: Place, folder: Path, data: Mapping[str, Any], environ: Mapping[str, str]) -> RunPlan:
    described = replace(harness(ECHO, packages=("echo==1",)))
    of = Catalog(root=str(folder), mapping_sha256="", harnesses=(described,))
    made = plan(
        {"execution": place.configuration(), **data},
        environ=environ,
        directory=folder / "run",
        of=of,
        identity=run_id.new(),
    )
    # The image and the packages are the test's: what is asked here is what arrives in them.
    return changed(
        replace(made, settings={**made.settings, **place.settings}), image=place.image, packages=()
    )


def test_values_arrive_unchanged_and_execute_nothing(
    place: Place, tmp_path: Path, database: Database
) -> None:
    url = "http://127.0.0.1:9/v1/chat/completions?q=$(touch pwned)`touch pwned`&b=\"'é"
    run = planned(
        place,
        tmp_path,
        {
            "target": {"api_endpoint": {"model_id": ODD, "url": url}},
            "evaluation": {
                "tasks": [
                    {"name": "all", "params": {"extra": {"word": ODD}}, "env_vars": {"ODD": f"lit:{ODD}"}}
                ]
            },
        },
        {},
    )
    database.record(run)
    rows = supervise(database, run)
    out = Path(run.directory) / run.jobs[0].directory / "artifacts"
    assert (states(rows), rows[0].reason) == ([State.SUCCEEDED], None)
    for name, value in (("model", ODD), ("url", url), ("word", ODD), ("odd", ODD)):
        assert (out / name).read_text() == value, name
    assert not list(tmp_path.rglob("pwned"))
    given = json.loads((out / "run_config.yml").read_bytes())
    assert given["target"]["api_endpoint"]["model_id"] == ODD


def test_a_folder_may_have_any_name(place: Place, tmp_path: Path) -> None:
    # Slurm itself gives a backslash and a % in a job's folder a meaning.
    run = place.run(tmp_path / ODD.replace("\\", "").replace("\n", ""), "echo hello")
    handle = place.submit(run)
    assert ended(place, handle).exit_code == 0
    place.collect(run, handle)
    assert (here(run) / "logs" / "job.log").read_text() == "hello\n"
    assert not list(tmp_path.rglob("pwned"))


def written_in(*folders: Path) -> dict[Path, str]:
    return {
        path: path.read_bytes().decode("utf-8", "replace")
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_secrets_stand_nowhere_but_in_the_harness(place: Place, tmp_path: Path, database: Database) -> None:
    run = changed(
        place.run(
            tmp_path,
            'printf %s "$KEY" | sha256sum >{out}/digest; touch {out}/ready; '
            "until [ -e {out}/go ]; do sleep 0.1; done; " + RESULTS,
        ),
        secrets=(SecretName(name="KEY", source="HOST_KEY"),),
    )
    database.record(run)
    run_handle.write(database, run)
    (row,) = tick(database, run.run_id, {"HOST_KEY": SECRET})
    out = wait_for(there(run) / "artifacts" / "ready").parent
    assert (out / "digest").read_text().split()[0] == hashlib.sha256(SECRET.encode()).hexdigest()
    assert not [*tmp_path.rglob(".secrets"), *there(run).rglob(".secrets")]
    said = [subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True, check=True).stdout]
    said.append(json.dumps(place.backend.plan(run, run.jobs[0])))
    handle = row.handle(place.name)
    assert handle is not None
    said.append(place.native(replace(handle, settings=run.settings)))
    written = written_in(tmp_path, there(run))
    assert any(path.name == "runs.db" for path in written)
    held = [path for path in written if path.name in place.held]
    assert {stat.S_IMODE(path.stat().st_mode) for path in held} <= {0o600}
    said += [text for path, text in written.items() if path not in held]
    (out / "go").touch()
    assert states(supervise(database, run)) == [State.SUCCEEDED]
    assert not [path for path in held if path.exists()]
    said += written_in(tmp_path, there(run)).values()
    for text in said:
        assert SECRET not in text
        assert SECRET.split("'")[0] not in text
    assert not list(tmp_path.rglob("pwned"))


def test_a_secret_that_is_not_set_keeps_the_job_waiting_and_says_so(
    place: Place, tmp_path: Path, database: Database
) -> None:
    run = changed(place.run(tmp_path, RESULTS), secrets=(SecretName(name="KEY", source="HOST_KEY"),))
    database.record(run)
    (row,) = tick(database, run.run_id, {"EVALDOCK_RETRY_PAUSE": "0"})
    assert row.state is State.PLANNED
    assert "HOST_KEY" in str(row.reason)
    assert states(supervise(database, run, {"HOST_KEY": "x"})) == [State.SUCCEEDED]


def test_a_variable_of_the_machine_arrives(
    near: Place, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THIS_MACHINE", SECRET)
    secret = SecretName(name="KEY", source="OF_THIS_MACHINE", where="runtime")
    run = changed(near.run(tmp_path, 'printf %s "$KEY" >{out}/key; ' + RESULTS), secrets=(secret,))
    database.record(run)
    assert states(supervise(database, run)) == [State.SUCCEEDED]
    assert (here(run) / "artifacts" / "key").read_text() == SECRET
    assert not list(tmp_path.rglob(".secrets"))


def test_a_variable_of_the_machine_that_is_not_set_fails_the_job(
    place: Place, tmp_path: Path, database: Database
) -> None:
    secret = SecretName(name="KEY", source="NOT_SET_HERE", where="runtime")
    run = changed(place.run(tmp_path, RESULTS), secrets=(secret,))
    database.record(run)
    (row,) = supervise(database, run)
    code, reason = place.unset
    assert (row.state, row.exit_code) == (State.FAILED, code)
    assert str(row.reason).startswith(reason.format("NOT_SET_HERE"))


def test_resources_and_mounts_arrive_in_the_container(
    on_docker: Place, docker_engine: Engine, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "data").write_text("from outside")
    command = (
        "cat /data/data >{out}/mounted; touch /data/x 2>/dev/null || echo refused >{out}/written; "
        "id -u >{out}/user; ulimit -n >{out}/files; hostname >{out}/hostname; echo $FLAG >{out}/flag; "
        "df -k /dev/shm | tail -1 >{out}/shm; touch {out}/ready; until [ -e {out}/go ]; do sleep 0.1; done"
    )
    settings = {
        "ulimits": [{"name": "nofile", "soft": 77, "hard": 88}],
        "hostname": "evaluation",
        "pids_limit": 99,
        "env": [["FLAG", "from docker_args"]],
        "tmpfs": ["/scratch:size=1m"],
    }
    run = changed(
        on_docker.run(tmp_path, command, settings=settings),
        resources=Resources(cpus=0.5, memory=256 << 20, shm=32 << 20),
        mounts=(Mount(source=str(shared), target="/data", read_only=True),),
        user="12345:12345",
    )
    handle = on_docker.backend.submit(run, run.jobs[0], 1, {})
    out = wait_for(artifacts(handle) / "ready").parent
    host = json.loads(docker_engine.run("inspect", handle.native_id))[0]["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (256 << 20, 500_000_000, 99)
    assert host["Tmpfs"] == {"/scratch": "size=1m"}
    found = {path.name: path.read_text().strip() for path in out.iterdir()}
    assert (found["mounted"], found["written"]) == ("from outside", "refused")
    assert (found["user"], found["files"], found["hostname"]) == ("12345", "77", "evaluation")
    assert found["flag"] == "from docker_args"
    assert found["shm"].split()[1] == str(32 << 10)
    (out / "go").touch()
    assert ended(on_docker, handle).exit_code == 0
    on_docker.backend.collect(handle, Path(handle.directory))
    until(lambda: not docker_engine.run("ps", "-aq", "--filter", f"label=evaldock.key={handle.key}"))


def test_the_process_backend_gives_only_what_was_given(
    on_process: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_PRIVATE_TOKEN", "private")
    handle = on_process.backend.submit(
        run := changed(on_process.run(tmp_path, "env >{out}/env"), env={"GIVEN": "1"}), run.jobs[0], 1, {}
    )
    assert ended(on_process, handle).exit_code == 0
    names = {line.partition("=")[0] for line in (artifacts(handle) / "env").read_text().splitlines()}
    assert "GIVEN" in names
    assert names <= {
        *("GIVEN", "PATH", "HOME", "LANG", "PYTHONUNBUFFERED", "NEMO_EVALUATOR_TELEMETRY_LEVEL", "PWD"),
        *("EVALDOCK_JOB", "EVALDOCK_CONTRACT", "SHLVL", "OLDPWD", "_"),
    }


def test_a_plan_says_that_a_required_variable_is_missing(tmp_path: Path, on_process: Place) -> None:
    tasks = {"tasks": ["all"], "required_env_vars": ["MISSING_ONE"]}
    with pytest.raises(InvalidInput, match="MISSING_ONE"):
        planned(on_process, tmp_path, {"evaluation": tasks}, {})
