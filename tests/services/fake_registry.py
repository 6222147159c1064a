"""An OCI registry in memory that can do what docker-registry 2.8 lacks, and misbehave on request.

Plain http on loopback; a second host identity on another port takes the redirects of blobs. It counts
requests and body bytes.

    with FakeRegistry() as registry:
        layer = registry.add_layer("team/harness", {"opt/metadata/x/framework.yml": b"..."})
        image = registry.add_image("team/harness", [layer], tag="1.0")            # a Descriptor-like dict
        arm = registry.add_image("team/harness", [layer], platform="linux/arm64")
        registry.add_index("team/harness", [image, arm], tag="multi")
        registry.add_artifact("team/harness", image, "application/x", annotations={"key": "value"})

        registry.reference("team/harness", tag="1.0")   # "127.0.0.1:PORT/team/harness:1.0"
        registry.auth = Bearer(anonymous=True)          # or Bearer("user", "password"), Basic("user", "pw")
        registry.redirect_blobs = True                  # 307 to a signed address on the other host
        registry.expire_signatures()                    # those answer 403 from now on
        registry.referrers = False                      # 404, as docker-registry 2.8 does
        registry.latency = 0.05                         # seconds before every answer
        registry.inject("/blobs/", status=503, headers={"Retry-After": "0"}, times=2)
        registry.inject("/blobs/", truncate=1000, times=1)
        registry.inject(ignore_range=True)              # 200 with everything, for ever

        len(registry.log), registry.sent("/blobs/"), registry.count("/token"), registry.reset()

Blobs can be files (`add_blob(repository, Path(...))`), so that images of a gigabyte cost no memory.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import secrets
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from services.fake_registry_http import Server
from services.fake_registry_parts import Basic, Bearer, Fault, Logged, digest_of, encode, tar_of

__all__ = ["Basic", "Bearer", "FakeRegistry", "Fault", "Logged", "digest_of", "encode", "tar_of"]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"

JsonObject = dict[str, Any]


class FakeRegistry:
    """Over https with `tls`; the test then leads the hosts' names, `name` and `other`, to loopback."""

    def __init__(
        self, *, name: str = "127.0.0.1", other: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.scheme = "https" if tls else "http"
        self.auth: Basic | Bearer | None = None
        self.referrers = True
        self.referrers_filter = True
        self.referrers_page = 0
        self.referrers_annotations = True
        self.redirect_blobs = False
        self.redirect_status = 307
        self.digest_header = True
        self.most_in_a_range = 0  # bytes; a 206 may hold less than was asked for
        self.latency = 0.0
        self.faults: list[Fault] = []
        self.log: list[Logged] = []
        self.leaks: list[str] = []
        self.tokens: dict[str, tuple[str, float]] = {}  # token → scope, end (monotonic)
        self.signatures: set[str] = set()
        self.blobs: dict[str, bytes | Path] = {}
        self.manifests: dict[
            tuple[str, str], tuple[str, bytes]
        ] = {}  # repository, digest → media type, bytes
        self.tags: dict[tuple[str, str], str] = {}
        self.uploads: dict[str, bytes] = {}
        self.at_once = self.most_at_once = 0  # requests being answered, now and at the most
        self.lock = threading.RLock()
        self._main = Server(self, name=name, signed=False, tls=tls)
        self._other = Server(self, name=other, signed=True, tls=tls)

    def __enter__(self) -> Self:
        self._main.start()
        self._other.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._main.stop()
        self._other.stop()
        assert not self.leaks, f"credentials reached another host: {self.leaks}"

    @property
    def host(self) -> str:
        return self._main.host

    @property
    def other(self) -> str:
        """The host that redirects lead to."""
        return self._other.host

    def reference(self, repository: str, *, tag: str = "", digest: str = "") -> str:
        return f"{self.host}/{repository}{':' + tag if tag else ''}{'@' + digest if digest else ''}"

    @property
    def connections(self) -> int:
        """How many the first host has accepted."""
        return self._main.connections

    # What it holds

    def add_blob(self, repository: str, data: bytes | Path, media_type: str = LAYER_GZIP) -> JsonObject:
        """Returns the blob's descriptor."""
        if isinstance(data, Path):
            with data.open("rb") as file:
                digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
            size = data.stat().st_size
        else:
            digest, size = digest_of(data), len(data)
        with self.lock:
            self.blobs[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": size}

    def add_layer(self, repository: str, files: Mapping[str, bytes]) -> JsonObject:
        """A gzipped tar of regular files."""
        return self.add_blob(repository, gzip.compress(tar_of(files), mtime=0))

    def add_image(
        self,
        repository: str,
        layers: Sequence[Mapping[str, Any]],
        *,
        tag: str = "",
        platform: str = "linux/amd64",
        history: Sequence[Mapping[str, Any]] = (),
        annotations: Mapping[str, str] | None = None,
        media_type: str = MANIFEST,
    ) -> JsonObject:
        """Config and manifest; returns the manifest's descriptor with its platform, as an index lists it."""
        parts = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
        diffs = [self._diff_id(layer["digest"]) for layer in layers]
        config = {**parts, "rootfs": {"type": "layers", "diff_ids": diffs}, "history": list(history)}
        manifest: JsonObject = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": self.add_blob(repository, encode(config), CONFIG),
            "layers": list(layers),
        }
        if annotations:
            manifest["annotations"] = dict(annotations)
        return {**self.add_manifest(repository, manifest, tag=tag), "platform": parts}

    def _diff_id(self, digest: str) -> str:
        """The digest of the uncompressed layer; that of the stored one for what isn't gzip, or too large."""
        data = self.blobs.get(digest, b"")
        if isinstance(data, bytes) and data.startswith(b"\x1f\x8b") and len(data) < 16 << 20:
            return digest_of(gzip.decompress(data))
        return digest

    def add_index(
        self,
        repository: str,
        manifests: Sequence[Mapping[str, Any]],
        *,
        tag: str = "",
        media_type: str = INDEX,
    ) -> JsonObject:
        index = {"schemaVersion": 2, "mediaType": media_type, "manifests": list(manifests)}
        return self.add_manifest(repository, index, tag=tag)

    def add_artifact(
        self,
        repository: str,
        subject: Mapping[str, Any],
        artifact_type: str,
        *,
        blobs: Sequence[Mapping[str, Any]] = (),
        annotations: Mapping[str, str] | None = None,
    ) -> JsonObject:
        """An artifact that refers to `subject`; without the referrers API the fallback tag lists it too."""
        empty = self.add_blob(repository, b"{}", EMPTY)
        manifest: JsonObject = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": empty,
            "layers": list(blobs) or [empty],
            "subject": {key: subject[key] for key in ("mediaType", "digest", "size")},
        }
        if annotations:
            manifest["annotations"] = dict(annotations)
        descriptor = self.add_manifest(repository, manifest)
        if not self.referrers:
            listed = self.referrers_of(repository, subject["digest"])
            self.add_index(repository, listed, tag=subject["digest"].replace(":", "-"))
        return descriptor

    def add_manifest(
        self, repository: str, manifest: Mapping[str, Any] | bytes, *, tag: str = "", media_type: str = ""
    ) -> JsonObject:
        data = manifest if isinstance(manifest, bytes) else encode(manifest)
        if not media_type:
            media_type = str(manifest["mediaType"]) if isinstance(manifest, Mapping) else MANIFEST
        digest = digest_of(data)
        with self.lock:
            self.manifests[repository, digest] = (media_type, data)
            if tag:
                self.tags[repository, tag] = digest
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def referrers_of(self, repository: str, subject: str, artifact_type: str = "") -> list[JsonObject]:
        """Descriptors as the referrers API lists them."""
        found = []
        with self.lock:
            stored = list(self.manifests.items())
        for (where, digest), (media_type, data) in stored:
            manifest = json.loads(data) if data.startswith(b"{") else {}
            if where != repository or (manifest.get("subject") or {}).get("digest") != subject:
                continue
            kind = manifest.get("artifactType") or manifest["config"]["mediaType"]
            if artifact_type and kind != artifact_type:
                continue
            descriptor = {
                "mediaType": media_type,
                "digest": digest,
                "size": len(data),
                "artifactType": kind,
                "annotations": manifest.get("annotations", {}) if self.referrers_annotations else {},
            }
            found.append(descriptor)
        return found

    # What it does wrong

    def inject(self, match: str = "", **what: Any) -> Fault:
        """The next `times` requests whose path contains `match` meet this fault (see `Fault`)."""
        fault = Fault(match=match, **what)
        with self.lock:
            self.faults.append(fault)
        return fault

    def expire_tokens(self) -> None:
        with self.lock:
            self.tokens.clear()

    def expire_signatures(self) -> None:
        with self.lock:
            self.signatures.clear()

    # What it has seen

    def count(self, match: str = "", method: str = "") -> int:
        """Requests whose path contains `match`."""
        with self.lock:
            return sum(match in one.path and method in ("", one.method) for one in self.log)

    def sent(self, match: str = "") -> int:
        """Body bytes answered to requests whose path contains `match`."""
        with self.lock:
            return sum(one.sent for one in self.log if match in one.path)

    def reset(self) -> None:
        """Forgets the log and the faults; contents, tokens and settings stay."""
        with self.lock:
            self.log.clear()
            self.faults.clear()

    # For the server

    def take_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.match in path and fault.method in ("", method):
                    fault.times -= 1
                    return fault
        return None

    def new_token(self, scope: str, lifetime: float) -> str:
        token = secrets.token_urlsafe(24)
        with self.lock:
            self.tokens[token] = (scope, time.monotonic() + lifetime)
        return token

    def new_signature(self) -> str:
        signature = secrets.token_urlsafe(24)
        with self.lock:
            self.signatures.add(signature)
        return signature
