"""Time against MACs, both as ratios to the baseline's: one mark a network and runtime, the diagonal drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.figures import style
from scsc_lab.report.tables import Column
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKER_POINTS, _HOLLOW_POINTS = 5.5, 4.0
_ROOM = 0.4
"""Share of the width from which on a name has room to the left of its marks."""

_WITH_INTERVAL = 3
"""Numbers of a ratio that has its interval behind it."""

_BASELINES = "baselines"
"""What the deploy forms of baselines are called."""

_MARGIN = 1.25
_TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)


def points(row: Row, rows: Sequence[Row], series: Sequence[Column]) -> list[tuple[Column, float, list[float]]]:
    """Return what is drawn of a network: for each way that it was timed its column, MAC ratio, and ratio of times.

    The ratio of times has its interval behind it, where there is one. There is nothing of a baseline, and of a network
    whose MACs, or the baseline's, are not known.
    """
    against = tables.baseline_of(row, rows)
    if against is None or against is row or not row.get("macs") or not against.get("macs"):
        return []
    found = []
    for column in series:
        keys = column.change.column.key[:3] if column.change is not None else ()
        values = [row.get(key) for key in keys] if isinstance(keys, tuple) else []
        if values and values[0]:
            found.append((column, row["macs"] / against["macs"], [value for value in values if value]))
    return found


def draw(rows: Sequence[Row], series: Sequence[Column], options: Drawing = style.PLAIN) -> Figure:
    """Return the figure: MAC ratio across, time ratio upwards, both logarithmic; a name stands beside its marks.

    Above the diagonal a network takes more time than its MACs say. The marks of one network stand above each other,
    since they have the same MACs; bars are 95 % intervals. Marks are of different shapes, so that they can be told
    apart without colour; those of a deploy form are hollow.

    Args:
        rows: networks, each with the label of its ``baseline``, its ``macs`` and the ratios of the columns.
        series: columns of the same time in several ways, each with its ratio to the baseline's.
        options: width.
    """
    width = options.width or style.COLUMN_INCHES
    figure, axes = style.new(width, 1.02 * width)
    drawn = [(row, found) for row in rows if (found := points(row, rows, series))]
    values = [value for _, found in drawn for _, macs, times in found for value in (macs, *times)]
    low, high = min([*values, 1.0]) / _MARGIN, max([*values, 1.0]) * _MARGIN
    with style.applied():
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.plot([low, high], [low, high], color="0.6", linestyle="--", linewidth=0.8, zorder=1)
        for line in (axes.axhline, axes.axvline):
            line(1.0, color="0.85", linewidth=0.6, zorder=0)
        for row, found in drawn:
            _marks(axes, row, found, series)
        for axis in (axes.xaxis, axes.yaxis):
            shown = [tick for tick in _TICKS if low <= tick <= high]
            axis.set_major_locator(_fixed(shown))
            axis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_minor_locator(_fixed([]))
        axes.set_xlabel("MACs / the baseline's")
        axes.set_ylabel("time / the baseline's")
        _name(axes, drawn)
        handles = [
            axes.plot([], [], linestyle="", color=_colour(at), marker=_marker(at), markersize=_MARKER_POINTS)[0]
            for at in range(len(series))
        ]
        names = [column.series for column in series]
        if any(row.get("form", "ordinary") != "ordinary" for row, _ in drawn):
            (hollow,) = axes.plot([], [], linestyle="", color="0.3", marker="o", markersize=_HOLLOW_POINTS)
            hollow.set_markerfacecolor("white")
            handles, names = [*handles, hollow], [*names, "deploy form"]
        figure.legend(handles, names, loc="outside upper center", ncols=min(len(names), 3), handletextpad=0.2)
    return figure


def _marks(axes: Any, row: Row, found: Sequence[tuple[Column, float, list[float]]], series: Sequence[Column]) -> None:
    fused = row.get("form", "ordinary") != "ordinary"
    for column, macs, times in found:
        number = list(series).index(column)
        how = {"color": _colour(number), "zorder": 3 if fused else 2}
        if len(times) == _WITH_INTERVAL:
            axes.plot([macs, macs], times[1:], linewidth=0.9, **how)
        face = "white" if fused else _colour(number)
        size = _HOLLOW_POINTS if fused else _MARKER_POINTS
        axes.plot(macs, times[0], marker=_marker(number), markersize=size, markerfacecolor=face, **how)


def _name(axes: Any, drawn: Sequence[tuple[Row, Any]]) -> None:
    """Write each network's name beside its marks, once for both of its forms, where there is room.

    The deploy forms of baselines lie on each other, and have one name together.
    """
    written: dict[str, list[Any]] = {}
    for row, found in drawn:
        name = str(row.get("ordinary") or row["model"])
        written.setdefault(_BASELINES if name == row.get("baseline") else name, []).extend(found)
    for name, found in written.items():
        macs = found[0][1]
        low = min(times[0] for _, _, times in found)
        high = max(times[0] for _, _, times in found)
        room = axes.transAxes.inverted().transform(axes.transData.transform((macs, high)))[0]
        beside = -1 if room > _ROOM and (low * high) ** 0.5 >= macs else 1
        axes.annotate(
            style.name(name, 24),
            (macs, (low * high) ** 0.5),
            xytext=(7 * beside, 0),
            textcoords="offset points",
            ha="right" if beside < 0 else "left",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
            zorder=1.5,
        )


def _fixed(values: Sequence[float]) -> Any:
    from matplotlib.ticker import FixedLocator

    return FixedLocator(list(values))


def _colour(number: int) -> str:
    return style.COLOURS[number % len(style.COLOURS)]


def _marker(number: int) -> str:
    return style.MARKERS[number % len(style.MARKERS)]
