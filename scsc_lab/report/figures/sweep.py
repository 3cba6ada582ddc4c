"""The figures of sweeps and searches: one number over one setting, and everything that was tried with the front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scsc_lab.records import Row
from scsc_lab.report import sweep
from scsc_lab.report.figures import scatter, style
from scsc_lab.report.names import shortened_apart
from scsc_lab.report.tables import Column
from scsc_lab.settings import Drawing
from scsc_lab.settings.texts import number_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_UNITS = {"resolution": "input side (px)", "batch": "batch (images)", "threads": "threads"}
_MOST_TICKS = 6
_MOST_NUMBERS = 24


def draw(rows: Sequence[Row], column: Column, key: str, options: Drawing = style.PLAIN) -> Figure:
    """Return the figure of one column.

    Both axes are logarithmic where a power law fits each network, and the key has its exponent.

    Args:
        rows: one per value and network.
        column: the column.
        key: the setting.
        options: width and titles.
    """
    width = options.width or style.COLUMN_INCHES
    figure, axes = style.new(width, 0.75 * width)
    heading = column.name or column.heading
    if options.titles:
        scatter.title(figure, f"{heading.partition(' (')[0]} against {key}")
    values = list(dict.fromkeys(str(row["variant"]) for row in rows))
    numeric = all(number_of(value) is not None for value in values)
    by_model = {curve.model: curve for curve in sweep.curves(rows, [column])} if numeric else {}
    powers = bool(by_model) and all(curve.is_power for curve in by_model.values())
    networks: dict[str, Row] = {}
    for row in rows:
        networks.setdefault(str(row["model"]), row)
    short = shortened_apart(networks)
    with style.applied():
        for model, look in zip(networks, style.looks(list(networks.values())), strict=True):
            places = _places(rows, model, column, values, numeric)
            if not places:
                continue
            name, line = short[model], {**look.mark, "linestyle": "" if powers else look.dashes, "markersize": 4}
            curve = by_model.get(model)
            if powers and curve is not None and curve.power is not None:
                name = f"{name}, exponent {curve.power.exponent:.2f}"
                ends = [min(curve.xs), max(curve.xs)]
                axes.plot(
                    ends, [column.scale * curve.power.at(x) for x in ends], color=look.colour, linewidth=0.9, zorder=1
                )
            axes.plot(*zip(*places, strict=True), label=name, zorder=2, **line)
        _axes(axes, values, numeric, powers)
        axes.set_xlabel(_UNITS.get(key, key))
        axes.set_ylabel(heading)
        if axes.has_data():  # an interrupted sweep may have nothing of a column
            figure.legend(loc="outside lower center", ncols=1, handlelength=1.5)
    return figure


def _places(
    rows: Sequence[Row], model: str, column: Column, values: Sequence[str], numeric: bool
) -> list[tuple[float, float]]:
    """Return the points of a network: a value that is no number stands at its position."""
    places = []
    for row in rows:
        if row["model"] == model and (y := row.get(str(column.key))) is not None:
            number = number_of(row["variant"]) if numeric else values.index(str(row["variant"]))
            places.append((float(number or 0), column.scale * y))
    return places


def _axes(axes: Any, values: Sequence[str], numeric: bool, powers: bool) -> None:
    """Set the scales, and ticks at the values themselves where there are few."""
    from matplotlib.ticker import NullFormatter, NullLocator

    if powers:
        axes.set(xscale="log", yscale="log")
        style.plain_log(axes.yaxis, (1.0, 2.0, 5.0))
    else:
        axes.set_ylim(bottom=0 if axes.get_ylim()[0] >= 0 else None)
    if not numeric or len(values) <= _MOST_TICKS or powers:
        step = -(-len(values) // _MOST_TICKS)
        places = [float(value) if numeric else at for at, value in enumerate(values)]
        axes.set_xticks(places[::step], [str(value) for value in values][::step])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())


def draw_search(
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
        front: networks of the front, in the order of the table, whose numbers they have where there is room.
        baseline: the baseline.
        x: the column across.
        y: the column upwards.
        budgets: word of a column and the bound on it, in the unit of its axis.
        options: width and titles.
    """
    width = options.width or style.COLUMN_INCHES
    figure, axes = style.new(width, 0.78 * width)
    if options.titles:
        scatter.title(figure, "Search: all that was tried, and the front")
    with style.applied():
        dots = _points(tried, x, y)
        axes.plot(
            *zip(*dots, strict=True) if dots else ([], []), ".", color="0.75", markersize=3, label="tried", zorder=1
        )
        points, others = _points(front, x, y), _points([baseline], x, y)
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=style.COLOURS[0], markersize=4.5, label="front", zorder=3)
        for place in others:
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
        axes.set(xlabel=scatter.heading(x), ylabel=scatter.heading(y))
        figure.legend(loc="outside lower center", ncols=4, handletextpad=0.3, columnspacing=1.2)
        numbers = [str(at + 1) for at in range(len(points))]
        numbered = range(0, len(points), 1 if len(points) <= _MOST_NUMBERS else len(points) - 1)
        scatter.label(axes, numbers, [*points, *others], [], numbered, all_of_them=False)
    return figure


def _points(rows: Sequence[Row], x: Column, y: Column) -> list[tuple[float, float]]:
    """Return the places of the rows that have both numbers, in the units of the axes."""
    pairs = ((row.get(str(x.key)), row.get(str(y.key))) for row in rows)
    return [(x.scale * a, y.scale * b) for a, b in pairs if a is not None and b is not None]
