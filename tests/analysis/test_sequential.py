"""Stopping when an interval is narrow: coverage by simulation, and plans against simulated power."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from scsc_lab import InputError
from scsc_lab.analysis import sequential


def stopped(differences: np.ndarray, until: float, looks) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each row's interval holds 0 where it stops, and the pairs it stops at."""
    held, ended = np.zeros(len(differences), bool), np.zeros(len(differences), int)
    for look in looks:
        values = differences[:, : look.seeds]
        reach = (
            values.std(axis=1, ddof=1) / math.sqrt(look.seeds) * stats.t.ppf((1 + look.confidence) / 2, look.seeds - 1)
        )
        stops = (ended == 0) & ((reach < until) | (look is looks[-1]))
        held[stops] = np.abs(values.mean(axis=1))[stops] <= reach[stops]
        ended[stops] = look.seeds
    return held, ended


@pytest.mark.parametrize("until", [0.4, 0.7, 1.0, 1.5])
def test_intervals_hold_under_stopping(until):
    """20,000 experiments of deviation 1: at least 95 % coverage, where naive looks after each pair have less."""
    differences = np.random.default_rng(0).standard_normal((20_000, 30))
    held, _ = stopped(differences, until, sequential.looks(30))
    assert held.mean() > 0.95 - 3 * math.sqrt(0.05 * 0.95 / 20_000)


def test_naive_looks_do_not_hold():
    differences = np.random.default_rng(0).standard_normal((20_000, 30))
    naive = [sequential.Look(pairs, 0.95) for pairs in range(3, 31)]
    assert stopped(differences, 0.7, naive)[0].mean() < 0.92


def test_looks_are_fixed_before_and_spend_five_percent():
    looks = sequential.looks(20)
    assert [look.seeds for look in looks] == [6, 11, 15, 20]
    assert sum(1 - look.confidence for look in looks) == pytest.approx(0.05)
    assert looks[-1].confidence == pytest.approx(1 - 0.05 * 8 / 15)
    assert sequential.looks(6) == (sequential.Look(6, 0.95),)
    assert [look.seeds for look in sequential.looks(7)] == [6, 7]
    with pytest.raises(InputError, match="--max-seeds 5: a number from 6 up"):
        sequential.looks(5)


@pytest.mark.parametrize(("deviation", "difference", "comparisons"), [(2.0, 2.0, 1), (4.0, 2.0, 1), (3.0, 2.0, 10)])
def test_planned_seeds_find_the_difference_in_simulation(deviation, difference, comparisons):
    pairs = sequential.needed(deviation, difference, comparisons)
    draws = np.random.default_rng(1).normal(difference, deviation, (4000, pairs))
    found = (stats.ttest_1samp(draws, 0, axis=1).pvalue <= 0.05 / comparisons).mean()
    assert 0.78 < found < 0.9
    assert sequential.power(deviation, difference, pairs - 1, comparisons) < 0.8


def test_plans_are_never_below_what_a_verdict_needs():
    assert sequential.needed(0.0, 2.0) == 6
    assert sequential.needed(0.1, 2.0, comparisons=10) == 9
    with pytest.raises(InputError, match="a number above 0"):
        sequential.needed(1.0, 0.0)
    with pytest.raises(InputError, match="more than 10,000 seeds"):
        sequential.needed(100.0, 0.01)


def test_half_widths():
    assert sequential.half_width([1.0], 0.95) == math.inf
    values = [1.0, 2.0, 4.0, 3.0]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert sequential.half_width(values, 0.95) == pytest.approx((high - low) / 2)


def test_power_rises_with_the_pairs_where_the_other_tail_is_tiny():
    powers = [sequential.power(4.5, 8.55, pairs, 25) for pairs in range(2, 60)]
    assert all(after >= before - 1e-9 for before, after in itertools.pairwise(powers))
    assert powers[-1] == pytest.approx(1.0)
    assert sequential.needed(4.5, 8.55, 25) == 10  # 9 find it, and a verdict of 25 comparisons needs 10


def test_plans_reach_up_to_the_most_seeds():
    pairs = sequential.needed(2.539, 0.09955, 16)
    assert 8192 < pairs <= 10_000
    assert sequential.power(2.539, 0.09955, pairs, 16) >= 0.8 > sequential.power(2.539, 0.09955, pairs - 1, 16)
