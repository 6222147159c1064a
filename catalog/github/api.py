"""What GitHub's REST API is asked: pull requests, and nothing else."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from catalog.errors import EvaldockError, Refused, Unreachable, UsageError

TIMEOUT = 60
_MAX_BYTES = 4 << 20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token goes to the address it was given for."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """`api` is the address of the API, `name` is `owner/name`."""

    api: str
    name: str
    token: str

    @classmethod
    def of(cls, environ: Mapping[str, str], token: str) -> Repository:
        """As a workflow's variables name it. Raises UsageError where they don't, or there is no token."""
        api, name = environ.get("GITHUB_API_URL", ""), environ.get("GITHUB_REPOSITORY", "")
        if not api or name.count("/") != 1:
            raise UsageError(
                "pull requests can be made from a workflow only", hint="publish: commit works everywhere"
            )
        if not token:
            raise UsageError(
                "a pull request needs a token",
                hint="leave the input `token` at its default, and grant pull-requests: write",
            )
        return cls(api=api, name=name, token=token)

    def pull_request(self, *, head: str, base: str, title: str, body: str) -> str:
        """Its address. One that stands already for the branch gets the new title and text."""
        pulls = f"/repos/{quote(self.name)}/pulls"
        owner = self.name.partition("/")[0]
        found = self._ask(
            "GET", f"{pulls}?state=open&base={quote(base, '')}&head={quote(f'{owner}:{head}', '')}"
        )
        if isinstance(found, list) and found:
            answer = self._ask("PATCH", f"{pulls}/{int(found[0]['number'])}", {"title": title, "body": body})
        else:
            given = {"title": title, "body": body, "head": head, "base": base}
            answer = self._ask("POST", pulls, given)
        return str(answer.get("html_url", "")) if isinstance(answer, dict) else ""

    def _ask(self, method: str, path: str, data: Mapping[str, Any] | None = None) -> Any:
        if urlsplit(self.api).scheme not in ("http", "https"):
            raise UsageError(f"not an address of an API: {self.api!r}")
        request = urllib.request.Request(  # noqa: S310 # checked just above
            self.api.rstrip("/") + path,
            method=method,
            data=json.dumps(data).encode() if data is not None else None,
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {self.token}",
                "X-GitHub-Api-Version": "2022-11-28",
                "User-Agent": "evaldock",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT) as answer:
                return json.loads(answer.read(_MAX_BYTES))
        except urllib.error.HTTPError as error:
            raise self._refusal(method, path, error) from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unreachable(
                f"{self.api} doesn't answer as it should: {error}", hint="try again later"
            ) from None

    def _refusal(self, method: str, path: str, error: urllib.error.HTTPError) -> EvaldockError:
        said = error.read(600).decode(errors="replace")
        message = f"{method} {path.partition('?')[0]}: {error.code} {said}"
        if error.code >= 500 or error.code == 429:
            return Unreachable(message, place=self.api, hint="try again later")
        return Refused(
            message,
            place=self.api,
            hint="the job needs pull-requests: write, and the repository's settings must allow workflows to "
            "create pull requests",
        )
