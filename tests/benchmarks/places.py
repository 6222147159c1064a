"""Where images are read from and by whom: a real registry behind a proxy that counts, skopeo, Docker."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.measuring import BUILD, EVALDOCK, Sample, command
from benchmarks.peers import NEL_PYTHON, NEL_SCRIPT, Missing, need_nel
from benchmarks.proxy import Counted, Proxy
from services.engine import Engine, start_engine
from services.processes import stop_all
from services.registry import start_registry
from services.required import Unavailable
from services.shared import Shared
from services.skopeo import Skopeo, find_skopeo

NEL_LIMIT = 100 * 1024  # bytes; what that tool takes when it isn't told


@dataclass(slots=True)
class Places:
    """`folder` is for what runs leave behind. `engine` and `nel` are what could be had of them."""

    folder: Path
    registry: str
    proxy: Proxy
    skopeo: Skopeo
    engine: Engine | None
    engine_pid: int
    nel: bool
    left_out: list[str] = field(default_factory=list)
    last: Counted = field(default_factory=Counted)

    def push(self, layout: Path, repository: str) -> None:
        """Straight to the registry, not through the proxy."""
        self.skopeo(
            "copy", "--dest-tls-verify=false", f"oci:{layout}:1", f"docker://{self.registry}/{repository}:1"
        )

    def reference(self, repository: str) -> str:
        return f"{self.proxy.host}/{repository}:1"

    # Ways to read an image

    def extract(self, repository: str, *options: str, fresh: bool = True) -> Sample:
        cache = self.folder / "evaldock-cache"
        if fresh:
            shutil.rmtree(cache, ignore_errors=True)
        called: list[str | Path] = [EVALDOCK, "extract", self.reference(repository), "--json", *options]
        sample = self.counted(command(called, environment={"EVALDOCK_CACHE": str(cache)}))
        return self.found(sample, len(json.loads(sample.said)["files"]))

    def nel_way(self, *repositories: str, limit: int | None = NEL_LIMIT) -> Sample:
        """What the other tool does for `ls tasks --from-container`, up to the definition, nothing kept."""
        home = self._empty("nel-home")
        called: list[str | Path] = [
            NEL_PYTHON,
            NEL_SCRIPT,
            "extract",
            str(limit or "none"),
            *map(self.reference, repositories),
        ]
        sample = self.counted(command(called, environment={"HOME": str(home)}))
        inner = json.loads(sample.said.splitlines()[-1])
        more = {**sample.more, "found": inner["found"], "seconds without imports": inner["seconds"]}
        return replace(sample, more=more)

    def skopeo_copy(self, *repositories: str) -> Sample:
        """Everything, into a layout of its own; finding the file in it is not counted. Layers that the images
        have in common are copied once."""
        target = self._empty("copied")
        copies = [
            f"{self.skopeo.program} --insecure-policy copy -q --src-tls-verify=false"
            f" --dest-shared-blob-dir {target}/blobs docker://{self.reference(one)} oci:{target}/{number}:1"
            for number, one in enumerate(repositories)
        ]
        sample = self.counted(command(["sh", "-ec", "\n".join(copies)]))
        shutil.rmtree(target)
        return sample

    def docker_pull(self, *repositories: str) -> Sample:
        """Into an engine that has none of the layers; the engine's CPU time counts, its memory doesn't."""
        engine = self.engine
        if engine is None:
            raise RuntimeError("there is no Docker Engine")
        pulls = "\n".join(f"{engine.program} pull -q {self.reference(one)}" for one in repositories)
        sample = command(
            ["sh", "-ec", pulls], environment={"DOCKER_HOST": engine.host}, beside=[self.engine_pid]
        )
        sample = replace(self.counted(sample), peak=0)
        engine.run("rmi", "-f", *map(self.reference, repositories))
        return sample

    def counted(self, sample: Sample) -> Sample:
        self.last = self.proxy.take()
        more = {"requests": len(self.last.requests), "received": self.last.received}
        return replace(sample, more={**sample.more, **more})

    def found(self, sample: Sample, files: int) -> Sample:
        return replace(sample, more={**sample.more, "found": files})

    def _empty(self, name: str) -> Path:
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder


@contextmanager
def open_places(latency: float) -> Iterator[Places]:
    """Raises Unavailable where there is no registry or skopeo."""
    with ExitStack() as stack:
        root = Path(tempfile.mkdtemp(prefix="evaldock-bench-"))
        stack.callback(stop_all, root)
        shared = Shared(root, os.getpid())
        registry = shared.once("registry", lambda folder: start_registry(shared, folder))["host"]
        skopeo = Skopeo(Path(shared.once("skopeo", lambda folder: find_skopeo(shared, folder))["program"]))
        proxy = stack.enter_context(Proxy(registry, latency=latency, tokens=True))
        folder = root / "work"
        folder.mkdir()
        places = Places(folder, registry, proxy, skopeo, None, 0, nel=True)
        try:
            need_nel()
        except Missing as missing:
            places.nel = False
            places.left_out.append(f"the other tool's way: {missing}")
        try:
            _find_engine(places, shared)
        except Unavailable as missing:
            places.left_out.append(f"`docker pull`: {missing}")
        yield places


def _find_engine(places: Places, shared: Shared) -> None:
    found = shared.once("docker", lambda folder: start_engine(shared, folder))
    places.engine = Engine(found["host"], Path(found["program"]))
    pids = list(shared.folder.glob("docker/*/docker.pid"))
    places.engine_pid = int(pids[0].read_text()) if pids else 0


def chunked(places: Places, layout: Path) -> Path:
    """The same image with zstd:chunked layers, as skopeo makes them; kept."""
    made = BUILD / "layouts" / f"{layout.name}-chunked"
    if not (made / "index.json").exists():
        fresh = made.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        # Into a fresh layout: skopeo's memory of where blobs are would turn it back into gzip elsewhere.
        places.skopeo("copy", "--dest-compress-format", "zstd:chunked", f"oci:{layout}:1", f"oci:{fresh}:1")
        fresh.rename(made)
    return made
