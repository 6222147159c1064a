"""`WWW-Authenticate`, read as RFC 9110 (sections 5.6 and 11.6.1) writes it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_SEPARATORS = re.compile(r"[\s,]*")
_SCHEME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?=[\s,]|$)")
# A value may hold a comma or an escaped quote, as in scope="repository:a/b:pull,push". The unquoted form is
# wider than the RFC's token: some registries leave the quotes off a realm's address.
_PARAMETER = re.compile(r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.DOTALL)
_TOKEN68 = re.compile(r"\s+[A-Za-z0-9._~+/-]+=*\s*(?=,|$)")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Challenge:
    """`scheme` and the names of `parameters` are lower case; values are unquoted."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse(header: str) -> tuple[Challenge, ...]:
    """All challenges of a header (several headers joined by commas). Reads up to the first thing that isn't
    one, so that a strange scheme in front doesn't hide an ordinary one."""
    found: list[Challenge] = []
    at = _end(_SEPARATORS, header, 0)
    while scheme := _SCHEME.match(header, at):
        at = scheme.end()
        parameters: dict[str, str] = {}
        if token68 := _TOKEN68.match(header, at):
            at = token68.end()
        else:
            while parameter := _PARAMETER.match(header, _end(_SEPARATORS, header, at)):
                name, quoted, plain = parameter.groups()
                value = _ESCAPED.sub(r"\1", quoted) if quoted is not None else plain
                parameters.setdefault(name.lower(), value)
                at = parameter.end()
        found.append(Challenge(scheme[0].lower(), parameters))
        at = _end(_SEPARATORS, header, at)
    return tuple(found)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
