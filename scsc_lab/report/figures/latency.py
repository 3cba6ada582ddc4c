"""The figure of a latency measurement: every sample, with medians and quartiles, and how networks compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STRIP_INCHES = 0.42
_FRAME_INCHES = 0.55
_JITTER = 0.16
_TEXT_HEIGHT = 0.36
_LONGEST_LABEL = 26
_WIDEST_LINEAR = 8.0


def draw(rows: Sequence[Row]) -> Figure:
    """Return a figure one column wide: a panel a batch size, in it a strip a network with all its samples.

    A strip shows each sample as a dot, its height at random so that dots do not hide each other, the quartiles as a
    bar and the median as a line; above it the network, its median, and its ratio of times with interval.

    Args:
        rows: rows of :meth:`scsc_lab.timing.result.Timing.row`.
    """
    panels = [[row for row in rows if row["batch"] == batch] for batch in dict.fromkeys(row["batch"] for row in rows)]
    heights = [_FRAME_INCHES + _STRIP_INCHES * len(panel) for panel in panels]
    figure, axes = style.new(
        style.COLUMN_INCHES, sum(heights), nrows=len(panels), squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        _draw_panel(axis, panel, several=len(panels) > 1)
    return figure


def _draw_panel(axis: Any, rows: Sequence[Row], *, several: bool) -> None:
    generator = np.random.default_rng(0)
    times = [1e3 * np.asarray(row["samples_seconds"]) for row in rows]
    for position, (row, values) in enumerate(zip(rows, times, strict=True)):
        colour = style.COLOURS[position % len(style.COLOURS)]
        axis.text(
            0.0, position - _TEXT_HEIGHT, _caption(row), transform=axis.get_yaxis_transform(), fontsize=6.5, va="center"
        )
        if not len(values):
            continue
        heights = position + generator.uniform(-_JITTER, _JITTER, len(values))
        axis.scatter(values, heights, s=5, color=colour, alpha=0.5, linewidths=0)
        low, middle, high = np.percentile(values, (25, 50, 75))
        axis.plot([low, high], [position, position], color="black", linewidth=2.2, solid_capstyle="butt")
        axis.plot([middle, middle], [position - 0.22, position + 0.22], color="black", linewidth=1.2)
    axis.set_ylim(len(rows) - 0.7, -0.55)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    shown = np.concatenate(times)
    if shown.size and shown.max() > _WIDEST_LINEAR * shown.min():
        axis.set_xscale("log")
        style.plain_log(axis.xaxis, (1.0, 2.0, 5.0))
    images = f", batch {rows[0]['batch']}" if several else ""
    axis.set_xlabel(f"time of one pass (ms){images}; bar: quartiles, line: median")


def _caption(row: Row) -> str:
    name = style.name(row["model"], _LONGEST_LABEL)
    if row["median_seconds"] is None:
        return f"{name}: {row['status']}"
    text = f"{name}: {units.milliseconds(row['median_seconds'])} ms"
    if row["ratio"] is None:
        return text
    interval = units.interval((row["ratio_low"], row["ratio_high"]))
    return f"{text}, ×{units.ratio(row['ratio'])}" + (f" ({interval})" if interval else "")
