"""Is a difference between two scores more than chance? Closed formulas, no dependencies.

Independent scores: difference of means with standard errors added in quadrature, normal approximation. Paired
scores: the standard error of the differences per sample; for scores of 0 and 1 the exact McNemar test, which
holds for small samples too (two-sided binomial over the pairs that differ).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from catalog.records import Metric

CONFIDENCE = 0.95
_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`value` is second minus first; `low` and `high` its 95 % interval, `p` the probability of at least such
    a difference by chance. All three are None where the scores don't say how sure they are. `paired` counts
    the samples that both answered (0: not paired)."""

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    paired: int = 0

    @property
    def chance(self) -> bool | None:
        """Could it be chance? None where nobody can say."""
        return None if self.p is None else self.p > 1 - CONFIDENCE


def stderr(metric: Metric) -> float | None:
    """The metric's own, else that of a proportion of so many samples, else None."""
    if metric.stderr is not None and (metric.stderr > 0 or (metric.count or 0) > 1):
        return metric.stderr
    if metric.count and 0 <= metric.value <= 1:
        return math.sqrt(metric.value * (1 - metric.value) / metric.count)
    return None


def interval(metric: Metric) -> tuple[float, float] | None:
    """95 % interval of one score: Wilson's for proportions (it never leaves 0 to 1), else normal."""
    error = stderr(metric)
    if error is None:
        return None
    if metric.count and 0 <= metric.value <= 1 and _is_proportion(metric, error):
        return wilson(metric.value, metric.count)
    return metric.value - _Z95 * error, metric.value + _Z95 * error


def _is_proportion(metric: Metric, error: float) -> bool:
    """Scores of only 0 and 1: their spread is that of a proportion (with n or n-1)."""
    count = metric.count or 0
    spread = metric.value * (1 - metric.value)
    near = [math.sqrt(spread / n) for n in (count, count - 1) if n > 0]
    return any(math.isclose(error, each, rel_tol=1e-6, abs_tol=1e-12) for each in near)


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's score interval (E. B. Wilson, 1927)."""
    square = _Z95**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    spread = share * (1 - share) / count + square / (4 * count**2)
    half = _Z95 * math.sqrt(spread) / (1 + square / count)
    return max(0.0, centre - half), min(1.0, centre + half)


def independent(first: Metric, second: Metric) -> Difference:
    value = second.value - first.value
    errors = stderr(first), stderr(second)
    if errors[0] is None or errors[1] is None:
        return Difference(value=value)
    return _normal(value, math.hypot(errors[0], errors[1]), 0)


def paired(first: Mapping[str, float], second: Mapping[str, float]) -> Difference | None:
    """None where fewer than two samples are common."""
    common = sorted(first.keys() & second.keys())
    if len(common) < 2:
        return None
    differences = [second[name] - first[name] for name in common]
    mean = math.fsum(differences) / len(common)
    variance = math.fsum((d - mean) ** 2 for d in differences) / (len(common) - 1)
    made = _normal(mean, math.sqrt(variance / len(common)), len(common))
    if all(d in (-1.0, 0.0, 1.0) for d in differences):
        better, worse = differences.count(1.0), differences.count(-1.0)
        return Difference(
            value=mean, low=made.low, high=made.high, p=mcnemar(better, worse), paired=len(common)
        )
    return made


def mcnemar(better: int, worse: int) -> float:
    """Exact two-sided p: as many or more of the discordant pairs on one side, by fair coin tosses."""
    total, fewer = better + worse, min(better, worse)
    if total == 0:
        return 1.0
    tail = sum(math.comb(total, k) for k in range(fewer + 1))
    return min(1.0, float(2 * tail / 2**total))


def _normal(value: float, error: float, count: int) -> Difference:
    p = math.erfc(abs(value) / error / math.sqrt(2)) if error else float(value == 0)
    return Difference(value=value, low=value - _Z95 * error, high=value + _Z95 * error, p=p, paired=count)
