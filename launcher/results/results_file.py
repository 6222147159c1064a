"""results.yml, what a harness leaves: `{results: {tasks | groups: {T: {metrics: {M: {scores: {S: …}}}}}}}`.

Untrusted: any mistake is told with its key path, all of them at once. Groups may nest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import InvalidInput, NotFound
from catalog.records import Metric, number
from catalog.yaml_reading import YamlMistakes, read_yaml
from launcher.runs.run_directory import open_file

MAX_BYTES = 8 << 20
MAX_METRICS = 10_000
NAME = "results.yml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """`metrics` in the file's order, those of groups before those of tasks; `config` is the file's own."""

    metrics: tuple[Metric, ...]
    config: Mapping[str, Any]
    git_hash: str | None = None


def read(artifacts: Path) -> Results:
    """Raises NotFound where there is no file, InvalidInput for one that can't be read or has no score."""
    path = artifacts / NAME
    try:
        with open_file(path) as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise NotFound(
            f"the harness left no {NAME}", place=str(artifacts), hint="its log says why: `evaldock logs RUN`"
        ) from None
    return parse(data, str(path))


def parse(data: bytes, place: str) -> Results:
    try:
        document = read_yaml(data, max_bytes=MAX_BYTES).value
    except YamlMistakes as error:
        raise InvalidInput("not a results file:", list(error.problems), place=place) from None
    reader = _Reader()
    metrics = reader.results(document)
    if not metrics and not reader.problems:
        reader.problems.append("results: holds no score")
    if reader.problems:
        raise InvalidInput("not a results file:", reader.problems[:50], place=place)
    config, git_hash = document.get("config"), document.get("git_hash")
    return Results(
        metrics=tuple(metrics),
        config=config if isinstance(config, dict) else {},
        git_hash=str(git_hash) if git_hash else None,
    )


class _Reader:
    def __init__(self) -> None:
        self.problems: list[str] = []

    def results(self, document: Any) -> list[Metric]:
        results = self._mapping(document, "results", "")
        # A group's score sums up its tasks, so it comes first and stands for the whole.
        metrics = list(self._entries(results.get("groups"), "results.groups", ()))
        metrics += self._entries(results.get("tasks"), "results.tasks", ())
        if len(metrics) > MAX_METRICS:
            self.problems.append(f"results: more than {MAX_METRICS} scores")
        return metrics

    def _entries(self, entries: Any, path: str, names: tuple[str, ...]) -> Iterator[Metric]:
        if entries is None:
            return
        if not isinstance(entries, dict):
            self.problems.append(f"{path}: expected a mapping")
            return
        if len(names) > 20:
            self.problems.append(f"{path}: nested too deeply")
            return
        for name, entry in entries.items():
            here, whole = f"{path}.{name}", (*names, str(name))
            if not isinstance(entry, dict):
                self.problems.append(f"{here}: expected a mapping")
                continue
            metrics = entry.get("metrics") or {}
            if not isinstance(metrics, dict):
                self.problems.append(f"{here}.metrics: expected a mapping")
                continue
            for metric, body in metrics.items():
                scores = self._mapping(body, "scores", f"{here}.metrics.{metric}")
                for score, value in scores.items():
                    yield from self._score(
                        value, f"{here}.metrics.{metric}.scores.{score}", (*whole, metric, score)
                    )
            yield from self._entries(entry.get("groups"), f"{here}.groups", whole)
            yield from self._entries(entry.get("tasks"), f"{here}.tasks", whole)

    def _score(self, score: Any, path: str, names: tuple[Any, ...]) -> Iterator[Metric]:
        value = number(score.get("value")) if isinstance(score, dict) else None
        if value is None:
            self.problems.append(f"{path}.value: expected a number")
            return
        given = score.get("stats") or {}
        if not isinstance(given, dict):
            self.problems.append(f"{path}.stats: expected a mapping")
            return
        stats = {str(k): known for k, v in given.items() if (known := number(v)) is not None}
        count = stats.get("count")
        yield Metric(
            name="/".join(str(name) for name in names),
            value=value,
            count=int(count) if count is not None and count >= 0 else None,
            stderr=stats.get("stderr"),
            stats=stats,
        )

    def _mapping(self, parent: Any, key: str, path: str) -> dict[str, Any]:
        here = f"{path}.{key}" if path else key
        value = parent.get(key) if isinstance(parent, dict) else None
        if not isinstance(value, dict):
            self.problems.append(f"{here}: expected a mapping")
            return {}
        return value
