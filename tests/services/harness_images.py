"""Images that an engine can run: a Python base made by debootstrap, harnesses on top of it, busybox.

No public image can be taken for granted. What takes long is kept in `build/test-images`, named after what it
was made of: the base's files as a tar archive, a built harness as an OCI layout.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from catalog.identity import folder_sha256
from services.engine import Engine
from services.install import need
from services.required import Unavailable
from services.shared import Shared
from services.skopeo import Skopeo

_ROOT = Path(__file__).parents[2]
_KEPT = _ROOT / "build" / "test-images"
BASE = "evaldock-test/python-base:1"
_SUITE = "bookworm"
_INCLUDED = "python3,python3-venv,python3-pip,ca-certificates,bash,procps"
_CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")
# Of no use to a program, and half of what would have to be compressed.
_LEFT_OUT = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")


def import_base(shared: Shared, engine: Engine, folder: Path) -> dict[str, Any]:
    """Debian with Python, and the machine's own authorities, so that pip works in it as it does here."""
    kept = _KEPT / f"{_name(_SUITE, _INCLUDED, *_LEFT_OUT)}.tar"
    if not kept.exists():
        _bootstrap(shared, folder / "root", kept)
    changes = [f"--change=ENV PIP_CERT=/{_CERTIFICATES}", "--change=ENV LANG=C.UTF-8"]
    engine.run("import", *changes, str(kept), BASE, timeout=900)
    return {"image": BASE}


def _bootstrap(shared: Shared, root: Path, kept: Path) -> None:
    if os.geteuid() != 0:
        raise Unavailable("making a base image needs root")
    debootstrap = need(shared, "debootstrap", packages=["debootstrap"])
    targets = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    listed = subprocess.run(targets, capture_output=True, text=True, check=False).stdout.split()
    if not listed:
        raise Unavailable("apt knows no archive to make a base image from")
    command = [str(debootstrap), "--variant=minbase", f"--include={_INCLUDED}", _SUITE, str(root), listed[0]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise Unavailable(f"debootstrap failed: {done.stdout[-600:]}{done.stderr[-600:]}")
    machines = Path("/") / _CERTIFICATES
    if machines.exists():
        shutil.copy(machines, root / _CERTIFICATES)
    for name in _LEFT_OUT:
        shutil.rmtree(root / name, ignore_errors=True)
    kept.parent.mkdir(parents=True, exist_ok=True)
    waiting = kept.with_name(f"{kept.name}.{os.getpid()}")
    subprocess.run(["tar", "--one-file-system", "-C", str(root), "-cf", str(waiting), "."], check=True)
    waiting.replace(kept)
    shutil.rmtree(root)


def build_harness(
    shared: Shared, engine: Engine, skopeo: Skopeo, folder: Path, *, context: Path, registry: str
) -> dict[str, Any]:
    """The image of a harness folder with a Dockerfile that takes its base as an argument, in the registry:
    `{"image": "HOST/test/NAME@sha256:…"}`."""
    name = context.name
    layout = _KEPT / f"{name}-{_name(folder_sha256(context), _SUITE, _INCLUDED)}"
    if not layout.exists():
        with shared.lock("python-base"):
            if not engine.run("images", "--quiet", BASE).strip():
                import_base(shared, engine, folder)
        tag = f"evaldock-test/{name}:1"
        try:
            base = f"BASE={BASE}"
            arguments = ("--network=host", "--build-arg", base, "--tag", tag, str(context))
            engine.run("build", *arguments, timeout=900)
        except RuntimeError as error:
            raise Unavailable(f"building {name} failed: {str(error)[-1500:]}") from None
        waiting = layout.with_name(f"{layout.name}.{os.getpid()}")
        skopeo("copy", f"--src-daemon-host={engine.host}", f"docker-daemon:{tag}", f"oci:{waiting}:1")
        waiting.replace(layout)
    return {"image": _push(engine, skopeo, layout, f"{registry}/test/{name}")}


def push_busybox(
    shared: Shared, engine: Engine, skopeo: Skopeo, folder: Path, registry: str
) -> dict[str, Any]:
    """busybox with all it can do, and nothing else: 2 MB to try faults with."""
    busybox = need(shared, "busybox", packages=["busybox-static"])
    listed = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True).stdout
    archive = folder / "busybox.tar"
    with tarfile.open(archive, "w") as tar:
        member = tar.gettarinfo(str(busybox), arcname="bin/busybox")
        with busybox.open("rb") as file:
            tar.addfile(member, file)
        for applet in listed.split():
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            if applet != "busybox":
                tar.addfile(link)
        for name in ("tmp", "proc", "etc"):
            made = tarfile.TarInfo(name)
            made.type, made.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(made)
    tag = "evaldock-test/busybox-whole:1"
    engine.run("import", "--change", "ENV PATH=/bin", str(archive), tag)
    skopeo("copy", f"--src-daemon-host={engine.host}", f"docker-daemon:{tag}", f"oci:{folder / 'layout'}:1")
    return {"image": _push(engine, skopeo, folder / "layout", f"{registry}/test/busybox")}


def _push(engine: Engine, skopeo: Skopeo, layout: Path, name: str) -> str:
    skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:1", f"docker://{name}:1")
    digest = json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"]
    engine.run("pull", "--quiet", f"{name}@{digest}", timeout=900)
    return f"{name}@{digest}"


def _name(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
