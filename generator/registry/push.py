"""Pushing an artifact that refers to an image: the one module that imports oras, which is slow to import.

oras knows the order of uploads and the shape of an artifact. What it lacks is put in its place here: requests
go through `generator.registry.client` (credentials as everywhere, retries, errors in words), the manifest
gets its artifactType and is pushed by digest instead of a tag, and the fallback tag is written where the
registry has no referrers API.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import oras.oci
import oras.provider
import requests

from catalog.errors import Refused
from catalog.references import Digest, ImageRef
from generator.images.manifest import MAX_MANIFEST, OCI_MANIFEST
from generator.images.source import Cost, Descriptor
from generator.registry.body import Body, Meter
from generator.registry.client import Network, RegistryClient, shared_network
from generator.registry.fallback import add_to_index
from generator.registry.http import HttpError
from generator.registry.urls import check_address

_EMPTY_CONFIG = "application/vnd.oci.empty.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One document that refers to `subject`. `annotations` stand in its manifest."""

    subject: Descriptor
    artifact_type: str
    document: bytes
    name: str
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """`fallback`: the registry has no referrers API, the tag lists the artifact instead."""

    digest: Digest
    size: int
    fallback: bool
    cost: Cost


def push(ref: ImageRef, artifact: Artifact, network: Network | None = None) -> Pushed:
    """Pushes to `ref`'s repository; its tag and digest don't matter. Raises Refused, Unreachable."""
    registry = (network or shared_network()).client(ref.registry)
    cost = Cost()
    pusher = _Pusher(registry, ref.repository, artifact, Meter(cost))
    with tempfile.TemporaryDirectory(prefix="evaldock-") as folder:
        document = Path(folder) / artifact.name
        document.write_bytes(artifact.document)
        config = Path(folder) / "config.json"
        config.write_bytes(b"{}")
        subject = artifact.subject
        response = pusher.push(
            f"{pusher.host}/{ref.repository}",
            files=[f"{document}:{artifact.artifact_type}"],
            manifest_config=f"{config}:{_EMPTY_CONFIG}",
            manifest_annotations=dict(artifact.annotations),
            subject=oras.oci.Subject(subject.media_type, str(subject.digest), subject.size),
            disable_path_validation=True,
            quiet=True,
        )
    # distribution-spec, "Pushing Manifests with Subject": the header says that the registry took note.
    fallback = "OCI-Subject" not in response.headers
    if fallback:
        entry = {
            "mediaType": OCI_MANIFEST,
            "digest": str(pusher.digest),
            "size": pusher.size,
            "artifactType": artifact.artifact_type,
            "annotations": dict(artifact.annotations),
        }
        add_to_index(registry, ref.repository, subject.digest, entry, pusher.meter)
    return Pushed(digest=pusher.digest, size=pusher.size, fallback=fallback, cost=cost)


class _NoCredentials:
    """Stands in for oras' own look-up, which would read files and run helpers."""

    def load_configs(self, *_: object, **__: object) -> None: ...


class _Pusher(oras.provider.Registry):  # type: ignore[misc] # oras publishes no types
    def __init__(self, registry: RegistryClient, repository: str, artifact: Artifact, meter: Meter) -> None:
        scheme, _, self.host = registry.base.partition("://")
        super().__init__(hostname=self.host, insecure=scheme == "http")
        self.auth = _NoCredentials()
        self.meter = meter
        self.digest = Digest.of(b"")
        self.size = 0
        self._registry = registry
        self._repository = repository
        self._artifact = artifact

    def upload_manifest(self, manifest: dict[str, Any], container: Any) -> requests.Response:
        manifest = {**manifest, "mediaType": OCI_MANIFEST, "artifactType": self._artifact.artifact_type}
        data = json.dumps(manifest, separators=(",", ":")).encode()
        if len(data) > MAX_MANIFEST:
            raise Refused("the artifact's manifest would grow too large", place=str(container))
        self.digest, self.size = Digest.of(data), len(data)
        url = f"{self.prefix}://{container.manifest_url(str(self.digest))}"
        return self.do_request(url, "PUT", data=data, headers={"Content-Type": OCI_MANIFEST})

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
        **_: object,
    ) -> requests.Response:
        check_address(self._registry.base, url, "sends the upload")
        try:
            return self._registry.fetch(
                method,
                url,
                self._repository,
                lambda body: _response(body.status, body.headers, body, url),
                meter=self.meter,
                headers=headers,
                actions="pull,push",
                data=data,
            )
        except HttpError as error:
            if method == "HEAD" and error.status == 404:  # oras asks whether a blob is there
                return _response(404, error.headers, None, url)
            raise self._registry.failure(error, self._repository, "what is pushed") from None


def _response(status: int, headers: Mapping[str, str], body: Body | None, url: str) -> requests.Response:
    """What oras expects to get."""
    response = requests.Response()
    response.status_code = status
    response.headers.update(headers)
    response.url = url
    response.raw = io.BytesIO(body.all(MAX_MANIFEST, "the answer") if body else b"")
    return response
