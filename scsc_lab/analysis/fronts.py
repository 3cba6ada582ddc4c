"""Fronts of points that no other beats, and power laws with the places where two curves cross."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

Better = Literal["lower", "higher", ""]
"""Better direction of a number, if any."""


def front(
    xs: Sequence[float], ys: Sequence[float], better_x: Better = "lower", better_y: Better = "lower"
) -> list[int]:
    """Return which points are on the front, from the least x to the greatest; none where an axis has no better end.

    A point is on it if no other is at least as good on both axes and better on one; equal points are all on it.

    Args:
        xs: coordinates of the points across.
        ys: coordinates of the points upwards.
        better_x: which way is better across.
        better_y: which way is better upwards.
    """
    if not (better_x and better_y):
        return []
    signs = (-1 if better_x == "higher" else 1, -1 if better_y == "higher" else 1)
    points = [(signs[0] * x, signs[1] * y) for x, y in zip(xs, ys, strict=True)]
    best: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: points[index]):
        if not best or points[index][1] < points[best[-1]][1] or points[index] == points[best[-1]]:
            best.append(index)
    return sorted(best, key=lambda index: (xs[index], ys[index]))


FEWEST = 3
"""Points that an exponent with an interval needs."""

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Power:
    """``y = factor · x ** exponent``, fitted to logarithms by least squares.

    Attributes:
        exponent: slope of log y over log x.
        low, high: its 95 % t interval, from the residuals: noise and what is no power both widen it.
        factor: y at x = 1.
        explained: share of the variance of log y that the line explains (R²).
    """

    exponent: float
    low: float
    high: float
    factor: float
    explained: float

    def at(self, x: float) -> float:
        """Return the fitted y at x."""
        return float(self.factor * x**self.exponent)


def fit(xs: Sequence[float], ys: Sequence[float]) -> Power | None:
    """Return the power law of some points; ``None`` of fewer than three, or where a coordinate is not above 0."""
    if len(set(xs)) < FEWEST or min(*xs, *ys) <= 0:
        return None
    if min(ys) == max(ys):
        return Power(0.0, 0.0, 0.0, float(ys[0]), 1.0)
    from scipy import stats

    across, upwards = ([math.log(value) for value in values] for values in (xs, ys))
    line = stats.linregress(across, upwards)
    reach = float(stats.t.ppf((1 + _CONFIDENCE) / 2, len(xs) - 2)) * float(line.stderr)
    slope, explained = float(line.slope), float(line.rvalue) ** 2
    return Power(slope, slope - reach, slope + reach, math.exp(line.intercept), explained)


@dataclass(frozen=True)
class Crossing:
    """Crossing of a ratio through 1.

    Attributes:
        x: where it does, interpolated between the points in logarithms.
        low, high: where the ends of the ratio's interval do; ``None`` where that is outside the points.
        falls: whether the ratio is below 1 above ``x``.
    """

    x: float
    low: float | None
    high: float | None
    falls: bool


def crossing(
    xs: Sequence[float], ratios: Sequence[float], lows: Sequence[float], highs: Sequence[float]
) -> Crossing | None:
    """Return where a ratio passes 1, if it does so exactly once, and its interval is below 1 at a point.

    Args:
        xs: rising positive numbers.
        ratios: a positive ratio at each.
        lows: lower end of its interval.
        highs: upper end.
    """
    places = _passes(xs, ratios)
    if len(places) != 1 or min(highs) >= 1:
        return None
    x, falls = places[0], ratios[-1] < 1
    ends = [
        next((place for place in (sorted(_passes(xs, values), key=lambda place: abs(math.log(place / x))))), None)
        for values in (lows, highs)
    ]
    below = [end for end in ends if end is not None and end <= x]
    above = [end for end in ends if end is not None and end >= x]
    return Crossing(x, min(below, default=None), max(above, default=None), falls)


def _passes(xs: Sequence[float], ratios: Sequence[float]) -> list[float]:
    """Return every x at which a ratio passes 1, from one side to the other; the mean of points at which it is 1."""
    points = [(math.log(x), math.log(ratio)) for x, ratio in zip(xs, ratios, strict=True)]
    sides = [(x, y) for x, y in points if y]
    places = []
    for (x, y), (next_x, next_y) in itertools.pairwise(sides):
        if y * next_y < 0:
            equal = [place for place, side in points if side == 0 and x < place < next_x]
            places.append(math.exp(fmean(equal) if equal else x - y * (next_x - x) / (next_y - y)))
    return places
