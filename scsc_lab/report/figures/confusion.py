"""The figure of confusions: one panel per network and task, each row the shares of one class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from scsc_lab.report.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scsc_lab.analysis.confusion import Confusion

_MOST_NAMES = 30
"""Classes beyond which axes have no names."""


def draw(confusions: Sequence[Confusion]) -> Figure:
    """Return a figure with the share of the images of each class (rows) that is taken for each class (columns)."""
    columns = min(len(confusions), 2)
    rows = -(-len(confusions) // columns)
    width = style.COLUMN_INCHES if columns == 1 else style.PAGE_INCHES
    figure, axes = style.new(width, rows * width / columns, nrows=rows, ncols=columns, squeeze=False)
    with style.applied():
        for axis, confusion in zip(axes.flat, confusions, strict=False):
            images = np.maximum(confusion.counts.sum(axis=1, keepdims=True), 1)
            image = axis.imshow(100 * confusion.counts / images, cmap="Blues", vmin=0, vmax=100)
            places = range(len(confusion.classes)) if len(confusion.classes) <= _MOST_NAMES else []
            names = [style.name(confusion.classes[place]) for place in places]
            axis.set_xticks(places, names, rotation=90)
            axis.set_yticks(places, names)
            axis.tick_params(length=0)
            axis.set_xlabel("taken for")
            axis.set_ylabel("class")
            axis.set_title(style.name(", ".join(filter(None, (confusion.model, confusion.task)))))
        for axis in axes.flat[len(confusions) :]:
            axis.remove()
        figure.colorbar(image, ax=axes, label="share of the class (%)", shrink=0.6)
    return figure
