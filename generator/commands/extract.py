"""`evaldock extract IMAGE…`."""

from __future__ import annotations

import sys
from base64 import b64encode
from typing import Any

import click

from catalog.amounts import byte_progress, bytes_text
from catalog.console import bold, dim, json_option, one_line, out, print_json, red, safe, width, yellow
from catalog.errors import EvaldockError, Refused
from catalog.references import ImageRef
from catalog.tables import wrap
from generator.answer import FoundFile, ReadAnswer, Status
from generator.reading import DEFAULT_PATTERN, read_image

_CHECKED = {
    "digest": "whole layers, checked against their digests",
    "toc": "checked against a table of contents that the manifest vouches for",
    "sidecar": "as the image's sidecar says",
    "partial": "stopped at the file, so not checked against the layer's digest",
}


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option(
    "--path",
    "pattern",
    metavar="GLOB",
    default=DEFAULT_PATTERN,
    show_default=True,
    help="Which files: an absolute path; *, ? and [...] within a name, ** for any directories.",
)
@click.option("--platform", metavar="P", help="Such as linux/arm64.  [default: linux/amd64 or the only one]")
@click.option("--complete", is_flag=True, help="Leave no layer unread that could matter.")
@click.option(
    "--verify",
    type=click.Choice(["full"]),
    help="full: believe only whole layers, compared with their digests.",
)
@click.option("--no-cache", is_flag=True, help="Neither use nor keep what was read before.")
@json_option
def extract(
    *,
    images: tuple[str, ...],
    pattern: str,
    platform: str | None,
    complete: bool,
    verify: str | None,
    no_cache: bool,
    as_json: bool,
) -> None:
    """Read framework.yml (or other files) out of images without pulling them.

    IMAGE is a name in a registry, oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-daemon:NAME. Only what is
    needed of an image is read; the answer says which layers were left out. Printed are the files with what is
    known about them as comments, or with --json one object (for several images a list of them).

    An image without such a file is an answer, and the exit code is 0. It is 3 where there is no such image, 4
    where its registry can't be reached, 5 where access is denied, something doesn't match its digest, or
    a layer is too large to be read and could have held the file.

    \b
    Examples:
      evaldock extract registry.example/team/harness:1.0
      evaldock extract oci:build/harness --json
      evaldock extract ubuntu:24.04 --path /etc/os-release
      evaldock extract registry.example/team/harness:1.0 --complete --verify full
    """
    refs = [ImageRef.parse(image) for image in images]
    answers: list[ReadAnswer] = []
    errors: list[EvaldockError] = []
    for ref in refs:
        try:
            with byte_progress(str(ref)) as progress:
                answer = read_image(
                    ref,
                    pattern=pattern,
                    platform=platform,
                    complete=complete,
                    verify_full=verify == "full",
                    cache=not no_cache,
                    progress=progress,
                )
        except EvaldockError as error:
            errors.append(error)
            continue
        answers.append(answer)
        if answer.status is Status.UNKNOWN:
            errors.append(_not_known(answer))
        if not as_json:
            _print(answer)
    if as_json and answers:
        data = [_as_data(answer) for answer in answers]
        print_json(data[0] if len(images) == 1 else data)
    for failure in errors[:-1]:
        out(red(f"evaldock: {safe(str(failure))}"), err=True)
    if errors:
        raise errors[-1]


def _not_known(answer: ReadAnswer) -> Refused:
    why = "; ".join(answer.notes)
    return Refused(
        f"whether the file is there is not known: {why}",
        place=answer.image,
        hint="such a layer is beyond what evaldock reads; rebuild the image, or attach a sidecar to it",
    )


def _as_data(answer: ReadAnswer) -> dict[str, Any]:
    return {
        "image": answer.image,
        "digest": str(answer.digest),
        "platform": answer.platform,
        "status": answer.status.value,
        "complete": answer.complete,
        "unread": [str(layer) for layer in answer.unread],
        "route": answer.route,
        "verification": answer.verification,
        "cost": {"requests": answer.cost.requests, "bytes": answer.cost.bytes},
        "files": [_file_data(file) for file in answer.files],
    }


def _file_data(file: FoundFile) -> dict[str, str]:
    """A content that isn't UTF-8 is base64, and says so."""
    data = {"path": file.path, "layer": str(file.layer), "sha256": file.sha256}
    text = _text(file.content)
    if text is None:
        return {**data, "content": b64encode(file.content).decode(), "encoding": "base64"}
    return {**data, "content": text}


def _text(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _print(answer: ReadAnswer) -> None:
    """A YAML stream, as long as the files are YAML: what is said about them stands in comments."""
    _comment(f"{answer.image} ({answer.platform})", strong=True)
    _comment(f"digest {answer.digest}")
    count = len(answer.files)
    found = {
        Status.FOUND: f"{count} file{'' if count == 1 else 's'} found",
        Status.ABSENT: "no such file in the image",
        Status.UNKNOWN: "not known whether the file is there",
    }[answer.status]
    how = f"{found}; {_CHECKED[answer.verification]}"
    _comment(f"{how}; {answer.cost.requests} requests, {bytes_text(answer.cost.bytes)}, by {answer.route}")
    if answer.unread:
        layers = f"{len(answer.unread)} layer{'' if len(answer.unread) == 1 else 's'}"
        _comment(f"{layers} left unread, which could hold more; --complete reads them", warning=True)
    for file in answer.files:
        out("---")
        _comment(file.path, strong=True)
        _comment(f"layer {file.layer}")
        _comment(f"sha256 {file.sha256}, {bytes_text(len(file.content))}")
        text = _text(file.content)
        if text is None:
            _comment("not UTF-8; --json prints it as base64", warning=True)
        elif text:
            out(safe(text.removesuffix("\n")))


def _comment(text: str, *, strong: bool = False, warning: bool = False) -> None:
    style = bold if strong else yellow if warning else dim
    columns = width() if sys.stdout.isatty() else None
    lines = wrap(one_line(text), columns, indent="# ") if columns else [f"# {one_line(text)}"]
    for line in lines:
        out(style(line))
