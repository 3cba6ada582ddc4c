"""Statistics of a series of times: median, spread, percentiles, outliers and drift. No sample is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scsc_lab.errors import InputError
from scsc_lab.settings import PERCENTILES

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
