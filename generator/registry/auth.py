"""What stands in `Authorization` for one registry: Basic, or a token from the realm that it names.

Source: the distribution project's token and OAuth2 specifications. Where credentials go:
- only in answer to a challenge of their own registry, never to a host that a redirect leads to;
- to the realm that this registry names. That may be another host (Docker Hub's is auth.docker.io), but then
  only over https, named by a registry that itself answered over https. A realm in plain http must be on
  loopback and named by a registry on loopback.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from catalog.errors import EvaldockError, Refused
from generator.registry.body import Body, Meter
from generator.registry.challenge import Challenge, parse
from generator.registry.credentials import Credentials, find
from generator.registry.http import Http, HttpError
from generator.registry.urls import check_address, is_loopback, origin, shown

logger = logging.getLogger(__name__)

_MAX_TOKEN = 64 * 1024
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_DEFAULT_LIFETIME = 60.0  # seconds, the specification's for a token that names none
_MARGIN = 10.0  # a token this close to its end is renewed rather than sent


@dataclass(frozen=True, slots=True)
class _Held:
    """An Authorization header's value, good until `end` (monotonic)."""

    value: str
    end: float


class Authenticator:
    """Holds the challenge and the tokens of one registry for the life of the process. Thread-safe: of many
    threads that meet the same refusal, one asks the realm and the others take its answer."""

    def __init__(self, registry: str, base: str, http: Http) -> None:
        self.registry = registry
        self._base = base
        self._http = http
        self._challenge: Challenge | None = None
        self._held: dict[tuple[str, str], _Held] = {}
        self._failed: dict[tuple[str, str], tuple[float, Exception]] = {}
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()

    def current(self, repository: str, actions: str, meter: Meter) -> str:
        """What to send first: a token still good, a new one where one is known to be wanted, or nothing."""
        held = self._good(repository, actions)
        if held or self._challenge is None:
            return held
        try:
            return self._renew(self._challenge, repository, actions, meter, used="")
        except (Refused, HttpError):
            return ""  # what the registry says to a request without one is the better message

    def answer(self, header: str, repository: str, actions: str, meter: Meter, *, used: str) -> str:
        """What to send after a 401 with this WWW-Authenticate, when `used` was sent. Raises Refused."""
        known = [challenge for challenge in parse(header) if challenge.scheme in ("bearer", "basic")]
        if not known:
            raise Refused(
                f"{self.registry} wants an authentication that isn't known here",
                place=self._place(repository),
            )
        chosen = next((challenge for challenge in known if challenge.scheme == "bearer"), known[0])
        # Its scope is about this request; for the next repository only the rest of it is known.
        rest = {name: value for name, value in chosen.parameters.items() if name != "scope"}
        self._challenge = Challenge(chosen.scheme, rest)
        return self._renew(chosen, repository, actions, meter, used=used)

    def advice(self, repository: str) -> str:
        """What to do about a refusal."""
        found = find(self.registry, repository)
        if found:
            return f"the credentials from {found.origin} are not accepted for it"
        return f"no credentials are kept for {self.registry}: docker login, or REGISTRY_AUTH_FILE"

    def _place(self, repository: str) -> str:
        return f"{self.registry}/{repository}"

    def _good(self, repository: str, actions: str) -> str:
        now = time.monotonic()
        with self._lock:
            for wanted in (actions, "pull,push"):  # a token to push with can pull
                held = self._held.get((repository, wanted))
                if held and held.end > now:
                    return held.value
        return ""

    def _renew(self, challenge: Challenge, repository: str, actions: str, meter: Meter, *, used: str) -> str:
        key = (repository, actions)
        asked = time.monotonic()
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            held = self._good(repository, actions)
            if held and held != used:
                return held  # another thread was faster
            when, failure = self._failed.get(key, (0.0, None))
            if failure and when > asked:
                raise failure
            try:
                new = self._ask(challenge, repository, actions, meter)
            except (EvaldockError, HttpError) as error:
                self._failed[key] = (time.monotonic(), error)
                raise
            with self._lock:
                self._held[key] = new
            return new.value

    def _ask(self, challenge: Challenge, repository: str, actions: str, meter: Meter) -> _Held:
        credentials = find(self.registry, repository)
        if challenge.scheme == "basic":
            if credentials is None or not credentials.username:
                raise Refused(
                    f"{self.registry} wants a name and a password",
                    place=self._place(repository),
                    hint=self.advice(repository),
                )
            return _Held(_basic(credentials), float("inf"))
        realm = challenge.parameters.get("realm", "")
        check_address(self._base, realm, "sends for a token")
        if credentials and not self._trusts(realm):
            logger.warning(
                "%s, reached over plain http, names the realm %s: no credentials are sent there",
                self.registry,
                shown(realm),
            )
            credentials = None
        query = {"scope": _scope(challenge, repository, actions)}
        if service := challenge.parameters.get("service"):
            query["service"] = service
        try:
            return self._token(realm, query, credentials, meter)
        except HttpError as error:
            if error.status >= 500 or error.status == 429:
                raise
            raise Refused(
                f"{self.registry} gives no access: {error}",
                place=self._place(repository),
                hint=self.advice(repository),
            ) from None

    def _trusts(self, realm: str) -> bool:
        base, target = origin(self._base), origin(realm)
        return base[0] == "https" or target == base or is_loopback(target[1])

    def _token(
        self, realm: str, query: Mapping[str, str], credentials: Credentials | None, meter: Meter
    ) -> _Held:
        logger.debug("asking %s for a token (%s)", shown(realm), query["scope"])

        def read(body: Body) -> _Held:
            return _read_token(body, shown(realm))

        if credentials and credentials.identity_token:
            form = {
                "grant_type": "refresh_token",
                "client_id": "evaldock",
                "refresh_token": credentials.identity_token,
                **query,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            data = urlencode(form).encode()
            return self._http.fetch("POST", realm, read, meter=meter, headers=headers, data=data)
        authorization = _basic(credentials) if credentials else ""
        url = _with_query(realm, query)
        return self._http.fetch("GET", url, read, meter=meter, authorization=authorization)


def _scope(challenge: Challenge, repository: str, actions: str) -> str:
    """What is needed and no more: some registries' challenges ask for push where a pull is tried. A scope for
    another resource is the registry's business (mirrors rename repositories) and stays as it is."""
    own = f"repository:{repository}:{actions}"
    asked = challenge.parameters.get("scope", "")
    return own if not asked or asked.startswith(f"repository:{repository}:") else asked


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _with_query(realm: str, query: Mapping[str, str]) -> str:
    parts = urlsplit(realm)
    return urlunsplit(parts._replace(query=urlencode([*parse_qsl(parts.query), *query.items()]), fragment=""))


def _read_token(body: Body, place: str) -> _Held:
    try:
        answer: Any = json.loads(body.all(_MAX_TOKEN, "the token"))
        token = answer.get("token") or answer.get("access_token")
        lifetime = float(answer.get("expires_in") or _DEFAULT_LIFETIME)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise Refused("the realm's answer is not a token", place=place) from None
    if not isinstance(token, str) or not _VISIBLE.fullmatch(token):
        raise Refused("the realm's answer holds no usable token", place=place)
    # Half of a very short life is better than none of it.
    end = time.monotonic() + max(lifetime - _MARGIN, lifetime / 2)
    return _Held(f"Bearer {token}", end)
