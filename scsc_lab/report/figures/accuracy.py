"""The figures of training: every seed with the paired differences, several budgets, and the learning curves."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scsc_lab import units
from scsc_lab.analysis.convergence import chance_of
from scsc_lab.records import Row
from scsc_lab.report import names
from scsc_lab.report.accuracy import level, pair_of
from scsc_lab.report.figures import style
from scsc_lab.report.names import shortened, shortened_apart
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANEL_INCHES = 2.4
_ROW_INCHES = 0.24
_FRAME_INCHES = 0.5
MANY = 4
"""More networks than these stand below each other, and their curves are means over the seeds."""


def draw(groups: Sequence[Sequence[Row]], options: Drawing = style.PLAIN) -> Figure:
    """Return a figure with a row per network: its runs on the left, its difference and interval on the right.

    A baseline and its variants have one colour, the baseline hollow; a difference is grey where it is inconclusive.
    Runs of one seed are joined where a group has few networks.

    Args:
        groups: rows of :func:`scsc_lab.experiments.train.summaries` with their ``runs``: in each group the baseline
            first, and what is compared with it.
        options: width and titles.
    """
    from matplotlib.ticker import MaxNLocator

    networks = [row for group in groups for row in group]
    width = options.width or style.PAGE_INCHES
    height, is_narrow = _FRAME_INCHES + _ROW_INCHES * len(networks), width <= style.NARROW_INCHES
    shape: dict[str, Any] = {"nrows": 2} if is_narrow else {"ncols": 2, "gridspec_kw": {"width_ratios": (3, 4)}}
    figure, (dots, intervals) = style.new(width, 2 * height if is_narrow else height, sharey=True, **shape)
    with style.applied():
        first = 0
        hues = names.hues([group[0] for group in groups])
        for hue, group in zip(hues, groups, strict=True):
            _draw_group(dots, intervals, group, first, style.colour(hue), is_narrow=is_narrow)
            first += len(group)
        dots.set_yticks(range(len(networks)), [_name(row) for row in networks])
        dots.set_ylim(len(networks) - 0.5, -0.5)
        dots.set_xlabel("accuracy (%), last epoch; line: mean")
        intervals.axvline(0, color="black", linewidth=0.6)
        intervals.tick_params(axis="y", left=False, labelleft=is_narrow)
        intervals.spines["left"].set_visible(False)
        intervals.margins(x=0.05)
        low, high = intervals.get_xlim()
        intervals.set_xlim(low, high + (high - low) * (0.6 if is_narrow else 1.0))  # room for the values
        intervals.set_xticks(
            [tick for tick in MaxNLocator(3 if is_narrow else 4).tick_values(low, high) if low <= tick <= high]
        )
        baseline = (
            shortened(networks[0].get("baseline") or networks[0]["model"]) if len(groups) == 1 else "its baseline"
        )
        intervals.set_xlabel(f"difference{'' if is_narrow else f' to {baseline}'}, points, {level(networks)}")
    return figure


def _draw_group(dots: Any, intervals: Any, group: Sequence[Row], first: int, colour: str, *, is_narrow: bool) -> None:
    """Draw the rows of a baseline and its variants, from a place downwards."""
    for place, row in enumerate(group, start=first):
        values = [run["accuracy"] for run in row["runs"] if run["accuracy"] is not None]
        face = "white" if row["model"] == row.get("baseline") else colour
        dots.scatter(values, [place] * len(values), s=9, facecolor=face, edgecolor=colour, linewidths=0.7, zorder=2)
        if (mean := _mean_accuracy(row)) is not None:
            dots.plot([mean, mean], [place - 0.3, place + 0.3], color="black", linewidth=1.2, zorder=3)
        if row.get("accuracy_difference") is not None:
            _draw_difference(intervals, row, place, is_narrow=is_narrow)
    if len(group) <= MANY:
        by_pair = [{pair_of(run): run["accuracy"] for run in row["runs"]} for row in group]
        for pair in by_pair[0]:
            values = [accuracies.get(pair) for accuracies in by_pair]
            if None not in values:
                dots.plot(values, range(first, first + len(values)), color="0.75", linewidth=0.6, zorder=1)


def _name(row: Row) -> str:
    """Return a network's name, which begins with "+" where the row of its baseline is above."""
    return shortened(str(row["model"]).replace(f"{row.get('baseline')} + ", "+ ", 1))


def _draw_difference(axis: Any, row: Row, place: int, *, is_narrow: bool) -> None:
    low, high = row.get("difference_low"), row.get("difference_high")
    colour = "black"
    if low is not None and high is not None:
        colour = "0.6" if low <= 0 <= high or row.get("verdict") == "inconclusive" else "black"
        axis.plot([low, high], [place, place], color=colour, linewidth=1.6)
    axis.scatter([row["accuracy_difference"]], [place], s=12, color=colour, zorder=3)
    text = f"{units.points_interval((row['accuracy_difference'], low, high))}  {row.get('verdict') or ''}".rstrip()
    axis.annotate(
        units.signed_decimal(row["accuracy_difference"]) if is_narrow else text,
        (row["accuracy_difference"] if high is None else high, place),
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},  # the line of no difference may pass below
        **style.TO_THE_RIGHT,
    )


def _mean_accuracy(row: Row) -> float | None:
    """Return the mean over the runs that did not diverge, as tables have it."""
    values = [run["accuracy"] for run in row["runs"] if run["status"] == "complete" and run["accuracy"] is not None]
    return statistics.fmean(values) if values else None


def draw_budgets(budgets: Sequence[Sequence[Row]], options: Drawing = style.PLAIN) -> Figure:
    """Return a figure of training budgets: accuracy against MACs, and its difference against MACs and seconds.

    Baselines are hollow and dashed. Bars: one deviation of the runs in the first panel, the interval in the others.

    Args:
        budgets: rows of :func:`scsc_lab.experiments.train.summaries`, ascending.
        options: width and titles.
    """
    width = options.width or style.PAGE_INCHES
    is_narrow = width <= style.NARROW_INCHES
    height = 3 * 0.75 * _PANEL_INCHES if is_narrow else 0.9 * _PANEL_INCHES
    figure, axes = style.new(width, height + 0.3, **({"nrows": 3} if is_narrow else {"ncols": 3}))
    rows = [row for rows_of_budget in budgets for row in rows_of_budget if row.get("accuracy_mean") is not None]
    models = list({row["model"]: row for row in rows}.values())
    short = shortened_apart(row["model"] for row in models)
    with style.applied():
        for model, look in zip(models, style.looks(models), strict=True):
            line = {**look.mark, **look.line, "markersize": 3.5, "linewidth": 0.9, "elinewidth": 0.7}
            runs = [row for row in rows if row["model"] == model["model"] and row.get("train_macs_mean")]
            reach = [row.get("accuracy_deviation") or 0.0 for row in runs]
            spent = [1e-9 * row["train_macs_mean"] for row in runs]
            label = short[str(model["model"])]
            axes[0].errorbar(spent, [row["accuracy_mean"] for row in runs], yerr=reach, label=label, **line)
            compared = [row for row in runs if row.get("accuracy_difference") is not None]
            values = [row["accuracy_difference"] for row in compared]
            ends = [
                [0.0 if row.get(end) is None else abs(row[end] - row["accuracy_difference"]) for row in compared]
                for end in ("difference_low", "difference_high")
            ]
            for panel, key, unit in ((axes[1], "train_macs_mean", 1e-9), (axes[2], "seconds_mean", 1.0)):
                if compared and all(row.get(key) for row in compared):
                    panel.errorbar([unit * row[key] for row in compared], values, yerr=ends, **line)
        for panel, cost in zip(axes, ("MACs per run (G)", "MACs per run (G)", "seconds per run"), strict=True):
            panel.set(xscale="log", xlabel=cost, ylabel=f"difference, points, {level(rows)}")
            style.plain_log(panel.xaxis, (1.0, 2.0, 5.0))
        axes[0].set_ylabel("accuracy (%)")
        for panel in axes[1:]:
            panel.axhline(0, color="black", linewidth=0.6)
        style.key(figure, *axes[0].get_legend_handles_labels())
    return figure


def draw_difficulty(rows: Sequence[Row], options: Drawing = style.PLAIN) -> Figure:
    """Return a figure of trained networks on harder images: a panel per condition and task, a line per network.

    Args:
        rows: rows of :func:`scsc_lab.experiments.difficulty.summaries`.
        options: width and titles.
    """
    tasks = list(dict.fromkeys(key.removesuffix("_mean") for row in rows for key in row if key.endswith("_mean")))
    conditions = list(dict.fromkeys(str(row["condition"]) for row in rows))
    networks = list({row["model"]: row for row in rows}.values())
    panels = [(condition, task) for condition in conditions for task in tasks]
    width = options.width or style.PAGE_INCHES
    side_by_side = min(len(panels), 2 if width <= style.NARROW_INCHES else 4)
    figure, axes = style.grid(len(panels), side_by_side, width, 0.8 * _PANEL_INCHES, key_inches=0.3)
    short = shortened_apart(network["model"] for network in networks)
    with style.applied():
        for axis, (condition, task) in zip(axes.flat, panels, strict=False):
            for network, look in zip(networks, style.looks(networks), strict=True):
                of_network = [row for row in rows if (row["model"], row["condition"]) == (network["model"], condition)]
                cells = sorted((row for row in of_network if f"{task}_mean" in row), key=lambda row: row["value"])
                places = [row["value"] for row in cells], [row[f"{task}_mean"] for row in cells]
                line = {**look.mark, **look.line, "markersize": 3.5, "linewidth": 0.9}
                axis.plot(*places, label=short[str(network["model"])], **line)
            axis.set(xlabel=_CONDITIONS.get(condition, condition), ylabel=f"{task} accuracy (%)")
            if condition == "small letters":
                axis.invert_xaxis()  # harder to the right
        style.key(figure, *axes[0, 0].get_legend_handles_labels())
    return figure


_CONDITIONS = {"small letters": "letter height (px)", "noise": "noise, deviation"}


def curves(networks: Sequence[Row], options: Drawing = style.PLAIN) -> Figure:
    """Return a figure of learning curves: training loss on the left, each accuracy of the data beside it.

    A thick line is the mean over the runs of a network; of a few networks the band reaches one deviation up and down,
    and thin lines are the runs. Of more than six the others are light and have no name. Chance is a dotted line.

    Args:
        networks: rows with their ``runs``, each with its ``curve``.
        options: width and titles.
    """
    parts = list(dict.fromkeys(name for row in networks for run in row["runs"] for name in _last(run)))
    width, count = options.width or style.PAGE_INCHES, 1 + len(parts)
    side_by_side = min(count, 2 if width <= style.NARROW_INCHES else 4)
    height = _PANEL_INCHES * (0.8 if count > side_by_side else 1.0)
    figure, axes = style.grid(count, side_by_side, width, height)
    panels = list(axes.flat)[:count]
    titles = ["training loss", *(f"{name.replace('_', ' ')} (%)" for name in parts)]
    short = shortened_apart(row["model"] for row in networks)
    with style.applied():
        labelled = names.labelled(networks)
        looks = dict(zip(labelled, style.looks([networks[at] for at in labelled]), strict=True))
        for at, row in enumerate(networks):
            runs = [run["curve"] for run in row["runs"] if run["status"] == "complete"]
            for panel, name in zip(panels, [None, *parts], strict=True):
                label = short[str(row["model"])]
                _draw_curves(panel, runs, name, looks.get(at), label, with_runs=len(networks) <= MANY)
        guesses = [chance_of(run) for row in networks for run in row["runs"][:1]]
        chance = next((percent for percent in guesses if percent is not None), None)
        if chance is not None and "accuracy" in parts:
            panels[1 + parts.index("accuracy")].axhline(
                chance, color="0.3", linestyle=":", linewidth=0.8, label="chance"
            )
        for panel, title in zip(panels, titles, strict=True):
            panel.set(xlabel="epoch", ylabel=title)
            panel.xaxis.get_major_locator().set_params(integer=True)
        drawn = [panel.get_legend_handles_labels() for panel in panels]
        entries = {label: handle for pair in drawn for handle, label in zip(*pair, strict=True)}
        style.key(figure, list(entries.values()), list(entries))
    return figure


def _draw_curves(
    panel: Any,
    runs: Sequence[Sequence[Row]],
    name: str | None,
    look: style.Look | None,
    label: str,
    *,
    with_runs: bool,
) -> None:
    """Draw the loss, or one accuracy, of a network's runs: in its look with mean and band, or as one light line."""
    by_epoch: dict[int, list[float]] = {}
    for curve in runs:
        judged = [epoch for epoch in curve if name is None or name in epoch["accuracy"]]  # long runs are judged seldom
        values = [epoch["loss"] if name is None else epoch["accuracy"][name] for epoch in judged]
        for epoch, value in zip(judged, values, strict=True):
            by_epoch.setdefault(epoch["epoch"], []).append(value)
        if look is not None and with_runs:
            panel.plot([epoch["epoch"] for epoch in judged], values, color=look.colour, linewidth=0.3, alpha=0.5)
    complete = {epoch: values for epoch, values in sorted(by_epoch.items()) if len(values) == len(runs)}
    means = [statistics.fmean(values) for values in complete.values()]
    if look is None:
        panel.plot(list(complete), means, color="0.8", linewidth=0.8, zorder=1)
        return
    panel.plot(list(complete), means, label=label, linewidth=1.3, zorder=3, **look.line)
    if len(runs) > 1 and with_runs:
        spread = [statistics.stdev(values) for values in complete.values()]
        ends = [[mean + sign * deviation for mean, deviation in zip(means, spread, strict=True)] for sign in (-1, 1)]
        panel.fill_between(list(complete), *ends, color=look.colour, alpha=0.15, linewidth=0, zorder=2)


def _last(run: Row) -> Mapping[str, float]:
    return run["curve"][-1]["accuracy"] if run["curve"] else {}
