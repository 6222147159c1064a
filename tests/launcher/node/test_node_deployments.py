"""A model server beside the job on its node: waited for, watched, and always torn down."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from launched import RESULTS, wait_for
from launcher.jobs import Deployment, SecretName
from on_node import clean
from planned_runs import HARNESSES
from services.engine import Engine
from services.podman import Podman
from services.processes import free_port

ON_ENGINES = [pytest.param(name, marks=pytest.mark.service(name)) for name in ("docker", "podman")]
SERVE = """
import http.server, os, sys, time, threading
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"hello")
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", {port}), Answer)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("up with a key of", len(os.environ.get("KEY", "")), os.environ.get("OWN", "none"), flush=True)
time.sleep({seconds})
print("out of memory, they say: \\"\\\\", flush=True)
sys.exit(9)
"""
ASK = (
    "python3 -c 'import sys, urllib.request as u; "
    'print(u.urlopen("http://127.0.0.1:{port}/").read().decode())\' >{{out}}/answer; '
)


@pytest.fixture
def serving(runtime: str, request: pytest.FixtureRequest) -> Callable[..., Deployment]:
    def made(seconds: float = 600, **fields: Any) -> Deployment:
        port = free_port()
        image = None
        if runtime != "none":
            image = request.getfixturevalue("harness_image")(HARNESSES / "quickcheck")
        if runtime == "podman":
            request.getfixturevalue("podman").keep(image)
        program = SERVE.format(port=port, seconds=seconds)
        settings = {
            "type": "generic",
            "image": image,
            "command": ("python3" if image else sys.executable, "-c", program),
            "port": port,
            "deadline": 30.0,
            **fields,
        }
        return Deployment(**settings)

    return made


def beside(node: Any, server: Deployment, command: str) -> Any:
    image = {"image": server.image, "network": "host"} if server.image else {}
    return node(command, deployment=server, **image)


def test_the_job_asks_its_server_which_is_torn_down(node: Any, serving: Callable[..., Deployment]) -> None:
    secrets = (
        SecretName(name="KEY", source="HOST_KEY"),
        SecretName(name="OWN", source="OF_THE_NODE", where="runtime"),
    )
    server = serving(secrets=secrets)
    one = beside(node, server, ASK.format(port=server.port) + RESULTS)
    one.stage(secrets={"HOST_KEY": "much-too-secret"})
    assert (one.folder / "server" / ".secrets").stat().st_mode & 0o777 == 0o600
    assert one.start(environ={"OF_THE_NODE": "its own"}).wait(timeout=90) == 0
    assert (one.artifacts / "answer").read_text() == "hello\n"
    assert (one.folder / "logs" / "deployment.log").read_text() == "up with a key of 15 its own\n"
    assert "the deployment answers at http://127.0.0.1:" in one.log()
    clean(one)


def test_a_server_that_never_answers_fails_the_job_in_time(
    node: Any, serving: Callable[..., Deployment]
) -> None:
    server = serving(command=("/bin/sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait"), deadline=1.0)
    one = beside(node, server, "touch {out}/ran")
    assert one.work() == 70
    assert "within 1 seconds" in one.exit()["reason"]
    assert not (one.artifacts / "ran").exists()
    clean(one)


@pytest.mark.parametrize("seconds", [0, 3], ids=["at once", "later"])
def test_a_server_that_dies_fails_the_job_with_its_last_lines(
    node: Any, serving: Callable[..., Deployment], seconds: float
) -> None:
    one = beside(node, serving(seconds), "touch {out}/ready; while :; do sleep 0.1; done")
    one.work()
    said = one.exit()
    assert said["exit_code"] != 0
    assert "the deployment ended" in said["reason"]
    assert 'out of memory, they say: "\\' in said["reason"]
    clean(one)


def test_a_request_to_stop_ends_the_server_too(node: Any, serving: Callable[..., Deployment]) -> None:
    one = beside(node, serving(), "touch {out}/ready; while :; do sleep 0.1; done")
    one.stage()
    running = one.start()
    wait_for(one.artifacts / "ready")
    running.terminate()
    assert running.wait(timeout=30) == 143
    assert one.exit()["reason"] == "stopped on request"
    clean(one)


@pytest.fixture
def starting_by_itself(request: pytest.FixtureRequest, runtime: str) -> Iterator[str]:
    """An image whose entry point is a server that says how long its key is."""
    engine: Engine | Podman = request.getfixturevalue("podman" if runtime == "podman" else "docker_engine")
    image: str = request.getfixturevalue("harness_image")(HARNESSES / "quickcheck")
    made, name = engine.run("create", image, "true").strip(), f"evaldock-test-nim-{os.getpid()}"
    words = json.dumps(["python3", "-c", SERVE.format(port=free_port(), seconds=0)])
    engine.run("commit", "--change", f"ENTRYPOINT {words}", "--change", 'CMD ["own"]', made, name)
    engine.run("rm", made)
    yield name
    engine.run("rmi", "--force", name)


@pytest.mark.parametrize("words", [(), ("given",)], ids=["its own command", "given words"])
@pytest.mark.parametrize("runtime", ON_ENGINES, indirect=True)
def test_an_image_that_starts_by_itself_has_its_secrets_before(
    node: Any, serving: Callable[..., Deployment], starting_by_itself: str, words: tuple[str, ...]
) -> None:
    """As a NIM does."""
    secrets = (SecretName(name="KEY", source="HOST_KEY"),)
    server = serving(type="nim", image=starting_by_itself, command=words, secrets=secrets)
    one = beside(node, server, "while :; do sleep 0.1; done")
    one.stage(secrets={"HOST_KEY": "four"})
    one.start().wait(timeout=60)
    assert "up with a key of 4 none" in one.exit()["reason"]
    clean(one)
