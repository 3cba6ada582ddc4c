"""The figures of evaluations: confusions of classes, and the rates of a verification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from scsc_lab.report.figures import style
from scsc_lab.report.names import shortened, shortened_apart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scsc_lab.analysis.verification import Confusion


_MOST_NAMES = 30
"""Classes beyond which axes have no names."""


def draw_confusions(confusions: Sequence[Confusion]) -> Figure:
    """Return a figure with the share of the images of each class (rows) that is taken for each class (columns)."""
    columns = min(len(confusions), 2)
    width = style.COLUMN_INCHES if columns == 1 else style.PAGE_INCHES
    figure, axes = style.grid(len(confusions), columns, width, width / columns)
    with style.applied():
        for axis, confusion in zip(axes.flat, confusions, strict=False):
            images = np.maximum(confusion.counts.sum(axis=1, keepdims=True), 1)
            image = axis.imshow(100 * confusion.counts / images, cmap="Blues", vmin=0, vmax=100)
            places = range(len(confusion.classes)) if len(confusion.classes) <= _MOST_NAMES else []
            short = shortened_apart(confusion.classes)
            names = [short[str(confusion.classes[place])] for place in places]
            axis.set_xticks(places, names, rotation=90)
            axis.set_yticks(places, names)
            axis.tick_params(length=0)
            axis.set_xlabel("taken for")
            axis.set_ylabel("class")
            axis.set_title(shortened(", ".join(filter(None, (confusion.model, confusion.task)))))
        figure.colorbar(image, ax=axes, label="share of the class (%)", shrink=0.6)
    return figure


def draw_rates(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Return a figure with the rates of each network at every threshold; false accepts on a logarithmic scale.

    Args:
        curves: false and true accept rates, from 0 to 1, by the name of the network.
    """
    figure, axis = style.new(style.COLUMN_INCHES, style.COLUMN_INCHES * 0.8)
    with style.applied():
        least = min((rate for far, _ in curves.values() for rate in far if rate > 0), default=1e-3)
        looks, short = style.looks([{"model": name} for name in curves]), shortened_apart(curves)
        for look, (name, (far, tar)) in zip(looks, curves.items(), strict=True):
            points = [(max(x, least), 100 * y) for x, y in zip(far, tar, strict=True)]
            axis.step(*zip(*points, strict=True), where="post", label=short[name], **look.line)
        axis.set_xscale("log")
        style.plain_log(axis.xaxis)
        axis.set_xlabel("false accept rate")
        axis.set_ylabel("true accept rate (%)")
        if curves:
            axis.legend(loc="lower right")
    return figure
