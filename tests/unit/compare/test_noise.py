"""The statistics against SciPy's, and how often they err on rounds of which the truth is known."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from orchestrator.cell.cell import Cell
from orchestrator.compare import cores_used
from orchestrator.compare.evidence import (
    LARGEST_EXACT,
    Comparison,
    adjusted,
    against_figure,
    compare,
    drift,
    ratio_interval,
    rounds_for,
)
from orchestrator.compare.noise import Doubt, doubts, interval, median, spread
from orchestrator.results.rows import unfilled_row

seconds = st.floats(0.01, 1e6)
rounds = st.lists(seconds, min_size=1, max_size=12)
few_values = st.lists(st.integers(1, 6).map(float), min_size=1, max_size=40)


@given(rounds)
def test_median_and_spread_are_those_of_numpy_and_scipy(values: list[float]):
    assert median(values) == np.median(values)
    if len(values) < 2:
        assert spread(values) is None
    else:  # three have no quartiles
        apart = stats.iqr(values) if len(values) > 3 else np.ptp(values)
        assert spread(values) == pytest.approx(apart / np.median(values))


@pytest.mark.parametrize("count", range(1, 30))
def test_the_interval_holds_the_median_as_often_as_it_says_whatever_the_noise(count: int):
    values = [float(value) for value in range(count)]
    found = interval(values)
    if found is None:
        assert count < 6  # even all of five would miss it in one case of sixteen
        return
    rank = int(found[0]) + 1
    assert found == (rank - 1, count - rank)
    assert 2 * stats.binom.cdf(rank - 1, count, 0.5) <= 0.05 < 2 * stats.binom.cdf(rank, count, 0.5)


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


@pytest.mark.parametrize("sizes", [(4, 4), (5, 9), (12, 12), (30, 40)])
def test_the_interval_of_a_ratio_holds_1_where_the_rank_test_tells_no_difference(sizes: tuple[int, int]):
    rng = np.random.default_rng(7)
    for shift in (1, 1.05, 1.2):
        a, b = (np.exp(rng.normal(0, 0.05, count)) for count in sizes)
        low, high = ratio_interval(shift * a, b) or (0, 0)
        assert (low <= 1 <= high) == (compare(shift * a, b).verdict == "undecided")


def test_too_few_rounds_have_no_interval():
    assert ratio_interval([1.0], [2.0]) is None
    assert ratio_interval([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) is None
    assert ratio_interval([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0]) == (1, 4)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_many_comparisons_are_adjusted_as_scipy_does(chances: list[float]):
    assert adjusted(chances) == pytest.approx(list(stats.false_discovery_control(chances)))


def test_a_table_of_equal_cells_has_a_false_alarm_no_more_often_than_a_single_one():
    rng = np.random.default_rng(2026)
    tables = [adjusted([compare(*rng.lognormal(0, 0.08, (2, 6))).p for _ in range(20)]) for _ in range(500)]
    alarms = sum(min(table) <= 0.05 for table in tables) / len(tables)
    assert alarms <= 0.05 + 3 * (0.05 * 0.95 / 500) ** 0.5


def test_rounds_that_a_single_difference_takes():
    assert [rounds_for(count) for count in (1, 5, 20, 253)] == [4, 5, 6, 8]


def test_a_drift_is_what_all_series_show_together():
    rising = [100 * 1.02**n for n in range(5)]
    assert drift([rising, rising]) == pytest.approx(0.02)
    assert drift([rising[::-1]]) == pytest.approx(1 / 1.02 - 1)
    assert drift([rising, rising[::-1]]) is None
    assert drift([rising[:3]]) is None  # one order of six
    assert drift([rising[:3]], toward=-1) is None
    assert drift([[1.0, 1.1, 1.2, 1.15]]) is None
    assert drift([[1.0, 1.1, 1.2, 1.3]], toward=1) is not None  # which would explain what is slower later
    assert drift([[5.0], [7.0]]) is None
    assert drift([]) is None


def test_without_a_drift_hardly_any_is_seen():
    rng = np.random.default_rng(2026)
    seen = sum(drift(list(rng.normal(1, 0.05, (2, 5)))) is not None for _ in range(1000))
    assert seen <= 50 + 3 * (1000 * 0.05 * 0.95) ** 0.5


@given(st.lists(st.floats(0.5, 2), min_size=2, max_size=12, unique=True), st.floats(0.5, 2))
def test_against_a_single_figure_it_is_students_test(values: list[float], figure: float):
    logs = np.log(values)
    if logs.std() < 1e-6:
        return
    error = logs.std(ddof=1) * (1 + 1 / len(logs)) ** 0.5
    p, (low, high) = against_figure(values, figure)
    distance, limit = logs.mean() - np.log(figure), stats.t.ppf(0.975, len(logs) - 1)
    assert p == pytest.approx(2 * stats.t.sf(abs(distance) / error, len(logs) - 1), abs=1e-9)
    assert (low, high) == pytest.approx((np.exp(distance - limit * error), np.exp(distance + limit * error)), rel=1e-5)


@pytest.mark.parametrize("call", [median, lambda v: compare(v, [1]), lambda v: compare([1], v)])
def test_nothing_measured_is_an_error(call: Any):
    with pytest.raises(ValueError, match="no values"):
        call([])


def row(**changes: Any) -> dict[str, Any]:
    cell = Cell("pytorch", changes.pop("workload", "rnn"), data=changes.pop("data", "real"))
    proof = "parity of this script and image, run 1"
    return {**unfilled_row(cell), "seconds": 10.0, "shortened": False, "proof": proof, "checks": "{}", **changes}


def hot(*reasons: str) -> str:
    return json.dumps([{"uuid": "GPU-0", "throttled": []}, {"uuid": "GPU-1", "throttled": reasons}])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row()], ()),
        ([row(), row(seconds=10.9)], ()),
        ([row(), row(seconds=13.0)], (Doubt.NOISY,)),
        ([row(), row(shortened=True)], (Doubt.SHORTENED,)),
        ([row(), row(seconds=10.1), row(), row(seconds=10.2), row(seconds=13.0)], ()),  # outvoted
        ([row(), row(proof=None)], (Doubt.UNPROVED,)),
        ([row(), row(checks=None)], (Doubt.UNPROVED,)),
        ([row(checks=None, workload="resnet50")], ()),
        ([row(proof=None, shortened=True)], (Doubt.SHORTENED,)),
        ([row(load_after=1.0)], ()),
        ([row(load_before=16.0)], (Doubt.LOADED,)),
        ([row(), row(load_after=1.5)], (Doubt.LOADED,)),
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


def test_a_run_that_uses_its_cores_otherwise_than_its_library_does_is_not_ranked():
    (library, workload, cores), used = next(iter(cores_used.measured().items()))
    usual = {**unfilled_row(Cell(library, workload)), "seconds": 10.0, "shortened": False, "cores": cores}
    usual |= {"proof": "parity of this script and image, run 1", "checks": "{}"}
    assert doubts([{**usual, "cpu_used": used}]) == ()
    assert doubts([{**usual, "cpu_used": used - 0.3}]) == (Doubt.CORES,)
    assert doubts([{**usual, "cpu_used": used + 0.3}]) == (Doubt.CORES,)
    assert doubts([usual]) == ()  # of earlier versions
    assert doubts([{**usual, "cores": 1000, "cpu_used": 0.01}]) == ()  # nobody knows what is usual there
