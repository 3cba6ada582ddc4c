"""The figure of a verification: true accept rate over false accept rate, one line per network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from scsc_lab.report.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Return a figure with the rates of each network at every threshold; false accepts on a logarithmic scale.

    Args:
        curves: false and true accept rates, from 0 to 1, by the name of the network.
    """
    figure, axis = style.new(style.COLUMN_INCHES, style.COLUMN_INCHES * 0.8)
    with style.applied():
        least = min((rate for far, _ in curves.values() for rate in far if rate > 0), default=1e-3)
        looks = style.looks([{"model": name} for name in curves])
        for look, (name, (far, tar)) in zip(looks, curves.items(), strict=True):
            points = [(max(x, least), 100 * y) for x, y in zip(far, tar, strict=True)]
            line = {"color": look.colour, "linestyle": look.dashes, "label": style.name(name)}
            axis.step(*zip(*points, strict=True), where="post", **line)
        axis.set_xscale("log")
        style.plain_log(axis.xaxis)
        axis.set_xlabel("false accept rate")
        axis.set_ylabel("true accept rate (%)")
        if curves:
            axis.legend(loc="lower right")
    return figure
