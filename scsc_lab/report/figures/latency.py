"""The figures of times: every sample with medians and quartiles, and ratios of times against those of MACs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report import names, tables
from scsc_lab.report.figures import style
from scsc_lab.report.names import shortened, shortened_apart
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_STRIP_INCHES = 0.42
_FRAME_INCHES = 0.5
_JITTER = 0.1
_CAPTION, _SAMPLES, _BOX = -0.34, -0.02, 0.27
"""Where caption, samples and box of a strip stand, in strips from its middle, downwards."""

_ACROSS = "one pass (ms); bar: quartiles, line: median"
_LONGEST_LABEL, _LONGEST_BASELINE = 18, 14
_WIDEST_LINEAR = 8.0


def draw(rows: Sequence[Row], options: Drawing = style.PLAIN) -> Figure:
    """Return a figure with a panel an input size, in it a strip a network and batch size with all its samples.

    A strip shows each sample as a dot, its height at random so that dots do not hide each other; below them the
    quartiles as a bar and the median as a line; above them the median, and the ratio of times with its interval and
    the network that it is against, where the strip's own name does not say so.

    Args:
        rows: rows of :meth:`scsc_lab.timing.result.Timing.row`.
        options: width and titles.
    """
    sizes = dict.fromkeys(units.size(row.get("resolution")) for row in rows)
    panels = [[row for row in rows if units.size(row.get("resolution")) == size] for size in sizes]
    heights = [_FRAME_INCHES + _STRIP_INCHES * len(panel) for panel in panels]
    width = options.width or style.COLUMN_INCHES
    figure, axes = style.new(
        width, sum(heights), nrows=len(panels), squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    batches = len({row["batch"] for row in rows}) > 1
    hues = {id(row): hue for row, hue in zip(rows, names.hues(rows), strict=True)}
    with style.applied():
        for axis, panel, size in zip(axes[:, 0], panels, sizes, strict=True):
            _draw_panel(axis, panel, [hues[id(row)] for row in panel], batches=batches)
            facts = [f"input {size}"] if size and (len(panels) > 1 or options.titles) else []
            facts += [] if batches or not options.titles else [f"batch {panel[0]['batch']}"]
            axis.set_title(", ".join(facts), fontsize=style.POINTS, fontweight="bold", loc="left", pad=5)
        axes[-1, 0].set_xlabel(_ACROSS)
    return figure


def panel(rows: Sequence[Row], axes: Any = None) -> Any:
    """Draw all samples of some timings, a strip a network and batch size, and return the axes.

    Args:
        rows: rows of :meth:`scsc_lab.timing.result.Timing.row`.
        axes: matplotlib's axes to draw on. Default: those of a new figure, one column wide.
    """
    if axes is None:
        _, axes = style.new(style.COLUMN_INCHES, _FRAME_INCHES + _STRIP_INCHES * len(rows))
    with style.applied():
        _draw_panel(axes, rows, names.hues(rows), batches=len({row["batch"] for row in rows}) > 1)
        axes.set_xlabel(_ACROSS)
    return axes


def _draw_panel(axis: Any, rows: Sequence[Row], hues: Sequence[int], *, batches: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    generator = np.random.default_rng(0)
    times = [1e3 * np.asarray(row["samples_seconds"], dtype=float) for row in rows]
    for position, (row, hue, values) in enumerate(zip(rows, hues, times, strict=True)):
        colour = style.colour(hue)
        face = {"facecolor": "white" if names.is_baseline(row) else colour, "edgecolor": colour}
        place = axis.get_yaxis_transform()
        axis.text(0.0, position + _CAPTION, _caption(row), transform=place, va="center", fontsize=style.POINTS)
        if not len(values):
            continue
        heights = position + _SAMPLES + generator.uniform(-_JITTER, _JITTER, len(values))
        axis.scatter(values, heights, s=5, alpha=0.7, linewidths=0.5, **face)
        low, middle, high = np.percentile(values, (25, 50, 75))
        box = position + _BOX
        axis.plot([low, high], [box, box], color="0.45", linewidth=3.0, solid_capstyle="butt")
        axis.plot([middle, middle], [box - 0.1, box + 0.1], color="black", linewidth=1.4)
    axis.set_ylim(len(rows) - 0.55, -0.5)
    short = shortened_apart((row["model"] for row in rows), 2 * _LONGEST_LABEL)
    axis.set_yticks(range(len(rows)), [_name(short[str(row["model"])], row, batches=batches) for row in rows])
    axis.tick_params(left=False)
    axis.spines["left"].set_visible(False)
    samples = np.concatenate(times)
    if samples.size and samples.max() > _WIDEST_LINEAR * samples.min():
        axis.set_xscale("log")
        style.plain_log(axis.xaxis, (1.0, 2.0, 5.0))
    else:
        axis.xaxis.set_major_locator(MaxNLocator(5, prune="upper"))  # a label at the end would be cut off


def _name(name: str, row: Row, *, batches: bool) -> str:
    """Return a strip's name in two lines at most, broken where a word ends."""
    if len(name) > _LONGEST_LABEL:
        ends = range(len(name) - _LONGEST_LABEL, _LONGEST_LABEL + 1)
        at = max((end for end in ends if name[end - 1] in "_-[ +:.,"), default=_LONGEST_LABEL)
        name = f"{name[:at]}\n{name[at:]}"
    return f"{name}\nbatch {row['batch']}" if batches else name


def _caption(row: Row) -> str:
    if row["median_seconds"] is None:
        return shortened(row["status"])
    text = f"{units.milliseconds(row['median_seconds'])} ms"
    if row["ratio"] is None:
        return text
    interval = units.interval((row["ratio_low"], row["ratio_high"]))
    baseline = str(row.get("baseline") or "the baseline")
    is_named = str(row["model"]).startswith(f"{baseline} + ")  # the strip's name names the baseline
    against = "" if is_named else f" {shortened(baseline, _LONGEST_BASELINE)}"
    return f"{text}: {units.ratio(row['ratio'])} ×{against}" + (f" ({interval})" if interval else "")


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


def draw_ratios(timings: Sequence[Row], options: Drawing = style.PLAIN) -> Figure:
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
            _mark(axes, row, place, hue, titles.index(str(row["runtime_title"])))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(FixedLocator([tick for tick in _TICKS if low <= tick <= high]))
            axis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_minor_locator(FixedLocator([]))
        _name_marks(axes, drawn)
        grey = {"color": "0.3", "markerfacecolor": "0.3"}
        marks = [{**style.mark(0, shape, _MARKER_POINTS), **grey} for shape in range(len(titles))]
        handles = [axes.plot([], [], **mark)[0] for mark in marks]
        if any(row.get("form") == "deploy" for row, _ in drawn):
            titles.append("deploy form")
            handles += axes.plot([], [], "o", color="0.3", markersize=_HOLLOW_POINTS, markerfacecolor="white")
        figure.legend(handles, titles, loc="outside upper center", ncols=min(len(titles), 3), handletextpad=0.2)
    return figure


def _mark(axes: Any, row: Row, place: tuple[float, float], backbone: int, runtime: int) -> None:
    """Draw a time with its interval: a colour per backbone, a shape per runtime."""
    macs, time = place
    hollow = row.get("form") == "deploy"
    layer = 3 if hollow else 2
    mark = style.mark(backbone, runtime, _HOLLOW_POINTS if hollow else _MARKER_POINTS, hollow=hollow)
    if row.get("ratio_low") and row.get("ratio_high"):
        axes.plot([macs, macs], [row["ratio_low"], row["ratio_high"]], linewidth=0.9, color=mark["color"], zorder=layer)
    axes.plot(macs, time, zorder=layer, **mark)


def _name_marks(axes: Any, drawn: Sequence[tuple[Row, tuple[float, float]]]) -> None:
    """Write each network's name beside its marks, once for both of its forms, where there is room.

    The deploy forms of baselines lie on each other, and have one name together.
    """
    places: dict[str, list[tuple[float, float]]] = {}
    for row, place in drawn:
        name = str(row.get("ordinary") or row["model"])
        places.setdefault("baselines" if name == row["baseline"] else name, []).append(place)
    short = shortened_apart(places, 24)
    for name, marks in places.items():
        macs = marks[0][0]
        low, high = min(time for _, time in marks), max(time for _, time in marks)
        room = axes.transAxes.inverted().transform(axes.transData.transform((macs, high)))[0]
        side = -1 if room > _ROOM and (low * high) ** 0.5 >= macs else 1
        axes.annotate(
            short[name],
            (macs, (low * high) ** 0.5),
            xytext=(7 * side, 0),
            textcoords="offset points",
            ha="right" if side < 0 else "left",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
            zorder=1.5,
        )
