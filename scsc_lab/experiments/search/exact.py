"""The exact search: where parameters and MACs decide alone, a whole space is counted and its front is the true one."""

from __future__ import annotations

from scsc_lab.experiments.runner import Progress
from scsc_lab.experiments.search.data import Search, SearchResult
from scsc_lab.metrics.size import counted
from scsc_lab.models import enumeration
from scsc_lab.records import Row

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
