"""The scatter of two columns: one point per network, arrows from originals, the Pareto front."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from scsc_lab.records import Row
from scsc_lab.report import comparison, names, tables
from scsc_lab.report.figures import style
from scsc_lab.report.names import shortened, shortened_apart
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

_BESIDE = 6
"""The first places, which need no line to their point."""

_Point: TypeAlias = tuple[float, float]


def draw(rows: Sequence[Row], x: Column, y: Column, options: Drawing = style.PLAIN) -> Figure:
    """Return the scatter of two columns; networks that lack either are left out.

    A backbone has one colour and one marker: hollow as it is, filled with a module put in. An arrow goes from an
    original to each variant of it; a grey one where the interval of the change holds zero. A dashed line joins the
    Pareto front, if there is one: networks that no other beats in both columns.

    Args:
        rows: networks, with raw numbers under the columns' keys, each with the label of its ``baseline`` if it has one.
        x: the column across.
        y: the column upwards.
        options: width and titles.
    """
    width = options.width or style.COLUMN_INCHES
    figure, axes = style.new(width, 0.9 * width)
    if options.titles:
        title(figure, f"{y.quantity} against {x.quantity}")
    panel(rows, x, y, axes)
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
    complete = [row for row in rows if row.get(str(x.key)) is not None and row.get(str(y.key)) is not None]
    places = [(x.scale * row[str(x.key)], y.scale * row[str(y.key)]) for row in complete]
    with style.applied():
        lines = _front(axes, complete, places, x, y) + _arrows(axes, complete, places, y)
        labelled = names.labelled(complete)
        for at, (hue, row, place) in enumerate(zip(names.hues(complete), complete, places, strict=True)):
            mark = style.mark(hue, hue, _MARKER_POINTS, hollow=names.is_baseline(row))
            axes.plot(*place, alpha=1.0 if at in labelled else 0.35, zorder=3, **mark)
        _key(axes, complete)
        axes.margins(0.18)
        for at, (limits, set_limits) in enumerate(((axes.get_xlim, axes.set_xlim), (axes.get_ylim, axes.set_ylim))):
            set_limits(max(limits()[0], 0.0) if all(place[at] >= 0 for place in places) else None)
        axes.set(xlabel=heading(x), ylabel=heading(y))
        short = shortened_apart(row["model"] for row in complete)
        label(axes, [short[str(row["model"])] for row in complete], places, lines, labelled)
    return axes


def _key(axes: Any, rows: Sequence[Row]) -> None:
    """Write what hollow and filled marks are, where there are both, and what the dashed line is."""
    filled = [not names.is_baseline(row) for row in rows]
    handles, labels = axes.get_legend_handles_labels()
    if any(filled) and not all(filled):
        modules = "/".join(dict.fromkeys(filter(None, map(names.added_module, rows)))) or "other settings"
        for hollow, label in ((True, "baseline"), (False, f"with {shortened(modules, 16)}")):
            grey = {"color": "0.25", "markerfacecolor": "white" if hollow else "0.25"}
            handles += axes.plot([], [], **{**style.mark(0, 0, _MARKER_POINTS), **grey})
            labels.append(label)
    if handles:
        place = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.2, "columnspacing": 1.0}
        axes.legend(handles, labels, ncols=3, handlelength=1.5, handletextpad=0.3, **place)


def _front(axes: Any, rows: Sequence[Row], places: Sequence[_Point], x: Column, y: Column) -> list[list[_Point]]:
    """Draw the front if it has two points or more; return it as a line."""
    best = comparison.front(rows, x, y)
    if len(best) < _FEWEST_FOR_A_FRONT:
        return []
    front = [places[at] for at in best]
    steps = "steps-pre" if x.better == "higher" else "steps-post"
    look = {"color": "0.6", "linestyle": "--", "linewidth": 0.8, "drawstyle": steps, "zorder": 1}
    axes.plot(*zip(*front, strict=True), label="Pareto front", **look)
    return [_steps(front, x.better == "higher")]


def _arrows(axes: Any, rows: Sequence[Row], places: Sequence[_Point], y: Column) -> list[list[_Point]]:
    """Draw an arrow from each original to its variants; return where they run."""
    at = {id(row): place for row, place in zip(rows, places, strict=True)}
    lines = []
    for row, place, baseline in zip(rows, places, tables.baselines(rows, rows), strict=True):
        if baseline is not None and names.is_made_of(row, baseline) and (start := at[id(baseline)]) != place:
            _, low, high = y.change.scaled(row) if y.change is not None else (None, None, None)
            is_open = low is not None and high is not None and low <= 0 <= high
            arrow = {"arrowstyle": "-|>", "color": "0.7" if is_open else "0.35", "linewidth": 0.8, "shrinkA": 4}
            axes.annotate("", place, xytext=start, arrowprops={**arrow, "shrinkB": 4, "mutation_scale": 7}, zorder=1)
            lines.append([start, place])
    return lines


def _steps(front: Sequence[_Point], higher_x: bool) -> list[_Point]:
    """Return the corners of the front: between two of its points, what the worse of them attains."""
    corners: list[_Point] = []
    for (x1, y1), (x2, y2) in itertools.pairwise(front):
        corners += [(x1, y1), (x1, y2) if higher_x else (x2, y1)]
    return [*corners, *front[-1:]]


def title(figure: Figure, text: str) -> None:
    """Write a title above a figure, from its left edge on."""
    figure.suptitle(shortened(text, 60), x=0.02, ha="left", fontsize=8)


def heading(column: Column) -> str:
    """Return a column's label beside an axis, with the direction that is better."""
    direction = {"higher": ", more is better", "lower": ", less is better"}.get(column.better, "")
    return f"{column.axis_label}{direction}"


def label(
    axes: Any,
    names: Sequence[str],
    marks: Sequence[_Point],
    lines: Sequence[Sequence[_Point]],
    labelled: Sequence[int],
    *,
    all_of_them: bool = True,
) -> None:
    """Write each name beside its mark, where it covers no other name, no mark, no line and not the edge.

    Args:
        axes: matplotlib's axes, with everything else drawn.
        names: names of the marks.
        marks: places of the marks, in the units of the axes.
        lines: corners of each line to keep clear of.
        labelled: which of the marks get their name.
        all_of_them: whether a name without a clear place beside its mark is written further away, not left out.
    """
    figure = axes.figure
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    obstacles = list(axes.transData.transform([*marks, *(place for line in lines for place in _along(line))]))
    boxes: list[Any] = []
    for index in labelled:
        mark = obstacles[index]
        around = [obstacle for number, obstacle in enumerate(obstacles) if number != index]
        tried: list[tuple[float, int, _Point, Any, list[_Point]]] = []
        for place in _PLACES if all_of_them else _PLACES[:_BESIDE]:
            text = _write(axes, names[index], marks[index], place, tie=False)
            box = text.get_window_extent()
            text.remove()
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            wide = box.padded(_MARKER_POINTS / 2 * figure.dpi / 72)
            end = (min(max(mark[0], box.x0), box.x1), min(max(mark[1], box.y0), box.y1))
            tie = _along([tuple(mark), end]) if max(map(abs, place)) > _NEAR_POINTS else []
            clashes = sum(box.overlaps(other) or any(other.contains(*point) for point in tie) for other in boxes)
            clashes += sum(wide.contains(*obstacle) for obstacle in around)
            far = max(map(abs, place)) / _FAR_POINTS
            tried.append((clashes + (0 if inside else 3) + far, len(tried), place, box, tie))
            if clashes == 0 and inside:
                break
        cost, _, best, box, tie = min(tried, key=lambda attempt: attempt[:2])
        if cost >= 1 and not all_of_them:
            continue
        _write(axes, names[index], marks[index], best, tie=bool(tie))
        boxes.append(box)
        obstacles += tie  # later names keep clear of it


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
        arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "0.5", "shrinkA": 0, "shrinkB": 3} if tie else None,
    )


def _along(line: Sequence[_Point], steps: int = 60) -> list[_Point]:
    """Return points along a line of straight pieces."""
    return [
        (x1 + (x2 - x1) * step / steps, y1 + (y2 - y1) * step / steps)
        for (x1, y1), (x2, y2) in itertools.pairwise(line)
        for step in range(steps)
    ]
