"""Credentials as Docker and Podman keep them: containers-auth.json(5) and Docker's config.json.

`REGISTRY_AUTH_FILE`, when set, is the only file asked; else `$XDG_RUNTIME_DIR/containers/auth.json`, then
`config.json` in `$DOCKER_CONFIG` or `~/.docker`. For nvcr.io the environment's `NGC_API_KEY` comes last.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.references import DOCKER_HUB

logger = logging.getLogger(__name__)

_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")
_HUB_SERVER = "https://index.docker.io/v1/"  # under which `docker login` stores Docker Hub's
_HELPER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_HELPER_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Credentials:
    """Either a name and a password, or an identity token to be exchanged. `origin` is for messages."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    origin: str = ""


def find(registry: str, repository: str) -> Credentials | None:
    """The credentials kept for `registry`, those for the longest part of `repository` first."""
    keys = _keys(registry, repository)
    for path in _files():
        found = _from_file(path, keys)
        if found:
            return found
    key = os.environ.get("NGC_API_KEY")
    if key and registry == "nvcr.io":
        return Credentials("$oauthtoken", key, origin="NGC_API_KEY")
    return None


def _keys(registry: str, repository: str) -> tuple[str, ...]:
    # containers-auth.json(5): registry/namespace/repository before registry/namespace before registry.
    parts = repository.split("/")
    names = [f"{registry.lower()}/{'/'.join(parts[:n])}" for n in range(len(parts), 0, -1)]
    return (*names, registry.lower())


def _files() -> Iterator[Path]:
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        if not Path(named).is_file():
            logger.warning("REGISTRY_AUTH_FILE names %s, which doesn't exist: going on without", named)
        yield Path(named)
        return
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"
    docker = os.environ.get("DOCKER_CONFIG")
    yield (Path(docker) if docker else Path("~/.docker").expanduser()) / "config.json"


def _from_file(path: Path, keys: tuple[str, ...]) -> Credentials | None:
    content = _read(path)
    auths = {_normal(key): value for key, value in _table(content, "auths").items()}
    helpers = {_normal(key): value for key, value in _table(content, "credHelpers").items()}
    for key in keys:
        if key in helpers:
            found = _ask_helper(str(helpers[key]), key)
            if found:
                return found
        if isinstance(auths.get(key), dict):
            found = _from_entry(auths[key], f"{path} ({key})")
            if found:
                return found
    store = content.get("credsStore")
    return _ask_helper(str(store), keys[-1]) if store else None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        # The parser's message carries a position and never the text.
        logger.warning("%s can't be read (%s): going on without its credentials", path, error)
        return {}
    return content if isinstance(content, dict) else {}


def _table(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def _normal(key: str) -> str:
    """`https://host/v1/` is an old way of writing `host`; a path without a scheme is a namespace."""
    scheme, separator, rest = key.partition("://")
    name = rest.partition("/")[0] if separator else scheme.rstrip("/")
    host, slash, path = name.partition("/")
    host = DOCKER_HUB if host.lower() in _HUB_NAMES else host.lower()
    return f"{host}{slash}{path}"


def _from_entry(entry: Mapping[str, Any], origin: str) -> Credentials | None:
    if token := entry.get("identitytoken"):
        return Credentials(identity_token=str(token), origin=origin)
    if auth := entry.get("auth"):
        try:
            text = base64.b64decode(str(auth), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            logger.warning("%s: auth is not base64 of name:password, going on without it", origin)
            return None
        username, _, password = text.partition(":")
        return Credentials(username, password.rstrip("\0"), origin=origin) if username else None
    if entry.get("username"):
        return Credentials(str(entry["username"]), str(entry.get("password") or ""), origin=origin)
    return None


def _ask_helper(name: str, key: str) -> Credentials | None:
    """A program `docker-credential-NAME` gets the server on its input and answers with JSON."""
    program = shutil.which(f"docker-credential-{name}") if _HELPER.fullmatch(name) else None
    if program is None:
        logger.warning("docker-credential-%s is not on PATH: going on without its credentials", name[:100])
        return None
    server = _HUB_SERVER if key == DOCKER_HUB else key
    try:
        answer = subprocess.run(
            [program, "get"], input=server.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.warning("docker-credential-%s did not answer (%s)", name, type(error).__name__)
        return None
    if answer.returncode != 0:  # which is also how a helper says that it knows none
        logger.debug("docker-credential-%s has no credentials for %s", name, server)
        return None
    try:
        found = json.loads(answer.stdout)
        username, secret = str(found["Username"]), str(found["Secret"])
    except (ValueError, KeyError, TypeError):
        logger.warning("docker-credential-%s answered something that isn't credentials", name)
        return None
    origin = f"docker-credential-{name}"
    if username == "<token>":
        return Credentials(identity_token=secret, origin=origin)
    return Credentials(username, secret, origin=origin)
