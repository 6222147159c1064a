"""What was read of images, kept on disk: facts of layers by blob digest, answers by manifest digest.

Nothing in the folder is believed unchecked. A file carries its own checksum and the question that it answers;
one that is damaged, of another version, about something else or somebody else's is removed and read anew.
Writing is atomic, and a folder that can't be written only costs time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.cachedir import cache_dir
from catalog.errors import UsageError
from catalog.references import Digest
from generator.answer import FoundFile, ReadAnswer, Status
from generator.images.source import Cost
from generator.layers.facts import SCANNER_VERSION, LayerFacts
from generator.layers.pattern import Pattern

logger = logging.getLogger(__name__)

FOLDER = "reads"
_VERSION = f"evaldock-read-{SCANNER_VERSION}"
# Answers that hold wherever the same manifest lies. The others rest on what one repository said.
_PROVED = ("digest", "toc")
_MOST = 256 << 20  # a cache file that is larger wasn't written here
_FRESH = 3600.0  # seconds during which another use of a file isn't noted


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Which image a digest stands for on a platform: what resolving it would say."""

    manifest_digest: Digest
    platform: str
    platforms: tuple[str, ...]


class ReadCache:
    """Safe to use from several threads and processes."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or cache_dir(FOLDER)

    def facts(
        self, layer: Digest, pattern: Pattern, *, vouched: Mapping[str, str] | None = None
    ) -> LayerFacts | None:
        """`vouched` are the layer's annotations, for facts that rest on what those say."""
        key = _facts_key(layer, pattern, vouched)
        value = self._load("layers", key)
        if value is None:
            return None
        try:
            return LayerFacts.from_json(value)
        except (KeyError, TypeError, ValueError, AttributeError):
            self._drop("layers", key)
            return None

    def put_facts(
        self,
        layer: Digest,
        pattern: Pattern,
        facts: LayerFacts,
        *,
        vouched: Mapping[str, str] | None = None,
    ) -> None:
        self._store("layers", _facts_key(layer, pattern, vouched), facts.to_json())

    def known(self, digest: Digest, platform: str | None) -> Known | None:
        """`digest` may be that of an index; `platform` is what was asked for."""
        key = _platform_key(digest, platform)
        value = self._load("images", key)
        try:
            return value and Known(
                manifest_digest=Digest.parse(value["manifest"]),
                platform=str(value["platform"]),
                platforms=tuple(str(name) for name in value["platforms"]),
            )
        except (KeyError, TypeError, UsageError):
            self._drop("images", key)
            return None

    def answer(self, manifest: Digest, pattern: Pattern, repository: str) -> ReadAnswer | None:
        """With empty `image` and `cost`, and a `digest` that is the manifest's.

        What digests prove holds in every repository; what only its own repository said, in that one.
        """
        return self._answer(manifest, pattern, "") or self._answer(manifest, pattern, repository)

    def _answer(self, manifest: Digest, pattern: Pattern, repository: str) -> ReadAnswer | None:
        key = _answer_key(manifest, pattern, repository)
        value = self._load("answers", key)
        try:
            return value and _answer_from_json(value, manifest)
        except (KeyError, TypeError, ValueError, AttributeError, UsageError):
            self._drop("answers", key)
            return None

    def put_answer(self, answer: ReadAnswer, pattern: Pattern, platform: str | None, repository: str) -> None:
        """Keeps a complete answer rather than an incomplete one. `platform` is what was asked for."""
        known = {
            "manifest": str(answer.manifest_digest),
            "platform": answer.platform,
            "platforms": list(answer.platforms),
        }
        keys = {(answer.digest, platform), *((answer.manifest_digest, p) for p in (None, answer.platform))}
        for digest, asked in keys:
            self._store("images", _platform_key(digest, asked), known)
        within = "" if answer.verification in _PROVED else repository
        before = self._answer(answer.manifest_digest, pattern, within)
        if before is None or answer.complete or not before.complete:
            key = _answer_key(answer.manifest_digest, pattern, within)
            self._store("answers", key, _answer_to_json(answer))

    def seen(self, reference: str) -> bool:
        """Whether the reference was read before, so that asking for its digest alone may be enough."""
        return self._load("references", reference) is not None

    def note_reference(self, reference: str) -> None:
        self._store("references", reference, {})

    def _path(self, kind: str, key: str) -> Path:
        name = hashlib.sha256(f"{_VERSION} {key}".encode("utf-8", "surrogateescape")).hexdigest()
        return self._root / kind / name[:2] / f"{name[2:]}.json"

    def _load(self, kind: str, key: str) -> Any:
        path = self._path(kind, key)
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_uid != os.geteuid() or status.st_size > _MOST:
                    logger.warning("%s is not this user's own cache file: not used", path)
                    return None
                data = file.read()
        except OSError:
            return None
        checksum, _, body = data.partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() == checksum:
            with contextlib.suppress(ValueError, RecursionError):
                value = json.loads(body)
                if isinstance(value, dict) and value.get("key") == key and value.get("version") == _VERSION:
                    _mark_used(path, status.st_mtime)
                    return value.get("value")
        logger.warning("%s is damaged: removed", path)
        self._drop(kind, key)
        return None

    def _store(self, kind: str, key: str, value: Mapping[str, Any]) -> None:
        document = {"version": _VERSION, "key": key, "value": value}
        body = json.dumps(document, separators=(",", ":")).encode()
        path = self._path(kind, key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            logger.debug("%s isn't kept: %s", path, error)

    def _drop(self, kind: str, key: str) -> None:
        with contextlib.suppress(OSError):
            self._path(kind, key).unlink()


def _mark_used(path: Path, modified: float) -> None:
    """So that pruning by age keeps what is in use."""
    if time.time() - modified > _FRESH:
        with contextlib.suppress(OSError):
            os.utime(path)


def _facts_key(layer: Digest, pattern: Pattern, vouched: Mapping[str, str] | None) -> str:
    annotations = json.dumps(vouched, sort_keys=True) if vouched is not None else ""
    return f"{layer} {pattern.text} {annotations}"


def _answer_key(manifest: Digest, pattern: Pattern, repository: str) -> str:
    return f"{manifest} {pattern.text} {repository}"


def _platform_key(digest: Digest, platform: str | None) -> str:
    return f"{digest} {platform or 'default'}"


def _answer_to_json(answer: ReadAnswer) -> dict[str, Any]:
    return {
        "platform": answer.platform,
        "platforms": list(answer.platforms),
        "status": answer.status.value,
        "complete": answer.complete,
        "unread": [str(layer) for layer in answer.unread],
        "verification": answer.verification,
        "files": [
            {
                "path": file.path,
                "layer": str(file.layer),
                "sha256": file.sha256,
                "content": b64encode(file.content).decode(),
            }
            for file in answer.files
        ],
    }


def _answer_from_json(value: Mapping[str, Any], manifest: Digest) -> ReadAnswer:
    return ReadAnswer(
        image="",
        digest=manifest,
        manifest_digest=manifest,
        platform=str(value["platform"]),
        platforms=tuple(str(name) for name in value["platforms"]),
        status=Status(value["status"]),
        complete=bool(value["complete"]),
        unread=tuple(Digest.parse(layer) for layer in value["unread"]),
        route="cache",
        verification=str(value["verification"]),
        cost=Cost(),
        files=tuple(_file(file) for file in value["files"]),
    )


def _file(value: Mapping[str, str]) -> FoundFile:
    content = b64decode(value["content"], validate=True)
    if hashlib.sha256(content).hexdigest() != value["sha256"]:
        raise ValueError("a cached file that isn't what its sha256 says")
    return FoundFile(
        path=value["path"], layer=Digest.parse(value["layer"]), sha256=value["sha256"], content=content
    )
