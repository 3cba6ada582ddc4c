"""The figures of a sweep: one number over one setting, a line per network, logarithmic where powers fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scsc_lab.records import Row
from scsc_lab.report import sweep
from scsc_lab.report.figures import style
from scsc_lab.report.tables import Column
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_UNITS = {"resolution": "input side (px)", "batch": "batch (images)", "threads": "threads"}
_MOST_TICKS = 6


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
        figure.suptitle(style.name(f"{heading.partition(' (')[0]} against {key}", 60), x=0.02, ha="left", fontsize=8)
    values = list(dict.fromkeys(str(row["variant"]) for row in rows))
    numeric = all(sweep.number_of(value) is not None for value in values)
    by_model = {curve.model: curve for curve in sweep.curves(rows, [column])} if numeric else {}
    powers = bool(by_model) and all(curve.is_power for curve in by_model.values())
    networks: dict[str, Row] = {}
    for row in rows:
        networks.setdefault(str(row["model"]), row)
    with style.applied():
        for model, look in zip(networks, style.looks(list(networks.values())), strict=True):
            places = _places(rows, model, column, values, numeric)
            if not places:
                continue
            name, line = style.name(model), look.dashes if not powers else ""
            curve = by_model.get(model)
            if powers and curve is not None and curve.power is not None:
                name = f"{name}, exponent {curve.power.exponent:.2f}"
                ends = [min(curve.xs), max(curve.xs)]
                axes.plot(
                    ends, [column.scale * curve.power.at(x) for x in ends], color=look.colour, linewidth=0.9, zorder=1
                )
            axes.plot(*zip(*places, strict=True), label=name, linestyle=line, markersize=4, zorder=2, **look.mark)
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
            number = sweep.number_of(row["variant"]) if numeric else values.index(str(row["variant"]))
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
