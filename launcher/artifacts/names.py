"""How an artifact is called: `name[:version][/path]`, with `art://` before it or without."""

from __future__ import annotations

import re
from dataclasses import dataclass

from catalog.errors import NotFound, Refused, UsageError

SCHEME = "art://"
LATEST = "latest"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NUMBER = re.compile(r"v(0|[1-9][0-9]{0,8})")


class ArtifactNotFound(NotFound, FileNotFoundError):
    """No artifact of that name, or no such file in it. Libraries that open `art://` know it as the missing
    file that it is."""


class VersionNotFound(ArtifactNotFound):
    """The artifact has no such version or alias."""


class ArtifactDamaged(Refused):
    """What is stored is not what was published."""


@dataclass(frozen=True, slots=True)
class ArtifactRef:
    """`version` is `vN`, an alias or `latest`; `path` is empty for the whole artifact."""

    name: str
    version: str = LATEST
    path: str = ""

    def __str__(self) -> str:
        return f"{self.name}:{self.version}" + (f"/{self.path}" if self.path else "")

    @property
    def number(self) -> int | None:
        """Of a version that is named by its number."""
        return number(self.version)

    @classmethod
    def parse(cls, text: str) -> ArtifactRef:
        """Raises UsageError."""
        head, _, path = text.removeprefix(SCHEME).strip("/").partition("/")
        name, colon, version = head.partition(":")
        parts = [part for part in path.split("/") if part]
        hint = "expected NAME[:VERSION][/PATH], for example llama:v3/config.json"
        if ".." in parts or "." in parts:
            raise UsageError(f"not a path inside an artifact: {text!r}", hint=hint)
        if colon and not version:
            raise UsageError(f"no version after the colon: {text!r}", hint=hint)
        check_name(name, "an artifact")
        return cls(name, check_name(version, "a version") if version else LATEST, "/".join(parts))


def number(version: str) -> int | None:
    match = _NUMBER.fullmatch(version)
    return int(match[1]) if match else None


def check_name(name: str, of: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"not a name for {of}: {name!r}",
            hint="letters, digits and . _ - are allowed, at most 128, a letter or digit first",
        )
    return name


def check_alias(alias: str) -> str:
    """Raises UsageError for what already means something else."""
    if alias == LATEST or re.fullmatch(r"v[0-9]+", alias):
        raise UsageError(f"{alias!r} can't be an alias", hint="latest and vN have a meaning of their own")
    return check_name(alias, "an alias")
