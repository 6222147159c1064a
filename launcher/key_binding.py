"""Which key may be sent to which URL: a profile's `keys` table, from an endpoint's URL to its key's name.

A bound key goes to its URL and to nothing else. URLs are compared after the one reading that every client
shares; what clients read in different ways (user names, backslashes, dot segments, letters outside ASCII) is
refused rather than interpreted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from catalog.errors import UsageError

_PORTS = {"http": 80, "https": 443}
# RFC 3986 without userinfo; the host is a name, an IPv4 address or an IPv6 address in brackets.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?"
    r"(?P<query>\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
)
_VAGUE = re.compile(r"%(?:2e|2f|5c|00)|//", re.IGNORECASE)
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Address:
    """An http or https URL in the one form that can be compared. `path` has no slash at its end."""

    scheme: str
    host: str
    port: int
    path: str

    def covers(self, other: Address) -> bool:
        """Same scheme, host and port, and a path that is this one or below it."""
        same = (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)
        return same and (other.path == self.path or other.path.startswith(f"{self.path}/"))


def address(url: str) -> Address:
    """Raises UsageError, saying why, for a URL that isn't plain enough to be sure of."""
    match = _URL.fullmatch(url)
    if match is None:
        raise UsageError(_why(url))
    scheme = match["scheme"].lower()
    if scheme not in _PORTS:
        raise UsageError(f"expected http:// or https://, got {scheme}://")
    port = int(match["port"]) if match["port"] else _PORTS[scheme]
    if not 0 < port < 65536:
        raise UsageError(f"there is no port {port}")
    path = match["path"] or ""
    if _VAGUE.search(path) or _PERCENT.search(path) or {".", ".."} & set(path.split("/")):
        raise UsageError("its path has dot segments, empty segments or encoded slashes")
    return Address(scheme, match["host"].lower(), port, path.rstrip("/"))


def _why(url: str) -> str:
    if not url.isascii():
        return "it has characters outside ASCII; write an international host in its xn-- form"
    if not url.isprintable() or " " in url:
        return "it has spaces or control characters"
    if "\\" in url:
        return "it has a backslash"
    authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
    if "@" in authority:
        return "it has a user name before its host"
    if "#" in url:
        return "it has a fragment"
    return "it is not a plain URL such as https://api.example/v1"
