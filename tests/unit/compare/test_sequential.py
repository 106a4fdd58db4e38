"""The test behind `rosetta compare`: exact by the order that was drawn, however often one looks."""

import itertools

import numpy as np
import pytest

from benchmarks.statistics import interleaved
from orchestrator.compare import sequential
from orchestrator.compare.noise import ENOUGH
from orchestrator.compare.sequential import PAIRS, Evidence, Rounds

LIMIT = float(np.log1p(0.05))


def rounds(slowdown: float, noise: float, blocks: int, seed: int = 0) -> Rounds:
    """Blocks of normal noise."""
    orders = [sequential.order(f"{seed}", block) for block in range(blocks)]
    times = np.random.default_rng(seed).normal(0, noise, (blocks, 2 * PAIRS))
    return Rounds(times + np.log1p(slowdown) * np.array(orders, float), orders)


def test_a_block_has_four_runs_of_each_side_in_an_order_that_is_always_the_same():
    orders = [sequential.order("a", block) for block in range(200)]
    assert {sum(order) for order in orders} == {PAIRS == ENOUGH and 4}
    assert orders == [sequential.order("a", block) for block in range(200)]
    assert len(set(orders)) > 50  # of 70
    firsts = sum(order[0] for order in orders)
    assert 70 < firsts < 130


def test_the_chance_is_that_among_all_orders_that_might_have_been_drawn():
    found = rounds(0.0, 1.0, 1)
    aligned = found.aligned(0.0).ravel()
    ranks = aligned.argsort().argsort()
    sums = [sum(ranks[list(places)]) for places in itertools.combinations(range(8), 4)]
    ours = sum(ranks[list(found.orders[0])])
    longer, shorter = sequential.chances(found)
    assert longer == pytest.approx(np.mean([s >= ours for s in sums]))
    assert shorter == pytest.approx(np.mean([s <= ours for s in sums]))


def test_two_blocks_as_different_as_can_be_are_one_order_of_4900():
    longer, shorter = sequential.chances(rounds(1.0, 0.001, 2))
    assert (longer, shorter) == (pytest.approx(1 / 70**2), 1.0)


def test_a_common_drift_is_no_difference_and_hides_none():
    drift = np.arange(8) * 0.05
    for slowdown, expected in ((0.0, False), (0.2, True)):
        found = rounds(slowdown, 0.005, 3)
        longer, _ = sequential.chances(Rounds(found.times + drift, found.orders))
        assert (longer < 1e-4) == expected


@pytest.mark.parametrize("cells", [1, 2, 20, 200, 5000])
def test_all_looks_together_spend_the_whole_risk_and_none_what_tells_nothing(cells):
    shares = sequential.shares(cells)
    assert sum(shares) == pytest.approx(1)
    first = next(look for look, share in enumerate(shares, 1) if share)
    assert shares[first - 1] >= sequential.least_share(cells, first)
    assert first == 1 or sequential.least_share(cells, first - 1) > sequential.LARGEST_FIRST


def test_four_rounds_tell_a_single_cell_apart_and_not_one_of_many():
    seeds = (seed for seed in itertools.count() if sequential.order(f"{seed}", 0)[:4] == (True, False, False, True))
    found = rounds(1.0, 0.001, 1, next(seeds))
    assert sequential.known([sequential.evidence(found, 1, LIMIT).different]) == [True]
    assert sequential.evidence(found, 2, LIMIT).different == 1.0


def test_the_interval_holds_the_ratio_and_excludes_one_only_where_the_test_does():
    found = rounds(0.10, 0.01, 3)
    low, high = sequential.interval(found, 1)
    assert 1.0 < low < found.ratio() < high
    assert low < 1.10 < high
    assert sequential.interval(rounds(0.1, 0.01, 1), 20) is None


def test_how_many_blocks_it_takes_is_told_unless_it_is_hopeless():
    assert sequential.blocks_needed(rounds(0.10, 0.01, 1), 20, 20, LIMIT) == 1
    noisy = rounds(0.02, 0.05, 2, seed=3)
    assert sequential.blocks_needed(noisy, 1, 1, LIMIT) is None or sequential.blocks_needed(noisy, 1, 1, LIMIT) > 1
    assert sequential.blocks_needed(rounds(0.0, 1.0, 2), 20, 20, LIMIT) is None


def test_holm_gives_what_is_left_to_those_that_are_left():
    assert sequential.known([0.5, 0.03, 0.012, 0.001]) == [False, False, True, True]
    assert sequential.known([0.5, 0.02, 0.02, 0.02]) == [False] * 4
    assert sequential.known([]) == []


def test_more_looks_only_ever_add_evidence():
    found = rounds(0.05, 0.03, 6)
    each = [sequential.evidence(found.first(blocks), 20, LIMIT) for blocks in range(1, 7)]
    assert each[0] == Evidence()
    for before, after in itertools.pairwise(each):
        assert after.different <= before.different
        assert after.bounded <= before.bounded


SMALL = 12


@pytest.mark.parametrize("noise", ["normal, 2 %", "bimodal, 2 %", "foreign load, processor time"])
def test_five_percent_are_found_within_three_times_the_plain_time(noise):
    found = interleaved.rates(noise, interleaved.PLANTED, SMALL)
    assert found.alarms <= 1 / SMALL
    assert found.missed <= 1 / SMALL
    assert found.found[0.05] >= 0.9
    assert found.found[0.10] == 1.0
    assert found.cost <= interleaved.BUDGET


@pytest.mark.parametrize("noise", ["log-normal, 8 %", "drift of 1 % a run, 2 %", "foreign load, the clock"])
def test_equal_cells_are_hardly_ever_called_different_however_noisy(noise):
    assert interleaved.rates(noise, interleaved.EQUAL, SMALL).alarms <= 1 / SMALL
