"""A Ray cluster's documented REST API (Jobs, packages, state), over plain `requests`.

Ray's own client isn't used: it lets RAY_ADDRESS and RAY_API_SERVER_ADDRESS of the caller's environment
override an explicit address, sends its requests without a timeout, must be of a version that knows the
cluster's settings, and takes over a second to import. Here every call goes to the address that it was given,
has a timeout, and says whether another try may help. The extra `ray` is for machines that shall be nodes.

Source: Ray's "Ray Jobs REST API" (OpenAPI) and, for the state API, `ray.util.state`'s endpoints.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from catalog.errors import NotFound, Refused, Unreachable
from launcher.backends.protocol import NotSent

TIMEOUT = 30.0
TRIES, PAUSE = 2, 0.5
# Ray's dashboard takes no larger body (DASHBOARD_CLIENT_MAX_SIZE).
MAX_UPLOAD = 100 << 20
_ERROR_CHARACTERS = 300
Answer = TypeVar("Answer", dict[str, Any], list[Any])


@dataclass(frozen=True, slots=True)
class Cluster:
    """`url` is the dashboard's. `token_name` is the variable that holds a token, instead of Ray's own."""

    url: str
    timeout: float = TIMEOUT
    token_name: str | None = None

    def version(self) -> str:
        try:
            return str(self._read("GET", "/api/version", dict).get("ray_version", ""))
        except NotFound:
            raise self._somebody_else() from None

    def submit(self, request: Mapping[str, Any]) -> bool:
        """False where a job of that id is there already. Raises Refused for what Ray won't take, NotSent
        where the request can't have arrived."""
        answer = self._ask("POST", "/api/jobs/", json=request)
        if answer.status_code == 200:
            return True
        text = answer.text
        if answer.status_code == 500 and "already exists" in text:
            return False
        if "No available agent" in text:
            raise NotSent(f"{self.url}: no agent of the cluster is there to take the job")
        if "entrypoint_label_selector" in text and answer.status_code == 400 and "unexpected" in text:
            raise Refused(
                f"Ray at {self.url} does not know entrypoint_label_selector (Ray 2.54 does), and without it "
                "the job would run on any node",
                hint="take the labels out of the configuration, or use entrypoint_resources",
            )
        if answer.status_code == 400 or "ValueError" in text or "TypeError" in text:
            raise Refused(f"Ray at {self.url} refused the job: {_last_line(text)}")
        raise Unreachable(f"Ray at {self.url} answered {answer.status_code}: {_last_line(text)}")

    def job(self, submission_id: str) -> dict[str, Any] | None:
        """None where Ray doesn't know it."""
        try:
            return self._read("GET", f"/api/jobs/{_part(submission_id)}", dict)
        except NotFound:
            return None

    def jobs(self) -> dict[str, dict[str, Any]]:
        """All that were submitted, by their id."""
        listed = self._read("GET", "/api/jobs/", list)
        known = (job for job in listed if isinstance(job, dict))
        return {str(job["submission_id"]): job for job in known if job.get("submission_id")}

    def stop(self, submission_id: str) -> None:
        """A request; a job that has ended or isn't known is no error."""
        answer = self._ask("POST", f"/api/jobs/{_part(submission_id)}/stop")
        if answer.status_code not in (200, 404):
            raise Unreachable(f"Ray at {self.url} did not stop the job: {_last_line(answer.text)}")

    def forget(self, submission_id: str) -> None:
        """Takes a job that has ended off Ray's list."""
        self._ask("DELETE", f"/api/jobs/{_part(submission_id)}")

    def log(self, job: Mapping[str, Any]) -> bytes:
        """The driver's whole log as bytes: the Jobs API fails where a log isn't UTF-8 (a character that is
        half written), and neither API takes an offset."""
        node = job.get("driver_node_id")
        if not node:
            return b""
        name = f"job-driver-{job['submission_id']}.log"
        query = f"node_id={_part(str(node))}&filename={_part(name)}&lines=-1"
        return bytes(self._good("GET", f"/api/v0/logs/file?{query}").content)

    def nodes(self) -> list[dict[str, Any]]:
        """Those that are alive, with `labels` and `resources_total`."""
        found = self._read("GET", "/api/v0/nodes?detail=1&limit=10000", dict)
        try:
            return [node for node in found["data"]["result"]["result"] if node["state"] == "ALIVE"]
        except (KeyError, TypeError):
            raise Unreachable(f"Ray at {self.url} did not list its nodes") from None

    def has_package(self, name: str) -> bool:
        """Asking also keeps the cluster from removing it for a while."""
        try:
            self._good("GET", f"/api/packages/gcs/{_part(name)}")
        except NotFound:
            return False
        return True

    def upload(self, name: str, data: bytes) -> None:
        if len(data) >= MAX_UPLOAD:
            size = len(data) >> 20
            raise Refused(
                f"{size} MiB are too much to send through Ray's API, which takes {MAX_UPLOAD >> 20} MiB",
                hint="set execution.shared_dir to a folder that the launcher and the nodes see",
            )
        self._good("PUT", f"/api/packages/gcs/{_part(name)}", data=data)

    def _read(self, method: str, path: str, kind: type[Answer]) -> Answer:
        try:
            answer = self._good(method, path).json()
        except ValueError:
            answer = None
        if not isinstance(answer, kind):
            raise self._somebody_else()
        return answer

    def _somebody_else(self) -> Unreachable:
        return Unreachable(f"what answers at {self.url} does not talk like Ray's dashboard", hint=_HINT)

    def _good(self, method: str, path: str, **given: Any) -> Any:
        """Asked once more where that may help. Raises NotFound for 404, Unreachable for other failures."""
        for left in reversed(range(TRIES)):
            try:
                answer = self._ask(method, path, **given)
                if answer.status_code == 404:
                    raise NotFound(f"Ray at {self.url} does not know {path}")
                if answer.status_code == 200:
                    return answer
                raise Unreachable(
                    f"Ray at {self.url} answered {answer.status_code}: {_last_line(answer.text)}",
                    hint=_HINT if answer.status_code < 500 else None,
                )
            except Unreachable:
                if not left:
                    raise
            time.sleep(PAUSE)
        raise AssertionError("unreachable")

    def _ask(self, method: str, path: str, **given: Any) -> Any:
        """One request. Raises NotSent where nobody listens or the token is missing or wrong, Unreachable
        where no answer came."""
        import requests  # noqa: PLC0415 # only where a cluster is asked

        session = _session()
        token = find_token(os.environ, self.token_name)
        try:
            answer = session.request(
                method,
                self.url + path,
                timeout=(min(self.timeout, 10.0), self.timeout),
                # An own way of authentication also keeps `requests` from looking into ~/.netrc.
                auth=_Bearer(token),
                allow_redirects=False,
                **given,
            )
        except requests.exceptions.ConnectTimeout as error:
            raise NotSent(f"Ray at {self.url} does not answer: {_cause(error)}", hint=_HINT) from None
        except requests.exceptions.ConnectionError as error:
            # Refused, or an unknown name; a connection that broke later may have delivered the request.
            if "BadStatusLine" in repr(error):
                # That is no HTTP, so nothing there can have taken the request.
                raise NotSent(f"what answers at {self.url} does not talk HTTP", hint=_HINT) from None
            never = any(word in repr(error) for word in ("NewConnectionError", "NameResolution"))
            kind = NotSent if never else Unreachable
            raise kind(f"Ray at {self.url} does not answer: {_cause(error)}", hint=_HINT) from None
        except (requests.exceptions.RequestException, ValueError) as error:
            raise Unreachable(f"Ray at {self.url} does not answer: {_cause(error)}", hint=_HINT) from None
        if answer.status_code in (401, 403):
            raise self._not_let_in(answer.status_code, token)
        return answer

    def _not_let_in(self, status: int, token: str | None) -> NotSent:
        """Another try may do better, with another token; nothing was done so far."""
        name = self.token_name or "RAY_AUTH_TOKEN"
        if token is None:
            return NotSent(
                f"Ray at {self.url} wants a token ({status}), and none was found",
                hint=f"export {name}"
                if self.token_name
                else "export RAY_AUTH_TOKEN, name a file in RAY_AUTH_TOKEN_PATH, or write ~/.ray/auth_token",
            )
        return NotSent(
            f"Ray at {self.url} does not accept the token that was sent ({status})",
            hint=f"is {name} the token of this cluster?",
        )


_HINT = "is execution.dashboard_url right, and can this machine reach it?"


class _Bearer:
    def __init__(self, token: str | None) -> None:
        self.token = token

    def __call__(self, request: Any) -> Any:
        if self.token is not None:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


@cache
def _session() -> Any:
    """One for all requests of this process: a connection is opened once."""
    import requests  # noqa: PLC0415

    return requests.Session()


def find_token(environ: Mapping[str, str], name: str | None = None) -> str | None:
    """As Ray looks for it: RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token; or only the
    variable `name`. Raises Refused for a file that was named and can't be read, and for what is no token."""
    if name is not None or environ.get("RAY_AUTH_TOKEN", "").strip():
        variable = name or "RAY_AUTH_TOKEN"
        return _token(environ.get(variable, ""), variable)
    named = environ.get("RAY_AUTH_TOKEN_PATH", "")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        return _token(path.read_text(errors="replace"), str(path))
    except OSError as error:
        if named:
            raise Refused(f"RAY_AUTH_TOKEN_PATH: {error.strerror or error}", place=named) from None
        return None


def _token(text: str, place: str) -> str | None:
    """What can't stand in a header is told of without being repeated."""
    token = text.strip()
    if not token.isascii() or not token.isprintable():
        raise Refused("the token for Ray is not one line of printable ASCII", place=place)
    return token or None


def _part(text: str) -> str:
    return quote(text, safe="")


def _last_line(text: str) -> str:
    """What a traceback ends with."""
    lines = [line.strip() for line in text.replace("\\n", "\n").splitlines() if line.strip(" .")]
    telling = [line for line in lines if "Error" in line]
    return (telling or lines or ["nothing"])[-1][:_ERROR_CHARACTERS]


def _cause(error: Exception) -> str:
    """The innermost reason, without the layers that wrap it."""
    reason = error.args[0] if error.args else error
    reason = getattr(reason, "reason", reason)
    return str(reason).rpartition(": ")[2][:_ERROR_CHARACTERS] or type(error).__name__
