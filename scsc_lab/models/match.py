"""The width at which a transplant costs what the original costs: one factor for all places, by bisection."""

from __future__ import annotations

import math
from collections.abc import Callable

NEAR_ENOUGH = 0.01
"""Relative difference that counts as the same cost."""

_NARROWEST, _WIDEST = 1 / 64, 64.0
_STEPS = 16
_GOOD = 0.001


def nearest_width(cost: Callable[[float], float]) -> tuple[float, float]:
    """Return the width whose cost comes nearest to 1, and that cost.

    Args:
        cost: the network's cost at a width, over the original's; it does not fall as the width grows, and it may have
            steps, since channels are whole.
    """
    tried = {width: cost(width) for width in (_NARROWEST, 1.0)}
    low, high = (_NARROWEST, 1.0) if tried[1.0] > 1 else (1.0, _WIDEST)
    for _ in range(_STEPS):
        width = float(f"{math.sqrt(low * high):.4g}")
        if width in tried:
            break
        tried[width] = cost(width)
        if abs(tried[width] - 1) <= _GOOD:
            break
        low, high = (low, width) if tried[width] > 1 else (width, high)
    return min(tried.items(), key=lambda one: abs(one[1] - 1))
