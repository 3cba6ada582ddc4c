"""What a choice buys and what it costs: changes against one baseline, with their intervals and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scsc_lab.analysis import pareto
from scsc_lab.records import Row
from scsc_lab.report.figures import ablation, scatter, style
from scsc_lab.report.tables import Column
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANEL_INCHES = 3.1

_Interval = tuple[float, float | None, float | None]


def draw(rows: Sequence[Row], y: Column, costs: Sequence[Column], options: Drawing = style.PLAIN) -> Figure:
    """Return a panel for each cost: how much it changes across, and how much ``y`` changes upwards.

    The baseline stands where the two lines cross. Filled points are those of the Pareto front: no other is better in
    both. Where ``y`` has no better end, there is no front and all are filled. Bars are 95 % intervals. A network has
    one marker and one colour in all panels, and its name beside it.

    Args:
        rows: networks with the changes of the columns against the first of them.
        y: what is bought; its change has an interval.
        costs: what it costs.
        options: width and titles.
    """
    width = options.width or style.PAGE_INCHES
    if width > style.NARROW_INCHES:
        figure, axes = style.new(width, _PANEL_INCHES, ncols=len(costs), sharey=True, squeeze=False)
    else:  # below each other
        figure, axes = style.new(width, _PANEL_INCHES * len(costs), nrows=len(costs), sharey=True, squeeze=False)
    panels = list(axes.flat)
    with style.applied():
        for panel, cost in zip(panels, costs, strict=True):
            _draw_panel(figure, panel, rows, y, cost)
        for panel in axes[:, 0]:
            panel.set_ylabel(f"{_quantity(y)}, change in points")
        for other in axes[:, 1:].flat:
            other.tick_params(labelleft=False)
        if any(panel.get_legend_handles_labels()[0] for panel in panels):
            handles, labels = panels[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper right", handlelength=1.5)
        if options.titles:
            figure.suptitle(f"against {style.name(rows[0]['model'])}", x=0.02, ha="left", fontsize=8)
        for panel, cost in zip(panels, costs, strict=True):
            _name(figure, panel, rows, y, cost)
    return figure


def _draw_panel(figure: Figure, panel: Any, rows: Sequence[Row], y: Column, cost: Column) -> None:
    points = _points(rows, y, cost)
    xs, ys = ([point[axis][0] for _, point in points] for axis in (0, 1))
    best = pareto.front(xs, ys, cost.better, y.better)
    panel.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    panel.axvline(0, color="0.8", linewidth=0.6, zorder=0)
    if len(best) > 1:
        front = {"color": "0.6", "linestyle": "--", "linewidth": 0.8, "drawstyle": "steps-post"}
        panel.plot([xs[at] for at in best], [ys[at] for at in best], **front, zorder=1, label="Pareto front (filled)")
    for at, (number, (across, up)) in enumerate(points):
        colour = _colour(number)
        bars = {"color": colour, "linewidth": 0.8, "alpha": 0.7, "zorder": 1}
        if across[1] is not None:
            panel.plot([across[1], across[2]], [up[0], up[0]], **bars)
        if up[1] is not None:
            panel.plot([across[0], across[0]], [up[1], up[2]], **bars)
        filled = None if at in best or not best else "white"
        marker = style.MARKERS[(number + number // len(style.COLOURS)) % len(style.MARKERS)]
        panel.plot(across[0], up[0], marker=marker, color=colour, markerfacecolor=filled, markersize=5, zorder=2)
    panel.margins(x=0.3, y=0.12)  # room for names
    panel.set_xlabel(f"{_quantity(cost)}, change in %")


def _name(figure: Figure, panel: Any, rows: Sequence[Row], y: Column, cost: Column) -> None:
    """Write every network's name beside its point, short of the baseline's name."""
    points = _points(rows, y, cost)
    names = [style.short(str(rows[number]["model"]), str(rows[0]["model"])) for number, _ in points]
    bars = [[(end, up[0]) for end in across[1:] if end is not None] for _, (across, up) in points]
    bars += [[(across[0], end) for end in up[1:] if end is not None] for _, (across, up) in points]
    places = [(across[0], up[0]) for _, (across, up) in points]
    scatter.label(figure, panel, names, places, bars, [_colour(number) for number, _ in points])


def _points(rows: Sequence[Row], y: Column, cost: Column) -> list[tuple[int, tuple[_Interval, _Interval]]]:
    """Return the number of each row that has both, and its changes; the first row is the baseline, which has none."""
    found: list[tuple[int, tuple[_Interval, _Interval]]] = [(0, ((0.0, None, None), (0.0, None, None)))]
    assert y.change is not None
    assert cost.change is not None
    for number, row in enumerate(rows[1:], start=1):
        across, up = ablation.change_of(row, cost.change), ablation.change_of(row, y.change)
        if across[0] is not None and up[0] is not None:
            found.append((number, ((across[0], *across[1:]), (up[0], *up[1:]))))
    return found


def _quantity(column: Column) -> str:
    return (column.name or column.heading).partition(" (")[0]


def _colour(number: int) -> str:
    return style.COLOURS[number % len(style.COLOURS)]
