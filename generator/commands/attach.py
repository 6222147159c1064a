"""`evaldock attach`."""

from __future__ import annotations

import click

from catalog.amounts import byte_progress, bytes_text
from catalog.console import json_option, out, print_json
from catalog.references import ImageRef
from generator.attaching import Attachment, as_data, plan, push
from generator.reading import DEFAULT_PATTERN


@click.command()
@click.argument("image")
@click.option(
    "--path",
    "pattern",
    metavar="GLOB",
    default=DEFAULT_PATTERN,
    show_default=True,
    help="Which files it holds: an absolute path; *, ? and [...] within a name, ** for any directories.",
)
@click.option("--platform", metavar="P", help="Of this platform only.  [default: all that there are]")
@click.option("--dry-run", is_flag=True, help="Read the image and say what would be pushed.")
@json_option
def attach(*, image: str, pattern: str, platform: str | None, dry_run: bool, as_json: bool) -> None:
    """Push an image's framework files as a small sidecar.

    Reads the image to the end once, compares its layers with their digests, and pushes what was found as an
    artifact that refers to the image (OCI 1.1; in a registry without referrers the fallback tag lists it).
    The image itself stays as it is. From then on extract and sync read the sidecar instead of large layers.
    An image without such files gets a sidecar that says so. Pushing needs oras: pip install 'evaldock[push]'.

    \b
    Examples:
      evaldock attach registry.example/team/harness:1.0
      evaldock attach localhost:5000/harness:dev --dry-run --json
    """
    ref = ImageRef.parse(image)
    done = []
    for planned in plan(ref, pattern=pattern, platform=platform, watch=byte_progress):
        attachment = planned if dry_run else push(planned, ref)
        done.append(attachment)
        if not as_json:
            out(_line(attachment, dry_run=dry_run))
    if as_json:
        print_json([as_data(attachment) for attachment in done])


def _line(attachment: Attachment, *, dry_run: bool) -> str:
    count = len(attachment.answer.files)
    files = f"{count} file{'' if count == 1 else 's'}"
    what = f"{attachment.platform}: {files}, {bytes_text(len(attachment.document))}"
    if attachment.present:
        return f"{what}: attached already"
    if dry_run:
        return f"{what}: would be attached to {attachment.subject.digest}"
    how = " (listed under the fallback tag)" if attachment.fallback else ""
    return f"{what}: attached as {attachment.artifact}{how}"
