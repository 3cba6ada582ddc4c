"""The figure of an ablation: how far each variant is from the full network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report.figures import style
from scsc_lab.report.tables import Change, Column
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW_INCHES = 0.165
_FRAME_INCHES = 0.55
_LONGEST_NAME = 28
_PANEL_INCHES = 0.86
_VALUE_INCHES = 0.36
"""Room for a written value beside its dot."""

_SAVED, _SPENT, _NEITHER = style.COLOURS[0], style.COLOURS[1], "0.35"


def draw(
    rows: Sequence[Row],
    columns: Sequence[Column],
    options: Drawing = style.PLAIN,
    alongside: Sequence[Row] = (),
) -> Figure:
    """Return a figure with one panel a metric, in it one dot a variant: its change against the full network.

    A dot has its interval where there is one. Blue is better, orange and hollow worse, grey neither. Several studies
    stand below each other on one scale.

    Args:
        rows: variants of one or more studies with the changes of the columns; the first of each is the full network.
        columns: what is drawn; those without a change are left out.
        options: width and titles.
        alongside: variants in other figures, which the scale is to be the same as.
    """
    changing = [(column, column.change) for column in columns if column.change is not None]
    lines = _lines(rows)
    width = options.width or style.PAGE_INCHES
    names = max((len(name) for name, _ in _lines([*rows, *alongside])), default=0) * style.POINTS * 0.55 / 72
    side_by_side = max(1, min(len(changing), int((width - names) / _PANEL_INCHES)))
    bands = max(1, math.ceil(len(changing) / side_by_side))
    height = bands * (_FRAME_INCHES + _ROW_INCHES * len(lines)) + (0.15 if options.titles else 0.0)
    figure, axes = style.new(width, height, nrows=bands, ncols=side_by_side, sharey=True, squeeze=False)
    room = (width - names) / side_by_side - 0.15  # inches of a panel, roughly
    with style.applied():
        for panel in axes.flat[len(changing) :]:
            panel.set_axis_off()
        for panel, (column, change) in zip(axes.flat, changing, strict=False):
            _draw_panel(panel, lines, column, change, room, [*rows, *alongside])
        for first in axes[:, 0]:
            _name_lines(first, lines)
        if options.titles and rows:
            studies = dict.fromkeys(str(row["study"]) for row in rows)
            parts = [str(rows[0]["model"]), *(studies if len(studies) == 1 else ())]
            figure.suptitle(style.name(": ".join(parts), 80), fontsize=8)
    return figure


def panel(rows: Sequence[Row], column: Column, axes: Any = None) -> Any:
    """Draw the change of one metric, a dot a variant, and return the axes; see :func:`draw`.

    Args:
        rows: variants of one or more studies with the column's changes; the first of each is the full network.
        column: the metric; one that has a change.
        axes: matplotlib's axes to draw on. Default: those of a new figure, one column wide.
    """
    lines = _lines(rows)
    if axes is None:
        _, axes = style.new(style.COLUMN_INCHES, _FRAME_INCHES + _ROW_INCHES * max(len(lines), 1))
    room = axes.get_window_extent().width / axes.figure.dpi
    with style.applied():
        if column.change is not None:
            _draw_panel(axes, lines, column, column.change, room, rows)
        _name_lines(axes, lines)
    return axes


def _name_lines(axes: Any, lines: Sequence[tuple[str, Row | None]]) -> None:
    axes.set_yticks(range(len(lines)), [name for name, _ in lines])
    for label, (_, row) in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_fontweight("bold" if row is None else "normal")
    axes.set_ylim(len(lines) - 0.4, -0.6)


def _lines(rows: Sequence[Row]) -> list[tuple[str, Row | None]]:
    """Return name and row of every line; a study's name, where there are several, has no row."""
    studies = list(dict.fromkeys(str(row["study"]) for row in rows))
    lines: list[tuple[str, Row | None]] = []
    for study in studies:
        variants = [row for row in rows if str(row["study"]) == study]
        lines += [(style.name(study, _LONGEST_NAME), None)] if len(studies) > 1 else []
        lines += [(style.name(row["variant"], _LONGEST_NAME), row) for row in variants[1:]]
    return lines


def _draw_panel(
    panel: Any,
    lines: Sequence[tuple[str, Row | None]],
    column: Column,
    change: Change,
    room: float,
    all_: Sequence[Row],
) -> None:
    for position, (_, row) in enumerate(lines):
        value, low, high = change.scaled(row or {})
        if value is None:
            continue
        better = (value < 0) == (column.better == "lower")
        colour = _NEITHER if not column.better or not value else _SAVED if better else _SPENT
        if low is None or high is None:
            panel.plot([0, value], [position, position], color=colour, linewidth=0.8)
        else:
            panel.plot([low, high], [position, position], color=colour, linewidth=1.6)
        face = "white" if colour == _SPENT else colour  # hollow, for readers without colour
        panel.plot(value, position, "o", color=colour, markerfacecolor=face, markersize=3.5)
        panel.annotate(  # to the right of the line, so that no number stands on the names to the left of it
            _written(value, change),
            (max(0.0, value, high or 0.0), position),
            xytext=(4, 0),
            textcoords="offset points",
            ha="left",
            va="center",
            fontsize=style.POINTS,
        )
    panel.axvline(0, color="black", linewidth=0.6)
    panel.spines["left"].set_visible(False)
    panel.tick_params(left=False)
    panel.locator_params(axis="x", nbins=3)
    panel.set_xlim(*_limits([change.scaled(row) for row in all_], room))
    panel.set_xlabel(f"{column.quantity}\n({_unit(change)})", linespacing=1.0)


def _limits(changes: Sequence[tuple[float | None, ...]], room: float) -> tuple[float, float]:
    """Return the ends of a scale that holds all changes, and their values as text beside them."""
    ends = [end for change in changes for end in change if end is not None]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    span = (high - low) or 1.0
    share = min(_VALUE_INCHES / max(room, 0.1), 0.45)
    return low - 0.09 * span, high + span * share / (1 - share)


def _written(value: float, change: Change) -> str:
    text = units.points(value / 100) if change.how == "difference" else units.percent(value / 100)
    return text.removesuffix("%")  # the axis has the unit


def _unit(change: Change) -> str:
    return "change in points" if change.how == "difference" else "change in %"
