"""Number of seeds that a family of comparisons needs for a verdict of better or worse. No numpy."""

from __future__ import annotations

ALPHA = 0.05
"""Adjusted p up to which a difference counts as one."""


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
