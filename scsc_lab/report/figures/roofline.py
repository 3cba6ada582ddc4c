"""The roofline: multiply-accumulates per second against those per byte, under the two roofs of a machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scsc_lab.records import Row
from scsc_lab.report import roofline
from scsc_lab.report.figures import style
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LARGEST, _SMALLEST = 11.0, 3.0
_NUMBERED_SHARE = 0.04


def draw(rows: Sequence[Row], options: Drawing = style.PLAIN) -> Figure:
    """Return the figure: a mark per kind of module, its area the share of the time, numbered as in the table.

    Kinds without multiply-accumulates have no place here; the table has them.

    Args:
        rows: networks with their ``places`` and ``roofs``.
        options: width and titles.
    """
    width = options.width or style.COLUMN_INCHES
    figure, axes = style.new(width, 0.8 * width)
    if options.titles:
        figure.suptitle("Roofline", x=0.02, ha="left", fontsize=8)
    marks = [row for row in roofline.parts(rows) if row.get("macs") and row.get("intensity") and row["seconds"] > 0]
    if not marks:
        return figure
    machine = next(row["roofs"] for row in rows if row.get("roofs"))
    peak, moved = (machine[key]["median"] / 1e9 for key in ("macs_per_second", "bytes_per_second"))
    across = [row["intensity"] for row in marks] + [peak / moved]
    low, high = min(across) / 2, max(across) * 2
    with style.applied():
        corner = peak / moved
        axes.plot([low, corner, high], [moved * low, peak, peak], color="0.35", linewidth=1.0, zorder=1)
        axes.annotate(f"{peak:.3g} GMAC/s", (corner, peak), (-2, 3), textcoords="offset points", color="0.25")
        axes.annotate(f"{moved:.3g} GB/s", (low, moved * low), (12, -2), textcoords="offset points", color="0.25")
        for at, (row, look) in enumerate(zip(rows, style.looks(rows), strict=True)):
            for part in (part for part in marks if part["model"] == row["model"]):
                place = (part["intensity"], part["macs"] / part["seconds"] / 1e9)
                size = max(_LARGEST * part["time_share"] ** 0.5 * 1.6, _SMALLEST)
                axes.plot(*place, markersize=size, alpha=0.75, zorder=2, **look.mark)
                if part["time_share"] >= _NUMBERED_SHARE:
                    offset = (0.35 * size + 2, -0.35 * size - 5) if at % 2 else (-0.35 * size - 6, 0.35 * size + 1)
                    axes.annotate(str(part["number"]), place, offset, textcoords="offset points", zorder=3)
            axes.plot([], [], linestyle="", markersize=5, label=style.name(row["model"]), **look.mark)
        axes.margins(0.1)
        axes.set(xscale="log", yscale="log", xlabel="MACs per byte", ylabel="GMAC/s")
        for axis in (axes.xaxis, axes.yaxis):
            style.plain_log(axis, (1.0, 2.0, 5.0))
        figure.legend(loc="outside lower center", ncols=2, handletextpad=0.3)
    return figure
