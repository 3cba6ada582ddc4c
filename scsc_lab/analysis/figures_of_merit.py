"""Figures of merit of a receptive field: numbers that can be compared across networks and resolutions.

All are of the mass of a map that is nowhere negative, and none changes when the map is multiplied by a number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scsc_lab.analysis import profiles, replknet
from scsc_lab.analysis.profiles import Array, Centre, Squares
from scsc_lab.analysis.protocol import SHARES, key

RING = 0.05
"""Width of the ring along the border whose mass tells truncation, as a share of the side."""

_LUO_LEVEL = 1 - 0.9545

Figures = dict[str, float | None]
"""Figures by key: ``r20`` … ``r99`` and ``truncation`` as shares, the others in pixels."""


class Analysis:
    """Precomputed distances for figures of maps of one shape around one centre.

    The mass in squares and discs, the moments and the ring are sums over pixels: those of a mean of maps are the mean
    of those of the maps. :meth:`sums` takes them from each map once, so that resampling images costs next to nothing.

    Args:
        shape: height and width, in pixels.
        centre: row and column of the true centre, in pixels.
    """

    def __init__(self, shape: tuple[int, int], centre: Centre) -> None:
        self.squares = Squares.around(shape, centre)
        self._distances = profiles.distances(shape, centre)
        self._offsets = [(np.arange(n) - c) ** 2 for n, c in zip(shape, centre, strict=True)]
        margins = [max(1, round(RING * side)) for side in shape]
        self._ring = np.ones(shape, dtype=bool)
        self._ring[margins[0] : -margins[0], margins[1] : -margins[1]] = False

    def sums(self, image: NDArray[np.floating]) -> Array:
        """Return what is linear in a map, ``(H, W)``, as one vector; see :meth:`figures`."""
        image = image.astype(np.float64)
        moments = [float(image.sum(axis=1 - axis) @ self._offsets[axis]) for axis in (1, 0)]
        ring = float(image[self._ring].sum())
        return np.concatenate(
            [[*moments, ring], self.squares.masses(image), profiles.disc_masses(image, self._distances)]
        )

    def figures(self, sums: Array) -> Figures:
        """Return the figures that follow from :meth:`sums`; None for a map without mass."""
        moment_x, moment_y, ring = sums[:3]
        squares, discs = np.split(sums[3:], [len(self.squares.half_sides)])
        total = squares[-1]
        if total <= 0:
            merits = ("radius50_pixels", "radius95_pixels", "sigma_x_pixels", "sigma_y_pixels", "truncation")
            return dict.fromkeys((*map(key, SHARES), *merits))
        return {
            **{key(share): self.squares.holding(squares, share) for share in SHARES},
            "radius50_pixels": profiles.radius_holding(discs, 0.50),
            "radius95_pixels": profiles.radius_holding(discs, 0.95),
            "sigma_x_pixels": float(np.sqrt(moment_x / total)),
            "sigma_y_pixels": float(np.sqrt(moment_y / total)),
            "truncation": float(ring / total),
        }


def above_luos_level(image: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which pixels are above 1 − 95.45 % of the largest, ``(H, W)`` (arXiv 1701.04128)."""
    above: NDArray[np.bool_] = image > _LUO_LEVEL * image.max()
    return above


def figures(image: NDArray[np.floating], centre: Centre) -> Figures:
    """Return the figures of a mean of maps around its true centre.

    Args:
        image: ``(H, W)``, nowhere negative.
        centre: row and column, in pixels; need not be whole.

    Returns:
        ``r20 r30 r50 r95 r99``: share of the image's area that the smallest centred square with that much of the mass
        covers (``t`` itself for a uniform map); ``radius50_pixels`` and ``radius95_pixels``; ``sigma_x_pixels`` and
        ``sigma_y_pixels``, deviations from the true centre; ``truncation``, the share of mass in the ring of 5 % of the
        side along the border.
    """
    analysis = Analysis((image.shape[0], image.shape[1]), centre)
    return analysis.figures(analysis.sums(image))


def replknet_figures(contributions: NDArray[np.floating]) -> Figures:
    """Return the figures of RepLKNet's log map: ``r(t)`` as published, the others around the same pixel.

    Args:
        contributions: mean contribution of the images, ``(H, W)``.
    """
    image = replknet.log_map(contributions)
    middle = (image.shape[0] // 2, image.shape[1] // 2)
    published: Figures = {key(share): replknet.area_share(image, share) for share in SHARES}
    return {**figures(image, middle), **published}
