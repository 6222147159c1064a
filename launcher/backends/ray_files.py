"""Where the files of a Ray job lie: laid on shared storage, or sent as packages; and copied back."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from catalog.errors import NotFound, Refused
from launcher.backends import ray_request
from launcher.backends.ray_api import MAX_UPLOAD, Cluster
from launcher.backends.ray_entry import ALIVE, GONE, STOP
from launcher.backends.ray_request import Sent
from launcher.code.packaging import SUFFIX
from launcher.jobs import JobHandle, JobPlan, RunPlan
from launcher.node.text import code_folder
from launcher.runs import run_directory as files

# The earliest time that a zip file can hold: the same files make the same package.
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_SKIPPED = ("home", files.SECRETS, files.SERVER, files.SUBMITTING, ALIVE, STOP, GONE)


def is_shared(handle: JobHandle) -> bool:
    return bool(handle.settings.get("shared_dir"))


def here(handle: JobHandle) -> Path:
    """The job's folder on shared storage as this machine sees it."""
    return _seen_here(handle.settings, handle.directory)


def forget_secrets(handle: JobHandle) -> None:
    if is_shared(handle):
        files.forget_secrets(here(handle))


def own_exit(handle: JobHandle) -> files.Exit | None:
    """What the job says on shared storage of the end of this attempt."""
    ended = files.read_exit(here(handle)) if is_shared(handle) else None
    return ended if ended is not None and ended.attempt == handle.attempt else None


def ask_to_stop(handle: JobHandle) -> None:
    """A word beside the job, which counts where Ray itself doesn't know of it any more."""
    if is_shared(handle):
        # In no folder that isn't there yet, or can't be reached.
        with suppress(OSError):
            (here(handle) / STOP).touch()


def stage(cluster: Cluster, run: RunPlan, job: JobPlan, attempt: int, secrets: Mapping[str, str]) -> Sent:
    """Everything that the job needs is there when this returns."""
    if ray_request.shared(run):
        sent = ray_request.build(run, job, attempt, secrets)
        _lay(run, job, attempt, sent)
    else:
        sent = ray_request.build(run, job, attempt, secrets, _carried(run, job))
        _send(cluster, run, job, sent)
    if run.settings.get("working_dir"):
        return _with_working_dir(cluster, sent)
    return sent


def copy(source: Path, destination: Path) -> None:
    """What is there already and no older stays: collecting can be repeated and goes on where it stopped.

    The job could write what it liked: links that lead out of its folder are left behind, and none that an
    earlier attempt left here is written through.
    """
    if source.is_dir() and source.resolve() != destination.resolve():
        _copy_below(source, destination, source, _SKIPPED)


def _copy_below(folder: Path, target: Path, root: Path, skipped: Sequence[str] = ()) -> None:
    _make_way(target, wanted=target.is_dir() and not target.is_symlink())
    target.mkdir(parents=True, exist_ok=True)
    for entry in os.scandir(folder):
        if entry.name in skipped:
            continue
        path, there = Path(entry.path), target / entry.name
        if entry.is_symlink():
            if _leads_inside(path, root):
                _make_way(there, wanted=False)
                there.symlink_to(path.readlink())
        elif entry.is_dir(follow_symlinks=False):
            _copy_below(path, there, root)
        elif entry.is_file(follow_symlinks=False):
            _make_way(there, wanted=there.is_file() and not there.is_symlink())
            _copy_file(path, there)


def _leads_inside(link: Path, root: Path) -> bool:
    wanted = link.readlink()
    return not wanted.is_absolute() and Path(os.path.normpath(link.parent / wanted)).is_relative_to(root)


def _make_way(path: Path, *, wanted: bool) -> None:
    """Removes what stands at `path`, unless it is of the kind that is wanted."""
    if wanted:
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy_file(path: Path, target: Path) -> None:
    new = path.stat()
    if target.exists():
        old = target.stat()
        if (old.st_size, old.st_mtime_ns) == (new.st_size, new.st_mtime_ns):
            return
    shutil.copy2(path, target)


def _seen_here(settings: Mapping[str, object], path: str) -> Path:
    there, mounted = PurePosixPath(str(settings.get("shared_dir") or "")), settings.get("shared_dir_here")
    if mounted and PurePosixPath(path).is_relative_to(there):
        return Path(str(mounted)) / PurePosixPath(path).relative_to(there)
    return Path(path)


def _lay(run: RunPlan, job: JobPlan, attempt: int, sent: Sent) -> None:
    folder = _seen_here(run.settings, run.folder(job))
    root = _seen_here(run.settings, ray_request.root(run))
    if not root.is_dir():
        raise NotFound(
            f"the shared folder {root} is not on this machine",
            hint="mount it, or say with execution.shared_dir_here where it is mounted here",
        )
    folder.mkdir(parents=True, exist_ok=True)
    files.begin_attempt(folder, job, attempt)
    for name in (STOP, ALIVE):
        (folder / name).unlink(missing_ok=True)
    for path, (content, mode) in sent.files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(target, content, mode=mode)
    if job.code:
        target = _seen_here(run.settings, code_folder(ray_request.root(run), job))
        archive = target.with_name(target.name + SUFFIX)
        if not target.is_dir() and not archive.exists():
            archive.parent.mkdir(parents=True, exist_ok=True)
            files.write_bytes(archive, _archive(run, job).read_bytes())


def _archive(run: RunPlan, job: JobPlan) -> Path:
    return Path(run.directory) / files.CODE / f"{job.code}{SUFFIX}"


def _carried(run: RunPlan, job: JobPlan) -> dict[str, tuple[bytes, int]]:
    """Results of other jobs that this one reads, and what came back of its own earlier attempts."""
    own = Path(run.directory) / job.directory / files.ARTIFACTS
    found = {ray_request.own_path(name): path for name, path in _below(own)}
    for directory in job.inputs.values():
        other = Path(run.directory) / directory / files.ARTIFACTS
        found |= {ray_request.input_path(directory, name): path for name, path in _below(other)}
    total = sum(path.stat().st_size for path in found.values())
    if total > MAX_UPLOAD:
        raise Refused(
            f"{total >> 20} MiB of results would have to be sent along with {job.task}, "
            f"and Ray's API takes {MAX_UPLOAD >> 20}",
            hint="set execution.shared_dir to a folder that the launcher and the nodes see",
        )
    return {name: (path.read_bytes(), 0o644) for name, path in found.items()}


def _below(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file() and not path.is_symlink():
            yield str(PurePosixPath(path.relative_to(folder))), path


def _send(cluster: Cluster, run: RunPlan, job: JobPlan, sent: Sent) -> None:
    """A package that the cluster has already isn't sent again."""
    assert sent.package is not None  # noqa: S101 # what isn't shared is sent
    if sent.code_package:
        name = f"{sent.code_package}.zip"
        if not cluster.has_package(name):
            archive = _archive(run, job)
            cluster.upload(name, _zipped({archive.name: (archive.read_bytes(), 0o644)}))
    if not cluster.has_package(f"{sent.package}.zip"):
        cluster.upload(f"{sent.package}.zip", _zipped(sent.files))


def _with_working_dir(cluster: Cluster, sent: Sent) -> Sent:
    """A folder of this machine is sent; an address goes as it is."""
    runtime_env = dict(sent.request["runtime_env"])
    if "://" not in runtime_env["working_dir"]:
        folder = Path(runtime_env["working_dir"])
        if not folder.is_dir():
            raise NotFound(f"execution.working_dir: no folder {folder}")
        found = {name: path for name, path in _below(folder) if ".git" not in PurePosixPath(name).parts}
        total = sum(path.stat().st_size for path in found.values())
        if total > MAX_UPLOAD:
            raise Refused(
                f"{folder} has {total >> 20} MiB, and Ray's API takes {MAX_UPLOAD >> 20}",
                place="execution.working_dir",
                hint="name a smaller folder, or an address that the nodes can read (s3://…)",
            )
        content = {
            name: (path.read_bytes(), 0o755 if path.stat().st_mode & 0o100 else 0o644)
            for name, path in found.items()
        }
        name = f"{ray_request.package_name(ray_request.content_digest(content))}.zip"
        if not cluster.has_package(name):
            cluster.upload(name, _zipped(content))
        runtime_env["working_dir"] = f"gcs://{name}"
    return Sent({**sent.request, "runtime_env": runtime_env}, sent.files, sent.package, sent.code_package)


def _zipped(content: ray_request.Files) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, (data, mode) in sorted(content.items()):
            member = zipfile.ZipInfo(path, _LONG_AGO)
            member.external_attr, member.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(member, data)
    return made.getvalue()
