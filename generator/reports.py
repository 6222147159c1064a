"""Findings as text, as GitHub's annotations, as JSON data and as SARIF. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from catalog import __version__
from catalog.console import bold, dim, one_line, red, yellow
from catalog.findings import Finding, Severity
from catalog.github.workflow_commands import annotation

Locate = Callable[[str], str]
"""From a file below the catalog's folder to its path below the repository's."""

_STYLES = {Severity.ERROR: red, Severity.WARNING: yellow, Severity.NOTE: dim}
_GITHUB = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def summary(findings: Sequence[Finding]) -> str:
    """`2 errors, 1 warning`, or nothing."""
    counts = {severity: sum(one.severity is severity for one in findings) for severity in Severity}
    return ", ".join(
        f"{count} {severity}{'' if count == 1 else 's'}" for severity, count in counts.items() if count
    )


def as_text(findings: Sequence[Finding], locate: Locate) -> str:
    lines: list[str] = []
    for one in findings:
        place = ":".join(str(part) for part in (one.file and locate(one.file), one.line) if part)
        where = bold(one_line(place)) + ": " if place else ""
        kind = _STYLES[one.severity](f"{one.severity}")
        lines.append(f"{where}{kind}: {one_line(one.message)} {dim(f'[{one.code}]')}")
        if one.hint:
            lines.append(f"  {one_line(one.hint)}")
    return "\n".join(lines)


def as_github(findings: Sequence[Finding], locate: Locate) -> str:
    """Workflow commands, one a line, which a runner turns into annotations of a pull request's files."""
    return "\n".join(_annotation(one, locate) for one in findings)


def _annotation(one: Finding, locate: Locate) -> str:
    hint = f"\n{one.hint}" if one.hint else ""
    return annotation(
        _GITHUB[one.severity],
        one.message + hint,
        file=locate(one.file) if one.file else None,
        line=one.line,
        title=f"evaldock: {one.code}",
    )


def finding_data(one: Finding, locate: Locate) -> dict[str, Any]:
    return {
        "severity": str(one.severity),
        "code": one.code,
        "message": one.message,
        "file": locate(one.file) if one.file else None,
        "line": one.line,
        "hint": one.hint,
    }


_LEVELS: Mapping[Severity, str] = {
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.NOTE: "note",
}


def as_sarif(findings: Sequence[Finding], locate: Locate) -> dict[str, Any]:
    """OASIS SARIF 2.1.0, a log of one run."""
    codes = sorted({one.code for one in findings})
    return {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "evaldock",
                        "semanticVersion": __version__,
                        "rules": [{"id": code} for code in codes],
                    }
                },
                "results": [_result(one, codes, locate) for one in findings],
            }
        ],
    }


def _result(one: Finding, codes: Sequence[str], locate: Locate) -> dict[str, Any]:
    from urllib.parse import quote  # noqa: PLC0415 # 3.4.3: an artifact's location is a URI reference

    hint = f" ({one.hint})" if one.hint else ""
    result: dict[str, Any] = {
        "ruleId": one.code,
        "ruleIndex": codes.index(one.code),
        "level": _LEVELS[one.severity],
        "message": {"text": f"{one.message}{hint}"},
    }
    if one.file:
        # GitHub's code scanning takes no place without a region.
        region = {"startLine": one.line or 1}
        location = {"artifactLocation": {"uri": quote(locate(one.file))}, "region": region}
        result["locations"] = [{"physicalLocation": location}]
    return result
