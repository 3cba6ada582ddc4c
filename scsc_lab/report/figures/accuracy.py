"""The figures of training: every seed a dot, pairs joined, the difference beside them; and the learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report.figures import style
from scsc_lab.report.figures.style import FigureOptions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANEL_INCHES = 2.4


def draw(networks: Sequence[Row], options: FigureOptions = style.PLAIN) -> Figure:
    """Return a figure: on the left every run a dot, runs of one seed joined; on the right differences and intervals.

    Args:
        networks: rows of :func:`scsc_lab.experiments.train.summaries`, with their ``runs``, the baseline among them.
        options: width and titles.
    """
    width = options.width or style.PAGE_INCHES
    figure, (dots, intervals) = style.new(width, _PANEL_INCHES, ncols=2, gridspec_kw={"width_ratios": (3, 2)})
    with style.applied():
        _draw_runs(dots, networks)
        _draw_differences(intervals, [row for row in networks if row.get("accuracy_difference") is not None])
    return figure


def _draw_runs(axis: Any, networks: Sequence[Row]) -> None:
    values = [[run["accuracy"] for run in row["runs"]] for row in networks]
    for pair in zip(*values, strict=False):
        if len(pair) > 1 and None not in pair:
            axis.plot(range(len(pair)), pair, color="0.75", linewidth=0.6, zorder=1)
    for position, own in enumerate(values):
        colour = style.COLOURS[position % len(style.COLOURS)]
        shown = [value for value in own if value is not None]
        axis.scatter([position] * len(shown), shown, s=12, color=colour, zorder=2)
        if shown:
            mean = sum(shown) / len(shown)
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
        )
    axis.axvline(0, color="black", linewidth=0.6)
    axis.set_ylim(-0.6, max(len(rows), 1) - 0.1)
    axis.margins(x=0.35)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    against = next((row["baseline"] for row in rows), "the baseline")
    axis.set_xlabel(f"difference to {style.name(str(against))}, points, 95%")


def curves(networks: Sequence[Row], options: FigureOptions = style.PLAIN) -> Figure:
    """Return a figure of every run's curve: training loss on the left, each accuracy of the data beside it.

    Args:
        networks: rows with their ``runs``, each with its ``curve``.
        options: width and titles.
    """
    names = list(dict.fromkeys(name for row in networks for run in row["runs"] for name in _last(run)))
    figure, axes = style.new(options.width or style.PAGE_INCHES, _PANEL_INCHES, ncols=1 + len(names), squeeze=False)
    with style.applied():
        for position, row in enumerate(networks):
            colour = style.COLOURS[position % len(style.COLOURS)]
            for number, run in enumerate(row["runs"]):
                label = style.name(row["model"]) if number == 0 else None
                epochs = [epoch["epoch"] for epoch in run["curve"]]
                losses = [epoch["loss"] for epoch in run["curve"]]
                axes[0, 0].plot(epochs, losses, color=colour, linewidth=0.7, label=label)
                for axis, name in zip(axes[0, 1:], names, strict=True):
                    values = [epoch["accuracy"].get(name) for epoch in run["curve"]]
                    axis.plot(epochs, values, color=colour, linewidth=0.7)
        axes[0, 0].set_ylabel("training loss")
        axes[0, 0].legend()
        for axis, name in zip(axes[0, 1:], names, strict=True):
            axis.set_ylabel(f"{name.replace('_', ' ')} (%)")
        for axis in axes[0]:
            axis.set_xlabel("epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
    return figure


def _last(run: Row) -> Mapping[str, float]:
    return run["curve"][-1]["accuracy"] if run["curve"] else {}
