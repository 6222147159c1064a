"""Which workspace of Lepton is meant, where its API is, and by which token it lets us in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catalog.errors import Refused, UsageError
from launcher.profiles.key_binding import address

HINT = (
    "set LEPTON_WORKSPACE_ID and LEPTON_WORKSPACE_TOKEN (or LEPTON_API_TOKEN=WORKSPACE:TOKEN), "
    "or log in with `lep login`"
)
_HOSTS = ("dgxc-lepton.nvidia.com", "lepton.ai")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class Login:
    """What is empty is what `lep login` wrote, or the client's default."""

    url: str
    workspace: str
    token: str


def login(settings: Mapping[str, Any]) -> Login:
    """As `execution` and the environment have it. Raises Refused where the token would go astray."""
    url = settings.get("api_url") or os.environ.get("LEPTON_WORKSPACE_URL") or ""
    _check_address(url)
    token = os.environ.get("LEPTON_WORKSPACE_TOKEN") or os.environ.get("LEPTON_API_TOKEN") or ""
    workspace = settings.get("workspace") or os.environ.get("LEPTON_WORKSPACE_ID") or ""
    if ":" in token:
        named, _, token = token.partition(":")
        workspace = workspace or named
    return Login(url, workspace, token)


def _check_address(url: str) -> None:
    """The token goes there: a configuration may name Lepton's own hosts, and who starts runs any other."""
    if not url:
        return
    try:
        found = address(url)
    except UsageError as error:
        raise Refused(
            f"the token for Lepton is not sent to {url!r:.200}: {error.message}",
            hint="execution.api_url or LEPTON_WORKSPACE_URL: expected https://HOST/api/v2/workspaces/NAME",
        ) from None
    if found.host in _LOOPBACK:
        return
    if found.scheme != "https":
        raise Refused(f"the token for Lepton is not sent over http:// ({found.host})")
    known = any(found.host == name or found.host.endswith(f".{name}") for name in _HOSTS)
    if not known and url != os.environ.get("LEPTON_WORKSPACE_URL"):
        raise Refused(
            f"the token for Lepton is not sent to {found.host}, which is none of Lepton's hosts",
            hint="if it is right, export it yourself as LEPTON_WORKSPACE_URL",
        )
