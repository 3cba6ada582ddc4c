"""Every combination of a space with its parameters and MACs, exactly: nothing is sampled.

Settings of one stage act on that stage alone. So the cost of a combination is the cost with every stage as it is, plus
each stage's difference: only the specs of one changed stage are built, all others are sums.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scsc_lab.analysis.fronts import Better
from scsc_lab.errors import InputError
from scsc_lab.models import construct
from scsc_lab.models.build import facts
from scsc_lab.networks import overrides
from scsc_lab.networks.network import Network
from scsc_lab.networks.space import Space

LARGEST = 20_000_000
"""Combinations up to which a space is enumerated."""

_MOST_SPECS = 2_000_000
"""Specs that are built at most."""

QUANTITIES = ("params", "macs")
"""Quantities that are enumerated."""


@dataclass(frozen=True)
class Enumeration:
    """The costs of a space.

    Attributes:
        space: the space.
        params: parameters of every combination, in the order of their product, the last key fastest; int64.
        macs: its multiply-accumulates for one image; int64.
        can_be: whether its settings go together.
        reasons: why others cannot be, with how many of the specs that were built failed for it.
    """

    space: Space
    params: NDArray[np.int64]
    macs: NDArray[np.int64]
    can_be: NDArray[np.bool_]
    reasons: Counter[str] = field(default_factory=Counter)

    def quantity(self, name: str) -> NDArray[np.int64]:
        """Return the parameters or the MACs of every combination."""
        return self.params if name == "params" else self.macs

    def picks(self, index: int) -> tuple[int, ...]:
        """Return the position of each key's value in a combination."""
        return tuple(int(pick) for pick in np.unravel_index(index, self.space.sizes))

    def inside_bounds(self, low: dict[str, float], high: dict[str, float]) -> NDArray[np.bool_]:
        """Return which combinations can be and keep to bounds, by quantity."""
        inside = self.can_be.copy()
        for quantity_name, bound in low.items():
            inside &= self.quantity(quantity_name) >= bound
        for quantity_name, bound in high.items():
            inside &= self.quantity(quantity_name) <= bound
        return inside

    def front(self, objectives: Sequence[tuple[NDArray[Any], Better]], inside: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the combinations that no other beats, from the best of the first objective; equal ones are all on it.

        Args:
            objectives: one or two numbers of every combination, each with its better end.
            inside: combinations that take part.
        """
        indices = np.flatnonzero(inside)
        if not indices.size:
            return indices
        signed = [(-1 if way == "higher" else 1) * values[indices] for values, way in objectives]
        first, second = (*signed, signed[0])[:2]
        order = np.lexsort((second, first))
        leads = np.ones(len(order), dtype=bool)
        leads[1:] = second[order][1:] < np.minimum.accumulate(second[order])[:-1]  # the first of equal points
        corners = order[leads]
        of = np.searchsorted(first[corners], first[order], side="right") - 1
        on_it = (first[order] == first[corners][of]) & (second[order] == second[corners][of])
        front: NDArray[np.int64] = indices[order[on_it]]
        return front

    def nearest(self, name: str, target: float) -> int:
        """Return the combination whose quantity is nearest to a target.

        Raises:
            InputError: if none can be.
        """
        self.require_any()
        distances = np.abs(self.quantity(name) - target)
        distances[~self.can_be] = np.inf
        return int(np.argmin(distances))

    def require_any(self) -> None:
        """Raise InputError if no combination can be."""
        if not self.can_be.any():
            raise InputError(f"no combination can be built: {self.reasons.most_common(1)[0][0]}")


def is_plain(network: Network) -> bool:
    """Return whether a network is one of the catalog with nothing replaced or fused in it: a sum of blocks."""
    return network.in_catalog and network.transplant is None and network.form == "ordinary"


def cost(network: Network) -> construct.Cost:
    """Return what a plain network costs at its resolution.

    Raises:
        InputError: if a block of it cannot be built.
    """
    assert network.spec is not None
    return construct.cost(network.spec, facts(network).resolution)


def is_exact(space: Space) -> bool:
    """Return whether a space can be enumerated: a plain network of the catalog, and not too many combinations."""
    rules = any(key.startswith("rule.") for key, _ in space.choices)
    return is_plain(space.network) and not rules and space.size <= LARGEST and _specs(space) <= _MOST_SPECS


def enumerate_costs(space: Space, progress: Callable[[int, int], None] | None = None) -> Enumeration:
    """Return every combination of a space with its parameters and MACs, at the network's resolution.

    Args:
        space: one of which :func:`is_exact` holds.
        progress: called with the specs built so far, and in total.
    """
    shared, by_stage = _axes(space)
    inner = [axis for axes in by_stage for axis in axes]
    table = np.zeros((2, *(space.sizes[axis] for axis in (*shared, *inner))), dtype=np.int64)
    costs = _Costs(space, progress or (lambda done, total: None))
    for picks in itertools.product(*(range(space.sizes[axis]) for axis in shared)):
        where: tuple[Any, ...] = (slice(None), *picks)
        table[where] = _grid(costs, dict(zip(shared, picks, strict=True)), by_stage)
    back = np.argsort([*shared, *inner])
    params, macs = (grid.transpose(back).ravel() for grid in table)
    return Enumeration(space, params, macs, params >= 0, costs.reasons)


@dataclass
class _Costs:
    """The cost of single combinations, with why others have none."""

    space: Space
    progress: Callable[[int, int], None]
    reasons: Counter[str] = field(default_factory=Counter)
    done: int = 0

    def of(self, picks: dict[int, int]) -> tuple[int, int] | None:
        """Return parameters and MACs with some keys at a choice, the others as they are; ``None`` if it cannot be."""
        self.done += 1
        if self.done % 1000 == 0:
            self.progress(self.done, _specs(self.space))
        choices, network = self.space.choices, self.space.network
        changes = {choices[axis][0]: choices[axis][1][pick] for axis, pick in picks.items()}
        assert network.spec is not None
        try:
            return construct.cost(overrides.apply(network.spec, changes), facts(network).resolution)
        except InputError as error:
            self.reasons[str(error)] += 1
            return None


def _grid(costs: _Costs, picks: dict[int, int], by_stage: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return parameters and MACs of all choices of the stages, ``(2, …)``; -1 where they cannot be.

    Args:
        costs: costs of single combinations.
        picks: choices of the keys that all stages share.
        by_stage: positions of the keys of each stage.
    """
    sizes = costs.space.sizes
    inner = [axis for axes in by_stage for axis in axes]
    start = costs.of(picks)
    if start is None:  # a stage as it is does not go with these choices: no stage can be seen alone
        return _table(costs, picks, inner, inner)
    origin = np.array(start, dtype=np.int64).reshape(2, *(1 for _ in inner))
    grid = np.broadcast_to(origin, (2, *(sizes[axis] for axis in inner))).copy()
    can_be = np.ones(grid.shape[1:], dtype=bool)
    for axes in by_stage:
        table = _table(costs, picks, axes, inner)
        can_be &= table[0] >= 0
        grid += table - origin
    return np.where(can_be, grid, -1)


def _table(costs: _Costs, picks: dict[int, int], axes: Sequence[int], inner: Sequence[int]) -> NDArray[np.int64]:
    """Return parameters and MACs of all choices of some keys, ``(2, …)``, with length 1 along the other axes."""
    sizes = costs.space.sizes
    values = [
        costs.of({**picks, **dict(zip(axes, chosen, strict=True))}) or (-1, -1)
        for chosen in itertools.product(*(range(sizes[axis]) for axis in axes))
    ]
    shape = tuple(sizes[axis] if axis in axes else 1 for axis in inner)
    return np.array(values, dtype=np.int64).T.reshape(2, *shape)


def _axes(space: Space) -> tuple[list[int], list[list[int]]]:
    """Return the positions of the keys that act on several stages, and of those of each stage alone."""
    stage = [key.partition(".")[0] if key.startswith("stage") and "." in key else "" for key, _ in space.choices]
    alone = [[axis for axis, name in enumerate(stage) if name == tied] for tied in dict.fromkeys(filter(None, stage))]
    return [axis for axis, name in enumerate(stage) if not name], alone


def _specs(space: Space) -> int:
    """Return how many specs are built to enumerate a space."""
    shared, by_stage = _axes(space)
    inner = sum(math.prod(space.sizes[axis] for axis in axes) for axes in by_stage)
    return math.prod(space.sizes[axis] for axis in shared) * (1 + inner)
