"""`git+URL@REF`: which repository and commit a configuration wants to see in its jobs, and where.

Only reading and checking, without git; `launcher.code.git_checkouts` fetches.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from catalog.errors import Refused, UsageError

EXPECTED = "expected git+https://HOST/PATH@REF, or git+ssh:// or git+file://"
# Other transports of git start programs (ext::), or let anybody on the wire change the code (git://, http://).
SCHEMES = ("https", "ssh", "file")
# Hosts and refs that begin with a dash would be options of ssh and git.
_HOST = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9._-]*)@)?[A-Za-z0-9](?:[A-Za-z0-9.-]*)(?::[0-9]{1,5})?"
)
_PATH = re.compile(r"/[A-Za-z0-9._~+,=@%/-]+")
# git-check-ref-format's rules, and no revision syntax: @{…}, ^, ~ and : mean more than a name.
_REF = re.compile(r"(?!.*(?:\.\.|//|/\.|\.lock(?:/|$)))[A-Za-z0-9_][A-Za-z0-9._/+-]*(?<![./])")
_TARGET = re.compile(r"(?:/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+")
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
MOUNTS = "/mounts"


@dataclass(frozen=True, slots=True)
class GitMount:
    """A repository at a ref, seen by containers as `target`."""

    url: str
    ref: str
    target: str

    @property
    def source(self) -> str:
        return f"git+{self.url}@{self.ref}"

    @property
    def placeholder(self) -> str:
        """Stands in a composed configuration until it is known how its jobs see folders."""
        return f"<auto_mount {hashlib.sha256(f'{self.source},{self.target}'.encode()).hexdigest()[:16]}>"


def read_mount(source: str, target: str | None = None) -> GitMount:
    """Raises UsageError for what isn't `git+URL@REF`, Refused for what git could take for more than that."""
    url, at, ref = source.removeprefix("git+").rpartition("@")
    # Somebody's password may stand before the host.
    place = f"${{auto_mount:{re.sub(r'(?<=://)[^/@]*@', '…@', source)!r:.200}}}"
    if not source.startswith("git+") or not at or not url:
        raise UsageError("it names no repository and ref", place=place, hint=EXPECTED)
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise Refused(f"git may not use the transport of {url!r:.120}", place=place, hint=EXPECTED)
    host, slash, path = rest.partition("/")
    _check_host(scheme, host, place)
    if not _PATH.fullmatch(slash + path) or ".." in path.split("/"):
        raise Refused(
            f"not the plain path of a repository: {slash + path!r:.120}", place=place, hint=EXPECTED
        )
    if not _REF.fullmatch(ref):
        raise Refused(
            f"not the plain name of a branch, tag or commit: {ref!r:.120}", place=place, hint=EXPECTED
        )
    target = target or f"{MOUNTS}/{_name(path)}"
    if not _TARGET.fullmatch(target):
        raise UsageError(f"not an absolute folder in the job: {target!r:.120}", place=place)
    return GitMount(url, ref, target)


def _name(path: str) -> str:
    """What a checkout is called by default: the repository's last name."""
    last = path.rstrip("/").rpartition("/")[2].removesuffix(".git")
    return re.sub(r"[^A-Za-z0-9_+-]+", "-", last).strip("-") or "repository"


def _check_host(scheme: str, host: str, place: str) -> None:
    if scheme == "file":
        if host:
            raise UsageError("a file:// URL has three slashes: git+file:///path@REF", place=place)
        return
    match = _HOST.fullmatch(host)
    if match is None:
        raise Refused(
            "the host of the repository is not a plain name (a password stands in no configuration)",
            place=place,
            hint="git finds credentials itself: by ssh, or by its credential helpers",
        )
    if match["user"] and scheme != "ssh":
        raise Refused(
            "a user name stands in an ssh:// URL only",
            place=place,
            hint="git finds credentials itself: by its credential helpers",
        )
