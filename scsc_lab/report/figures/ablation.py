"""The figure of an ablation: how far each variant is from the full network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report.figures import style
from scsc_lab.report.tables import Column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW_INCHES = 0.19


def draw(rows: Sequence[Row], columns: Sequence[Column]) -> Figure:
    """Return a figure with one panel a metric and one bar a variant: its change against the full network.

    Args:
        rows: variants of one study with the changes of the columns; the first is the full network.
        columns: what is drawn; those without a change are left out.
    """
    variants = list(rows[1:])
    height = 0.75 + _ROW_INCHES * len(variants)
    changing = [(column, column.change) for column in columns if column.change is not None]
    figure, axes = style.new(style.PAGE_INCHES, height, ncols=len(changing), sharey=True, squeeze=False)
    positions = range(len(variants))
    for panel, (column, change) in zip(axes[0], changing, strict=True):
        changes = [_fraction(row.get(change.key), change.how) for row in variants]
        shown = [100 * value if value is not None else 0.0 for value in changes]
        colours = [style.COLOURS[0] if value <= 0 else style.COLOURS[1] for value in shown]
        panel.barh(positions, shown, color=colours, height=0.7)
        panel.axvline(0, color="black", linewidth=0.6)
        panel.spines["left"].set_visible(False)
        panel.tick_params(left=False)
        unit = "points" if change.how == "difference" else "%"
        panel.set_xlabel(f"{column.heading.partition(' (')[0]}, change ({unit})")
        _write_values(panel, shown, changes)
    axes[0][0].set_yticks(list(positions), [style.name(row["variant"]) for row in variants])
    axes[0][0].invert_yaxis()
    figure.suptitle(style.name(f"{rows[0]['model']}: {rows[0]['study']}"), fontsize=8)
    return figure


def _fraction(value: float | None, how: str) -> float | None:
    """Return a change as a fraction; a measured ratio of 1.1 is a change of 0.1."""
    return value - 1.0 if value is not None and how == "measured" else value


def _write_values(panel: Any, shown: Sequence[float], changes: Sequence[float | None]) -> None:
    """Write each bar's value at its end, and make room for it."""
    largest = max((abs(value) for value in shown), default=0.0) or 1.0
    low, high = min(0.0, *shown), max(0.0, *shown)
    margin = 0.5 * (high - low) or largest
    panel.set_xlim(low - (margin if low < 0 else 0.0), high + margin)
    for position, (value, change) in enumerate(zip(shown, changes, strict=True)):
        panel.annotate(
            units.percent(change),
            (value, position),
            xytext=(2 if value >= 0 else -2, 0),
            textcoords="offset points",
            ha="left" if value >= 0 else "right",
            va="center",
            fontsize=6,
        )
