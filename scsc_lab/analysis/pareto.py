"""The Pareto front: the points that no other point beats on both axes."""

from __future__ import annotations

from collections.abc import Sequence


def front(xs: Sequence[float], ys: Sequence[float], higher_x: bool = False, higher_y: bool = False) -> list[int]:
    """Return which points are on the front, from the least x to the greatest.

    A point is on it if no other is at least as good on both axes and better on one; equal points are all on it.

    Args:
        xs: coordinates of the points across.
        ys: coordinates of the points upwards.
        higher_x: whether more is better across; less is otherwise.
        higher_y: whether more is better upwards.
    """
    signs = (-1 if higher_x else 1, -1 if higher_y else 1)
    points = [(signs[0] * x, signs[1] * y) for x, y in zip(xs, ys, strict=True)]
    best = [
        index
        for index, (x, y) in enumerate(points)
        if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)
    ]
    return sorted(best, key=lambda index: (xs[index], ys[index]))
