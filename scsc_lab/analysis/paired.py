"""Comparison of times measured in pairs: a ratio, its 95 % interval and a verdict. Arrays in, no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from scsc_lab.errors import InputError
from scsc_lab.settings import FEWEST_RESAMPLES, PERCENTILES

Verdict = Literal["faster", "slower", "same", "inconclusive", "withheld"]
"""Verdict on a ratio of times; ``withheld``: the machine was too busy for one."""

FEWEST_PAIRS = 6
"""Pairs below which there is no 95 % interval: even the whole range of five holds the median in 94 % of all cases."""

CONFIDENCE = 0.95
"""Share of all intervals that hold the true ratio."""

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """A ratio of times, and how sure it is.

    Attributes:
        ratio: time divided by the baseline's time, the median over the pairs; 1.4 takes 40 % longer.
        low, high: the 95 % interval of the ratio; ``None`` if there are too few pairs for one.
        verdict: ``same`` if the interval lies within delta of 1, ``faster`` or ``slower`` if all of it lies on one side
            of 1, else ``inconclusive``.
        pairs: number of pairs it rests on.
        baseline_time: median time of the baseline in these pairs, in their unit.
    """

    ratio: float
    low: float | None
    high: float | None
    verdict: Verdict
    pairs: int
    baseline_time: float | None = None

    def is_within(self, precision: float) -> bool:
        """Return whether the interval reaches no further from the ratio than this share of it, on either side."""
        if self.low is None or self.high is None:
            return False
        return max(self.high / self.ratio, self.ratio / self.low) <= 1 + precision


def compare(
    baseline_times: Sequence[float],
    times: Sequence[float],
    *,
    delta: float = 0.02,
    resamples: int = 5000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Comparison:
    """Compare two things timed in pairs whose order was drawn at random.

    The interval is a bootstrap of the median of the pairs' log-ratios. Where the order within each pair is random, the
    signs of the noise in those are independent, however the noise itself drifts or comes in bursts, so that pairs can
    be resampled one by one.

    Args:
        baseline_times: time of the baseline in each pair, in any unit.
        times: time of the other in the same pairs, in the same unit.
        delta: relative difference that counts as none.
        resamples: resamples of the bootstrap, at least 2,000.
        seed: seed of the bootstrap.
        confidence: level of the interval; above 95 % where it is one of several looks.

    Raises:
        InputError: if there are no pairs, the lengths differ, or a time is not a positive number.
    """
    if len(times) != len(baseline_times) or not len(times):
        raise InputError(f"{len(baseline_times)} and {len(times)} times make no pairs")
    if resamples < FEWEST_RESAMPLES:
        raise InputError(f"resamples {resamples}: a whole number from {FEWEST_RESAMPLES} up")
    both = np.asarray([baseline_times, times], dtype=np.float64)
    if not (np.isfinite(both).all() and (both > 0).all()):
        raise InputError("times must be positive numbers")
    logs = np.log(both[1] / both[0])
    ratio, baseline_time = float(np.exp(np.median(logs))), float(np.median(both[0]))
    if logs.size < FEWEST_PAIRS:
        return Comparison(ratio, None, None, "inconclusive", logs.size, baseline_time)
    tail = 100 * (1 - confidence) / 2
    low, high = np.exp(np.percentile(bootstrap_medians(logs, resamples, seed), (tail, 100 - tail)))
    low, high = float(low), float(high)
    return Comparison(ratio, low, high, verdict(low, high, delta), logs.size, baseline_time)


def verdict(low: float, high: float, delta: float) -> Verdict:
    """Return what an interval of a ratio of times says; a ratio and its inverse count as equally far from 1."""
    if 1 / (1 + delta) <= low and high <= 1 + delta:
        return "same"
    if high < 1:
        return "faster"
    return "slower" if low > 1 else "inconclusive"


def noise_floor(comparison: Comparison) -> float | None:
    """Return how far from 1 the interval reaches: the relative difference that cannot be told from none."""
    if comparison.low is None or comparison.high is None:
        return None
    return math.exp(max(abs(math.log(comparison.low)), abs(math.log(comparison.high)))) - 1


def bootstrap_medians(values: _Array, resamples: int, seed: int) -> _Array:
    """Return medians of resamples of some values.

    The resamples are drawn from the values' quantile function, linear between the i-th value at i / (n + 1): an
    ordinary bootstrap can only return the values themselves, and its intervals hold 87 to 93 % where 95 % are due as
    soon as there are few values. Of each resample only its middle is needed, and the middle of n uniform numbers has
    a Beta distribution, so that no resample is ever written down.

    Args:
        values: two values at least.
        resamples: number of medians.
        seed: seed of the draw.
    """
    ordered, n = np.sort(values), values.size
    generator = np.random.default_rng(seed)
    middle = (n + 1) // 2
    below = generator.beta(middle, n + 1 - middle, resamples)
    if n % 2:
        return _quantiles(ordered, below)
    above = below + (1 - below) * (1 - generator.random(resamples) ** (1 / (n - middle)))
    return (_quantiles(ordered, below) + _quantiles(ordered, above)) / 2


def _quantiles(ordered: _Array, shares: _Array) -> _Array:
    positions: Any = np.arange(1, ordered.size + 1) / (ordered.size + 1)
    return np.interp(shares, positions, ordered)


FEWEST_FOR_SPREAD = 4
"""Samples below which there are no quartiles, and so no spread and no outliers."""

FEWEST_FOR_DRIFT = 12
"""Samples below which drift cannot be told from noise."""

RESTLESS = 1.2
"""Spread above which something else ran on the machine for at least half of the samples."""

_FENCE = 1.5
_DRIFT_DEVIATIONS = 3.0
_DRIFT_CHANGE = 0.02


@dataclass(frozen=True)
class Drift:
    """Drift of times during a measurement.

    Attributes:
        change: median of the last third against that of the first, as a fraction; ``None`` with too few samples.
        flagged: whether it is above 2 %, and time and rank go together by more than three standard deviations.
    """

    change: float | None
    flagged: bool


def median(times: Sequence[float]) -> float | None:
    """Return the median, or ``None`` of nothing."""
    return float(np.median(times)) if len(times) else None


def interquartile_range(times: Sequence[float]) -> float | None:
    """Return the distance of the quartiles, or ``None`` with fewer than four samples."""
    if len(times) < FEWEST_FOR_SPREAD:
        return None
    low, high = np.percentile(times, (25, 75))
    return float(high - low)


def spread(times: Sequence[float]) -> float | None:
    """Return the median over the fastest sample, 1 of a quiet machine; ``None`` of nothing."""
    return float(np.median(times) / min(times)) if len(times) and min(times) > 0 else None


def percentile(times: Sequence[float], percent: int) -> float | None:
    """Return the 90th, 95th or 99th percentile, or ``None`` below the 64, 130 or 662 samples it needs.

    Raises:
        InputError: if it is another percentile.
    """
    if percent not in PERCENTILES:
        raise InputError(f"percentile {percent}: one of {', '.join(map(str, PERCENTILES))}")
    return float(np.percentile(times, percent)) if len(times) >= PERCENTILES[percent] else None


def outliers(times: Sequence[float]) -> tuple[int, ...]:
    """Return which samples lie more than 1.5 interquartile ranges beyond the quartiles (Tukey)."""
    if len(times) < FEWEST_FOR_SPREAD:
        return ()
    low, high = np.percentile(times, (25, 75))
    margin = _FENCE * (high - low)
    return tuple(index for index, time in enumerate(times) if not low - margin <= time <= high + margin)


def drift(times: Sequence[float]) -> Drift:
    """Return whether samples drift, given in the order in which they were taken."""
    if len(times) < FEWEST_FOR_DRIFT:
        return Drift(None, False)
    series = np.asarray(times, dtype=np.float64)
    third = series.size // 3
    change = float(np.median(series[-third:]) / np.median(series[:third]) - 1)
    if series.min() == series.max():
        return Drift(change, False)
    ranks = np.argsort(np.argsort(series, kind="stable"), kind="stable")
    correlation = float(np.corrcoef(ranks, np.arange(series.size))[0, 1])  # Spearman's
    deviations = abs(correlation) * float(np.sqrt(series.size - 1))
    return Drift(change, abs(change) > _DRIFT_CHANGE and deviations > _DRIFT_DEVIATIONS)
