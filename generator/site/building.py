"""One run of sphinx-build over a catalog."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from catalog.cachedir import cache_dir
from catalog.errors import EvaldockError, UsageError
from generator.site.output import write_if_changed
from generator.site.settings import HERE

DEFAULT_SOURCE = HERE / "default_source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """All paths absolute. Without `source` a site is made from the catalog alone; `title` is for that one.
    `repository` is the address of the one that has the workflow which runs tasks."""

    catalog: Path
    source: Path | None
    output: Path
    title: str | None = None
    repository: str | None = None
    jobs: int = 1
    strict: bool = False
    allow_unverified: bool = False
    quiet: bool = False
    colour: bool = False

    @property
    def work(self) -> Path:
        """What can be made again stays out of the output, in a folder of this output's own."""
        return cache_dir("site", hashlib.sha256(str(self.output).encode()).hexdigest()[:16])

    def arguments(self, source: Path) -> list[str]:
        """Of sphinx-build."""
        settings = [f"evaldock_catalog={self.catalog}"]
        if self.allow_unverified:
            settings.append("evaldock_allow_unverified=1")
        if self.repository is not None:
            settings.append(f"evaldock_repository={self.repository}")
        if self.title is not None:
            settings += [f"project={self.title}", f"html_title={self.title}"]
        return [
            *("-b", "html", "-n", "-j", str(self.jobs), "-d", str(self.work / "doctrees")),
            *(("-W", "--keep-going") if self.strict else ()),
            *(("-q",) if self.quiet else ()),
            "--color" if self.colour else "--no-color",
            *(part for setting in settings for part in ("-D", setting)),
            *(str(source), str(self.output)),
        ]


def run(build: Build) -> int:
    """Sphinx's exit code. Raises EvaldockError when Sphinx isn't installed."""
    source = build.source or _default_source(build)
    if not (source / "conf.py").is_file():
        raise UsageError(
            "no conf.py here", place=str(source), hint="--source names a Sphinx project's folder"
        )
    if build.output == source or build.output in source.parents:
        raise UsageError("the output would cover its own source", place=str(build.output))
    try:
        from sphinx.cmd.build import main  # noqa: PLC0415 # half a second that nothing else needs
    except ModuleNotFoundError as error:
        raise EvaldockError(
            f"building a site needs {error.name}", hint="install it with `pip install 'evaldock[site]'`"
        ) from None
    return main(build.arguments(source))


def _default_source(build: Build) -> Path:
    """A copy that generated documents can be added to; the installed one may be read-only."""
    folder = build.work / "source"
    brought = [path for path in DEFAULT_SOURCE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    for path in brought:
        write_if_changed(folder / path.relative_to(DEFAULT_SOURCE), path.read_bytes())
    kept = {path.relative_to(DEFAULT_SOURCE).parts[0] for path in brought} | {"task_catalog"}
    for path in folder.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder
