"""Time against MACs, both as ratios to the baseline's: one mark per network and runtime, the diagonal drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scsc_lab.records import Row
from scsc_lab.report import names, tables
from scsc_lab.report.figures import style
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKER_POINTS, _HOLLOW_POINTS = 5.5, 4.0
_ROOM = 0.4
"""Share of the width from which on a name has room to the left of its marks."""

_MARGIN = 1.25
_TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)


def points(timings: Sequence[Row]) -> list[tuple[Row, tuple[float, float]]]:
    """Return the timings whose ratios of MACs and of times to their baselines are known, each with these two."""
    return [
        (row, (row["macs"] / baseline["macs"], row["ratio"]))
        for row, baseline in zip(timings, tables.baselines(timings, timings), strict=True)
        if baseline is not None and row.get("macs") and baseline.get("macs") and row.get("ratio")
    ]


def draw(timings: Sequence[Row], options: Drawing = style.PLAIN) -> Figure:
    """Return the figure: MAC ratio across, time ratio upwards, both logarithmic; each network is named at its marks.

    Above the diagonal a network takes more time than its MACs say. The marks of one network stand above each other,
    since they have the same MACs; bars are 95 % intervals. A runtime has a shape, a backbone a colour; the marks of a
    deploy form are hollow.

    Args:
        timings: rows of :func:`scsc_lab.report.latency.timings_of`.
        options: width.
    """
    from matplotlib.ticker import FixedLocator

    width = options.width or style.COLUMN_INCHES
    figure, axes = style.new(width, 1.02 * width)
    titles = list(dict.fromkeys(str(row["runtime_title"]) for row in timings))
    drawn = points(timings)
    ends = [end for row, _ in drawn for end in (row.get("ratio_low"), row.get("ratio_high")) if end]
    values = [1.0, *ends, *(value for _, place in drawn for value in place)]
    low, high = min(values) / _MARGIN, max(values) * _MARGIN
    with style.applied():
        axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.set(xlabel="MACs / the baseline's", ylabel="time / the baseline's")
        axes.plot([low, high], [low, high], color="0.6", linestyle="--", linewidth=0.8, zorder=1)
        axes.axhline(1.0, color="0.85", linewidth=0.6, zorder=0)
        axes.axvline(1.0, color="0.85", linewidth=0.6, zorder=0)
        for (row, place), hue in zip(drawn, names.hues([row for row, _ in drawn]), strict=True):
            _mark(axes, row, place, _look(hue, titles.index(str(row["runtime_title"]))))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(FixedLocator([tick for tick in _TICKS if low <= tick <= high]))
            axis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_minor_locator(FixedLocator([]))
        _name(axes, drawn)
        looks = [{**_look(0, number), "color": "0.3", "markerfacecolor": "0.3"} for number in range(len(titles))]
        handles = [axes.plot([], [], linestyle="", **look)[0] for look in looks]
        if any(row.get("form") == "deploy" for row, _ in drawn):
            titles.append("deploy form")
            handles += axes.plot([], [], "o", color="0.3", markersize=_HOLLOW_POINTS, markerfacecolor="white")
        figure.legend(handles, titles, loc="outside upper center", ncols=min(len(titles), 3), handletextpad=0.2)
    return figure


def _look(backbone: int, runtime: int) -> dict[str, Any]:
    """Return the look of a mark: a colour per backbone, a shape per runtime."""
    colour = style.colour(backbone)
    marker = style.MARKERS[runtime % len(style.MARKERS)]
    return {"color": colour, "marker": marker, "markersize": _MARKER_POINTS, "markerfacecolor": colour}


def _mark(axes: Any, row: Row, place: tuple[float, float], look: dict[str, Any]) -> None:
    macs, time = place
    hollow = row.get("form") == "deploy"
    layer = 3 if hollow else 2
    if hollow:
        look = {**look, "markersize": _HOLLOW_POINTS, "markerfacecolor": "white"}
    if row.get("ratio_low") and row.get("ratio_high"):
        axes.plot([macs, macs], [row["ratio_low"], row["ratio_high"]], linewidth=0.9, color=look["color"], zorder=layer)
    axes.plot(macs, time, zorder=layer, **look)


def _name(axes: Any, drawn: Sequence[tuple[Row, tuple[float, float]]]) -> None:
    """Write each network's name beside its marks, once for both of its forms, where there is room.

    The deploy forms of baselines lie on each other, and have one name together.
    """
    places: dict[str, list[tuple[float, float]]] = {}
    for row, place in drawn:
        name = str(row.get("ordinary") or row["model"])
        places.setdefault("baselines" if name == row["baseline"] else name, []).append(place)
    for name, marks in places.items():
        macs = marks[0][0]
        low, high = min(time for _, time in marks), max(time for _, time in marks)
        room = axes.transAxes.inverted().transform(axes.transData.transform((macs, high)))[0]
        side = -1 if room > _ROOM and (low * high) ** 0.5 >= macs else 1
        axes.annotate(
            style.name(name, 24),
            (macs, (low * high) ** 0.5),
            xytext=(7 * side, 0),
            textcoords="offset points",
            ha="right" if side < 0 else "left",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
            zorder=1.5,
        )
