"""Installs evaldock for a step of a workflow: `install.py prepare|install|add NAME…`.

Only Python's own library is used. What is installed is the checkout that this file lies in, so that an action
at a certain commit runs the code of that commit, with the versions of everything else that its tests ran
with; EVALDOCK_VERSION names a released version instead. An environment is made once for the same content.
A runner of one's own may have evaldock already: EVALDOCK_ACTION_PYTHON is the Python that has it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("catalog", "generator", "launcher")
# What a backend needs beside evaldock itself.
EXTRAS = {name: name for name in ("docker", "slurm", "ray", "lepton", "site")} | {"local": "docker"}
VERSION = re.compile(r"[0-9][0-9A-Za-z.+!-]*")
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*==[^ ;]+(?: ; .*?)?)(?: \\)?")
OLDEST = (3, 11)
LOCKED = ROOT / "requirements" / "dev.txt"


def main(words: list[str]) -> int:
    what, names = (words[0], words[1:]) if words else ("", [])
    if what == "prepare":
        return prepare()
    if what in ("install", "add"):
        return install(names or needed())
    return fail(f"not a part of this: {what!r}")


def prepare() -> int:
    """Outputs: `folder` is this invocation's own, `cache` what pip keeps, under `key`."""
    folder = temporary() / f"evaldock-{secrets.token_hex(8)}"
    folder.mkdir(mode=0o700, parents=True)
    output("folder", folder)
    output("cache", cache())
    names = "-".join(sorted(extras(needed()))) or "core"
    output("key", f"evaldock-{os.uname().machine}-{python_version()}-{names}-{identity()[:16]}")
    return 0


def install(names: list[str]) -> int:
    """Output: `python`, that of an environment with evaldock and what `names` need."""
    if given := os.environ.get("EVALDOCK_ACTION_PYTHON"):
        output("python", given)
        return 0
    wanted = extras(names)
    python = Path(find_python())
    venv = home() / f"{python_version()}-{identity()[:16]}"
    venv.parent.mkdir(parents=True, exist_ok=True)
    with (venv.parent / f"{venv.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = venv / "installed"
        present = set(done.read_text().split()) if done.exists() else None
        if present is None or not wanted <= present:
            if present is None:
                shutil.rmtree(venv, ignore_errors=True)
                run([python, "-I", "-m", "venv", venv])
            run([venv / "bin" / "python", "-I", "-m", "pip", *pip(sorted(wanted | (present or set())))])
            done.write_text(" ".join(sorted(wanted | (present or set()))))
    output("python", venv / "bin" / "python")
    return 0


def pip(wanted: list[str]) -> list[str | Path]:
    version = os.environ.get("EVALDOCK_VERSION", "").strip()
    chosen = f"[{','.join(wanted)}]" if wanted else ""
    arguments = ["install", "--quiet", "--disable-pip-version-check", "--no-input", f"--cache-dir={cache()}"]
    if version:
        return [*arguments, f"evaldock{chosen}=={version}"]
    # Versions alone are what makes this the same as what was tested: pip takes no hash for a folder.
    constraints = home() / f"constraints-{identity()[:16]}.txt"
    found = map(PIN.fullmatch, LOCKED.read_text().splitlines())
    constraints.write_text("".join(f"{match[1]}\n" for match in found if match))
    return [*arguments, "--constraint", constraints, f"{ROOT}{chosen}"]


def identity() -> str:
    """Of what would be installed."""
    version = os.environ.get("EVALDOCK_VERSION", "").strip()
    if version:
        if not VERSION.fullmatch(version):
            raise SystemExit(fail("the input `version` is no version"))
        return hashlib.sha256(version.encode()).hexdigest()
    digest = hashlib.sha256()
    for path in (ROOT / "pyproject.toml", LOCKED, *sorted(sources())):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def extras(names: list[str]) -> set[str]:
    """Of backends that are known; what a name means that isn't, the run itself will say."""
    return {EXTRAS[name.strip().lower()] for name in names if name.strip().lower() in EXTRAS}


def needed() -> list[str]:
    return os.environ.get("EVALDOCK_NEEDS", "").split()


def find_python() -> str:
    for name in (sys.executable, "python3", "python3.13", "python3.12", "python3.11"):
        found = shutil.which(name)
        if found and ask(found) >= OLDEST:
            return found
    raise SystemExit(fail("evaldock needs Python 3.11 or newer: use actions/setup-python before it"))


def python_version() -> str:
    return ".".join(map(str, ask(find_python())))


def ask(python: str) -> tuple[int, ...]:
    done = subprocess.run(
        [python, "-I", "-c", "import sys; print(*sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=False,
    )
    return tuple(map(int, done.stdout.split())) if done.returncode == 0 else (0, 0)


def home() -> Path:
    """Where environments lie: EVALDOCK_ACTION_HOME, else the job's temporary folder."""
    return Path(os.environ.get("EVALDOCK_ACTION_HOME") or temporary() / "evaldock-home")


def cache() -> Path:
    return home() / "pip"


def temporary() -> Path:
    return Path(os.environ.get("RUNNER_TEMP") or tempfile.gettempdir())


def run(command: list[str | Path]) -> None:
    done = subprocess.run([os.fspath(word) for word in command], stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise SystemExit(fail(f"{Path(command[0]).name} {command[3]} failed; what it said stands above"))


def output(name: str, value: str | Path) -> None:
    print(f"{name}: {value}", flush=True)
    path = os.environ.get("GITHUB_OUTPUT")
    if path:
        with Path(path).open("a") as file:
            file.write(f"{name}={value}\n")


def fail(message: str) -> int:
    print(f"::error title=evaldock::{message}", flush=True)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
