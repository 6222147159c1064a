"""Stand-ins for pyxis, enroot and apptainer, which Debian doesn't have, for the nodes of the test cluster.

They take the documented words and no others, and really run a job in its image's root. pyxis' part is a SPANK
plugin that the real srun and slurmd load.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from services.install import need, need_file
from services.required import Unavailable
from services.shared import Shared

_SOURCES = Path(__file__).parent / "runtimes"
_COMMAND = """\
#!/bin/sh
printf '%s %s\\n' {name} "$*" >>{log}
{settings}
exec {python} -c 'import sys; sys.path.insert(0, "{tests}"); from services.runtimes.{name} import main
sys.exit(main(sys.argv[1:]))' "$@"
"""


def build_pyxis(shared: Shared, folder: Path) -> str:
    """The text of a plugstack.conf with the plugin, compiled into `folder`. Raises Unavailable."""
    compiler = need(shared, "cc", packages=["gcc", "libc6-dev"])
    need(shared, "mksquashfs", packages=["squashfs-tools"])
    need_file(shared, Path("/usr/include/slurm/spank.h"), packages=["libslurm-dev"])
    plugin = folder / "pyxis_standin.so"
    command = [str(compiler), "-shared", "-fPIC", "-Wall", "-o", str(plugin), str(_SOURCES / "pyxis.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"the stand-in for pyxis can't be compiled: {done.stderr[-600:]}")
    return f"required {plugin} {_SOURCES / 'furnish.sh'} {folder / 'containers'}\n"


def make_commands(shared: Shared, folder: Path) -> dict[str, Any]:
    """`{"path": "/…/bin", "log": "/…/calls"}`: `enroot` and `apptainer` for a PATH."""
    if os.geteuid() != 0:
        raise Unavailable("entering the root of an image needs root")
    need(shared, "mksquashfs", packages=["squashfs-tools"])
    need(shared, "skopeo", packages=["skopeo"])
    own = folder / "bin"
    own.mkdir()
    settings = f"export APPTAINER_CACHEDIR={shlex.quote(str(folder / 'cache'))}"
    for name in ("enroot", "apptainer"):
        text = _COMMAND.format(
            name=name,
            log=folder / "calls",
            settings=settings if name == "apptainer" else "",
            python=sys.executable,
            tests=_SOURCES.parents[1],
        )
        (own / name).write_text(text)
        (own / name).chmod(0o755)
    return {"path": str(own), "log": str(folder / "calls")}
