"""The figures of parts: their shares of the MACs, and the roofline of a machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scsc_lab import units
from scsc_lab.analysis.count import Part
from scsc_lab.records import Row
from scsc_lab.report import parts
from scsc_lab.report.figures import style
from scsc_lab.report.names import shortened_apart
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_ROW_INCHES = 0.17
_FRAME_INCHES = 0.45
_LONGEST_NAME = 26


def panel(parts: Sequence[Part], total: Part, axes: Any = None) -> Any:
    """Draw the share of the MACs of each part as a bar, with the MACs beside it, and return the axes.

    Args:
        parts: the parts; those without MACs, and the whole network among its modules, are left out.
        total: the whole network.
        axes: matplotlib's axes to draw on. Default: those of a new figure, one column wide.
    """
    costly = [part for part in parts if part.name and part.macs]
    if axes is None:
        _, axes = style.new(style.COLUMN_INCHES, _FRAME_INCHES + _ROW_INCHES * max(len(costly), 1))
    short = shortened_apart((part.name for part in costly), _LONGEST_NAME)
    with style.applied():
        shares = [100 * part.macs / total.macs for part in costly]
        axes.barh(range(len(costly)), shares, color=style.COLOURS[0], height=0.7)
        for place, (part, share) in enumerate(zip(costly, shares, strict=True)):
            label = f"{units.giga(part.macs)} G"
            offset = {"xytext": (3, 0), "textcoords": "offset points", "va": "center", "fontsize": style.POINTS}
            axes.annotate(label, (share, place), **offset)
        axes.set_yticks(range(len(costly)), [short[part.name] for part in costly])
        axes.tick_params(axis="y", left=False)
        axes.set_ylim(len(costly) - 0.4, -0.6)
        axes.set_xlim(0, 1.5 * max(shares, default=100.0))
        axes.set_xlabel(f"share of {units.giga(total.macs)} G MACs (%)")
    return axes


_LARGEST, _SMALLEST = 11.0, 3.0
_NUMBERED_SHARE = 0.04


def draw_roofline(rows: Sequence[Row], options: Drawing = style.PLAIN) -> Figure:
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
    marks = [row for row in parts.parts(rows) if row.get("macs") and row.get("intensity") and row["seconds"] > 0]
    if not marks:
        return figure
    machine = next(row["roofs"] for row in rows if row.get("roofs"))
    peak, moved = (machine[key]["median"] / 1e9 for key in ("macs_per_second", "bytes_per_second"))
    across = [row["intensity"] for row in marks] + [peak / moved]
    low, high = min(across) / 2, max(across) * 2
    short = shortened_apart(row["model"] for row in rows)
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
            axes.plot([], [], linestyle="", markersize=5, label=short[str(row["model"])], **look.mark)
        axes.margins(0.1)
        axes.set(xscale="log", yscale="log", xlabel="MACs per byte", ylabel="GMAC/s")
        for axis in (axes.xaxis, axes.yaxis):
            style.plain_log(axis, (1.0, 2.0, 5.0))
        figure.legend(loc="outside lower center", ncols=2, handletextpad=0.3)
    return figure
