"""The statistics against SciPy's, and how often they err on rounds of which the truth is known."""

import json
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from orchestrator.cell.cell import Cell
from orchestrator.compare.noise import (
    LARGEST_EXACT,
    RESAMPLES,
    Comparison,
    Doubt,
    compare,
    doubts,
    interval,
    median,
    ratio_interval,
    spread,
)
from orchestrator.results.rows import unfilled_row

seconds = st.floats(0.01, 1e6)
rounds = st.lists(seconds, min_size=1, max_size=12)
few_values = st.lists(st.integers(1, 6).map(float), min_size=1, max_size=40)


@given(rounds)
def test_median_and_spread_are_those_of_numpy_and_scipy(values: list[float]):
    assert median(values) == np.median(values)
    if len(values) > 1:
        assert spread(values) == pytest.approx(stats.iqr(values) / np.median(values))
    else:
        assert spread(values) is None


@given(st.lists(seconds, min_size=2, max_size=12))
def test_the_interval_is_scipys_bootstrap(values: list[float]):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (values,), np.median, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0)
        ).confidence_interval
    assert interval(values) == pytest.approx((found.low, found.high))


@given(rounds, rounds)
def test_the_rank_test_is_scipys(a: list[float], b: list[float]):
    check_against_scipy(a, b)


@given(few_values, few_values)
def test_and_with_ties(a: list[float], b: list[float]):
    check_against_scipy(a, b)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 25), (25, 25), (26, 4), (60, 50)])
def test_and_of_any_number(n: int, m: int):
    rng = np.random.default_rng(n)
    check_against_scipy(rng.normal(10, 1, n), rng.normal(10.5, 1, m))


def check_against_scipy(a: Any, b: Any) -> None:
    ours = compare(a, b)
    exact = max(len(a), len(b)) <= LARGEST_EXACT and len({*a, *b}) == len(a) + len(b)
    with np.errstate(all="ignore"):
        theirs = stats.mannwhitneyu(a, b, method="exact" if exact else "asymptotic")
    assert ours.u == theirs.statistic
    assert ours.p == pytest.approx(1.0 if np.isnan(theirs.pvalue) else theirs.pvalue, rel=1e-9, abs=1e-12)
    assert ours.effect == pytest.approx(1 - theirs.statistic / (len(a) * len(b)))


def test_five_rounds_each_that_don_t_overlap():
    found = compare([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])
    assert found == Comparison(0, pytest.approx(2 / 252), 1)
    assert found.verdict == "faster"
    assert compare([6, 7, 8, 9, 10], [1, 2, 3, 4, 5]).verdict == "slower"


def test_three_rounds_each_decide_nothing():
    assert compare([1, 2, 3], [10, 20, 30]).verdict == "undecided"
    assert compare([1, 2, 3, 4], [10, 20, 30, 40]).verdict == "faster"


def test_of_a_thousand_comparisons_of_equal_libraries_at_most_five_in_a_hundred_are_false_alarms():
    assert decided(1.0, 5) <= 0.05


@pytest.mark.parametrize("count", [8, 20, 40])
def test_nor_more_with_further_rounds(count: int):
    by_chance = 3 * (0.05 * 0.95 / 1000) ** 0.5  # a thousand draws can't tell .05 from .07
    assert decided(1.0, count) <= 0.05 + by_chance


def test_a_difference_of_five_percent_is_found_eight_times_in_ten():
    assert decided(1.05, 5) >= 0.8
    assert decided(1.05, 3) == 0  # which is why five rounds are needed


def decided(ratio: float, count: int, noise: float = 0.02) -> float:
    """The share of 1,000 comparisons, B being slower by ``ratio``, that call A faster or slower."""
    rng = np.random.default_rng(2026)
    a, b = rng.normal(1, noise, (1000, count)), ratio * rng.normal(1, noise, (1000, count))
    verdicts = [compare(*pair).verdict for pair in zip(a, b, strict=True)]
    assert ratio == 1 or "slower" not in verdicts
    return 1 - verdicts.count("undecided") / len(verdicts)


def test_a_ratio_has_an_interval_where_one_side_has_rounds():
    assert ratio_interval([1.0], [2.0]) is None
    assert ratio_interval([2.0, 2.2, 2.4], [2.0]) == (1.0, 1.2)
    low, high = ratio_interval([2.0, 2.2, 2.4], [1.0, 1.1]) or (0, 0)
    assert 1.8 < low < 2.0 < 2.2 < high <= 2.4


@pytest.mark.parametrize("call", [median, lambda v: compare(v, [1]), lambda v: compare([1], v)])
def test_nothing_measured_is_an_error(call: Any):
    with pytest.raises(ValueError, match="no values"):
        call([])


def row(**changes: Any) -> dict[str, Any]:
    cell = Cell("pytorch", changes.pop("workload", "rnn"), data=changes.pop("data", "real"))
    return {**unfilled_row(cell), "seconds": 10.0, "shortened": False, **changes}


def hot(*reasons: str) -> str:
    return json.dumps([{"uuid": "GPU-0", "throttled": []}, {"uuid": "GPU-1", "throttled": reasons}])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row()], ()),
        ([row(), row(seconds=10.9)], ()),
        ([row(), row(seconds=13.0)], (Doubt.NOISY,)),
        ([row(), row(shortened=True)], (Doubt.SHORTENED,)),
        ([row(data="synthetic")], (Doubt.SYNTHETIC,)),
        ([row(data="synthetic", workload="densenet121")], ()),
        ([row(gpus_after=hot())], ()),
        ([row(gpus_after=hot("power cap"))], (Doubt.THROTTLED,)),
        ([row(gpu_others=0), row(gpu_others=2)], (Doubt.SHARED,)),
        ([row(), row(gpus_before=hot("thermal, by the driver"), seconds=13.0)], (Doubt.THROTTLED, Doubt.NOISY)),
    ],
)
def test_what_is_not_ranked(rows: list[dict[str, Any]], expected: tuple[Doubt, ...]):
    assert doubts(rows) == expected
