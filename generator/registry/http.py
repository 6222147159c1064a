"""HTTP as a registry needs it: pooled connections, time limits, retries, and a count of what was asked.

One request after another: redirects and authentication are `generator.registry.client`'s. No cookies, no
`.netrc`; proxies and CA bundles come from the environment, as for requests.
"""

from __future__ import annotations

import logging
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from catalog import __version__
from catalog.errors import Refused, Unreachable
from generator.registry.body import Body, Broken, Meter
from generator.registry.urls import is_loopback, origin, shown

logger = logging.getLogger(__name__)
T = TypeVar("T")

# What a connection that breaks off raises, wherever it does.
LOST = (requests.RequestException, urllib3.exceptions.HTTPError, Broken)
_TRANSIENT = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Seconds, except where said. `longest_pause` also caps what `Retry-After` may ask for; `patience` and
    `slowest` (bytes per second) say when a body that trickles is given up."""

    connect: float = 10.0
    read: float = 30.0
    attempts: int = 5
    first_pause: float = 0.4
    longest_pause: float = 60.0
    patience: float = 60.0
    slowest: float = 1024.0
    per_host: int = 8


class HttpError(Exception):
    """An answer that isn't a success, after retries. `detail` is the server's own word, cleaned and short."""

    def __init__(self, url: str, status: int, headers: Mapping[str, str], detail: str) -> None:
        super().__init__(f"{shown(url)} answered {status}{': ' + detail if detail else ''}")
        self.url = url
        self.status = status
        self.headers = headers
        self.detail = detail


class Http:
    """Shared by all threads and all registries of a process."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self._adapter = HTTPAdapter(pool_connections=32, pool_maxsize=self.policy.per_host)
        self._environment = requests.Session()  # never sends; it knows about proxies and CA bundles
        self._gates: dict[tuple[str, str, int], _Gate] = {}
        self._lock = threading.Lock()

    def fetch(
        self,
        method: str,
        url: str,
        read: Callable[[Body], T],
        *,
        meter: Meter,
        headers: Mapping[str, str] | None = None,
        authorization: str = "",
        data: bytes | None = None,
    ) -> T:
        """What `read` makes of the body of a 2xx answer; it may be called again after a lost connection.

        Raises HttpError for other answers, Unreachable when no answer is to be had.
        """
        prepared = _prepare(method, url, headers or {}, authorization, data)
        gate = self._gate(url)
        for left in reversed(range(self.policy.attempts)):
            gate.wait()
            try:
                with gate.slots:
                    return self._once(prepared, url, read, meter)
            except HttpError as error:
                if error.status not in _TRANSIENT or not left:
                    raise
                self._pause(gate, url, left, error)
            except LOST as error:
                if not left or not _passing(error):
                    raise Unreachable(
                        f"{origin(url)[1]} can't be reached: {_reason(error, self.policy)}",
                        place=shown(url),
                        hint="check the host's name and the network, then try again",
                    ) from None
                self._pause(gate, url, left, error)
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        self._adapter.close()

    def _once(
        self, prepared: requests.PreparedRequest, url: str, read: Callable[[Body], T], meter: Meter
    ) -> T:
        meter.request()
        response = self._adapter.send(
            prepared, stream=True, timeout=(self.policy.connect, self.policy.read), **self._settings(url)
        )
        body = Body(response, meter, patience=self.policy.patience, slowest=self.policy.slowest)
        try:
            logger.debug("%s %s → %s", prepared.method, shown(url), response.status_code)
            if not response.ok or response.status_code >= 300:
                raise HttpError(url, response.status_code, response.headers, body.complaint())
            return read(body)
        finally:
            if not body.kept:
                body.close()

    def _settings(self, url: str) -> dict[str, Any]:
        if is_loopback(origin(url)[1]):  # a proxy's loopback is another machine's
            return {"proxies": {}, "verify": True}
        settings = self._environment.merge_environment_settings(url, {}, True, None, None)
        return {"proxies": settings["proxies"], "verify": settings["verify"], "cert": settings["cert"]}

    def _gate(self, url: str) -> _Gate:
        with self._lock:
            return self._gates.setdefault(origin(url), _Gate(self.policy.per_host))

    def _pause(self, gate: _Gate, url: str, left: int, error: Exception) -> None:
        done = self.policy.attempts - left - 1
        pause = min(self.policy.first_pause * 2**done, self.policy.longest_pause)
        pause *= random.uniform(0.5, 1.0)  # noqa: S311 # spreads retries, hides nothing
        if isinstance(error, HttpError) and (asked := _retry_after(error.headers)) is not None:
            if asked > self.policy.longest_pause:
                raise Unreachable(
                    f"{origin(url)[1]} asks to come back in {asked:.0f} seconds ({error.status})",
                    place=shown(url),
                    hint="log in to raise the limit, or try again later",
                ) from None
            gate.close_for(asked)
            pause = max(asked, pause / 10)
        logger.info("%s: %s; again in %.1f s", shown(url), _reason(error, self.policy), pause)
        time.sleep(pause)


class _Gate:
    """One host: how many requests at once, and until when it asked for silence."""

    def __init__(self, size: int) -> None:
        self.slots = threading.BoundedSemaphore(size)
        self._open_at = 0.0

    def close_for(self, seconds: float) -> None:
        self._open_at = max(self._open_at, time.monotonic() + seconds)

    def wait(self) -> None:
        while (left := self._open_at - time.monotonic()) > 0:
            time.sleep(left)


def _prepare(
    method: str, url: str, headers: Mapping[str, str], authorization: str, data: bytes | None
) -> requests.PreparedRequest:
    prepared = requests.PreparedRequest()
    sent = {
        "User-Agent": f"evaldock/{__version__}",
        "Accept-Encoding": "identity",
        **headers,
        **({"Authorization": authorization} if authorization else {}),
    }
    try:
        # An auth that does nothing: without one, requests would take a name and password out of the address.
        prepared.prepare(method=method, url=url, headers=sent, data=data, auth=lambda request: request)
    except (requests.RequestException, ValueError):
        # The exception's own text may quote a header.
        raise Refused(
            "a request that can't be sent: its address or a header is malformed", place=shown(url)
        ) from None
    return prepared


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """RFC 9110, 10.2.3: a number of seconds or a date."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _passing(error: Exception) -> bool:
    """Whether trying again can help: not with a certificate that doesn't fit."""
    certificate = (requests.exceptions.SSLError, urllib3.exceptions.SSLError)
    malformed = (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader)
    return not isinstance(error, (*certificate, *malformed))


def _reason(error: Exception, policy: Policy) -> str:
    """In words of our own: the libraries' messages quote addresses with their queries."""
    for inner in reversed(_causes(error)):  # the innermost knows best
        match inner:
            case HttpError():
                return f"it answered {inner.status}"
            case Broken():
                return str(inner)
            case ssl.SSLCertVerificationError():
                return "its certificate can't be verified"
            case ssl.SSLError():
                return "it doesn't speak TLS, or not as it should"
            case urllib3.exceptions.NameResolutionError():
                return "its name can't be resolved"
            case ConnectionRefusedError():
                return "connection refused"
            case urllib3.exceptions.ConnectTimeoutError():
                return f"no connection within {policy.connect:g} seconds"
            case urllib3.exceptions.ReadTimeoutError():
                return f"no answer within {policy.read:g} seconds"
    return "the connection was lost"


def _causes(error: BaseException) -> list[BaseException]:
    """From the outermost to the innermost, however the libraries have wrapped them."""
    found = [error]
    while len(found) < 10:
        last = found[-1]
        candidates = (getattr(last, "reason", None), *last.args[:2], last.__cause__)
        deeper = next((one for one in candidates if isinstance(one, BaseException)), None)
        if deeper is None:
            break
        found.append(deeper)
    return found


class _WithoutQueries(logging.Filter):
    """urllib3 logs whole addresses, and a signed one is as good as a password."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                arg.partition("?")[0] + "?…" if isinstance(arg, str) and "?" in arg else arg
                for arg in record.args
            )
        return True


for _name in ("urllib3.connection", "urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_WithoutQueries())
