"""What Lepton's API answers, and what its client says, as this project's errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from catalog.errors import EvaldockError, NotFound, Refused, Unreachable
from launcher.backends.lepton_login import HINT
from launcher.backends.protocol import NotSent


class NameTaken(Refused):
    """There is one of this name already."""


def answered(status: int, what: str, said: str) -> EvaldockError:
    detail = f": {said}" if said else ""
    if status in (401, 403):
        why = "knows no such token" if status == 401 else "does not let this token do that"
        return NotSent(f"Lepton {why} ({status}, {what}){detail}", hint=HINT)
    if status == 404:
        return NotFound(f"Lepton knows nothing of {what}{detail}")
    if status == 409:
        return NameTaken(f"{what} has a name that is taken")
    if status == 429 or status >= 500:
        return Unreachable(f"Lepton answered {status} for {what}{detail}")
    return Refused(f"Lepton refused {what} ({status}){detail}")


def said(response: Any) -> str:
    """The server's own sentence, cut short."""
    try:
        data = response.json()
    except ValueError:
        return str(response.text)[:300].strip()
    if isinstance(data, dict):
        data = data.get("message") or data.get("error") or data.get("detail") or data
    return str(data)[:300]


def host(error: Any) -> str:
    request = getattr(error, "request", None)
    return str(urlsplit(request.url).netloc) if request is not None and request.url else "no connection"


def first(error: Exception) -> str:
    """Where in the data, and why; never the data itself."""
    errors: Sequence[Mapping[str, Any]] = getattr(error, "errors", lambda **_: ())(include_input=False)
    if errors:
        where = ".".join(str(part) for part in errors[0]["loc"])
        return f"{where}: {errors[0]['msg']}"
    return str(error)[:300]
