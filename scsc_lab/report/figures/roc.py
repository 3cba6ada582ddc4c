"""The figure of a verification: true accept rate over false accept rate, one line a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scsc_lab.report.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(names: Sequence[str], curves: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Return a figure with the rates of each network at every threshold; false accepts on a logarithmic scale.

    Args:
        names: the networks.
        curves: false and true accept rates of each, from 0 to 1.
    """
    figure, axis = style.new(style.COLUMN_INCHES, style.COLUMN_INCHES * 0.8)
    with style.applied():
        least = min((rate for far, _ in curves for rate in far if rate > 0), default=1e-3)
        for position, (name, (far, tar)) in enumerate(zip(names, curves, strict=True)):
            shown = [(max(x, least), 100 * y) for x, y in zip(far, tar, strict=True)]
            colour = style.COLOURS[position % len(style.COLOURS)]
            axis.step(*zip(*shown, strict=True), where="post", color=colour, label=style.name(name))
        axis.set_xscale("log")
        axis.set_xlabel("false accept rate")
        axis.set_ylabel("true accept rate (%)")
        axis.legend(loc="lower right")
    return figure
