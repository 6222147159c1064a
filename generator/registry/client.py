"""One registry: its address, its authentication and where its redirects may lead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

from catalog.errors import EvaldockError, NotFound, Refused, Unreachable
from generator.registry.auth import Authenticator
from generator.registry.body import Body, Meter
from generator.registry.http import Http, HttpError, Policy
from generator.registry.urls import base_url, origin, redirected, shown

T = TypeVar("T")

_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)


class RegistryClient:
    """Requests to one registry, shared by every image read from it in this process."""

    def __init__(self, registry: str, http: Http) -> None:
        self.registry = registry
        self.base = base_url(registry)
        # Whether it answers the referrers API; None until it was asked.
        self.has_referrers: bool | None = None
        self._http = http
        self._auth = Authenticator(registry, self.base, http)

    def fetch(
        self,
        method: str,
        path: str,
        repository: str,
        read: Callable[[Body], T],
        *,
        meter: Meter,
        headers: Mapping[str, str] | None = None,
        actions: str = "pull",
        data: bytes | None = None,
    ) -> T:
        """What `read` makes of the answer; GET and HEAD follow redirects. `path` may be a whole address;
        credentials go with it only if it is this registry's. Raises HttpError for what isn't a success."""
        url = path if "://" in path else f"{self.base}{path}"
        for _ in range(_MAX_REDIRECTS + 1):
            try:
                return self._authenticated(
                    method, url, repository, read, meter=meter, headers=headers, actions=actions, data=data
                )
            except HttpError as error:
                location = error.headers.get("Location", "")
                if error.status not in _REDIRECTS or not location or method not in ("GET", "HEAD"):
                    raise
                url = redirected(url, location)
        raise Refused(f"more than {_MAX_REDIRECTS} redirects", place=shown(url))

    def fetch_directly(
        self, url: str, read: Callable[[Body], T], *, meter: Meter, headers: Mapping[str, str] | None = None
    ) -> T:
        """A GET of a remembered address: no credentials, no redirects."""
        return self._http.fetch("GET", url, read, meter=meter, headers=headers)

    def failure(self, error: HttpError, repository: str, name: str) -> EvaldockError:
        """An HTTP status in words: what `name` is, and what to do next."""
        place = f"{self.registry}/{repository}"
        said = f" ({error.detail})" if error.detail else ""
        if origin(error.url) != origin(self.base):
            kind = Unreachable if error.status >= 500 or error.status == 429 else Refused
            return kind(f"{name}: the registry sends to another host, but {error}", place=place)
        if error.status in (404, 410):
            return NotFound(
                f"{name} doesn't exist{said}",
                place=place,
                hint="check the name; a private image also looks like this without credentials",
            )
        if error.status in (401, 403):
            return Refused(
                f"access to {name} is denied{said}", place=place, hint=self._auth.advice(repository)
            )
        if error.status == 429:
            return Unreachable(
                f"too many requests for {name}{said}",
                place=place,
                hint="log in to raise the limit, or try again later",
            )
        if error.status >= 500:
            return Unreachable(
                f"the registry fails with {error.status} for {name}{said}",
                place=place,
                hint="try again later",
            )
        return Refused(f"{name}: {error}", place=place)

    def _authenticated(
        self,
        method: str,
        url: str,
        repository: str,
        read: Callable[[Body], T],
        *,
        meter: Meter,
        headers: Mapping[str, str] | None,
        actions: str,
        data: bytes | None,
    ) -> T:
        if origin(url) != origin(self.base):
            # Neither our credentials nor an answer to that host's challenges.
            return self._http.fetch(method, url, read, meter=meter, headers=headers, data=data)
        used = self._auth.current(repository, actions, meter)
        try:
            return self._http.fetch(
                method, url, read, meter=meter, headers=headers, authorization=used, data=data
            )
        except HttpError as error:
            header = error.headers.get("WWW-Authenticate", "")
            if error.status != 401 or not header:
                raise
        renewed = self._auth.answer(header, repository, actions, meter, used=used)
        return self._http.fetch(
            method, url, read, meter=meter, headers=headers, authorization=renewed, data=data
        )


class Network:
    """The registries of a process, so that challenges, tokens and connections are shared."""

    def __init__(self, policy: Policy | None = None) -> None:
        self._http = Http(policy)
        self._clients: dict[str, RegistryClient] = {}
        self._lock = threading.Lock()

    def client(self, registry: str) -> RegistryClient:
        with self._lock:
            if registry not in self._clients:
                self._clients[registry] = RegistryClient(registry, self._http)
            return self._clients[registry]

    def close(self) -> None:
        self._http.close()


_shared: list[Network] = []
_shared_lock = threading.Lock()


def shared_network() -> Network:
    """The one that is used where none is given."""
    with _shared_lock:
        if not _shared:
            _shared.append(Network())
        return _shared[0]
