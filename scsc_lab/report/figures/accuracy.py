"""The figures of training: every seed with the paired differences, several budgets, and the learning curves."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report.accuracy import level
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
    """Return a figure with a row per network: its runs on the left, its difference and interval on the right.

    Runs of one seed are joined where there are few networks.

    Args:
        networks: rows of :func:`scsc_lab.experiments.train.summaries`, with their ``runs``, the baseline first.
        options: width and titles.
    """
    from matplotlib.ticker import MaxNLocator

    width = options.width or style.PAGE_INCHES
    height, is_narrow = _FRAME_INCHES + _ROW_INCHES * len(networks), width <= style.NARROW_INCHES
    shape: dict[str, Any] = {"nrows": 2} if is_narrow else {"ncols": 2, "gridspec_kw": {"width_ratios": (3, 4)}}
    figure, (dots, intervals) = style.new(width, 2 * height if is_narrow else height, sharey=True, **shape)
    with style.applied():
        for place, row in enumerate(networks):
            values = [run["accuracy"] for run in row["runs"] if run["accuracy"] is not None]
            dots.scatter(values, [place] * len(values), s=9, color=style.colour(place), zorder=2)
            if (mean := _mean_accuracy(row)) is not None:
                dots.plot([mean, mean], [place - 0.3, place + 0.3], color="black", linewidth=1.2, zorder=3)
            if row.get("accuracy_difference") is not None:
                _draw_difference(intervals, row, place)
        if len(networks) <= MANY:
            for pair in zip(*([run["accuracy"] for run in row["runs"]] for row in networks), strict=False):
                if None not in pair:
                    dots.plot(pair, range(len(pair)), color="0.75", linewidth=0.6, zorder=1)
        names = [style.name(row["model"]) for row in networks]
        dots.set_yticks(range(len(networks)), names)
        dots.set_ylim(len(networks) - 0.5, -0.5)
        dots.set_xlabel("accuracy (%), last epoch; line: mean")
        intervals.axvline(0, color="black", linewidth=0.6)
        intervals.tick_params(axis="y", left=False, labelleft=is_narrow)
        intervals.spines["left"].set_visible(False)
        intervals.margins(x=0.05)
        low, high = intervals.get_xlim()
        intervals.set_xlim(low, high + (high - low) * (2.4 if is_narrow else 1.0))  # room for the values
        intervals.set_xticks([tick for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high])
        baseline = style.name(networks[0].get("baseline") or networks[0]["model"])
        intervals.set_xlabel(f"difference{'' if is_narrow else f' to {baseline}'}, points, {level(networks)}")
    return figure


def _draw_difference(axis: Any, row: Row, place: int) -> None:
    low, high = row.get("difference_low"), row.get("difference_high")
    if low is not None and high is not None:
        axis.plot([low, high], [place, place], color="0.3", linewidth=1.6)
    axis.scatter([row["accuracy_difference"]], [place], s=12, color="black", zorder=3)
    text = units.points_interval((row["accuracy_difference"], low, high))
    axis.annotate(
        f"{text}  {row.get('verdict') or ''}".rstrip(),
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


def draw_budgets(budgets: Sequence[Sequence[Row]], options: Drawing = style.PLAIN) -> Figure:
    """Return a figure with a line per compared network: its difference to the baseline at each budget, and interval.

    Args:
        budgets: rows of :func:`scsc_lab.experiments.train.summaries`, ascending.
        options: width and titles.
    """
    width = options.width or style.PAGE_INCHES
    is_narrow = width <= style.NARROW_INCHES
    shape = {"nrows": 2} if is_narrow else {"ncols": 2}
    figure, axes = style.new(width, 2 * _PANEL_INCHES if is_narrow else _PANEL_INCHES, sharey=True, **shape)
    everything = [row for rows in budgets for row in rows]
    compared = [row for row in everything if row.get("accuracy_difference") is not None]
    with style.applied():
        for axis, key, scale, label in (
            (axes[0], "train_macs_mean", 1e-9, "MACs spent per run (G)"),
            (axes[1], "seconds_mean", 1.0, "seconds per run"),
        ):
            for number, model in enumerate(dict.fromkeys(row["model"] for row in compared)):
                rows = [row for row in compared if row["model"] == model and row.get(key)]
                values = [row["accuracy_difference"] for row in rows]
                reach = [
                    [0.0 if row[end] is None else abs(row[end] - row["accuracy_difference"]) for row in rows]
                    for end in ("difference_low", "difference_high")
                ]
                axis.errorbar(
                    [scale * row[key] for row in rows],
                    values,
                    yerr=reach,
                    marker="o",
                    markersize=3,
                    linewidth=0.8,
                    capsize=2,
                    color=style.colour(number),
                    label=style.name(model),
                )
            axis.axhline(0, color="black", linewidth=0.6)
            axis.set_xscale("log")
            style.plain_log(axis.xaxis, (1.0, 2.0, 5.0))
            axis.set_xlabel(label)
        for axis in axes if is_narrow else axes[:1]:
            axis.set_ylabel(f"difference, points, {level(compared)}")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=1 if is_narrow else 3)
    return figure


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
                "color": style.colour(position),
                "linestyle": _LINES[position % len(_LINES)],
                "linewidth": 0.7,
            }
            own = [run["curve"] for run in row["runs"]]
            if len(networks) > MANY:
                own = [_mean([run["curve"] for run in row["runs"] if run["status"] == "complete"])]
            for number, curve in enumerate(own):
                label = style.name(row["model"]) if number == 0 else None
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
