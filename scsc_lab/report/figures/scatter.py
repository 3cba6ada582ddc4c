"""The scatter of two columns: one point a network, the Pareto front marked."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
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


def draw(rows: Sequence[Row], x: Column, y: Column, options: Drawing = style.PLAIN) -> Figure:
    """Return the scatter of two columns; networks that lack either are left out.

    An arrow goes from each network's baseline to it. Filled points are those of the Pareto front: no other is better in
    both. Where only one is, or a column has no better end, there is no front to draw, and all are filled.

    Args:
        rows: networks, with raw numbers under the columns' keys, each with the label of its ``baseline`` if it has one.
        x: the column across; which way is better, which the front goes by, is the column's to say.
        y: the column upwards.
        options: width and titles.
    """
    width = options.width or style.COLUMN_INCHES
    figure, axes = style.new(width, 0.83 * width)
    if options.titles:
        title = " over ".join((column.name or column.heading).partition(" (")[0] for column in (y, x))
        figure.suptitle(style.name(title, 60), x=0.02, ha="left", fontsize=8)
    _draw(figure, axes, rows, x, y)
    return figure


def panel(rows: Sequence[Row], x: Column, y: Column, axes: Any = None) -> Any:
    """Draw the scatter of two columns, and return the axes; see :func:`draw`.

    Args:
        rows: networks.
        x: the column across.
        y: the column upwards.
        axes: matplotlib's axes to draw on. Default: those of a new figure, one column wide.
    """
    if axes is None:
        return draw(rows, x, y).axes[0]
    _draw(axes, axes, rows, x, y)
    return axes


def _draw(legend_of: Any, axes: Any, rows: Sequence[Row], x: Column, y: Column) -> None:
    """Draw on axes; the legend stands beside all axes of a figure, or above axes that are a user's."""
    higher_x = x.better == "higher"
    figure = axes.figure
    shown = [row for row in rows if row.get(str(x.key)) is not None and row.get(str(y.key)) is not None]
    xs, ys = ([column.scale * row[str(column.key)] for row in shown] for column in (x, y))
    best = pareto.front(xs, ys, x.better, y.better)
    with style.applied():
        if len(best) >= _FEWEST_FOR_A_FRONT:
            axes.plot(
                [xs[index] for index in best],
                [ys[index] for index in best],
                color="0.6",
                linestyle="--",
                drawstyle="steps-pre" if higher_x else "steps-post",
                linewidth=0.8,
                zorder=1,
                label="Pareto front (filled)",
            )
            if legend_of is axes:
                axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2, handlelength=1.5)
            else:
                legend_of.legend(loc="outside upper right", handlelength=1.5).set_in_layout(True)
        for index, (a, b) in enumerate(zip(xs, ys, strict=True)):
            axes.plot(
                a,
                b,
                marker=style.MARKERS[index % len(style.MARKERS)],
                color=style.COLOURS[index % len(style.COLOURS)],
                markerfacecolor=None if index in best or len(best) < _FEWEST_FOR_A_FRONT else "white",
                markersize=_MARKER_POINTS,
                zorder=2,
            )
        arrows = _arrows(axes, shown, list(zip(xs, ys, strict=True)))
        axes.margins(0.18)
        axes.set_xlim(left=max(axes.get_xlim()[0], 0.0) if min(xs, default=0.0) >= 0 else None)
        axes.set_ylim(bottom=max(axes.get_ylim()[0], 0.0) if min(ys, default=0.0) >= 0 else None)
        axes.set_xlabel(_heading(x))
        axes.set_ylabel(_heading(y))
        line = _steps([(xs[index], ys[index]) for index in best], higher_x) if len(best) >= _FEWEST_FOR_A_FRONT else []
        names = [style.name(row["model"]) for row in shown]
        label(figure, axes, names, list(zip(xs, ys, strict=True)), [line, *arrows])


def _arrows(axes: Any, rows: Sequence[Row], points: Sequence[_Point]) -> list[list[_Point]]:
    """Draw an arrow from each network's baseline to it; return where they run."""
    places = {str(row["model"]): point for row, point in zip(rows, points, strict=True)}
    found = []
    for row, point in zip(rows, points, strict=True):
        start = places.get(str(row.get("baseline")))
        if start is not None and start != point:
            arrow = {"arrowstyle": "-|>", "color": "0.45", "linewidth": 0.8, "shrinkA": 4, "shrinkB": 4}
            axes.annotate("", point, xytext=start, arrowprops={**arrow, "mutation_scale": 7}, zorder=1)
            found.append([start, point])
    return found


def _steps(front: Sequence[_Point], higher_x: bool) -> list[_Point]:
    """Return the corners of the front: between two of its points, what the worse of them attains."""
    corners: list[_Point] = []
    for (x1, y1), (x2, y2) in itertools.pairwise(front):
        corners += [(x1, y1), (x1, y2) if higher_x else (x2, y1)]
    return [*corners, *front[-1:]]


def _heading(column: Column) -> str:
    wanted = {"higher": ", more is better", "lower": ", less is better"}.get(column.better, "")
    return f"{column.name or column.heading}{wanted}"


def label(
    figure: Figure,
    axes: Any,
    names: Sequence[str],
    points: Sequence[_Point],
    lines: Sequence[Sequence[_Point]],
    colours: Sequence[str] = (),
) -> None:
    """Write each name beside its point, where it covers no other name, no point, no line and not the edge.

    Args:
        figure: the figure, all but the names drawn.
        axes: the panel.
        names: names, a name a point.
        points: where the points are, in the panel's units.
        lines: corners of the lines that are drawn.
        colours: colours of the names. Default: black.
    """
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    obstacles = axes.transData.transform([*points, *(place for line in lines for place in _along(line))])
    taken: list[Any] = []
    for index, (name, point) in enumerate(zip(names, points, strict=True)):
        around = [obstacle for number, obstacle in enumerate(obstacles) if number != index]
        tried: list[tuple[float, int, _Point, Any]] = []
        for place in _PLACES:
            text = _write(axes, name, point, place, tie=False)
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
        text = _write(axes, name, point, best, tie=max(map(abs, best)) > _NEAR_POINTS)
        if colours:
            text.set_color(colours[index])
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
