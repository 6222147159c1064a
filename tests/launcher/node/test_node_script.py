"""What a node does for a job, tried for real: as a process and in a container."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from launched import RESULTS, until, wait_for
from launcher.jobs import Deployment, Resources, SecretName
from launcher.node.node_script import node_script
from on_node import clean, left_running, staying

GOLDENS = Path(__file__).parent / "goldens"
FOREVER = "touch {out}/ready; while :; do sleep 0.1; done"
CONTAINED = [pytest.param(name, marks=pytest.mark.service(name)) for name in ("docker", "podman")]
ODD = "ü '\" $(touch pwned) `touch pwned` ${HOME} \\ \n; touch pwned #é"


def test_a_job_leaves_its_files_and_code(node: Any, shell: list[str]) -> None:
    one = node("echo hello; " + RESULTS + "; exit 3", shell=tuple(shell))
    assert one.work() == 3
    said = one.exit()
    assert (said["exit_code"], said["reason"], said["attempt"]) == (3, None, 1)
    assert one.log() == "hello\n"
    assert sorted(path.name for path in one.artifacts.iterdir()) == ["results.yml", "run_config.yml"]
    for name in ("stage.pre-start", "stage.running", "stage.exit"):
        assert "time" in json.loads((one.folder / name).read_bytes())
    clean(one)


def test_a_request_to_stop_reaches_the_harness(node: Any, shell: list[str]) -> None:
    trap = "trap 'sleep 1; echo saved >>{out}/saved; exit 0' TERM"
    one = node(f"({trap}; {FOREVER}) & wait; wait", shell=tuple(shell))
    one.stage()
    running = one.start()
    wait_for(one.artifacts / "ready")
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=30) == 143
    assert (one.exit()["exit_code"], one.exit()["reason"]) == (143, "stopped on request")
    assert (one.artifacts / "saved").read_text() == "saved\n"
    clean(one)


def test_a_request_that_reaches_every_process_of_the_script(node: Any) -> None:
    """Slurm sends its own like this: who waits for a container is asked to stop, too."""
    one = node(f"(trap 'sleep 3; echo saved >>{{out}}/saved; exit 0' TERM; {FOREVER}) & wait; wait")
    one.stage()
    running = one.start()
    wait_for(one.artifacts / "ready")
    if one.runtime != "none":
        until(lambda: any("wait" in line.split() for line in left_running(one.job.key)), "it is waited for")
    os.killpg(running.pid, signal.SIGTERM)
    assert running.wait(timeout=30) == 143
    assert (one.exit()["exit_code"], one.exit()["reason"]) == (143, "stopped on request")
    assert (one.artifacts / "saved").read_text() == "saved\n"
    clean(one)


def test_requests_that_follow_each_other_are_one(node: Any, shell: list[str]) -> None:
    """While the first one is passed on, which takes its time with containers, the next one comes."""
    one = node(f"(trap 'sleep 2; exit 0' TERM; {FOREVER}) & wait; wait", shell=tuple(shell))
    one.stage()
    running = one.start()
    wait_for(one.artifacts / "ready")
    for _ in range(4):
        running.send_signal(signal.SIGTERM)
        time.sleep(0.02)
    assert running.wait(timeout=30) == 143
    assert (one.exit()["exit_code"], one.exit()["reason"]) == (143, "stopped on request")
    clean(one)


def test_a_job_that_ignores_the_request_is_killed(node: Any) -> None:
    one = node("trap '' TERM; " + FOREVER)
    one.stage()
    running = one.start()
    wait_for(one.artifacts / "ready")
    running.send_signal(signal.SIGTERM)
    running.wait(timeout=30)
    assert (one.exit()["exit_code"], one.exit()["reason"]) == (143, "stopped on request")
    clean(one)


def test_a_shell_that_is_killed_leaves_nothing_running_and_a_word_of_its_end(node: Any) -> None:
    one = node(FOREVER)
    one.stage()
    running = one.start()
    wait_for(one.artifacts / "ready")
    # Who ends the shell may have asked everybody first.
    subprocess.run(["pkill", "-TERM", "-f", f"{one.folder}/node.sh guard"], check=True)
    running.kill()
    running.wait()
    wait_for(one.folder / "exit.json")
    assert (one.exit()["exit_code"], one.exit()["reason"]) == (137, "its shell on the node was killed")
    clean(one)


def test_a_shell_that_is_killed_after_it_was_asked_leaves_nobody_behind(node: Any) -> None:
    """Who is to kill the job when its time is up sees that it has been done."""
    one = node("trap 'touch {out}/asked' TERM; " + FOREVER)
    one.stage()
    running = one.start()
    wait_for(one.artifacts / "ready")
    running.terminate()
    wait_for(one.artifacts / "asked")
    # The other one waits with the guard.
    until(lambda: sum(words.startswith("sleep ") for words in staying(one.folder)) > 1, "somebody waits")
    running.kill()
    running.wait()
    wait_for(one.folder / "exit.json")
    assert (one.exit()["exit_code"], one.exit()["reason"]) == (137, "its shell on the node was killed")
    clean(one)


def test_a_job_that_is_killed_has_its_signal_told(node: Any) -> None:
    one = node("kill -9 $$")
    assert one.work() == 137
    assert one.exit()["reason"] == "killed by signal 9"
    clean(one)


@pytest.mark.parametrize("runtime", CONTAINED, indirect=True)
def test_a_job_that_takes_too_much_memory_has_that_told(node: Any) -> None:
    one = node("x=a; while :; do x=$x$x; done", resources=Resources(memory=20 << 20))
    assert one.work() == 137
    assert one.exit()["reason"] == "out of memory"
    clean(one)


def test_what_an_attempt_left_is_kept_by_the_next(node: Any) -> None:
    one = node("echo again >>{out}/lines; echo line; " + RESULTS)
    assert one.work() == 0
    assert (one.work(attempt=2), one.exit()["reason"]) == (0, None)
    assert (one.artifacts / "lines").read_text() == "again\nagain\n"
    assert one.exit()["attempt"] == 2
    kept = one.folder / "attempts" / "1"
    assert sorted(path.name for path in kept.iterdir()) == [
        "exit.json", "job.log", "results.yml", "stage.exit", "stage.pre-start", "stage.running",
    ]  # fmt: skip
    assert json.loads((kept / "exit.json").read_bytes())["attempt"] == 1
    assert one.log() == "line\n"


def test_secrets_and_odd_values_arrive_and_lie_about_nowhere(node: Any) -> None:
    secrets = (
        SecretName(name="KEY", source="HOST_KEY"),
        SecretName(name="OWN", source="OF_THE_NODE", where="runtime"),
    )
    command = 'printf %s "$ODD" >{out}/odd; printf %s "$KEY" >{out}/key; printf %s "$OWN" >{out}/own'
    one = node(command, env={"ODD": ODD}, secrets=secrets)
    one.stage(secrets={"HOST_KEY": ODD})
    assert (one.folder / ".secrets").stat().st_mode & 0o777 == 0o600
    assert one.start(environ={"OF_THE_NODE": ODD}).wait(timeout=60) == 0
    for name in ("odd", "key", "own"):
        assert (one.artifacts / name).read_text() == ODD, name
    assert not list(one.root.rglob("pwned"))
    clean(one)


def test_a_variable_that_the_node_lacks_is_named(node: Any) -> None:
    one = node("true", secrets=(SecretName(name="OWN", source="NOT_HERE", where="runtime"),))
    assert one.work() == 70
    assert one.exit()["reason"] == "the variable NOT_HERE is not set on this machine"


@pytest.mark.parametrize("runtime", ["none"], indirect=True)
def test_a_disk_that_fills_up_is_the_reason(node: Any, small_disk: Path) -> None:
    one = node("cat /dev/zero >{out}/big; exit 5")
    remote = f"{small_disk}/{one.run.run_id}"
    job = replace(one.job, command=one.job.command.replace(str(one.run.remote), remote))
    one = replace(one, run=replace(one.run, remote=remote, jobs=(job,)), root=small_disk)
    assert one.work() == 5
    assert one.exit()["reason"] == "no space left in the output directory"
    clean(one)


@pytest.mark.parametrize("runtime", ["none"], indirect=True)
def test_a_disk_that_is_full_already_says_so_by_its_exit_code(node: Any, small_disk: Path) -> None:
    one = node("touch {out}/ran")
    one = replace(one, run=replace(one.run, remote=f"{small_disk}/{one.run.run_id}"), root=small_disk)
    one.stage()
    with suppress(OSError):
        (small_disk / "filler").write_bytes(b"." * (1 << 20))
    assert one.start().wait(timeout=60) != 0
    until(lambda: not left_running(one.job.key), "nothing of it runs", patience=20)


@pytest.mark.parametrize("kind", ["none", "docker", "podman", "pyxis", "apptainer"])
@pytest.mark.parametrize("runtime", ["none"], indirect=True)
def test_the_text_is_what_it_was(node: Any, kind: str, tmp_path: Path) -> None:
    image = "registry.example/evals/shell@sha256:" + "1" * 64
    server = Deployment(type="generic", image=image, command=("serve", "--port", "{port}"), port=8000)
    one = node("true", image=image, deployment=server, packages=("pkg==1",), code="2" * 64)
    job = replace(one.job, key="0123456789abcdef-000", run_id="0123456789abcdef", resources=Resources(gpus=2))
    run = replace(one.run, run_id="0123456789abcdef", remote="/shared/0123456789abcdef", jobs=(job,))
    text = node_script(run, job, 2, runtime=kind, root="/shared")
    program = resources.files("launcher.node").joinpath("environment.py").read_text()
    text = text.replace(shlex.quote(program), "PROGRAM")
    golden, actual = GOLDENS / f"{kind}.sh", tmp_path / f"{kind}.sh"
    actual.write_text(text)
    assert text == golden.read_text(), f"if it is as it should be: cp {actual} {golden}"


def test_each_shell_understands_every_text(shell: list[str]) -> None:
    texts = sorted(GOLDENS.glob("*.sh"))
    assert len(texts) == 5
    for text in texts:
        subprocess.run([*shell, "-n", str(text)], check=True)
