"""Run ids: sixteen characters a-z0-9 that sort by the time they were made.

Nine characters of milliseconds since the epoch in base 36 (enough until the year 5188), seven random ones.
"""

from __future__ import annotations

import secrets
import time

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def new() -> str:
    number, text = time.time_ns() // 1_000_000, ""
    for _ in range(9):
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text + "".join(secrets.choice(_DIGITS) for _ in range(7))
