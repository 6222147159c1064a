"""Plain data out of YAML files, from a cache: parsing YAML takes fifty times as long as reading JSON.

The cache is keyed by the sha256 of the YAML bytes, so it can't be out of date; each cached file carries its
own checksum, so a damaged one is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from catalog.cachedir import cache_dir

# The rules of `_parse` in force; another number reads none of the files kept by others.
_FORMAT = "1"


class Unreadable(ValueError):
    """Bytes that aren't YAML, or hold more than plain data."""


def parsed(data: bytes) -> Any:
    """The plain data of a YAML text, from the cache if it is there. Raises Unreadable."""
    path = cache_dir("parsed", _FORMAT, f"{hashlib.sha256(data).hexdigest()}.json")
    with contextlib.suppress(OSError, ValueError):
        digest, _, body = path.read_bytes().partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() == digest:
            return json.loads(body)
    value = _parse(data)
    # A cache that can't be written (no home, no space, read-only) only costs time.
    with contextlib.suppress(OSError):
        _keep(path, json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())
    return value


def _parse(data: bytes) -> Any:
    from catalog.yaml_reading import YamlMistakes, read_yaml  # noqa: PLC0415 # PyYAML only when needed

    try:
        return read_yaml(data).value
    except YamlMistakes as error:
        raise Unreadable(str(error)) from None


def _keep(path: Path, body: bytes) -> None:
    import tempfile  # noqa: PLC0415 # not needed when the cache is full

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
