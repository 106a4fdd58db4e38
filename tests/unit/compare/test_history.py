"""Series over months: steps are found where there are some, and seldom where there are none."""

import numpy as np
import pytest

from orchestrator.compare import history


def noisy(random: np.random.Generator, level: float, count: int, spread: float = 0.02) -> list[float]:
    return list(level * np.exp(random.normal(0, spread, count)))


def test_a_step_up_and_one_down_are_found_where_they_are():
    random = np.random.default_rng(1)
    values = [*noisy(random, 100, 12), *noisy(random, 110, 12), *noisy(random, 95, 12)]
    found = history.steps(values)
    assert [step.place for step in found] == [12, 24]
    assert [round(step.change, 1) for step in found] == [0.1, -0.1]
    assert found[0].before == pytest.approx(100, rel=0.02)
    assert found[0].after == found[1].before == pytest.approx(110, rel=0.02)


def test_one_odd_day_is_no_step():
    values = [100.0, 101, 99, 100.5, 99.5, 160, 100.2, 99.8, 100.1, 100.9, 99.1, 100.3]
    assert history.steps(values) == []


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 50, [float(n) for n in range(7)]])
def test_too_few_days_and_equal_ones_have_no_steps(values):
    assert history.steps(values) == []


@pytest.mark.parametrize("shape", ["normal", "bimodal", "heavy"])
def test_noise_alone_makes_a_step_on_few_pages_only(shape):
    random = np.random.default_rng(7)
    draw = {
        "normal": lambda: noisy(random, 100, 30),
        "bimodal": lambda: list(100 + 8 * random.integers(0, 2, 30) + random.normal(0, 1, 30)),
        "heavy": lambda: list(100 + random.standard_t(2, 30)),
    }[shape]
    pages = 60
    wrong = sum(any(history.steps(draw(), series=5) for _ in range(5)) for _ in range(pages))
    assert wrong <= 0.1 * pages  # 5 % are allowed


def test_the_rounds_of_a_day_are_one_point():
    runs = [("2026-11-02", 12.0, {"run": "c"}), ("2026-11-01", 10.0, {"run": "a"}), ("2026-11-01", 11.0, {"run": "b"})]
    first, second = history.days(runs)
    assert (first.date, first.low, first.median, first.high) == ("2026-11-01", 10.0, 10.5, 11.0)
    assert [run["run"] for run in (*first.runs, *second.runs)] == ["a", "b", "c"]
