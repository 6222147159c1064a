"""What PyYAML makes of unquoted dates, undone."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any


def undated(value: Any, text: Callable[[datetime.date], str] = str) -> Any:
    """The same data with texts where dates were."""
    if isinstance(value, dict):
        return {key: undated(each, text) for key, each in value.items()}
    if isinstance(value, list):
        return [undated(each, text) for each in value]
    return text(value) if isinstance(value, datetime.date) else value
