"""`evaldock check [--remote]`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import click

from catalog import drift, store
from catalog.console import catalog_option, green, out, print_json
from catalog.findings import Finding, Severity
from catalog.progress import progress
from catalog.revisions import repository_of
from generator.remote import exit_code, remote_findings
from generator.reports import as_github, as_sarif, as_text, finding_data, summary

_JOBS = 16


@click.command()
@click.option("--remote", is_flag=True, help="Ask registries too: do tags still have the digests on record?")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "github", "json", "sarif"]),
    default="text",
    show_default=True,
    help="github prints annotations on the lines of mapping.toml.",
)
@click.option(
    "--jobs", type=click.IntRange(1, 64), default=_JOBS, show_default=True, help="Requests at once."
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@catalog_option
def check(*, remote: bool, form: str, jobs: int, as_json: bool, catalog_dir: Path | None) -> None:
    """Check that mapping.toml, the index and the IR agree; with --remote, that the images do too.

    Without --remote nothing leaves this machine. Exits with 1 when something does not agree, with 4 when
    a registry could not be asked and nothing worse was found.

    \b
    Examples:
      evaldock check
      evaldock check --remote
      evaldock check --format github
      evaldock check --format sarif > evaldock.sarif
    """
    root = store.find_root(catalog_dir)
    findings = [*drift.check(root)]
    # With mistakes in it, mapping.toml names no images to look at.
    if not any(one.code in ("mapping-invalid", "mapping-missing") for one in findings):
        findings += _images(root, remote=remote, jobs=jobs)
    order = list(Severity)
    findings.sort(key=lambda one: order.index(one.severity))
    _print("json" if as_json else form, root, findings, remote=remote)
    code = exit_code(findings)
    if code:
        raise click.exceptions.Exit(code)


def _images(root: Path, *, remote: bool, jobs: int) -> list[Finding]:
    def shown(total: int) -> AbstractContextManager[Callable[[str], None]]:
        # Looking at files of this machine takes no time worth telling.
        return progress("Asking registries", total) if remote else nullcontext(lambda _line: None)

    return remote_findings(root, registries=remote, jobs=jobs, progress=shown)


def _print(form: str, root: Path, findings: Sequence[Finding], *, remote: bool) -> None:
    in_repository = _InRepository(root)
    if form == "json":
        data = [finding_data(one, in_repository) for one in findings]
        print_json(
            {"catalog": os.fspath(root), "ok": not exit_code(findings), "remote": remote, "findings": data}
        )
    elif form == "sarif":
        print_json(as_sarif(findings, in_repository))
    elif form == "github":
        if findings:
            # Not through `out`, which keeps text from becoming a workflow command.
            click.echo(as_github(findings, in_repository))
        out(_verdict(findings, remote=remote))
    else:
        if findings:
            out(as_text(findings, lambda file: str(root / file)))
        out(_verdict(findings, remote=remote))


def _verdict(findings: Sequence[Finding], *, remote: bool) -> str:
    counted = summary(findings)
    if any(one.severity is Severity.ERROR for one in findings):
        return counted
    agree = f"mapping.toml, the index and the IR agree{', and so do the images' if remote else ''}"
    return green(agree) + (f" ({counted})" if counted else "")


class _InRepository:
    """From a file of the catalog to its path in the repository, which is what annotations name."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = _repository(root)

    def __call__(self, file: str) -> str:
        path = Path(os.path.relpath((self._root / file).resolve(), self._top))
        return path.as_posix() if ".." not in path.parts else (self._root / file).as_posix()


def _repository(root: Path) -> Path:
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if workspace and root.resolve().is_relative_to(Path(workspace).resolve()):
        return Path(workspace).resolve()
    return (repository_of(root) or Path.cwd()).resolve()
