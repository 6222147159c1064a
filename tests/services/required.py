"""What happens when a service can't be had: a skip with the reason, or a failure where one is required."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


class Unavailable(Exception):
    """A service that can't be installed or started here. The message is the reason a skip shows."""


def unavailable(reason: str) -> NoReturn:
    """Ends the test: failed with EVALDOCK_REQUIRE_SERVICES=1, otherwise skipped."""
    if os.environ.get("EVALDOCK_REQUIRE_SERVICES") == "1":
        pytest.fail(f"EVALDOCK_REQUIRE_SERVICES=1, but {reason}", pytrace=False)
    pytest.skip(reason)
