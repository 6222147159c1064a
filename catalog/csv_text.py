"""CSV that spreadsheets can open without running any of it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from catalog.console import safe

# What a spreadsheet takes for a formula, or strips before it looks for one (OWASP, "CSV Injection").
_FORMULA = re.compile(
    r"[\s\x00-\x1f]*[=+@\uff1d\uff0b\uff0d\uff20]|[\s\x00-\x1f]*-(?![\d.]+(?:e-?\d+)?$)|[\t\r\n]"
)


def csv_file(header: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """RFC 4180, UTF-8. A cell that a spreadsheet would run starts with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([[harmless(cell) for cell in row] for row in rows])
    return text.getvalue().encode("utf-8", "replace")


def harmless(cell: str) -> str:
    cell = safe(cell)
    return f"'{cell}" if _FORMULA.match(cell) else cell
