"""The figures of training: every seed a dot, pairs joined, the difference beside them; and the learning curves."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report.figures import style
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANEL_INCHES = 2.4
_ROW_INCHES = 0.24
_FRAME_INCHES = 0.5
MANY = 4
"""More networks than these stand below each other, and their curves are means over the seeds."""

_LINES = ("-", "--", "-.", ":")
"""Dashes that go with the colours, for readers without colour."""


def draw(networks: Sequence[Row], options: Drawing = style.PLAIN) -> Figure:
    """Return a figure: on the left every run a dot, runs of one seed joined; on the right differences and intervals.

    More than a few networks have a row each, and their pairs are not joined.

    Args:
        networks: rows of :func:`scsc_lab.experiments.train.measure`, with their ``runs``, the baseline among them.
        options: width and titles.
    """
    width = options.width or style.PAGE_INCHES
    if len(networks) > MANY:
        return _in_rows(networks, width)
    if width > style.NARROW_INCHES:
        figure, (dots, intervals) = style.new(width, _PANEL_INCHES, ncols=2, gridspec_kw={"width_ratios": (3, 2)})
    else:  # below each other
        differing = sum(row.get("accuracy_difference") is not None for row in networks)
        below = 0.5 + 0.4 * max(differing, 1)
        ratios = {"height_ratios": (_PANEL_INCHES, below)}
        figure, (dots, intervals) = style.new(width, _PANEL_INCHES + below, nrows=2, gridspec_kw=ratios)
    with style.applied():
        _draw_runs(dots, networks)
        _draw_differences(intervals, [row for row in networks if row.get("accuracy_difference") is not None])
    return figure


def _in_rows(networks: Sequence[Row], width: float) -> Figure:
    """Return the figure of many networks: a row each, its runs on the left, its difference on the right."""
    from matplotlib.ticker import MaxNLocator

    height, narrow = _FRAME_INCHES + _ROW_INCHES * len(networks), width <= style.NARROW_INCHES
    if narrow:
        figure, (dots, intervals) = style.new(width, 2 * height, nrows=2, sharey=True)
    else:
        figure, (dots, intervals) = style.new(width, height, ncols=2, sharey=True, gridspec_kw={"width_ratios": (3, 4)})
    with style.applied():
        for place, row in enumerate(networks):
            values = [run["accuracy"] for run in row["runs"] if run["accuracy"] is not None]
            dots.scatter(values, [place] * len(values), s=9, color=style.COLOURS[place % len(style.COLOURS)], zorder=2)
            if (mean := _mean_accuracy(row)) is not None:
                dots.plot([mean, mean], [place - 0.3, place + 0.3], color="black", linewidth=1.2, zorder=3)
            if row.get("accuracy_difference") is not None:
                _draw_difference(intervals, row, place)
        names = [style.short(row["model"], networks[0]["model"]) for row in networks]
        dots.set_yticks(range(len(networks)), names)
        dots.set_ylim(len(networks) - 0.5, -0.5)
        dots.set_xlabel("accuracy (%), last epoch; line: mean")
        intervals.axvline(0, color="black", linewidth=0.6)
        intervals.tick_params(axis="y", left=False, labelleft=narrow)
        intervals.spines["left"].set_visible(False)
        intervals.margins(x=0.05)
        low, high = intervals.get_xlim()
        intervals.set_xlim(low, high + (high - low) * (2.4 if narrow else 1.0))  # room for the values
        intervals.set_xticks([tick for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high])
        intervals.set_xlabel(
            "difference, points, 95%" if narrow else f"difference to {_baseline(networks)}, points, 95%"
        )
    return figure


def _draw_difference(axis: Any, row: Row, place: int) -> None:
    low, high = row.get("difference_low"), row.get("difference_high")
    if low is not None and high is not None:
        axis.plot([low, high], [place, place], color="0.3", linewidth=1.6)
    axis.scatter([row["accuracy_difference"]], [place], s=12, color="black", zorder=3)
    said = units.points_interval((row["accuracy_difference"], low, high))
    axis.annotate(
        f"{said}  {row.get('verdict') or ''}".rstrip(),
        (row["accuracy_difference"] if high is None else high, place),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=style.POINTS,
    )


def _mean_accuracy(row: Row) -> float | None:
    """Return the mean over the runs that did not diverge, as tables have it."""
    values = [run["accuracy"] for run in row["runs"] if run["status"] == "complete" and run["accuracy"] is not None]
    return statistics.fmean(values) if values else None


def _baseline(rows: Sequence[Row]) -> str:
    said = (row.get("baseline") for row in rows if row.get("accuracy_difference") is not None)
    return style.name(str(next(said, "the baseline")))


def _draw_runs(axis: Any, networks: Sequence[Row]) -> None:
    values = [[run["accuracy"] for run in row["runs"]] for row in networks]
    for pair in zip(*values, strict=False):
        if len(pair) > 1 and None not in pair:
            axis.plot(range(len(pair)), pair, color="0.75", linewidth=0.6, zorder=1)
    for position, own in enumerate(values):
        colour = style.COLOURS[position % len(style.COLOURS)]
        shown = [value for value in own if value is not None]
        axis.scatter([position] * len(shown), shown, s=12, color=colour, zorder=2)
        if (mean := _mean_accuracy(networks[position])) is not None:
            axis.plot([position - 0.2, position + 0.2], [mean, mean], color="black", linewidth=1.2, zorder=3)
    axis.set_xticks(range(len(networks)), [style.name(row["model"]) for row in networks])
    axis.set_xlim(-0.5, len(networks) - 0.5)
    axis.set_ylabel("accuracy (%), last epoch")
    axis.set_xlabel("dots: seeds, joined; line: mean")


def _draw_differences(axis: Any, rows: Sequence[Row]) -> None:
    for position, row in enumerate(rows):
        low, high = row.get("difference_low"), row.get("difference_high")
        if low is not None and high is not None:
            axis.plot([low, high], [position, position], color="0.3", linewidth=1.6)
        axis.scatter([row["accuracy_difference"]], [position], s=16, color="black", zorder=3)
        said = units.points_interval((row["accuracy_difference"], low, high))
        caption = ", ".join(filter(None, (style.name(row["model"]), row.get("verdict"))))
        axis.annotate(
            f"{caption}\n{said}",
            (row["accuracy_difference"], position),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=style.POINTS,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        )
    axis.axvline(0, color="black", linewidth=0.6)
    axis.set_ylim(-0.6, max(len(rows), 1) - 0.1)
    axis.margins(x=0.35)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.set_xlabel(f"difference to {_baseline(rows)}, points, 95%")


def curves(networks: Sequence[Row], options: Drawing = style.PLAIN) -> Figure:
    """Return a figure of every run's curve: training loss on the left, each accuracy of the data beside it.

    More than a few networks have one curve each, the mean over its runs.

    Args:
        networks: rows with their ``runs``, each with its ``curve``.
        options: width and titles.
    """
    names = list(dict.fromkeys(name for row in networks for run in row["runs"] for name in _last(run)))
    width, count = options.width or style.PAGE_INCHES, 1 + len(names)
    side_by_side = min(count, 2 if width <= style.NARROW_INCHES else 4)
    bands = math.ceil(count / side_by_side)
    height = bands * _PANEL_INCHES * (0.8 if bands > 1 else 1.0)
    figure, axes = style.new(width, height, nrows=bands, ncols=side_by_side, squeeze=False)
    panels = list(axes.flat)
    with style.applied():
        for panel in panels[count:]:
            panel.set_axis_off()
        for position, row in enumerate(networks):
            look = {
                "color": style.COLOURS[position % len(style.COLOURS)],
                "linestyle": _LINES[position % len(_LINES)],
                "linewidth": 0.7,
            }
            own = [run["curve"] for run in row["runs"]]
            if len(networks) > MANY:
                own = [_mean([run["curve"] for run in row["runs"] if run["status"] == "complete"])]
            for number, curve in enumerate(own):
                label = style.short(row["model"], networks[0]["model"]) if number == 0 else None
                epochs = [epoch["epoch"] for epoch in curve]
                panels[0].plot(epochs, [epoch["loss"] for epoch in curve], label=label, **look)
                for panel, name in zip(panels[1:], names, strict=False):
                    judged = [epoch for epoch in curve if name in epoch["accuracy"]]  # long runs are judged seldom
                    values = [epoch["accuracy"][name] for epoch in judged]
                    panel.plot([epoch["epoch"] for epoch in judged], values, **look)
        for panel, name in zip(
            panels, ["training loss", *(f"{name.replace('_', ' ')} (%)" for name in names)], strict=False
        ):
            panel.set_ylabel(name)
            panel.set_xlabel("epoch")
            panel.xaxis.get_major_locator().set_params(integer=True)
        columns = 3 if len(networks) > MANY else 4
        figure.legend(loc="outside upper center", ncols=2 if width <= style.NARROW_INCHES else columns)
    return figure


def _mean(curves: Sequence[Sequence[Row]]) -> list[Row]:
    """Return the mean of curves, as far as all of them go."""
    found = []
    for epochs in zip(*curves, strict=False):
        keys = [key for key in epochs[0]["accuracy"] if all(key in epoch["accuracy"] for epoch in epochs)]
        accuracy = {key: statistics.fmean(epoch["accuracy"][key] for epoch in epochs) for key in keys}
        loss = statistics.fmean(epoch["loss"] for epoch in epochs)
        found.append({"epoch": epochs[0]["epoch"], "loss": loss, "accuracy": accuracy})
    return found


def _last(run: Row) -> Mapping[str, float]:
    return run["curve"][-1]["accuracy"] if run["curve"] else {}
