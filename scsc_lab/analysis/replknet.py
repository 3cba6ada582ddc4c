"""RepLKNet's published analysis of a receptive field, to the letter (arXiv 2203.06717, scripts in its ``erf/``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scsc_lab.analysis.profiles import Array


def log_map(contributions: NDArray[np.floating]) -> Array:
    """Return ``log10(A + 1)`` over its largest value, from the mean contribution ``A`` of the images, ``(H, W)``."""
    logarithm: Array = np.log10(contributions.astype(np.float64) + 1.0)
    largest = float(logarithm.max())
    return logarithm / largest if largest > 0 else logarithm


def area_share(image: Array, threshold: float) -> float | None:
    """Return the area share of the smallest square around pixel ``(H // 2, W // 2)`` with more than a share of the sum.

    Sides are 3, 5, 7, … pixels, up to the image's; ``None`` where none of them holds enough, as the script has it. The
    script is for square inputs; on others a square is cut off where the image ends.
    """
    height, width = image.shape
    row, column = height // 2, width // 2
    integral = np.zeros((height + 1, width + 1))
    integral[1:, 1:] = image.astype(np.float64).cumsum(0).cumsum(1)
    reach = np.arange(1, max(row, column))
    top, bottom = np.maximum(row - reach, 0), np.minimum(row + 1 + reach, height)
    left, right = np.maximum(column - reach, 0), np.minimum(column + 1 + reach, width)
    sums = integral[bottom, right] - integral[top, right] - integral[bottom, left] + integral[top, left]
    sides = np.nonzero(sums / integral[-1, -1] > threshold)[0]
    if not len(sides):
        return None
    first = sides[0]
    share: float = (bottom[first] - top[first]) / height * ((right[first] - left[first]) / width)
    return share
