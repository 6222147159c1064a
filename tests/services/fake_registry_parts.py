"""Values of the fake registry: how it authenticates, what it does wrong, what it has seen."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Basic:
    user: str
    password: str


@dataclass(slots=True)
class Bearer:
    """Tokens from a realm of its own path. `anonymous` gives pull tokens to anybody. `realm` overrides where
    the challenge points (`{host}` and `{other}` are filled in); `answer` is the field that carries the token;
    `lifetime` in seconds, also told as `expires_in`; `actions` are those of the challenge's quoted scope."""

    user: str = ""
    password: str = ""
    anonymous: bool = False
    realm: str = "http://{host}/jwt/auth"
    service: str = "fake, registry"
    actions: str = "pull,push"
    answer: str = "token"
    lifetime: float = 300.0
    identity_token: str = ""


@dataclass(slots=True, kw_only=True)
class Fault:
    """What happens to requests whose path contains `match`, for the next `times` of them."""

    match: str = ""
    method: str = ""
    times: int = 10**9
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    drop: bool = False  # the connection is closed without an answer
    ignore_range: bool = False  # 200 with everything instead of 206
    content_range: str = ""  # a wrong Content-Range
    truncate: int = -1  # after so many bytes the connection is closed
    pause: float = 0.0  # seconds between pieces of `piece` bytes
    piece: int = 256 * 1024
    corrupt: bool = False  # same length, other bytes
    chunked: bool = False  # no Content-Length


@dataclass(slots=True, kw_only=True)
class Logged:
    """One request. `sent` are body bytes written to the socket, `host` the `Host` header."""

    host: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    status: int = 0
    sent: int = 0


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encode(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """An uncompressed tar of regular files, without dates."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
