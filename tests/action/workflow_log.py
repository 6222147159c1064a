"""What a step prints and writes, read by the rules of GitHub's runner."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_COMMAND = re.compile(r"^\s*::(?P<name>[^\s:]+)(?: (?P<properties>.*?))?::(?P<data>.*)$")
_OLD_COMMAND = re.compile(r"##\[(?P<name>[^\]]+)\](?P<data>.*)")


@dataclass(frozen=True, slots=True)
class Annotation:
    level: str
    message: str
    properties: Mapping[str, str]


@dataclass(slots=True)
class Ran:
    """Of an action or a job. `commands` are workflow commands other than annotations, groups and masks."""

    outcome: str = "success"
    outputs: dict[str, str] = field(default_factory=dict)
    log: str = ""
    summary: str = ""
    annotations: list[Annotation] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)

    def said(self, level: str) -> list[str]:
        return [each.message for each in self.annotations if each.level == level]

    def include(self, inner: Ran) -> None:
        self.log, self.summary = self.log + inner.log, self.summary + inner.summary
        self.annotations += inner.annotations
        self.commands += inner.commands
        self.environ |= inner.environ


def assignments(text: str) -> dict[str, str]:
    """`name=value`, or `name<<DELIMITER`, lines, `DELIMITER`."""
    found: dict[str, str] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        equals, heredoc = line.find("="), line.find("<<")
        if heredoc >= 0 and (equals < 0 or heredoc < equals):
            name, _, delimiter = line.partition("<<")
            value: list[str] = []
            for inner in lines:
                if inner == delimiter:
                    break
                value.append(inner)
            else:
                raise AssertionError(f"{delimiter!r} doesn't come")
            found[name] = "\n".join(value)
        elif equals >= 0:
            name, _, rest = line.partition("=")
            found[name] = rest
        elif line:
            raise AssertionError(f"neither an assignment nor the start of one: {line!r}")
    return found


def read_commands(log: str, ran: Ran) -> None:
    stopped: str | None = None
    for line in log.replace("\r", "\n").split("\n"):
        match = _COMMAND.match(line) or _OLD_COMMAND.search(line)
        if match is None:
            continue
        name, data = match["name"], _decoded(match["data"])
        if stopped is not None:
            stopped = None if name == stopped else stopped
        elif name == "stop-commands":
            stopped = data
        elif name in ("error", "warning", "notice"):
            properties = match.groupdict().get("properties") or ""
            pairs = (each.strip().partition("=")[::2] for each in properties.split(",") if each)
            decoded = {key: _decoded(value).replace("%3A", ":").replace("%2C", ",") for key, value in pairs}
            ran.annotations.append(Annotation(name, data, decoded))
        elif name not in ("group", "endgroup", "add-mask", "debug"):
            ran.commands.append(line)


def _decoded(text: str) -> str:
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
