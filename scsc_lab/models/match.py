"""The width at which a transplant costs what the original costs: one factor for all places, by bisection."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Hashable

from torch import Tensor, nn

from scsc_lab.analysis.count import Count
from scsc_lab.counting.count import count
from scsc_lab.models.replacement import UsersMixer, decide
from scsc_lab.models.spatial import Candidate
from scsc_lab.networks.mixers import TransplantSpec

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
    return min(tried.items(), key=lambda pair: abs(pair[1] - 1))


def matched(
    original: Count, candidates: list[Candidate], x: Tensor, spec: TransplantSpec, users_mixer: UsersMixer | None
) -> TransplantSpec:
    """Return the rules with the width that keeps the network's MACs or parameters."""
    parts = {part.name: getattr(part, spec.match) for part in original.by_module()}
    alike: dict[tuple[Hashable, ...], list[Candidate]] = {}
    for candidate in candidates:
        if not candidate.stays:
            alike.setdefault((candidate.maps, candidate.stride, candidate.kind, candidate.calls), []).append(candidate)
    places = [*alike.values()]

    def mixers(width: float) -> list[nn.Module | None]:
        """Return a mixer of a width for each place, without storage; ``None`` where there is none so narrow."""
        narrower = dataclasses.replace(spec, width=width, match="")
        return [decide(place[0], x.shape, narrower, users_mixer, device="meta")[1] for place in places]

    full_width = mixers(1.0)

    def cost(width: float) -> float:
        """Return the network's cost with mixers of a width, over its cost now."""
        total = parts[""]
        for place, mixer, least in zip(places, full_width if width == 1.0 else mixers(width), full_width, strict=True):
            if mixer is not None:
                total += len(place) * _cost(mixer, place[0], x, spec.match) - sum(
                    parts[candidate.name] for candidate in place
                )
            elif least is not None:
                return -math.inf
        return float(total / parts[""])

    return dataclasses.replace(spec, width=nearest_width(cost)[0], match="")


def _cost(mixer: nn.Module, candidate: Candidate, x: Tensor, match: str) -> int:
    """Return what a mixer costs in a place: parameters once, MACs in every call."""
    calls = Counter(candidate.calls) if match == "macs" else {candidate.calls[0]: 1}
    return sum(times * int(getattr(count(mixer, shape, dtype=x.dtype), match)) for shape, times in calls.items())


def share(before: Count, after: Count, match: str) -> str:
    """Return the change of a network's cost, in words."""
    share = getattr(after, match) / getattr(before, match) - 1
    return f", {100 * share:+.1f} % {match}{'' if abs(share) <= NEAR_ENOUGH else ' (no width comes nearer)'}"
