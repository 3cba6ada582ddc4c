"""What is said of one series of times, and when nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from scsc_lab import InputError
from scsc_lab.analysis import paired


@pytest.mark.parametrize(("percent", "needed"), [(90, 64), (95, 130), (99, 662)])
def test_percentiles_are_refused_below_the_samples_they_need(percent, needed):
    times = np.arange(1.0, needed + 1)
    assert paired.percentile(times[:-1], percent) is None
    assert paired.percentile(times, percent) == pytest.approx(np.percentile(times, percent))


def test_other_percentiles_are_mistakes():
    with pytest.raises(InputError, match="one of 90, 95, 99"):
        paired.percentile([1.0], 50)


def test_median_and_spread():
    assert paired.median([]) is None
    assert paired.median([3.0, 1.0, 2.0]) == 2.0
    assert paired.interquartile_range([1.0, 2.0, 3.0]) is None
    assert paired.interquartile_range([1.0, 2.0, 3.0, 4.0, 5.0]) == 2.0


def test_outliers_are_labelled_on_both_sides():
    times = [1.0, 1.1, 9.0, 1.2, 1.1, 1.0, 0.01, 1.1]
    assert paired.outliers(times) == (2, 6)
    assert paired.outliers([1.0, 1.0, 99.0]) == ()
    assert paired.outliers([1.0] * 10) == ()


def test_drift_is_flagged_and_noise_is_not():
    noise = 1 + 0.005 * np.random.default_rng(0).standard_normal(60)
    assert not paired.drift(noise).flagged
    up = paired.drift(noise * np.linspace(1, 1.3, 60))
    assert up.flagged
    assert up.change == pytest.approx(0.18, abs=0.05)
    assert paired.drift(noise * np.linspace(1, 0.8, 60)).flagged
    assert paired.drift([1.0] * 5 + [2.0] * 5).change is None
    assert paired.drift([1.0] * 50) == paired.Drift(0.0, False)


def test_spread_is_the_median_over_the_fastest():
    assert paired.spread([2.0, 3.0, 9.0]) == 1.5
    assert paired.spread([]) is None
    assert paired.spread([0.0, 1.0]) is None
