"""The scatter of two columns, or of their changes: one point per network, the Pareto front marked."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from scsc_lab.analysis import pareto
from scsc_lab.records import Row
from scsc_lab.report.figures import style
from scsc_lab.report.tables import Column
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NEAR_POINTS = 8
_FAR_POINTS = 24
_MARKER_POINTS = 6
_FEWEST_FOR_A_FRONT = 2
_PANEL_INCHES = 3.1
_PLACES = (
    *((4, 4), (4, -4), (-4, 4), (-4, -4), (0, 8), (0, -8)),
    *(
        (x, y)
        for reach in (14, 24, 36, 50)
        for x in (reach, -reach)
        for y in (reach, -reach, 0.7 * reach, -0.7 * reach)
    ),
)
"""Where a name is tried, in points from its network's point: beside it first."""

_Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class _Mark:
    """A network in a panel: its name, its number, which decides its look, and its place with the ends of intervals."""

    name: str
    number: int
    x: float
    y: float
    x_ends: tuple[float, ...] = ()
    y_ends: tuple[float, ...] = ()

    @property
    def bars(self) -> list[list[_Point]]:
        """The intervals as lines."""
        across, up = [(x, self.y) for x in self.x_ends], [(self.x, y) for y in self.y_ends]
        return [bar for bar in (across, up) if bar]


def draw(rows: Sequence[Row], x: Column, y: Column, options: Drawing = style.PLAIN) -> Figure:
    """Return the scatter of two columns; networks that lack either are left out.

    An arrow goes from each network's baseline to it. Filled points are those of the Pareto front: no other is better in
    both. Where only one is, or a column has no better end, there is no front to draw, and all are filled.

    Args:
        rows: networks, with raw numbers under the columns' keys, each with the label of its ``baseline`` if it has one.
        x: the column across.
        y: the column upwards.
        options: width and titles.
    """
    width = options.width or style.COLUMN_INCHES
    figure, axes = style.new(width, 0.83 * width)
    if options.titles:
        figure.suptitle(style.name(f"{y.quantity} over {x.quantity}", 60), x=0.02, ha="left", fontsize=8)
    panel(rows, x, y, axes, legend_of=figure)
    return figure


def panel(rows: Sequence[Row], x: Column, y: Column, axes: Any = None, *, legend_of: Any = None) -> Any:
    """Draw the scatter of two columns, and return the axes; see :func:`draw`.

    Args:
        rows: networks.
        x: the column across.
        y: the column upwards.
        axes: matplotlib's axes to draw on. Default: those of a new figure, one column wide.
        legend_of: the figure whose legend stands beside all axes. Default: a legend above the axes.
    """
    if axes is None:
        return draw(rows, x, y).axes[0]
    shown = [row for row in rows if row.get(str(x.key)) is not None and row.get(str(y.key)) is not None]
    marks = [
        _Mark(style.name(row["model"]), number, x.scale * row[str(x.key)], y.scale * row[str(y.key)])
        for number, row in enumerate(shown)
    ]
    with style.applied():
        lines = _draw(axes, marks, x, y)
        if lines and legend_of is None:
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2, handlelength=1.5)
        elif lines:
            legend_of.legend(loc="outside upper right", handlelength=1.5)
        lines += _arrows(axes, shown, [(mark.x, mark.y) for mark in marks])
        axes.margins(0.18)
        axes.set_xlim(left=max(axes.get_xlim()[0], 0.0) if all(mark.x >= 0 for mark in marks) else None)
        axes.set_ylim(bottom=max(axes.get_ylim()[0], 0.0) if all(mark.y >= 0 for mark in marks) else None)
        axes.set(xlabel=_heading(x), ylabel=_heading(y))
        _label(axes, marks, lines)
    return axes


def draw_changes(rows: Sequence[Row], y: Column, costs: Sequence[Column], options: Drawing = style.PLAIN) -> Figure:
    """Return a panel for each cost: how much it changes across, and how much ``y`` changes upwards.

    The baseline stands where the two lines cross. Bars are 95 % intervals; points of the Pareto front are filled. A
    network has one marker and one colour in all panels, and its name beside it.

    Args:
        rows: networks with the changes of the columns against the first of them.
        y: what is bought; its change has an interval.
        costs: what it costs.
        options: width and titles.
    """
    width = options.width or style.PAGE_INCHES
    is_narrow = width <= style.NARROW_INCHES
    shape = {"nrows": len(costs)} if is_narrow else {"ncols": len(costs)}
    height = _PANEL_INCHES * (len(costs) if is_narrow else 1)
    figure, axes = style.new(width, height, sharey=True, squeeze=False, **shape)
    with style.applied():
        drawn = [(panel, _changes(rows, cost, y)) for panel, cost in zip(axes.flat, costs, strict=True)]
        lines = [_draw(panel, marks, cost, y) for (panel, marks), cost in zip(drawn, costs, strict=True)]
        for (panel, _), cost in zip(drawn, costs, strict=True):
            panel.axhline(0, color="0.8", linewidth=0.6, zorder=0)
            panel.axvline(0, color="0.8", linewidth=0.6, zorder=0)
            panel.margins(x=0.3, y=0.12)  # room for names
            panel.set_xlabel(f"{cost.quantity}, change in %")
        for panel in axes[:, 0]:
            panel.set_ylabel(f"{y.quantity}, change in points")
        if any(lines):
            figure.legend(*drawn[0][0].get_legend_handles_labels(), loc="outside upper right", handlelength=1.5)
        if options.titles:
            figure.suptitle(f"against {style.name(rows[0]['model'])}", x=0.02, ha="left", fontsize=8)
        for panel, marks in drawn:
            _label(panel, marks, [bar for mark in marks for bar in mark.bars], coloured=True)
    return figure


def _changes(rows: Sequence[Row], cost: Column, y: Column) -> list[_Mark]:
    """Return the rows that have both changes; the first row is the baseline, which has none."""
    assert y.change is not None
    assert cost.change is not None
    baseline = str(rows[0]["model"])
    marks = [_Mark(style.name(baseline), 0, 0.0, 0.0)]
    for number, row in enumerate(rows[1:], start=1):
        (across, *x_ends), (up, *y_ends) = cost.change.scaled(row), y.change.scaled(row)
        if across is not None and up is not None:
            ends = [tuple(end for end in pair if end is not None) for pair in (x_ends, y_ends)]
            marks.append(_Mark(style.name(row["model"]), number, across, up, *ends))
    return marks


def _draw(axes: Any, marks: Sequence[_Mark], x: Column, y: Column) -> list[list[_Point]]:
    """Draw marks with their intervals, and the front if it has two points or more; return the front as a line."""
    best = pareto.front([mark.x for mark in marks], [mark.y for mark in marks], x.better, y.better)
    points = [(marks[at].x, marks[at].y) for at in best]
    has_front = len(best) >= _FEWEST_FOR_A_FRONT
    if has_front:
        steps = "steps-pre" if x.better == "higher" else "steps-post"
        look = {"color": "0.6", "linestyle": "--", "linewidth": 0.8, "drawstyle": steps, "zorder": 1}
        axes.plot(*zip(*points, strict=True), label="Pareto front (filled)", **look)
    for at, mark in enumerate(marks):
        colour = style.colour(mark.number)
        for bar in mark.bars:
            axes.plot(*zip(*bar, strict=True), color=colour, linewidth=0.8, alpha=0.7, zorder=1)
        face = None if at in best or not has_front else "white"
        marker = style.MARKERS[(mark.number + mark.number // len(style.COLOURS)) % len(style.MARKERS)]
        size = {"markersize": _MARKER_POINTS, "zorder": 2}
        axes.plot(mark.x, mark.y, marker=marker, color=colour, markerfacecolor=face, **size)
    return [_steps(points, x.better == "higher")] if has_front else []


def _arrows(axes: Any, rows: Sequence[Row], points: Sequence[_Point]) -> list[list[_Point]]:
    """Draw an arrow from each network's baseline to it; return where they run."""
    places = {str(row["model"]): point for row, point in zip(rows, points, strict=True)}
    lines = []
    for row, point in zip(rows, points, strict=True):
        start = places.get(str(row.get("baseline")))
        if start is not None and start != point:
            arrow = {"arrowstyle": "-|>", "color": "0.45", "linewidth": 0.8, "shrinkA": 4, "shrinkB": 4}
            axes.annotate("", point, xytext=start, arrowprops={**arrow, "mutation_scale": 7}, zorder=1)
            lines.append([start, point])
    return lines


def _steps(front: Sequence[_Point], higher_x: bool) -> list[_Point]:
    """Return the corners of the front: between two of its points, what the worse of them attains."""
    corners: list[_Point] = []
    for (x1, y1), (x2, y2) in itertools.pairwise(front):
        corners += [(x1, y1), (x1, y2) if higher_x else (x2, y1)]
    return [*corners, *front[-1:]]


def _heading(column: Column) -> str:
    wanted = {"higher": ", more is better", "lower": ", less is better"}.get(column.better, "")
    return f"{column.axis_label}{wanted}"


def _label(axes: Any, marks: Sequence[_Mark], lines: Sequence[Sequence[_Point]], *, coloured: bool = False) -> None:
    """Write each name beside its mark, where it covers no other name, no mark, no line and not the edge."""
    figure, points = axes.figure, [(mark.x, mark.y) for mark in marks]
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    obstacles = axes.transData.transform([*points, *(place for line in lines for place in _along(line))])
    taken: list[Any] = []
    for index, (mark, point) in enumerate(zip(marks, points, strict=True)):
        around = [obstacle for number, obstacle in enumerate(obstacles) if number != index]
        tried: list[tuple[float, int, _Point, Any]] = []
        for place in _PLACES:
            text = _write(axes, mark.name, point, place, tie=False)
            box = text.get_window_extent()
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            wide = box.padded(_MARKER_POINTS / 2 * figure.dpi / 72)
            clashes = sum(box.overlaps(other) for other in taken) + sum(wide.contains(*other) for other in around)
            far = max(map(abs, place)) / _FAR_POINTS
            tried.append((clashes + (0 if inside else 3) + far, len(tried), place, box))
            text.remove()
            if clashes == 0 and inside:
                break
        _, _, best, box = min(tried, key=lambda attempt: attempt[:2])
        text = _write(axes, mark.name, point, best, tie=max(map(abs, best)) > _NEAR_POINTS)
        if coloured:
            text.set_color(style.colour(mark.number))
        taken.append(box)


def _write(axes: Any, name: str, point: _Point, place: _Point, *, tie: bool) -> Any:
    """Write a name at an offset from its point, tied to it by a thin line if it is far."""
    return axes.annotate(
        name,
        point,
        xytext=place,
        textcoords="offset points",
        ha="left" if place[0] > 0 else "right" if place[0] < 0 else "center",
        va="bottom" if place[1] > 0 else "top",
        fontsize=style.POINTS,
        arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "0.5", "shrinkB": 3} if tie else None,
    )


def _along(line: Sequence[_Point], steps: int = 60) -> list[_Point]:
    """Return points along a line of straight pieces."""
    return [
        (x1 + (x2 - x1) * step / steps, y1 + (y2 - y1) * step / steps)
        for (x1, y1), (x2, y2) in itertools.pairwise(line)
        for step in range(steps)
    ]
