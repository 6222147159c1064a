"""Images of the sizes that real ones have, made once and kept in build/bench as image layouts."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import sysconfig
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, cast

from benchmarks.measuring import BUILD, ROOT

FRAMEWORK = (ROOT / "catalog" / "harnesses" / "quickcheck" / "framework.yml").read_bytes()
FRAMEWORK_PATH = "opt/metadata/quickcheck/framework.yml"
LAST_PATH = "usr/share/last/file.txt"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_BLOBS = BUILD / "blobs"

Content = Iterable[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Layer:
    """`size` as stored, `plain` uncompressed, in bytes; `diff` the digest of the plain tar."""

    name: str
    digest: str
    diff: str
    size: int
    plain: int
    members: int

    @property
    def path(self) -> Path:
        return _BLOBS / self.digest.removeprefix("sha256:")

    @property
    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": _LAYER, "digest": self.digest, "size": self.size}


def layer(name: str, content: Callable[[], Content], *, level: int = 6) -> Layer:
    """A gzipped tar; made anew only if it isn't there. `level` 0 is for what doesn't compress anyway."""
    kept = _BLOBS / f"{name}.json"
    if kept.exists():
        found = Layer(**json.loads(kept.read_text()))
        if found.path.exists():
            return found
    _BLOBS.mkdir(parents=True, exist_ok=True)
    fresh = _BLOBS / f"{name}.new"
    with fresh.open("wb") as file:
        packed = _Packed(file, level)
        members = 0
        with tarfile.open(fileobj=cast(IO[bytes], packed), mode="w|", bufsize=1 << 20) as archive:
            for path, data in content():
                info = tarfile.TarInfo(path)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
                members += 1
        packed.finish()
    made = Layer(name, packed.digest, packed.diff, packed.size, packed.plain, members)
    fresh.replace(made.path)
    kept.write_text(json.dumps(asdict(made)))
    return made


class _Packed:
    """A writer that compresses, and takes the digests of both sides."""

    def __init__(self, file: io.BufferedWriter, level: int) -> None:
        self._file = file
        self._packer = zlib.compressobj(level, wbits=31)
        self._inner, self._outer = hashlib.sha256(), hashlib.sha256()
        self.size = self.plain = 0

    def write(self, data: bytes) -> int:
        self._inner.update(data)
        self.plain += len(data)
        self._put(self._packer.compress(data))
        return len(data)

    def finish(self) -> None:
        self._put(self._packer.flush())

    def _put(self, data: bytes) -> None:
        self._outer.update(data)
        self.size += len(data)
        self._file.write(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._outer.hexdigest()}"

    @property
    def diff(self) -> str:
        return f"sha256:{self._inner.hexdigest()}"


def layout(name: str, layers: Sequence[Layer], *, said: str = "COPY files /") -> Path:
    """An image layout with one image, tagged 1; each layer's history says `said`."""
    root = BUILD / "layouts" / name
    blobs = root / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for one in layers:
        target = blobs / one.path.name
        if not target.exists():
            os.link(one.path, target)
    manifest = _put(blobs, _manifest(blobs, layers, said))
    tagged = {"mediaType": _MANIFEST, **manifest, "annotations": {"org.opencontainers.image.ref.name": "1"}}
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [tagged]}))
    return root


def _manifest(blobs: Path, layers: Sequence[Layer], said: str) -> dict[str, Any]:
    config = {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [one.diff for one in layers]},
        "history": [{"created_by": f"RUN /bin/sh -c {said}"} for _ in layers],
        "config": {},
    }
    return {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": {"mediaType": _CONFIG, **_put(blobs, config)},
        "layers": [one.descriptor for one in layers],
    }


def _put(blobs: Path, document: dict[str, Any]) -> dict[str, Any]:
    data = json.dumps(document).encode()
    name = hashlib.sha256(data).hexdigest()
    (blobs / name).write_bytes(data)
    return {"digest": f"sha256:{name}", "size": len(data)}


# What layers hold


def noise(name: str, megabytes: int) -> Layer:
    """Bytes that don't compress, as weights and archives do."""
    files = max(1, megabytes // 16)
    each = megabytes * 1_000_000 // files
    return layer(
        name, lambda: ((f"usr/lib/{name}/{number}.bin", os.urandom(each)) for number in range(files)), level=0
    )


def tiny(harness: str = "quickcheck") -> Layer:
    """What a Dockerfile's last step adds: the definition and little else."""
    definition = FRAMEWORK.replace(b"quickcheck", harness.encode())
    files = [(f"opt/metadata/{harness}/framework.yml", definition), (f"opt/{harness}/VERSION", b"1.0\n")]
    return layer(f"tiny-{harness}", lambda: files)


def many() -> Layer:
    """The small files of real Python environments, over and over; the definition is halfway."""
    return layer("small-files", lambda: _members(_small_files(), 43_644, definition=True))


def few() -> Layer:
    """The largest files of real Python environments: libraries, most of them; no definition."""
    return layer("large-files", lambda: _members(_large_files(), 63, definition=False))


def large() -> Layer:
    """500 MB as stored; the definition is halfway."""
    return layer("large", lambda: _mixed(20_000, 51_800))


def _members(paths: Sequence[Path], count: int, *, definition: bool) -> Content:
    for number in range(count):
        if definition and number == count // 2:
            yield FRAMEWORK_PATH, FRAMEWORK
        path = paths[number % len(paths)]
        yield f"usr/lib/{number // len(paths)}/{path.relative_to(ROOT)}", path.read_bytes()
    yield LAST_PATH, b"the end\n"


def _small_files() -> list[Path]:
    return sorted(path for path, size in _installed().items() if size <= 64_000)


def _large_files() -> list[Path]:
    sizes = _installed()
    return sorted(sizes, key=lambda path: sizes[path])[-63:]


def _installed() -> dict[Path, int]:
    """Files with their sizes; `requirements` pins what they come from."""
    return {
        path: path.stat().st_size
        for environment in (ROOT / ".venv", ROOT / "build" / "bench-venv")
        for path in (environment / "lib").rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def _mixed(count: int, size: int) -> Content:
    """Files around `size` bytes, in part source code and in part what doesn't compress."""
    chance = random.Random(count)
    code, rest = _source_code(), chance.randbytes(16 << 20)
    for number in range(count):
        if number == count // 2:
            yield FRAMEWORK_PATH, FRAMEWORK
        length = int(size * chance.uniform(0.2, 1.8))
        path = f"usr/lib/part{number % 97:02}/directory{number % 13}/file{number:06}.py"
        yield path, b"".join(_slices(length, code, rest, chance))


def _slices(length: int, code: bytes, rest: bytes, chance: random.Random) -> Iterator[bytes]:
    while length > 0:
        pool = code if chance.random() < 0.72 else rest
        piece = min(length, 8_000)
        start = chance.randrange(len(pool) - piece)
        yield pool[start : start + piece]
        length -= piece


def _source_code() -> bytes:
    """Python's own library."""
    library = Path(sysconfig.get_path("stdlib"))
    texts = (path.read_bytes() for path in sorted(library.glob("*.py")) + sorted(library.glob("*/*.py")))
    return b"".join(texts)
