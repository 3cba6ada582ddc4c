"""The Pareto front: the points that no other point beats on both axes."""

from __future__ import annotations

from collections.abc import Sequence
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
