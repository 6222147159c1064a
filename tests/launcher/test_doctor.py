"""What `evaldock doctor` finds: on this machine, on an engine, a cluster, a Ray head and a workspace."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from foundation import doc_examples
from launched import python
from launcher.backends import lepton_api
from running import Ran, evaldock
from services.engine import Engine
from services.lepton import Lepton
from services.processes import free_port
from services.ray_head import RayHead
from services.slurm import Slurm
from services.sshd import Sshd
from standins import standin

CATALOG = Path(__file__).parents[2] / "catalog"
Found = Mapping[str, tuple[str, str, str | None]]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with a state of its own."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EVALDOCK_STATE", str(tmp_path / "state"))
    return folder


def doctor(*arguments: str) -> tuple[int, Found]:
    """The exit code, and by check its grade, what was said and the remedy. The last one of a name counts."""
    ran = evaldock("doctor", "--catalog", CATALOG, "--json", *arguments)
    assert ran.out, ran.err
    return ran.code, {each["check"]: (each["grade"], each["said"], each["remedy"]) for each in ran.json}


def settings(**execution: Any) -> list[str]:
    return [f"execution.{name}={value}" for name, value in execution.items()]


def test_this_machine_can_run_processes() -> None:
    code, found = doctor("--backend", "process")
    assert code == 0
    assert {name: grade for name, (grade, _, _) in found.items()} == {
        **dict.fromkeys(("evaldock", "state", "cache", "catalog", "settings", "output"), "ok"),
        **dict.fromkeys(("installer", "environments"), "ok"),
    }
    assert found["settings"][1] == "backend process, with the harness's packages"


def test_the_page_shows_what_it_says(project: Path) -> None:
    page = CATALOG.parent / "docs" / "how-to" / "doctor.md"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    assert doc_examples.run(page, project, {**os.environ, "PATH": path}) == 1


def test_a_narrow_terminal_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    ran: Ran = evaldock("doctor", "--catalog", CATALOG)
    assert ran.code == 1
    lines = ran.out.splitlines()
    assert max(len(line) for line in lines) <= 40
    assert lines[0] == "this machine"
    assert [line for line in lines if line.startswith("fail")] == ["fail  engine: no container engine"]
    assert "      → start Docker or Podman's socket," in lines
    assert lines[-1] == "1 of 7 checks failed"


def test_who_names_no_backend_that_there_is_is_told_which_there_are() -> None:
    ran = evaldock("doctor", "--backend", "slrum")
    assert (ran.code, ran.out) == (2, "")
    assert "no backend 'slrum'; did you mean 'slurm'?" in ran.err
    assert evaldock("doctor", "slurm").code == 2


def test_every_mistake_of_a_configuration_is_a_finding_of_its_own(project: Path) -> None:
    (project / "run.yaml").write_text("execution: {type: process, retrys: 3, mode: fast}\n")
    ran = evaldock("doctor", "--catalog", CATALOG, "--json", "--config-name", "run")
    assert ran.code == 1
    said = [each["said"] for each in ran.json if each["grade"] == "fail"]
    assert [text.partition(" (")[0] for text in said] == ["execution.mode", "execution.retrys"]
    # The backend is looked at all the same.
    assert ran.json[-1]["part"] == "process"


def test_a_catalog_that_does_not_verify_is_told(tmp_path: Path) -> None:
    ran = evaldock("doctor", "--catalog", tmp_path, "--backend", "process", "--json")
    (found,) = (each for each in ran.json if each["part"] == "catalog")
    assert (ran.code, found["grade"]) == (1, "fail")


def test_a_profile_and_its_keys(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "env.toml").write_text(
        '[here]\nexecutor = "process"\nenv = { HF_TOKEN = "host:HF_TOKEN", MORE = "host:MORE?" }\n'
        '[here.keys]\n"https://api.example/v1" = "API_KEY"\n'
    )
    code, found = doctor("--profile", "here")
    assert code == 1
    assert found["profile"][:2] == ("ok", "here (env.toml)")
    assert found["key"] == (
        "warn",
        "API_KEY, the key for https://api.example/v1, is not set",
        "export API_KEY=…",
    )
    assert found["variable"] == ("fail", "HF_TOKEN is not set, and jobs are to get it", "export HF_TOKEN=…")
    monkeypatch.setenv("API_KEY", "secret-one")
    monkeypatch.setenv("HF_TOKEN", "secret-two")
    ran = evaldock("doctor", "--catalog", CATALOG, "--profile", "here")
    assert ran.code == 0
    assert "API_KEY is set, for https://api.example/v1" in ran.out
    assert "secret" not in ran.out + ran.err
    code, found = doctor("--profile", "her")
    assert code == 1
    assert "'her'" in found["settings"][1]


def test_a_folder_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EVALDOCK_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("EVALDOCK_STATE", str(tmp_path / "file" / "state"))
    code, found = doctor("--backend", "process")
    assert code == 1
    assert found["state"][0] == "fail"
    assert found["state"][2] == "point EVALDOCK_STATE at a folder of yours"


def test_an_engine_is_tried_with_an_image_that_it_has(docker_engine: Engine, whole_busybox: str) -> None:
    code, found = doctor("--backend", "docker", "execution.gpus=all")
    assert found["engine"][0] == "ok"
    assert found["engine"][1].endswith(f"at {docker_engine.host}")
    assert found["gpus"][0] == "fail"
    assert "NVIDIA Container Toolkit" in str(found["gpus"][2])
    assert code == 1
    code, found = doctor("--backend", "docker", "target.api_endpoint.url=http://127.0.0.1:9/v1")
    assert found["network"][:2] == (
        "warn",
        "http://127.0.0.1:9/v1 is the container itself for what runs in one",
    )
    code, found = doctor("--backend", "docker")
    assert (code, found["gpus"][0]) == (0, "ok")
    assert "network" not in found
    assert found["containers"][0] in ("ok", "warn")
    assert docker_engine.run("ps", "-aq", "--filter", "network=none", "--filter", "status=exited") == ""


def test_a_workspace_that_has_what_is_asked_for(lepton: Lepton) -> None:
    lepton.change(settings={"secrets": {"HF_TOKEN": "x"}})
    given = settings(resource_shape="cpu.small", node_group="group", env_vars="{HF_TOKEN: HF_TOKEN}")
    code, found = doctor("--backend", "lepton", *given)
    assert code == 0
    assert found["workspace"][:2] == ("ok", f"{lepton.name} lets us in")
    assert found["resource shape"][:2] == ("ok", "cpu.small")
    assert found["secret"][:2] == ("ok", "the workspace has HF_TOKEN")
    assert found["results"][0] == "warn"
    assert lepton.look()["jobs"] == {}


def test_a_key_that_jobs_on_lepton_get_is_the_workspaces(lepton: Lepton, project: Path) -> None:
    (project / "env.toml").write_text(
        '[cloud]\nexecutor = "lepton"\nresource_shape = "cpu.small"\n'
        'env = { HF_TOKEN = "runtime:HF_TOKEN" }\n'
        '[cloud.keys]\n"https://api.example/v1" = "API_KEY"\n'
    )
    lepton.change(settings={"secrets": {"HF_TOKEN": "x"}})
    ran = evaldock("doctor", "--catalog", CATALOG, "--profile", "cloud", "--json")
    said = {each["said"]: each["grade"] for each in ran.json if each["check"] in ("secret", "key")}
    assert said == {"the workspace has no API_KEY": "fail", "the workspace has HF_TOKEN": "ok"}


def test_a_workspace_that_has_not(lepton: Lepton, monkeypatch: pytest.MonkeyPatch) -> None:
    given = settings(resource_shape="cpu.smal", node_group="groop", env_vars="{HF_TOKEN: HF_TOKEN}")
    code, found = doctor("--backend", "lepton", *given)
    assert code == 1
    assert found["resource shape"] == (
        "fail",
        "there is no 'cpu.smal'; did you mean 'cpu.small'?",
        "execution.resource_shape: there are cpu.small",
    )
    assert found["node group"][0] == "fail"
    assert found["secret"] == ("fail", "the workspace has no HF_TOKEN", "lep secret create -n HF_TOKEN -v …")
    lepton.change(settings={"state": "paused"})
    _, found = doctor("--backend", "lepton")
    assert found["workspace"][1] == f"{lepton.name} lets us in, and is paused"
    monkeypatch.setenv("LEPTON_WORKSPACE_TOKEN", "another")
    code, found = doctor("--backend", "lepton", *given)
    assert found["workspace"][:2] == ("fail", "Lepton knows no such token (401, the workspace)")
    monkeypatch.setenv("LEPTON_WORKSPACE_URL", f"http://127.0.0.1:{free_port()}")
    code, found = doctor("--backend", "lepton", *given)
    assert found["workspace"][1].startswith("Lepton can't be reached: 127.0.0.1:")


def test_an_endpoint_that_is_made_for_the_run(lepton: Lepton) -> None:
    shapes = {
        "cpus-1a2b job": ["cpu.small"],
        "more-1a2b job": ["cpu.large"],
        "gpus-1a2b deployment": ["gpu.a100"],
    }
    lepton.change(settings={"node_groups": ["cpus", "more", "gpus"], "shapes": [], "shapes_of": shapes})
    given = settings(resource_shape="cpu.large", node_group="[cpus,more]")
    serving = ["deployment.type=vllm", "deployment.hf_model_handle=org/model"]
    serving += ["execution.endpoint.node_group=gpus", "execution.endpoint.resource_shape=gpu.a100"]
    # Its key is made with it.
    serving += ["target.api_endpoint.api_key_name=API_KEY", "target.api_endpoint.model_id=m"]
    code, found = doctor("--backend", "lepton", *given, *serving)
    assert found["resource shape"][:2] == ("ok", "cpu.large")
    assert found["the endpoint's shape"][:2] == ("ok", "gpu.a100")
    assert (code, "secret" in found) == (0, False)
    code, found = doctor("--backend", "lepton", *given, *serving, "execution.endpoint.node_group=gpu")
    assert found["node group"] == (
        "fail",
        "there is no 'gpu'; did you mean 'gpus'?",
        "execution.endpoint.node_group: there are cpus, cpus-1a2b, gpus, gpus-1a2b, more, more-1a2b",
    )
    code, found = doctor("--backend", "lepton", *given, *serving[:3])
    assert (code, found["the endpoint's shape"][0]) == (1, "fail")
    # A key for somebody else's URL is the workspace's.
    code, found = doctor(
        "--backend", "lepton", *given, *serving, "target.api_endpoint.url=http://127.0.0.1:9/v1"
    )
    assert found["secret"][:2] == ("fail", "the workspace has no API_KEY")


@pytest.mark.parametrize(("state", "grade"), [("Error", "fail"), ("Stopped", "fail"), ("Starting", "warn")])
def test_an_endpoint_that_is_of_no_use_fails_as_its_jobs_would(
    lepton: Lepton, state: str, grade: str
) -> None:
    body = {
        "metadata": {"id": "mine", "name": "mine"},
        "spec": {
            "container": {
                "image": "x",
                "command": ["sleep", "60"],
                "ports": [{"container_port": free_port()}],
            },
            "resource_requirement": {"resource_shape": "cpu.small", "min_replicas": 1},
        },
    }
    with lepton_api.connected({}) as workspace:
        workspace.create_endpoint(body)
    lepton.change(force={"mine": state})
    code, found = doctor("--backend", "process", "target.api_endpoint.deployment_name=mine")
    assert (code, found["model"][0]) == (int(grade == "fail"), grade)
    assert f"Lepton says {state}" in found["model"][1]


def test_who_is_logged_in_elsewhere_is_told_what_to_set(
    lepton: Lepton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in lepton.environ:
        monkeypatch.delenv(name)
    known = {"id": "one", "url": lepton.url, "auth_token": lepton.token}
    written = json.dumps({"workspaces": {"one": known}, "current_workspace": "one"})
    (tmp_path / "workspace_info.yaml").write_text(written)
    # The client reads it when it is imported.
    code = "from catalog.cli import main; main()"
    given = settings(workspace="two", resource_shape="cpu.small")
    ran = python(
        code, "doctor", "--backend", "lepton", "--json", *given, environ={"LEPTON_CACHE_DIR": str(tmp_path)}
    )
    out, err = ran.communicate(timeout=60)
    assert ran.returncode == 1, err
    (found,) = (each for each in json.loads(out) if each["check"] == "workspace")
    assert (found["grade"], found["said"]) == ("fail", "no token for Lepton's workspace two is known")
    assert "LEPTON_WORKSPACE_TOKEN" in found["remedy"]


def test_the_model_that_is_asked(lepton: Lepton, tmp_path: Path) -> None:
    with standin(tmp_path) as url:
        code, found = doctor("--backend", "process", f"target.api_endpoint.url={url}")
        assert (code, found["model"][:2]) == (0, ("ok", f"{url} answers"))
    code, found = doctor("--backend", "process", f"target.api_endpoint.url={url}")
    assert (code, found["model"][0]) == (1, "fail")
    asked = [f"target.api_endpoint.url={url}", *settings(resource_shape="cpu.small")]
    code, found = doctor("--backend", "lepton", *asked)
    assert (code, found["model"][0]) == (0, "warn")
    code, found = doctor("--backend", "process", "target.api_endpoint.deployment_name=mine")
    assert (code, found["model"][:2]) == (1, ("fail", "the workspace has no endpoint 'mine'"))


@pytest.mark.parametrize(
    ("runtime", "said"),
    [("none", "none: harnesses are installed on the nodes"), ("pyxis", "pyxis is there")],
)
def test_a_cluster_behind_ssh_would_take_a_job(
    slurm: Slurm, sshd: Sshd, tmp_path: Path, runtime: str, said: str
) -> None:
    given = {"hostname": "cluster", "output_dir": tmp_path / "runs", "container_runtime": runtime}
    code, found = doctor("--backend", "slurm", *settings(**given, partition="main"))
    assert {name: grade for name, (grade, _, _) in found.items() if grade != "ok"} in (
        {},
        {"output_dir": "warn"},
    )
    assert code == 0
    assert found["connection"][1] == "cluster, by SSH"
    assert found["commands"][1].startswith("slurm")
    assert found["a job"][1] == "Slurm would take one as it is configured"
    assert found["containers"][1] == said
    assert not (tmp_path / "runs" / ".evaldock-doctor").exists()


def test_a_cluster_that_would_not(slurm: Slurm, sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    # The cluster's own has a plugin for it.
    (tmp_path / "srun").write_text("#!/bin/sh\necho 'Usage: srun [OPTIONS...] executable [args...]'\n")
    (tmp_path / "srun").chmod(0o755)
    given = {"hostname": "cluster", "output_dir": tmp_path / "file" / "runs", "container_runtime": "pyxis"}
    given |= {"slurm_bin": tmp_path}
    code, found = doctor("--backend", "slurm", *settings(**given, partition="man", nodes=99))
    assert code == 1
    assert found["partition"][1] == "there is no 'man'; did you mean 'main'?"
    assert found["a job"][0] == "fail"
    assert found["output_dir"][1] == f"nothing can be written in {tmp_path}/file/runs"
    assert found["containers"][1] == "srun knows no --container-image, so pyxis is not there"


@pytest.mark.usefixtures("slurm", "sshd")
@pytest.mark.parametrize(
    ("seconds", "runtime", "grade"),
    [(12, "podman", "ok"), (11, "docker", "warn"), (11, "none", None), (None, "docker", None)],
)
def test_containers_that_slurm_gives_no_time_to_end(
    tmp_path: Path, seconds: int | None, runtime: str, grade: str | None
) -> None:
    # The cluster's own, with another line: its daemons are the other tests', too.
    line = f"KillWait                = {seconds} sec" if seconds else ""
    (tmp_path / "scontrol").write_text(
        f'#!/bin/sh\n{shutil.which("scontrol")} "$@" | sed "s/^KillWait .*/{line}/"\n'
    )
    (tmp_path / "scontrol").chmod(0o755)
    given = {"hostname": "cluster", "output_dir": tmp_path / "runs", "container_runtime": runtime}
    code, found = doctor("--backend", "slurm", *settings(**given, slurm_bin=tmp_path))
    assert code == 0
    assert found.get("KillWait", (None,))[0] == grade


def test_the_clusters_own_killwait(slurm: Slurm, sshd: Sshd, tmp_path: Path) -> None:
    given = {"hostname": "cluster", "output_dir": tmp_path / "runs", "container_runtime": "docker"}
    _, found = doctor("--backend", "slurm", *settings(**given))
    assert found["KillWait"][:2] == (
        "warn",
        "Slurm kills a job 10 seconds after it asked it to stop; the job's container takes up to 12, and may "
        "stay on its node",
    )


def test_a_head_node_that_is_not_known_is_not_trusted(sshd: Sshd) -> None:
    # Under this name nobody has introduced it.
    given = settings(hostname="localhost", port=sshd.port, output_dir="/shared")
    code, found = doctor("--backend", "slurm", *given)
    assert (code, found["connection"][0]) == (1, "fail")
    assert "known" in found["connection"][1]


def test_a_ray_head(ray_head: RayHead, tmp_path: Path) -> None:
    code, found = doctor("--backend", "ray", *settings(dashboard_url=ray_head.url, shared_dir=tmp_path))
    assert code == 0
    assert found["dashboard"][1].startswith("Ray 2.")
    assert found["nodes"][1].startswith("1, with ")
    assert found["shared_dir"][0] == "ok"
    given = settings(dashboard_url=ray_head.url, gpus=4, entrypoint_label_selector="{pool: none}")
    code, found = doctor("--backend", "ray", *given)
    assert code == 1
    assert found["gpus"][:2] == ("fail", "no node has the 4 GPUs of a job")
    assert found["cluster"][:2] == ("warn", "entrypoint_label_selector: no node has pool=none")


def test_a_ray_head_that_is_not_there() -> None:
    code, found = doctor("--backend", "ray", *settings(dashboard_url=f"http://127.0.0.1:{free_port()}"))
    assert code == 1
    assert found["dashboard"][2] == "is execution.dashboard_url right, and can this machine reach it?"


@contextmanager
def answering(status: int, kind: str, text: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # http.server's name
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


JSON, LISTED = "application/json", json.dumps({"data": [{"id": "org/model"}]})


@pytest.mark.parametrize(
    ("answer", "given", "grade", "said"),
    [
        ((401, JSON, "{}"), "api_key_name=API_KEY", "ok", "asks for a key"),
        ((401, JSON, "{}"), "stream=false", "warn", "asks for a key (401)"),
        ((404, JSON, "{}"), "stream=false", "warn", "/v1/models answers 404"),
        ((200, "text/html", "<p>hello"), "stream=false", "warn", "answers with a web page"),
        ((200, JSON, LISTED), "model_id=org/model", "ok", "answers"),
        (
            (200, JSON, LISTED),
            "model_id=org/modle",
            "warn",
            "lists no 'org/modle'; did you mean 'org/model'?",
        ),
        ((200, JSON, "[1]"), "model_id=org/model", "ok", "answers"),
    ],
)
def test_what_answers_for_a_model(
    answer: tuple[int, str, str], given: str, grade: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "k-1")
    with answering(*answer) as url:
        words = [f"target.api_endpoint.url={url}", f"target.api_endpoint.{given}"]
        code, found = doctor("--backend", "process", *words)
    assert (code, found["model"][0]) == (0, grade)
    assert said in str(found["model"][1])
