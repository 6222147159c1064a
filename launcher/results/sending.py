"""Records sent to a branch of their repository, or proposed to it, from wherever a run was looked after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog import record_files
from catalog.difference_text import code
from catalog.errors import Refused
from catalog.github.api import Repository
from catalog.github.branches import Branch, Edit
from catalog.records import Record
from launcher.results.publishing import publish, title

Made = Sequence[tuple[Record, Mapping[str, float]]]
MOST_LISTED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """`files` are the records, relative to the repository. `commit` is None where they were there already,
    `url` is that of the pull request."""

    files: tuple[str, ...]
    commit: str | None = None
    url: str | None = None


def to_branch(root: Path, folder: str, made: Made, branch: Branch) -> Sent:
    """Commits the records to `branch`. `root` is the catalog on this machine, where they are written too, and
    `folder` its path in the repository. Can be repeated. Raises Refused where another result has the name.
    """
    files, records = _files(root, folder, made)
    commit = branch.change(_adding(files), message=_title(made), paths=list(files))
    return Sent(files=records, commit=commit)


def as_pull_request(
    root: Path, folder: str, made: Made, branch: Branch, *, head: str, github: Repository
) -> Sent:
    """Commits the records to the branch `head`, on top of `branch`, and asks to merge it."""
    files, records = _files(root, folder, made)
    proposed = Branch(clone=branch.clone, name=head, environ=branch.environ)
    commit = proposed.change(_adding(files), message=_title(made), paths=list(files), base=branch.name)
    if commit is None and set(branch.read(*files)) == set(files):
        return Sent(files=records)
    body = _body(made, records)
    url = github.pull_request(head=head, base=branch.name, title=_title(made), body=body)
    return Sent(files=records, commit=commit, url=url)


def _files(root: Path, folder: str, made: Made) -> tuple[dict[str, bytes], tuple[str, ...]]:
    publish(root, made)
    places = [Path(record_files.RESULTS) / record_files.path_of(record) for record, _ in made]
    beside = [record_files.samples_path(place) for place in places]
    found = [*places, *(place for place in beside if (root / place).exists())]
    prefix = "" if folder in ("", ".") else f"{folder}/"
    return (
        {f"{prefix}{place.as_posix()}": (root / place).read_bytes() for place in found},
        tuple(f"{prefix}{place.as_posix()}" for place in places),
    )


def _adding(files: Mapping[str, bytes]) -> Edit:
    def edit(present: Mapping[str, bytes]) -> Mapping[str, bytes | None]:
        for path, content in files.items():
            if present.get(path, content) != content:
                raise Refused(
                    "another result was published under this name",
                    place=path,
                    hint="published results stay as they are",
                )
        return {path: content for path, content in files.items() if path not in present}

    return edit


def _title(made: Made) -> str:
    return title([record for record, _ in made])


def _body(made: Made, records: Sequence[str]) -> str:
    lines = [
        f"- {code(record.task_id)} for {code(record.model)}: {record.primary.value:.4f} "
        f"{code(record.primary.label)}, in {code(path)}"
        for (record, _), path in zip(made[:MOST_LISTED], records, strict=False)
    ]
    more = f"\n\n… and {len(made) - MOST_LISTED} more" if len(made) > MOST_LISTED else ""
    origin = next((record.origin["url"] for record, _ in made if record.origin.get("url")), "")
    return "Results of an evaluation:\n\n" + "\n".join(lines) + more + (f"\n\n{origin}" if origin else "")
