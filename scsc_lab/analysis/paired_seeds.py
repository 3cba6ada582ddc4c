"""Comparison of networks trained with the same seeds: a difference, its 95 % interval, p and a verdict.

Arrays in, no torch. Intervals are Student's, over the pairs' differences: resampling a handful of seeds does not hold
95 %. scipy's statistics take a third of a second to import, and are imported where they are needed.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from scsc_lab.errors import InputError

ALPHA = 0.05
"""Adjusted p up to which a difference counts as one."""


Verdict = Literal["better", "worse", "same", "inconclusive", ""]
"""Verdict on a difference; empty: too few seeds for one."""

MOST_FLIPPED = 16
"""Pairs up to which every pattern of signs is tried; beyond, the test takes scipy's random ones."""

CONFIDENCE = 0.95
"""Share of all intervals that hold the true difference."""


@dataclass(frozen=True)
class Difference:
    """A difference in accuracy over seeds.

    Attributes:
        mean: mean of the differences, in points.
        low, high: paired t interval; ``None`` for a single pair.
        p_value: two-sided sign-flip test of no difference.
        correlation: Pearson's of the pairs; ``None`` where it is not defined.
        seeds: number of pairs.
        verdict: see :func:`verdict`; of this comparison alone, its p not adjusted.
    """

    mean: float
    low: float | None
    high: float | None
    p_value: float
    correlation: float | None
    seeds: int
    verdict: Verdict


def compare(
    baseline: Sequence[float], variant: Sequence[float], *, delta: float = 0.5, confidence: float = CONFIDENCE
) -> Difference:
    """Compare two networks by their accuracies with the same seeds, in the same order.

    Args:
        baseline: accuracy of the baseline with each seed, in percent.
        variant: accuracy of the other with the same seeds.
        delta: difference in points that counts as none.
        confidence: level of the interval; its complement is the p up to which a difference counts as one.

    Raises:
        InputError: if there are no pairs, the lengths differ, or a value is not finite.
    """
    from scipy import stats

    if len(baseline) != len(variant) or not len(variant):
        raise InputError(f"{len(baseline)} and {len(variant)} accuracies make no pairs")
    both = np.asarray([baseline, variant], dtype=np.float64)
    if not np.isfinite(both).all():
        raise InputError("accuracies must be finite numbers")
    differences = both[1] - both[0]
    mean, low, high = float(differences.mean()), None, None
    if differences.size > 1:
        error = float(differences.std(ddof=1)) / math.sqrt(differences.size)
        reach = error * float(stats.t.ppf((1 + confidence) / 2, differences.size - 1))
        low, high = mean - reach, mean + reach
    varies = differences.size > 1 and np.ptp(both, axis=1).min() > 0
    correlation = float(stats.pearsonr(both[0], both[1]).statistic) if varies else None
    p_value = sign_flip_p(differences.tolist())
    outcome = verdict(low, high, differences.size, delta, p_value, 1 - confidence)
    return Difference(mean, low, high, p_value, correlation, differences.size, outcome)


@dataclass(frozen=True)
class Noise:
    """What chance does to one run's accuracy, pooled over several networks that were trained with the same seeds.

    Two networks with a few seeds each tell little about their noise; all networks of a search together tell enough.
    The model is additive: network, seed, and noise of one deviation for all.

    Attributes:
        deviation: standard deviation of a run's accuracy about the sum of its network's and its seed's effect.
        freedom: degrees of freedom of the deviation.
    """

    deviation: float
    freedom: int

    def reach(self, pairs: int) -> float:
        """Return half the width of the interval of the difference of two networks over a number of pairs."""
        from scipy import stats

        return self.deviation * math.sqrt(2 / pairs) * float(stats.t.ppf((1 + CONFIDENCE) / 2, self.freedom))


def noise(accuracies: Sequence[Sequence[float]]) -> Noise | None:
    """Return the noise of a table of accuracies, ``(networks, seeds)``; ``None`` with fewer than two of either."""
    table = np.asarray(accuracies, dtype=np.float64)
    if table.ndim < 2 or min(table.shape) < 2:
        return None
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    return Noise(math.sqrt(float((rest**2).sum()) / freedom), freedom)


def verdict(
    low: float | None,
    high: float | None,
    seeds: int,
    delta: float,
    p_value: float | None,
    alpha: float = ALPHA,
) -> Verdict:
    """Return what a difference is called.

    ``same``: all of its interval lies within delta of 0. ``better`` or ``worse``: its p is at most alpha and its
    interval does not hold 0. Else ``inconclusive``; nothing below six seeds.

    Args:
        low: lower end of the difference's interval.
        high: its upper end.
        seeds: number of pairs.
        delta: difference in points that counts as none.
        p_value: p of no difference, adjusted for the number of comparisons.
        alpha: p up to which a difference counts as one.
    """
    if low is None or high is None or p_value is None or seeds < FEWEST:
        return ""
    if -delta <= low and high <= delta:
        return "same"
    if p_value > alpha + 1e-12 or low <= 0 <= high:
        return "inconclusive"
    return "better" if low > 0 else "worse"


def sign_flip_p(differences: Sequence[float]) -> float:
    """Return the two-sided p of no difference: the share of sign patterns whose mean is as far from 0 as the one seen.

    All ``2ⁿ`` patterns for up to 16 pairs, 100,000 random ones beyond.
    """
    from scipy import stats

    values = np.asarray(differences, dtype=np.float64)
    if values.size <= MOST_FLIPPED:
        sums = np.abs(_signs(values.size) @ values)
        return float(np.mean(sums >= sums[0] * (1 - 1e-12)))
    result = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=100_000, rng=np.random.default_rng(0)
    )
    return float(result.pvalue)


@functools.lru_cache(maxsize=MOST_FLIPPED)
def _signs(pairs: int) -> npt.NDArray[np.float64]:
    """Return every pattern of signs, ``(2ⁿ, n)``; the first is all plus."""
    return np.array(list(itertools.product((1.0, -1.0), repeat=pairs)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number by Holm's step-down method, in their order."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def share_interval(right: int, images: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share, such as top-1 on a test set, in percent."""
    from scipy import stats

    interval = stats.binomtest(right, images).proportion_ci(CONFIDENCE, method="wilson")
    return 100 * float(interval.low), 100 * float(interval.high)


def mcnemar_p(right: npt.ArrayLike, other_right: npt.ArrayLike) -> float:
    """Return the exact two-sided p of McNemar's test: whether two networks err equally often on the same images."""
    from scipy import stats

    first, second = np.asarray(right, dtype=bool), np.asarray(other_right, dtype=bool)
    only_one, only_two = int((first & ~second).sum()), int((second & ~first).sum())
    if not only_one + only_two:
        return 1.0
    return float(stats.binomtest(only_one, only_one + only_two, 0.5).pvalue)


def needed(comparisons: int) -> int:
    """Return the fewest pairs of seeds with which one of several comparisons can reach :data:`ALPHA`.

    The smallest two-sided p of a sign-flip test over n pairs is 2 / 2ⁿ, and Holm's method multiplies the smallest p of
    a family by its size: one comparison needs 6 pairs, five need 8, ten need 9.
    """
    pairs = 1
    while max(comparisons, 1) * 2 / 2**pairs > ALPHA:
        pairs += 1
    return pairs


def shortage(comparisons: int, pairs: int) -> str:
    """Return one line if a family is too large for its pairs of seeds; empty if it is not."""
    fewest = needed(comparisons)
    if not comparisons or pairs >= fewest:
        return ""
    family = f"{comparisons} comparisons need" if comparisons > 1 else "1 comparison needs"
    loss = "there is no verdict" if pairs < FEWEST else "no difference can be called better or worse"
    times = ", times their number by Holm" if comparisons > 1 else ""
    return (
        f"{family} {fewest} seeds or more: with {pairs}, {loss}, since the smallest p of a sign-flip test is "
        f"2 / 2^{pairs}{times}."
    )


FEWEST = needed(1)
"""Seeds below which a comparison has no verdict: of five, a sign-flip test cannot get below 2 / 2⁵ = 6 %."""
