"""The figure of a search: everything that was tried, the front, the baseline and the budgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scsc_lab.records import Row
from scsc_lab.report.figures import style
from scsc_lab.report.tables import Column
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(
    tried: Sequence[Row],
    front: Sequence[Row],
    baseline: Row,
    x: Column,
    y: Column,
    budgets: Sequence[tuple[str, float]] = (),
    options: Drawing = style.PLAIN,
) -> Figure:
    """Return the scatter of two columns; rows that lack either are left out.

    Args:
        tried: everything that was counted or measured.
        front: networks of the front, in the order of the table, which numbers them.
        baseline: the baseline.
        x: the column across.
        y: the column upwards.
        budgets: word of a column and the bound on it, in the unit of its axis.
        options: width and titles.
    """
    width = options.width or style.COLUMN_INCHES
    figure, axes = style.new(width, 0.78 * width)
    if options.titles:
        figure.suptitle("Search: all that was tried, and the front", x=0.02, ha="left", fontsize=8)
    with style.applied():
        dots = _points(tried, x, y)
        axes.plot(
            *zip(*dots, strict=True) if dots else ([], []), ".", color="0.75", markersize=3, label="tried", zorder=1
        )
        points = _points(front, x, y)
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=style.COLOURS[0], markersize=4.5, label="front", zorder=3)
        for place in _points([baseline], x, y):
            axes.plot(*place, "D", color="black", markerfacecolor="white", markersize=5, label="baseline", zorder=4)
        is_named = False
        for name, bound in budgets:
            for column, line_at in ((x, axes.axvline), (y, axes.axhline)):
                if column.word == name:
                    line_at(
                        bound, color="0.35", linestyle="--", linewidth=0.8, zorder=0, label="" if is_named else "budget"
                    )
                    is_named = True
        axes.margins(0.08)
        axes.set_xlabel(x.axis_label)
        axes.set_ylabel(y.axis_label)
        figure.legend(loc="outside lower center", ncols=4, handletextpad=0.3, columnspacing=1.2)
        _number(axes, points)
    return figure


def _number(axes: object, points: Sequence[tuple[float, float]]) -> None:
    """Write the table's number at the front's points: at all of a few, else at the ends."""
    step = 1 if len(points) <= _MOST_NUMBERS else len(points) - 1
    for at in range(0, len(points), step):
        axes.annotate(  # type: ignore[attr-defined]
            str(at + 1), points[at], (3, 3), textcoords="offset points", fontsize=style.POINTS, zorder=5
        )


_MOST_NUMBERS = 8


def _points(rows: Sequence[Row], x: Column, y: Column) -> list[tuple[float, float]]:
    """Return the places of the rows that have both numbers, in the units of the axes."""
    pairs = ((row.get(str(x.key)), row.get(str(y.key))) for row in rows)
    return [(x.scale * a, y.scale * b) for a, b in pairs if a is not None and b is not None]
