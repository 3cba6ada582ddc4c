"""Differences over seeds: closed forms, verdicts, and the coverage of the interval on simulated runs."""

from __future__ import annotations

import math
from statistics import mean

import numpy as np
import pytest
from scipy import stats

from scsc_lab import InputError
from scsc_lab.analysis import paired_seeds
from scsc_lab.analysis.paired_seeds import compare, holm, mcnemar_p, noise, share_interval, sign_flip_p, verdict


def test_the_interval_is_the_paired_t_test():
    baseline, other = [60.1, 62.0, 59.5, 61.2, 60.8, 61.9], [61.0, 62.9, 61.1, 61.0, 62.2, 63.0]
    found = compare(baseline, other)
    expected = stats.ttest_rel(other, baseline).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(mean(other) - mean(baseline))
    assert found.correlation == pytest.approx(np.corrcoef(baseline, other)[0, 1])
    assert (found.seeds, found.p_value) == (6, 4 / 64)
    assert found.verdict == "inconclusive"  # by its p, although the interval is clear of 0
    assert compare(baseline, [value + 1 + 0.1 * at for at, value in enumerate(baseline)]).verdict == "better"


@pytest.mark.parametrize("n", [3, 5, 6, 10])
def test_the_interval_holds_what_it_promises_on_simulated_runs(n):
    random = np.random.default_rng(n)
    held, runs = 0, 2000
    for _ in range(runs):
        shared = random.normal(60, 2, n)
        found = compare((shared + random.normal(0, 1, n)).tolist(), (shared + random.normal(1.5, 1, n)).tolist())
        held += found.low <= 1.5 <= found.high
    assert held / runs == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / runs))


def test_the_sign_flip_p_is_exact():
    assert sign_flip_p([1.0] * 6) == 2 / 2**6
    assert sign_flip_p([1.0] * 10) == 2 / 2**10
    assert sign_flip_p([1.0, -1.0]) == 1.0
    assert sign_flip_p([0.0, 0.0, 0.0]) == 1.0
    assert sign_flip_p([1.0, 2.0, -0.5]) == pytest.approx(4 / 8)  # ±(1 + 2 + .5), ±(1 + 2 − .5)
    assert sign_flip_p([0.3 + 0.01 * i for i in range(20)]) < 1e-4


def test_few_seeds_give_no_verdict():
    found = compare([60.0] * 5, [70.0, 70.1, 70.2, 70.0, 70.1])
    assert found.verdict == ""
    assert found.low > 9
    assert compare([60.0], [61.0]).low is None
    assert compare([60.0], [61.0]).correlation is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-0.4, 0.5, "same"), (0.1, 0.4, "same"), (0.1, 0.9, "better"), (-2, -0.1, "worse"), (-0.6, 0.2, "inconclusive")],
)
def test_verdicts(low, high, expected):
    assert verdict(low, high, 10, 0.5, 0.05) == expected
    assert verdict(low, high, 5, 0.5, 0.05) == ""
    assert verdict(low, high, 10, 0.5, 0.051) == ("same" if expected == "same" else "inconclusive")


@pytest.mark.parametrize(
    ("comparisons", "fewest"), [(1, 6), (2, 7), (5, 8), (6, 8), (7, 9), (10, 9), (12, 9), (13, 10)]
)
def test_a_family_needs_seeds_by_its_size(comparisons, fewest):
    assert paired_seeds.needed(comparisons) == fewest
    rising = [1.0 + 0.1 * at for at in range(fewest)]
    assert holm([sign_flip_p(rising)] * comparisons)[0] <= 0.05 < holm([sign_flip_p(rising[1:])] * comparisons)[0]
    assert paired_seeds.shortage(comparisons, fewest) == ""
    assert f"{fewest} seeds or more: with {fewest - 1}" in paired_seeds.shortage(comparisons, fewest - 1)
    assert paired_seeds.shortage(0, 1) == ""


def test_holm_adjusts_step_down():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_mcnemar_is_the_exact_binomial_test():
    one = [True] * 90 + [False] * 10
    assert mcnemar_p(one, one) == 1.0
    two = [False] * 8 + [True] * 82 + [True] * 1 + [False] * 9  # 8 only the first has right, 1 only the second
    assert mcnemar_p(one, two) == pytest.approx(stats.binomtest(1, 9).pvalue)


def test_the_interval_of_a_share_is_wilsons():
    low, high = share_interval(0, 50)
    assert low == 0.0
    assert high == pytest.approx(100 * 1.959964**2 / (50 + 1.959964**2), rel=1e-4)


@pytest.mark.parametrize(("baseline", "other"), [([], []), ([1.0], [1.0, 2.0]), ([math.nan], [1.0])])
def test_what_makes_no_pairs_is_refused(baseline, other):
    with pytest.raises(InputError):
        compare(baseline, other)


def test_noise_pooled_over_networks_holds_the_true_difference():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(2000):
        effects, of_seeds = rng.normal(0, 20, 8), rng.normal(0, 5, 2)
        table = effects[:, None] + of_seeds + rng.normal(0, 3, (8, 2))
        pooled = noise(table)
        assert pooled.freedom == 7
        held.append(abs(table[1].mean() - table[0].mean() - (effects[1] - effects[0])) <= pooled.reach(2))
    assert 0.93 <= np.mean(held) <= 0.97
    assert noise([[1.0, 2.0]]) is noise([[1.0], [2.0]]) is None
