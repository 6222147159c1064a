"""`evaldock pack`."""

from __future__ import annotations

from pathlib import Path

import click

from catalog.console import json_option, one_line, out, print_json, warn
from catalog.references import ImageRef


@click.command()
@click.argument("folder", metavar="HARNESS_DIR", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "target",
    metavar="oci:DIR[:TAG]",
    required=True,
    help="The image layout to write to.  [tag: latest]",
)
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="P",
    help="May be given several times; then an index is written.  [default: linux/amd64]",
)
@click.option("--strict", is_flag=True, help="Refuse a framework.yml with warnings.")
@json_option
def pack(folder: Path, target: str, platforms: tuple[str, ...], strict: bool, as_json: bool) -> None:
    """Make an image layout from a harness folder, without Docker.

    The same folder gives the same bytes everywhere. framework.yml at the top (or metadata/PKG/framework.yml)
    goes to /opt/metadata/PKG/, everything else to /opt/harness/PKG/. What .gitignore names stays out, and so
    does what tools leave behind. Other tags of the layout stay as they are.

    \b
    Examples:
      evaldock pack harnesses/sums --to oci:images/sums
      evaldock pack harnesses/sums --to oci:images/sums:1.0 --platform linux/amd64 --platform linux/arm64
      skopeo copy oci:images/sums:1.0 docker://registry.example/team/sums:1.0
    """
    from generator.pack import pack as pack_folder  # noqa: PLC0415 # --help needs none of it

    packed = pack_folder(folder, ImageRef.parse(target), platforms=platforms, strict=strict)
    for one in packed.frameworks:
        for warning in one.framework.warnings:
            warn(f"{one.source}: {warning}")
    if as_json:
        print_json(
            {
                "image": str(packed.image),
                "digest": str(packed.digest),
                "manifests": {platform: str(digest) for platform, digest in packed.manifests.items()},
                "layers": [{"digest": str(one.digest), "size": one.size} for one in packed.layers],
                "files": [
                    {"path": one.path, "harness": one.framework.name, "tasks": len(one.framework.tasks)}
                    for one in packed.frameworks
                ],
                "sidecar": packed.sidecar,
            }
        )
        return
    out(one_line(f"{packed.image}@{packed.digest}"))
    for one in packed.frameworks:
        out("  " + one_line(f"{one.path}: {one.framework.name}, {len(one.framework.tasks)} tasks"))
    size = sum(layer.size for layer in packed.layers)
    inside = "with" if packed.sidecar else "without (too large)"
    out(f"  {', '.join(packed.manifests)}; {size} bytes in {len(packed.layers)} layers; {inside} a sidecar")
