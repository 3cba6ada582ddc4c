"""What is said of one series of times, and when nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from scsc_lab import InputError
from scsc_lab.analysis import samples


@pytest.mark.parametrize(("percent", "needed"), [(90, 64), (95, 130), (99, 662)])
def test_percentiles_are_refused_below_the_samples_they_need(percent, needed):
    times = np.arange(1.0, needed + 1)
    assert samples.percentile(times[:-1], percent) is None
    assert samples.percentile(times, percent) == pytest.approx(np.percentile(times, percent))


def test_other_percentiles_are_mistakes():
    with pytest.raises(InputError, match="one of 90, 95, 99"):
        samples.percentile([1.0], 50)


def test_median_and_spread():
    assert samples.median([]) is None
    assert samples.median([3.0, 1.0, 2.0]) == 2.0
    assert samples.interquartile_range([1.0, 2.0, 3.0]) is None
    assert samples.interquartile_range([1.0, 2.0, 3.0, 4.0, 5.0]) == 2.0


def test_outliers_are_labelled_on_both_sides():
    times = [1.0, 1.1, 9.0, 1.2, 1.1, 1.0, 0.01, 1.1]
    assert samples.outliers(times) == (2, 6)
    assert samples.outliers([1.0, 1.0, 99.0]) == ()
    assert samples.outliers([1.0] * 10) == ()


def test_drift_is_flagged_and_noise_is_not():
    noise = 1 + 0.005 * np.random.default_rng(0).standard_normal(60)
    assert not samples.drift(noise).flagged
    up = samples.drift(noise * np.linspace(1, 1.3, 60))
    assert up.flagged
    assert up.change == pytest.approx(0.18, abs=0.05)
    assert samples.drift(noise * np.linspace(1, 0.8, 60)).flagged
    assert samples.drift([1.0] * 5 + [2.0] * 5).change is None
    assert samples.drift([1.0] * 50) == samples.Drift(0.0, False)


def test_spread_is_the_median_over_the_fastest():
    assert samples.spread([2.0, 3.0, 9.0]) == 1.5
    assert samples.spread([]) is None
    assert samples.spread([0.0, 1.0]) is None
