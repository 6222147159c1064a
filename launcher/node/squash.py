"""Images for clusters with pyxis and enroot: one squashfs file per digest, made once and used by every run.

enroot's own reference is `docker://[USER@]REGISTRY#IMAGE[:TAG]`, and what it takes for a tag may be a digest:
`:sha256:…` is understood by its versions 3 and 4 alike, `@sha256:…` is not. It asks for Docker Hub by the
name of its registry. Credentials are enroot's own business (`$ENROOT_CONFIG_PATH/.credentials`).
"""

from __future__ import annotations

import shlex

from catalog.errors import Refused
from catalog.references import Digest, ImageRef, Transport

FOLDER = ".evaldock/images"
_DOCKER_HUB = "registry-1.docker.io"

# The superblock of a squashfs starts with "hsqs" and has at byte 40 how many bytes the file system takes
# (https://docs.kernel.org/filesystems/squashfs.html): a file that was cut is shorter. Where a file system
# knows no locks, everybody imports for themselves, and the last rename wins.
_SQUASHING = """squash_whole() {{
  [ "$(head -c 4 "$1" 2>/dev/null)" = hsqs ] || return 1
  [ "$(wc -c <"$1")" -ge "$(od -An -tu8 -j40 -N8 "$1" | tr -d ' ')" ]
}}
{function}() {{
  squash_whole {file} && return 0
  if ! command -v enroot >/dev/null 2>&1; then
    echo "enroot is not on this node, so {image} can't be made into a squashfs file" >&2
    return 1
  fi
  mkdir -p {folder} || return 1
  (
    importing= waiting={folder}/.{name}.$(uname -n).$$
    trap '[ -z "$importing" ] || kill "$importing"; rm -f "$waiting"' EXIT
    trap 'exit 143' TERM INT HUP
    if command -v flock >/dev/null 2>&1 && flock 9 2>/dev/null; then
      squash_whole {file} && exit 0
      rm -f {folder}/.{name}.*
    fi
    enroot import --output "$waiting" -- {uri} </dev/null 9>&- &
    importing=$!
    wait "$importing"
    code=$? importing=
    if [ "$code" != 0 ]; then
      echo "{image} can't be imported: enroot ended with exit code $code" >&2
      exit 1
    fi
    if ! squash_whole "$waiting"; then
      echo "enroot left no whole squashfs file of {image}" >&2
      exit 1
    fi
    mv -f "$waiting" {file}
  ) 9>>{folder}/{name}.lock
}}
"""


def squashed(image: str, root: str) -> str:
    """Where the squashfs file of an image lies, below the runs' `root` folder on the cluster."""
    return f"{root.rstrip('/')}/{FOLDER}/{_digest(image).hex}.sqsh"


def squashing(image: str, root: str, *, function: str = "squash_image") -> str:
    """POSIX sh text: a function of that name, which sees to it that `squashed(image, root)` is there and
    whole, and fails with a line on stderr. One process of all nodes imports, the others wait for it; who
    imports writes beside and renames, so that nobody meets half a file.

    Raises Refused for an image that has no digest or isn't in a registry.
    """
    digest = _digest(image)
    return _SQUASHING.format(
        function=function,
        file=shlex.quote(squashed(image, root)),
        folder=shlex.quote(f"{root.rstrip('/')}/{FOLDER}"),
        name=digest.hex,
        uri=shlex.quote(enroot_uri(image)),
        image=ImageRef.parse(image),
    )


def enroot_uri(image: str) -> str:
    """`registry.example:5000/team/name@sha256:…` as enroot takes it."""
    digest, ref = _digest(image), ImageRef.parse(image)
    registry = _DOCKER_HUB if ref.registry == "docker.io" else ref.registry
    return f"docker://{registry}#{ref.repository}:{digest}"


def _digest(image: str) -> Digest:
    ref = ImageRef.parse(image)
    if ref.transport is not Transport.REGISTRY or ref.digest is None:
        raise Refused(f"{image} is not pinned in a registry", hint="give it as REGISTRY/NAME@sha256:…")
    return ref.digest
