"""Seeds added until an interval is narrow: intervals that stay valid under such stopping, and seeds planned before.

An interval that is looked at repeatedly, until it is narrow, holds the true difference less often than its level says.
Here the number of looks is fixed before, and their errors together are at most 5 %: each look spends twice the error of
the look before, so that the last interval is little wider than that of a single look.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from scsc_lab.analysis import paired_seeds as counts
from scsc_lab.errors import InputError

LOOKS = 4
"""Looks at most, the last at the largest number of seeds."""

POWER = 0.8
"""Probability of finding a difference that a plan is made for."""

_MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Look:
    """One look at the differences so far.

    Attributes:
        seeds: number of pairs at this look.
        confidence: level of its intervals; over all looks they miss with 5 % at most.
    """

    seeds: int
    confidence: float


def looks(most: int) -> tuple[Look, ...]:
    """Return the looks of an experiment that stops when its intervals are narrow, evenly spaced up to most pairs.

    Raises:
        InputError: if the last look has fewer pairs than a verdict needs.
    """
    fewest = counts.FEWEST
    if most < fewest:
        raise InputError(f"--max-seeds {most}: a number from {fewest} up")
    pairs = sorted({round(fewest + (most - fewest) * at / (LOOKS - 1)) for at in range(LOOKS)} | {most})
    weights = [2.0**at for at in range(len(pairs))]
    return tuple(Look(n, 1 - counts.ALPHA * w / sum(weights)) for n, w in zip(pairs, weights, strict=True))


def half_width(differences: Sequence[float], confidence: float) -> float:
    """Return half the width of the t interval of a mean difference, in points; infinite below two pairs."""
    if len(differences) < 2:
        return math.inf
    error = float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    return error * float(stats.t.ppf((1 + confidence) / 2, len(differences) - 1))


def needed(deviation: float, difference: float, comparisons: int = 1) -> int:
    """Return the pairs of seeds that find a difference with 80 % power, by a two-sided paired t test.

    The level is 5 % over the number of comparisons (Bonferroni, on the safe side of Holm); never fewer pairs than a
    sign-flip test needs for a verdict.

    Args:
        deviation: standard deviation of the paired differences, in points.
        difference: true difference to be found, in points.
        comparisons: comparisons of the table.

    Raises:
        InputError: if the difference is not above 0, or needs more than 10,000 pairs.
    """
    if not difference > 0:
        raise InputError(f"a difference of {difference:g} points: a number above 0")

    def power_of(pairs: int) -> float:
        return power(deviation, difference, pairs, comparisons)

    enough = bisect.bisect_left(range(_MOST_SEEDS + 1), POWER, key=power_of)  # power rises with the pairs
    if enough > _MOST_SEEDS:
        raise InputError(f"a difference of {difference:g} points needs more than {_MOST_SEEDS:,} seeds")
    return max(enough, counts.needed(comparisons))


def power(deviation: float, difference: float, pairs: int, comparisons: int = 1) -> float:
    """Return the probability that a two-sided paired t test finds a difference; see :func:`needed`."""
    if pairs < 2:
        return 0.0
    if deviation == 0:
        return 1.0
    critical = stats.t.ppf(1 - counts.ALPHA / max(comparisons, 1) / 2, pairs - 1)
    shift = difference / deviation * math.sqrt(pairs)
    # The lower tail is the upper one of the opposite shift: scipy's own is not a number where it is tiny.
    return sum(float(stats.nct.sf(critical, pairs - 1, side)) for side in (shift, -shift))
