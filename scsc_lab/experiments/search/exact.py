"""A search as data, and the exact one: where parameters and MACs decide alone, a whole space is counted."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from scsc_lab.experiments.runner import Progress
from scsc_lab.experiments.search.goals import Goals
from scsc_lab.experiments.search.trials import Sampler
from scsc_lab.metrics.size import counted
from scsc_lab.models import enumeration
from scsc_lab.networks.network import Network
from scsc_lab.networks.space import Space
from scsc_lab.records import Row
from scsc_lab.settings import Settings


@dataclass(frozen=True)
class Search:
    """All that a search was asked for.

    Attributes:
        space: the settings that are varied, and the network whose they are.
        goals: objectives and budgets.
        baseline: the network that times and changes are against.
        settings: measurement settings; ``training.seeds`` are the runs with which each network begins.
        trials: trials in all, those of earlier runs and other processes included.
        max_runs: training runs in all, the last measurement's not included.
        sampler: which of Optuna's samplers proposes trials.
    """

    space: Space
    goals: Goals
    baseline: Network
    settings: Settings = field(default_factory=Settings)
    trials: int = 100
    max_runs: int = 100
    sampler: Sampler = "tpe"

    @property
    def name(self) -> str:
        """Name of the study, the same for the same search; the number of trials and runs may change."""
        plain = [self.space.choices, str(self.goals), self.baseline.text, repr(self.settings), self.sampler]
        digest = hashlib.sha256(json.dumps(plain, default=str).encode()).hexdigest()[:8]
        return f"{self.space.network} {digest}"


@dataclass(frozen=True)
class SearchResult:
    """The networks that a search measured, and its front.

    Attributes:
        search: the question.
        baseline: the baseline's row.
        rows: every network that was measured to the end, once, with ``options`` that make it and ``trial``.
        front: positions of those that keep to the budgets and that no other dominates.
        confirmed: the front measured again, side by side with the baseline: by position in ``rows``; the baseline's
            own under -1. Empty where counts decide.
        given_up: how many trials were given up, by reason.
        tried: trials, or combinations that were enumerated.
        dots: parameters and MACs of a part of the enumerated settings, for a figure.
        interrupted: whether Ctrl-C ended it.
        is_exact: whether the whole space was enumerated.
    """

    search: Search
    baseline: Row
    rows: tuple[Row, ...]
    front: tuple[int, ...]
    confirmed: dict[int, Row] = field(default_factory=dict)
    given_up: dict[str, int] = field(default_factory=dict)
    tried: int = 0
    dots: tuple[Row, ...] = ()
    interrupted: bool = False
    is_exact: bool = False


_MOST_DOTS = 4000


def is_exact(search: Search) -> bool:
    """Return whether a search needs no trial: its goals are counts, and its space can be enumerated."""
    counts = search.goals.are_exact and search.settings.execution.batch == 1
    return counts and len(search.goals.objectives) <= 2 and enumeration.is_exact(search.space)


def run(search: Search, progress: Progress | None = None) -> SearchResult:
    """Return the true front of a search of which :func:`is_exact` holds.

    Raises:
        InputError: if no combination can be built.
    """
    count = counted(search.baseline)
    name = str(search.baseline)
    baseline: Row = {"model": name, "baseline": name, "params": count.params, "macs": count.macs}
    report = progress or (lambda description, done, total: None)
    costs = enumeration.enumerate_costs(search.space, lambda done, total: report("counting specs", done, total))
    costs.require_any()
    low = {budget.bound.name: budget.bound.absolute(baseline) for budget in search.goals.budgets if not budget.at_most}
    high = {budget.bound.name: budget.bound.absolute(baseline) for budget in search.goals.budgets if budget.at_most}
    inside = costs.inside_bounds(low, high)
    objectives = []
    for goal in search.goals.objectives:
        values = costs.quantity(goal.name)
        objectives.append(
            (values if goal.target is None else abs(values - goal.target.absolute(baseline)), goal.better)
        )
    points: dict[tuple[float, ...], Row] = {}
    for index in map(int, costs.front(objectives, inside)):
        point = tuple(float(values[index]) for values, _ in objectives)
        if point in points:
            points[point]["equal"] += 1
            continue
        picks = costs.picks(index)
        row: Row = {"model": search.space.at(picks).text, "options": search.space.written(picks), "equal": 0}
        for quantity in enumeration.QUANTITIES:
            row[quantity] = int(costs.quantity(quantity)[index])
            row[f"{quantity}_change"] = row[quantity] / baseline[quantity] - 1
        points[point] = {**row, "baseline": name}
    rows = tuple(points.values())
    step = max(search.space.size // _MOST_DOTS, 1)
    dots = [{"params": int(x), "macs": int(y)} for x, y in zip(costs.params[::step], costs.macs[::step], strict=True)]
    return SearchResult(
        search,
        baseline,
        rows,
        tuple(range(len(rows))),
        given_up=dict(costs.reasons),
        tried=search.space.size,
        dots=tuple(dot for dot in dots if dot["macs"] >= 0),
        is_exact=True,
    )
