"""Uncertainty of scores and of their differences, against values computed elsewhere and by brute force."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import statistics
from catalog.records import Metric
from catalog.statistics import independent, interval, mcnemar, paired, stderr, wilson


def share(value: float, count: int, error: float | None = None) -> Metric:
    return Metric(name="accuracy", value=value, count=count, stderr=error)


@pytest.mark.parametrize(
    ("value", "count", "expected"),
    # Wilson's interval for 8 of 10 and 0 of 20, as tables of it give it.
    [(0.8, 10, (0.4902, 0.9433)), (0.0, 20, (0.0, 0.1611)), (1.0, 20, (0.8389, 1.0))],
)
def test_wilson(value: float, count: int, expected: tuple[float, float]) -> None:
    assert wilson(value, count) == pytest.approx(expected, abs=5e-5)


def test_a_perfect_score_is_not_perfectly_sure() -> None:
    low, high = interval(share(1.0, 20, 0.0)) or (0.0, 0.0)
    assert low == pytest.approx(0.8389, abs=5e-5)
    assert high == 1.0


def test_the_harness_own_error_comes_before_a_guess() -> None:
    assert stderr(share(0.5, 100, 0.2)) == 0.2
    assert stderr(share(0.5, 100)) == pytest.approx(0.05)
    assert stderr(Metric(name="latency", value=3.0, count=5)) is None
    assert interval(Metric(name="latency", value=3.0)) is None


def test_a_difference_with_unknown_errors_has_no_verdict() -> None:
    found = independent(Metric(name="x", value=3.0), Metric(name="x", value=4.0))
    assert (found.value, found.low, found.p, found.chance) == (1.0, None, None, None)


def test_independent_scores() -> None:
    found = independent(share(0.5, 400), share(0.6, 400))
    # z = 0.1 / sqrt(0.25/400 + 0.24/400)
    assert found.p == pytest.approx(0.00429, abs=5e-5)
    assert found.chance is False
    assert independent(share(0.5, 40), share(0.6, 40)).chance is True


@given(st.integers(0, 9), st.integers(0, 9))
def test_mcnemar_is_the_count_of_all_coin_tosses(better: int, worse: int) -> None:
    total, fewer = better + worse, min(better, worse)
    tosses = itertools.product((0, 1), repeat=total)
    extreme = sum(1 for toss in tosses if sum(toss) <= fewer or sum(toss) >= total - fewer)
    assert mcnemar(better, worse) == pytest.approx(extreme / 2**total)


def test_pairs_find_what_averages_hide() -> None:
    """Ten questions that only the second answers, among many that both answer alike."""
    first = {f"q{n}": float(n % 2) for n in range(200)}
    second = dict(first) | {f"q{n}": 1.0 for n in range(0, 20, 2)}
    together = paired(first, second)
    assert together is not None
    assert (together.paired, together.value) == (200, 0.05)
    assert together.p == pytest.approx(2 / 2**10)
    values = [sum(side.values()) / 200 for side in (first, second)]
    assert independent(share(values[0], 200), share(values[1], 200)).chance is True
    assert together.chance is False


def test_pairs_of_graded_scores() -> None:
    first = {str(n): n / 10 for n in range(10)}
    second = {name: value + (0.05 if int(name) % 2 else 0.15) for name, value in first.items()}
    found = paired(first, second)
    assert found is not None
    assert found.value == pytest.approx(0.1)
    # Differences of 0.05 and 0.15 in turn: standard deviation sqrt(0.025/9), over sqrt(10).
    error = math.sqrt(0.025 / 9) / math.sqrt(10)
    assert found.p == pytest.approx(math.erfc(0.1 / error / math.sqrt(2)))


def test_too_few_pairs_are_no_pairs() -> None:
    assert paired({"a": 1.0}, {"a": 0.0}) is None
    assert paired({"a": 1.0, "b": 1.0}, {"c": 0.0}) is None


@given(st.floats(0, 1), st.integers(1, 10_000))
def test_intervals_of_shares_stay_between_0_and_1(value: float, count: int) -> None:
    low, high = statistics.wilson(value, count)
    assert 0 <= low <= value + 1e-9
    assert value - 1e-9 <= high <= 1
