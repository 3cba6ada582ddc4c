"""The figure of several training budgets: paired differences against MACs spent and against seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scsc_lab.records import Row
from scsc_lab.report.figures import style
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES = 2.4


def draw(budgets: Sequence[Sequence[Row]], options: Drawing = style.PLAIN) -> Figure:
    """Return a figure with a line per compared network: its difference to the baseline at each budget, and interval.

    Args:
        budgets: rows of :func:`scsc_lab.experiments.train.measure` of each budget.
        options: width and titles.
    """
    width = options.width or style.PAGE_INCHES
    is_narrow = width <= style.NARROW_INCHES
    shape = {"nrows": 2} if is_narrow else {"ncols": 2}
    figure, axes = style.new(width, 2 * _INCHES if is_narrow else _INCHES, sharey=True, **shape)
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
                    color=style.COLOURS[number % len(style.COLOURS)],
                    label=style.short(model, str(rows[0]["baseline"])) if rows else model,
                )
            axis.axhline(0, color="black", linewidth=0.6)
            axis.set_xscale("log")
            axis.set_xlabel(label)
        axes[0].set_ylabel("difference, points, 95%")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=1 if is_narrow else 3)
    return figure
