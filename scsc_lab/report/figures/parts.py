"""The figure of a count: which share of the MACs each operator, module or stage has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scsc_lab import units
from scsc_lab.analysis.count import Part
from scsc_lab.report.figures import style

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
    with style.applied():
        shares = [100 * part.macs / total.macs for part in costly]
        axes.barh(range(len(costly)), shares, color=style.COLOURS[0], height=0.7)
        for place, (part, share) in enumerate(zip(costly, shares, strict=True)):
            label = f"{units.giga(part.macs)} G"
            offset = {"xytext": (3, 0), "textcoords": "offset points", "va": "center", "fontsize": style.POINTS}
            axes.annotate(label, (share, place), **offset)
        axes.set_yticks(range(len(costly)), [style.name(part.name, _LONGEST_NAME) for part in costly])
        axes.tick_params(axis="y", left=False)
        axes.set_ylim(len(costly) - 0.4, -0.6)
        axes.set_xlim(0, 1.5 * max(shares, default=100.0))
        axes.set_xlabel(f"share of {units.giga(total.macs)} G MACs (%)")
    return axes
