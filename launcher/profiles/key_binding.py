"""Which key may be sent to which URL: a profile's `keys` table, from an endpoint's URL to its key's name.

A bound key goes to its URL and to nothing else. URLs are compared after the one reading that every client
shares; what clients read in different ways (user names, backslashes, dot segments, letters outside ASCII) is
refused rather than interpreted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from catalog.errors import Refused, UsageError
from launcher.jobs import SecretName

VARIABLE = "EVALDOCK_BOUND_KEYS"
_PORTS = {"http": 80, "https": 443}
# RFC 3986 without userinfo and fragment; the host is a name, an IPv4 address or an IPv6 address in brackets.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?"
    r"(?P<query>\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
)
# Encoded dots, slashes, backslashes, semicolons, percent signs and control characters; empty segments.
_VAGUE = re.compile(r"%(?:2e|2f|5c|3b|25|[01][0-9a-f]|7f)|//", re.IGNORECASE)
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_USER = re.compile(r"(?<=://)[^/?#@]*@")


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
    # Some servers cut `;…` off a segment before they go by it.
    dots = {".", ".."} & {segment.partition(";")[0] for segment in path.split("/")}
    if dots or _VAGUE.search(path) or _PERCENT.search(path):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """`place` is file and line, `profile` whose table it stands in."""

    url: str
    address: Address
    key: str
    profile: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The bindings that hold for a run: those of its profile, and for names that it doesn't bind, those of
    every other profile of the file. `beside` are names that jobs may hold as no endpoint's key. With
    `required` every key must be bound."""

    own: tuple[Binding, ...] = ()
    others: tuple[Binding, ...] = ()
    beside: frozenset[str] = frozenset()
    required: bool = False

    @property
    def names(self) -> frozenset[str]:
        return frozenset(binding.key for binding in (*self.own, *self.others))

    def bound(self, name: str) -> tuple[Binding, ...]:
        """What `name` is bound to."""
        own = tuple(binding for binding in self.own if binding.key == name)
        return own or tuple(binding for binding in self.others if binding.key == name)

    def key_for(self, url: str) -> str | None:
        """The name of the key that the profile binds to `url`, by the longest path."""
        found = _address(url)
        covering = [each for each in self.own if found and each.address.covers(found)]
        return max(covering, key=lambda each: len(each.address.path)).key if covering else None

    def covered(self, url: str) -> bool:
        """Whether any key is bound to `url`."""
        found = _address(url)
        return found is not None and any(b.address.covers(found) for b in (*self.own, *self.others))


NO_KEYS = Keys()


def refusals(
    keys: Keys,
    *,
    url: str,
    key_name: str | None,
    secrets: Iterable[SecretName],
    config: Mapping[str, Any],
    place: str,
) -> list[str]:
    """Complete lines: which of a job's secrets could reach something that they are not bound to.

    `url` is the endpoint's (empty where there is none), `config` all that the job is told. A key that is not
    the endpoint's, such as a judge's, is allowed where a mapping of `config` names it beside its URL.
    """
    lines: list[str] = []
    for secret in secrets:
        source = secret.source
        if secret.name == key_name:
            lines += _endpoint_key(keys, source, url)
        elif bound := keys.bound(source):
            if not (_covers(bound, url) or _beside_its_url(bound, secret.name, config)):
                lines.append(
                    f"the job would hold {_called(secret)}, which is bound to {_listed(bound)}, and asks "
                    f"{_shown(url) if url else 'no endpoint that is known'}"
                )
        elif keys.required:
            lines += _unbound(keys, secret)
    return [f"{place}: {line}" for line in lines]


def refused(lines: Iterable[str]) -> Refused:
    """The error for what `refusals` and `strangers` found."""
    listed = "".join(f"\n  - {line}" for line in dict.fromkeys(lines))
    return Refused(
        f"keys would go where they are not bound to go:{listed}",
        hint="bind the key to that URL in env.toml ([PROFILE.keys]), or use another key",
    )


def _endpoint_key(keys: Keys, source: str, url: str) -> Iterator[str]:
    bound = keys.bound(source)
    if bound and not _covers(bound, url):
        try:
            address(url)
            why = ""
        except UsageError as error:
            why = f" ({error.message})"
        yield f"{source} is bound to {_listed(bound)} and may not be sent to {_shown(url)}{why}"
    elif not bound and source in keys.beside:
        yield f"{source} stands under `secrets` in env.toml, so it is no endpoint's key"
    elif not bound and keys.required:
        yield f"no profile binds {source} to {_shown(url)}, and {VARIABLE} is set"


def _unbound(keys: Keys, secret: SecretName) -> Iterator[str]:
    if secret.source not in keys.beside:
        yield f"no profile binds {_called(secret)} or lists it under `secrets`, and {VARIABLE} is set"
    elif secret.name != secret.source:
        yield f"{_called(secret)}: under {VARIABLE} a secret keeps its name"


def strangers(keys: Keys, config: Any, environment: Mapping[str, str]) -> Iterator[str]:
    """URLs that a job with bound keys is told besides its endpoint's, and that no profile knows: each a
    complete line. Only asked with `required`."""
    for text in _texts(config):
        for url in re.findall(r"[A-Za-z][A-Za-z0-9+.-]*://\S*", text):
            if not keys.covered(url):
                yield f"{_shown(url)} stands in the configuration, and no profile binds a key to it"
    for name, value in environment.items():
        if name.lower().endswith("_proxy") or ("://" in value and not keys.covered(value)):
            yield f"the variable {name} leads to an address that no profile binds a key to"


def _covers(bound: Iterable[Binding], url: str) -> bool:
    found = _address(url)
    return found is not None and any(binding.address.covers(found) for binding in bound)


def _beside_its_url(bound: Iterable[Binding], name: str, config: Any) -> bool:
    """Every mapping that names the variable names its URL, and no other; and there is one."""
    mentions = [part for part in _mappings(config) if name in part.values()]
    return bool(mentions) and all(
        (urls := [value for value in part.values() if isinstance(value, str) and "://" in value])
        and all(_covers(bound, url) for url in urls)
        for part in mentions
    )


def _mappings(data: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(data, Mapping):
        yield {key: value for key, value in data.items() if isinstance(value, str)}
        for value in data.values():
            yield from _mappings(value)
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _mappings(value)


def _texts(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _texts(value)


def _address(url: str) -> Address | None:
    try:
        return address(url)
    except UsageError:
        return None


def _called(secret: SecretName) -> str:
    return secret.source if secret.name == secret.source else f"{secret.source} (as {secret.name})"


def _listed(bound: Iterable[Binding]) -> str:
    return " and ".join(f"{binding.url} ({binding.place})" for binding in bound)


def _shown(url: str) -> str:
    """Without the user name and password that may stand in it."""
    return f"{_USER.sub('…@', url)!r:.200}"
