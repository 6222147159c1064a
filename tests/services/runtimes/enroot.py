"""`enroot import`, for tests: Debian has no enroot. It knows the documented options and no others
(https://github.com/NVIDIA/enroot/blob/master/doc/cmd/import.md), and makes a real squashfs file."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from services.runtimes.image_root import unpack

_URI = re.compile(r"docker://(?:[^@#]+@)?(?:(?P<registry>[^#]+)#)?(?P<image>[^:#]+)(?::(?P<tag>.+))?")


def main(words: list[str]) -> int:
    if words[:1] != ["import"]:
        sys.exit(f"enroot stand-in: only import is here, not {words[:1]}")
    output, rest = "", words[1:]
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "--":
            break
        name, equals, value = option.partition("=")
        if name not in ("-o", "--output"):
            sys.exit(f"enroot stand-in: unknown option: {option}")
        output = value if equals else rest.pop(0)
    if len(rest) != 1 or not (match := _URI.fullmatch(rest[0])):
        sys.exit(f"enroot stand-in: invalid URI: {rest}")
    if Path(output).exists():
        sys.exit(f"enroot stand-in: file already exists: {output}")
    tag = match["tag"] or "latest"
    name = f"{match['registry']}/{match['image']}{'@' if tag.startswith('sha256:') else ':'}{tag}"
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "root"
        variables = unpack(name, root)
        (root / "etc").mkdir(exist_ok=True)
        (root / "etc" / "environment").write_text("".join(f"{each}\n" for each in variables))
        quick = ["-noappend", "-quiet", "-no-progress", "-noI", "-noD", "-noF", "-noX"]
        subprocess.run(["mksquashfs", str(root), output, *quick], stdout=subprocess.DEVNULL, check=True)
    return 0
