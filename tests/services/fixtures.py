"""The fixtures of real services, and the marker `service(name…)`.

A test asks for a service by its fixture; the marker follows from that, so `-m "not service"` leaves all of
them out. A test that needs a service without its fixture carries the marker itself. Installing and starting
happens on first use, once in a run (see `services.shared`).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.cluster_runtimes import make_commands
from services.engine import Engine, import_busybox, start_engine
from services.harness_images import build_harness, push_busybox
from services.lepton import Lepton, new_workspace, start_lepton
from services.podman import Podman, start_podman
from services.processes import stop_all
from services.pypi import RealWheels, fetch_wheels
from services.ray_head import RayHead, start_ray_head
from services.registry import start_registry
from services.required import Unavailable, unavailable
from services.shared import Shared
from services.shells import SHELLS, words_of
from services.skopeo import Skopeo, find_skopeo
from services.slurm import Slurm, start_slurm
from services.sshd import Sshd, start_sshd

# marker name → the fixture that provides it
FIXTURES = {
    "docker": "docker_engine",
    "podman": "podman",
    "registry": "registry",
    "skopeo": "skopeo",
    "chromium": "chromium",
    "node": "node",
    "pypi": "real_wheels",
    "slurm": "slurm",
    "sshd": "sshd",
    "ray": "ray_head",
}
_SHARED = pytest.StashKey[Shared]()


def pytest_configure(config: pytest.Config) -> None:
    given: dict[str, Any] | None = getattr(config, "workerinput", None)  # set by xdist in its workers
    if given is None:
        shared = Shared(Path(tempfile.mkdtemp(prefix="evaldock-services-")), os.getpid())
    else:
        shared = Shared(Path(given["services_folder"]), int(given["services_owner"]))
    config.stash[_SHARED] = shared


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist: what a new worker is told."""
    shared = node.config.stash[_SHARED]
    node.workerinput.update(services_folder=str(shared.folder), services_owner=shared.owner)


def pytest_unconfigure(config: pytest.Config) -> None:
    shared = config.stash.get(_SHARED, None)
    if shared and shared.owner == os.getpid():
        stop_all(shared.folder)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    names = {fixture: name for name, fixture in FIXTURES.items()}
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in names:
                item.add_marker(pytest.mark.service(names[fixture]))


@pytest.fixture(autouse=True)
def _marked_services(request: pytest.FixtureRequest, own_environment: Path) -> None:
    # After the environment was emptied: docker_engine sets DOCKER_HOST.
    for marker in request.node.iter_markers("service"):
        for name in marker.args:
            if name not in FIXTURES:
                pytest.fail(f"no such service: {name}; there are {', '.join(FIXTURES)}", pytrace=False)
            request.getfixturevalue(FIXTURES[name])


@pytest.fixture(scope="session")
def shared(request: pytest.FixtureRequest) -> Shared:
    return request.config.stash[_SHARED]


def _once(shared: Shared, name: str, begin: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    try:
        return shared.once(name, begin)
    except Unavailable as error:
        unavailable(f"{name}: {error}")


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, shared: Shared) -> list[str]:
    """Each shell in turn, as the words that start it."""
    try:
        return words_of(shared, request.param)
    except Unavailable as error:
        unavailable(f"{request.param}: {error}")


@pytest.fixture(scope="session")
def registry(shared: Shared) -> str:
    """host:port of a registry on loopback, plain http. Shared by the whole run: use names of your own."""
    host: str = _once(shared, "registry", lambda folder: start_registry(shared, folder))["host"]
    return host


@pytest.fixture(scope="session")
def skopeo(shared: Shared) -> Skopeo:
    found = _once(shared, "skopeo", lambda folder: find_skopeo(shared, folder))
    return Skopeo(Path(found["program"]))


@pytest.fixture(scope="session")
def lepton_host(shared: Shared) -> str:
    """host:port of the Lepton stand-in, which needs nothing but Python."""
    host: str = _once(shared, "lepton", lambda folder: start_lepton(shared, folder))["host"]
    return host


@pytest.fixture
def lepton(lepton_host: str, monkeypatch: pytest.MonkeyPatch) -> Lepton:
    """A workspace of its own, which the environment names."""
    workspace = new_workspace(lepton_host)
    for name, value in workspace.environ.items():
        monkeypatch.setenv(name, value)
    return workspace


@pytest.fixture(scope="session")
def real_wheels(shared: Shared) -> RealWheels:
    found = _once(shared, "pypi", lambda folder: fetch_wheels(shared, folder))
    return RealWheels(tuple(Path(wheel) for wheel in found["harnesses"]), Path(found["launcher"]))


@pytest.fixture(scope="session")
def _engine(shared: Shared) -> Engine:
    found = _once(shared, "docker", lambda folder: start_engine(shared, folder))
    return Engine(found["host"], Path(found["program"]))


@pytest.fixture
def docker_engine(_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The test run's own Docker Engine; DOCKER_HOST points at it. Shared: use image names of your own."""
    monkeypatch.setenv("DOCKER_HOST", _engine.host)
    return _engine


@pytest.fixture
def busybox_image(docker_engine: Engine, shared: Shared) -> str:
    """Name of a small base image in the engine, with a shell and some of busybox."""
    made = _once(shared, "busybox", lambda folder: import_busybox(shared, docker_engine, folder))
    name: str = made["image"]
    return name


@pytest.fixture(scope="session")
def _podman(shared: Shared, registry: str) -> Podman:
    found = _once(shared, "podman", lambda folder: start_podman(shared, folder, registry))
    return Podman(Path(found["path"]))


@pytest.fixture
def podman(_podman: Podman, monkeypatch: pytest.MonkeyPatch) -> Podman:
    """The command `podman` with settings and folders of the test run's own, first on PATH."""
    monkeypatch.setenv("PATH", f"{_podman.path}{os.pathsep}{os.environ['PATH']}")
    return _podman


Images = Callable[[Path], str]


@pytest.fixture(scope="session")
def _harness_images(_engine: Engine, registry: str, skopeo: Skopeo, shared: Shared) -> Images:
    def build(context: Path) -> str:
        def begin(folder: Path) -> dict[str, Any]:
            return build_harness(shared, _engine, skopeo, folder, context=context, registry=registry)

        name: str = _once(shared, f"image-{context.name}", begin)["image"]
        return name

    return build


@pytest.fixture
def harness_image(docker_engine: Engine, _harness_images: Images) -> Images:
    """Turns a harness folder with a Dockerfile into an image in the registry, by digest; once in a run."""
    return _harness_images


@pytest.fixture
def whole_busybox(docker_engine: Engine, registry: str, skopeo: Skopeo, shared: Shared) -> str:
    """An image of busybox with all its applets, by digest."""

    def begin(folder: Path) -> dict[str, Any]:
        return push_busybox(shared, docker_engine, skopeo, folder, registry)

    name: str = _once(shared, "whole-busybox", begin)["image"]
    return name


@pytest.fixture(scope="session")
def _slurm(shared: Shared) -> Slurm:
    found = _once(shared, "slurm", lambda folder: start_slurm(shared, folder))
    conf, sql = Path(found["conf"]), Path(found["sql"])
    return Slurm(conf, found["cluster"], sql, found["owner"], found["without_pyxis"])


@pytest.fixture
def slurm(_slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """The test run's own cluster; SLURM_CONF points at it. Shared: cancel what you leave running."""
    monkeypatch.setenv("SLURM_CONF", str(_slurm.conf))
    return _slurm


@pytest.fixture
def runtimes_of_clusters(
    slurm: Slurm, shared: Shared, registry: str, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Stand-ins for pyxis, enroot and apptainer, on the cluster and on PATH; the file of how the latter two
    were called."""
    if slurm.without_pyxis:
        unavailable(f"pyxis: {slurm.without_pyxis}")
    made = _once(shared, "cr", lambda folder: make_commands(shared, folder))
    monkeypatch.setenv("PATH", f"{made['path']}{os.pathsep}{os.environ['PATH']}")
    return Path(made["log"])


@pytest.fixture(scope="session")
def _sshd(shared: Shared) -> Sshd:
    found = _once(shared, "sshd", lambda folder: start_sshd(shared, folder))
    return Sshd(found["port"], found["user"], Path(found["key"]), Path(found["host_key"]))


@pytest.fixture
def sshd(_sshd: Sshd, own_environment: Path) -> Sshd:
    """An SSH server that the test's own home knows as `cluster`. Behind it is this machine, with the cluster
    of `slurm` where the test has that one, too."""
    _sshd.introduce(own_environment)
    return _sshd


RAY_TOKEN = "a-token-for-this-run-alone-0123456789abcdef"


@pytest.fixture(scope="session")
def ray_head(shared: Shared) -> RayHead:
    """A Ray head of the run's own. Shared: use run ids of your own."""
    return RayHead.of(_once(shared, "ray", lambda folder: start_ray_head(shared, folder)))


@pytest.fixture(scope="session")
def ray_head_with_token(shared: Shared) -> RayHead:
    """Another one, which lets in who has RAY_TOKEN."""

    def begin(folder: Path) -> dict[str, Any]:
        return start_ray_head(shared, folder, token=RAY_TOKEN)

    return RayHead.of(_once(shared, "ray-token", begin))


Heads = Callable[[RayHead | None], RayHead]


@pytest.fixture
def own_ray_heads(shared: Shared) -> Iterator[Heads]:
    """Starts heads that a test alone has and may kill; one after another may take its place."""
    started: list[RayHead] = []

    def begin(before: RayHead | None = None) -> RayHead:
        ports = before.ports if before else None
        name = f"r-{uuid4().hex[:4]}"
        begun = _once(shared, name, lambda folder: start_ray_head(shared, folder, ports=ports))
        started.append(RayHead.of(begun))
        return started[-1]

    yield begin
    for head in started:
        head.kill()
