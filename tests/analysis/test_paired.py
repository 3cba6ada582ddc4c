"""Paired comparison: the interval holds the truth as often as it says, on noise as a shared machine makes it."""

from __future__ import annotations

import numpy as np
import pytest

from scsc_lab import InputError
from scsc_lab.analysis import paired
from scsc_lab.analysis.paired import compare, noise_floor, verdict
from scsc_lab.settings import Timing


def drift(generator, shape):
    """Clock speed that falls by a half and swings."""
    progress = np.linspace(0, 1, shape[1])
    return np.log1p(0.5 * progress) + 0.3 * np.sin(9 * progress) + 0.005 * generator.standard_normal(shape)


def bursts(generator, shape):
    """Other work that comes and goes, and slows everything by half as long as it is there."""
    busy, noise = generator.random(shape[0]) < 0.2, np.empty(shape)
    for moment in range(shape[1]):
        busy ^= generator.random(shape[0]) < np.where(busy, 0.15, 0.04)
        noise[:, moment] = busy * (0.5 + 0.2 * generator.standard_normal(shape[0]))
    return noise + 0.01 * generator.standard_normal(shape)


def heavy_tails(generator, shape):
    return 0.02 * generator.standard_cauchy(shape)


def one_sided(generator, shape):
    return generator.exponential(0.05, shape)


@pytest.mark.parametrize("noise", [drift, bursts, heavy_tails, one_sided], ids=lambda noise: noise.__name__)
@pytest.mark.parametrize("pairs", [6, 7, 12, 24, 64])
def test_the_interval_holds_the_true_ratio_in_95_percent(noise, pairs):
    generator = np.random.default_rng(pairs)
    trials, true = 1200, 1.4
    series = noise(generator, (trials, 2 * pairs)).clip(-30, 30)
    swapped = generator.random((trials, pairs)) < 0.5
    first, second = np.exp(series[:, 0::2]), np.exp(series[:, 1::2])
    baseline, other = np.where(swapped, second, first), true * np.where(swapped, first, second)
    held = 0
    for trial in range(trials):
        found = compare(baseline[trial], other[trial], resamples=2000, seed=trial)
        held += found.low <= true <= found.high
    assert 0.92 <= held / trials <= 0.98


def test_resamples_of_an_ordinary_bootstrap_agree_where_there_are_many_values():
    values = np.random.default_rng(0).normal(size=2001)
    drawn = np.random.default_rng(1).choice(values, (1500, 2001))
    ours = np.percentile(paired.bootstrap_medians(values, 20_000, 0), (2.5, 97.5))
    assert ours == pytest.approx(np.percentile(np.median(drawn, axis=1), (2.5, 97.5)), abs=0.01)


@pytest.mark.parametrize(("factor", "expected"), [(1.0, "same"), (1.005, "same"), (1.3, "slower"), (0.7, "faster")])
def test_verdicts(factor, expected):
    generator = np.random.default_rng(0)
    baseline, other = (np.exp(0.01 * generator.standard_normal(100)) for _ in range(2))
    found = compare(baseline, factor * other)
    assert found.verdict == expected
    assert found.ratio == pytest.approx(factor, rel=0.01)
    assert found.low < found.ratio < found.high
    assert found.pairs == 100


def test_noise_makes_a_verdict_inconclusive_and_delta_decides_what_is_same():
    generator = np.random.default_rng(3)
    baseline, other = (np.exp(0.2 * generator.standard_normal(30)) for _ in range(2))
    assert compare(baseline, other).verdict == "inconclusive"
    assert compare(baseline, other, delta=0.9).verdict == "same"
    assert verdict(1.001, 1.004, 0.02) == "same"
    assert verdict(1.001, 1.004, 0.0) == "slower"
    assert verdict(0.5, 0.9, 0.0) == "faster"
    assert verdict(0.9, 1.1, 0.02) == "inconclusive"


def test_swapping_the_two_inverts_everything():
    generator = np.random.default_rng(0)
    a, b = generator.uniform(1, 2, (2, 41))
    one, other = compare(a, b, resamples=20_000), compare(b, a, resamples=20_000)
    assert one.ratio == pytest.approx(1 / other.ratio)
    assert one.low == pytest.approx(1 / other.high, rel=0.01)


def test_too_few_pairs_have_no_interval():
    found = compare([1.0] * 5, [2.0] * 5)
    assert (found.ratio, found.low, found.high, found.verdict) == (2.0, None, None, "inconclusive")
    assert noise_floor(found) is None
    assert compare([1.0] * 6, [2.0] * 6).verdict == "slower"


def test_the_same_seed_gives_the_same_interval():
    times = np.random.default_rng(0).uniform(1, 2, (2, 20))
    assert compare(*times, seed=1) == compare(*times, seed=1)
    assert compare(*times, seed=1) != compare(*times, seed=2)


def test_noise_floor_is_the_far_end():
    assert noise_floor(paired.Comparison(1.0, 0.8, 1.1, "inconclusive", 10)) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("baseline", "times", "options", "message"),
    [
        ([], [], {}, "make no pairs"),
        ([1.0], [1.0, 2.0], {}, "make no pairs"),
        ([1.0], [0.0], {}, "positive"),
        ([1.0], [np.inf], {}, "positive"),
        ([1.0] * 9, [1.0] * 9, {"resamples": 1000}, "from 2000 up"),
    ],
)
def test_bad_times_and_too_few_resamples(baseline, times, options, message):
    with pytest.raises(InputError, match=message):
        compare(baseline, times, **options)


@pytest.mark.parametrize("noise", [drift, bursts, heavy_tails, one_sided], ids=lambda noise: noise.__name__)
@pytest.mark.parametrize("timing", [Timing(), Timing(precision=0.02)], ids=["verdict", "precision"])
@pytest.mark.parametrize("true", [1.0, 1.05])
def test_stopping_at_a_look_costs_no_coverage(noise, timing, true):
    trials = 300
    generator = np.random.default_rng(trials)
    series = noise(generator, (trials, 2 * timing.looks[-1])).clip(-30, 30)
    swapped = generator.random((trials, timing.looks[-1])) < 0.5
    first, second = np.exp(series[:, 0::2]), np.exp(series[:, 1::2])
    baseline, other = np.where(swapped, second, first), true * np.where(swapped, first, second)
    held = 0
    for trial in range(trials):
        for look in timing.looks:
            times = (baseline[trial, :look], other[trial, :look])
            found = compare(*times, resamples=2000, seed=trial, confidence=timing.confidence)
            if found.verdict != "inconclusive" if timing.precision is None else found.is_within(timing.precision):
                break
        held += found.low <= true <= found.high
    assert held / trials >= 0.92  # 95 % less 2.4 standard errors of 300 trials
