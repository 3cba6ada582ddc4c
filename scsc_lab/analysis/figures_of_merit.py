"""Figures of merit of a field: profiles around its centre, r(t), radii, deviations, and RepLKNet's areas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scsc_lab.analysis import SHARES, key

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
        self._distances = distances(shape, centre)
        self._offsets = [(np.arange(n) - c) ** 2 for n, c in zip(shape, centre, strict=True)]
        margins = [max(1, round(RING * side)) for side in shape]
        self._ring = np.ones(shape, dtype=bool)
        self._ring[margins[0] : -margins[0], margins[1] : -margins[1]] = False

    def sums(self, image: NDArray[np.floating]) -> Array:
        """Return what is linear in a map, ``(H, W)``, as one vector; see :meth:`figures`."""
        image = image.astype(np.float64)
        moments = [float(image.sum(axis=1 - axis) @ self._offsets[axis]) for axis in (1, 0)]
        ring = float(image[self._ring].sum())
        return np.concatenate([[*moments, ring], self.squares.masses(image), disc_masses(image, self._distances)])

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
            "radius50_pixels": radius_holding(discs, 0.50),
            "radius95_pixels": radius_holding(discs, 0.95),
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
    image = log_map(contributions)
    middle = (image.shape[0] // 2, image.shape[1] // 2)
    published: Figures = {key(share): area_share(image, share) for share in SHARES}
    return {**figures(image, middle), **published}


Array = NDArray[np.float64]
Centre = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Squares:
    """Centred squares at every side where the border of one meets the border of a pixel.

    Attributes:
        shape: height and width of the image, in pixels.
        centre: row and column, in pixels.
        half_sides: half the side of each square, in pixels, growing from 0 until the image is covered.
        areas: share of the image each covers.
    """

    shape: tuple[int, int]
    centre: Centre
    half_sides: Array
    areas: Array

    @classmethod
    def around(cls, shape: tuple[int, int], centre: Centre) -> Squares:
        """Return the squares around a centre."""
        edges = [np.abs(np.arange(side + 1) - 0.5 - middle) for side, middle in zip(shape, centre, strict=True)]
        half_sides = np.unique(np.concatenate([np.zeros(1), *edges]).round(9))
        spans = [
            _clipped(middle + half_sides, side) - _clipped(middle - half_sides, side)
            for side, middle in zip(shape, centre, strict=True)
        ]
        return cls(shape, centre, half_sides, spans[0] * spans[1] / (shape[0] * shape[1]))

    def masses(self, image: NDArray[np.floating]) -> Array:
        """Return the sum of a map, ``(H, W)``, inside every square."""
        integral = np.zeros((self.shape[0] + 1, self.shape[1] + 1))
        integral[1:, 1:] = image.astype(np.float64).cumsum(0).cumsum(1)
        (top, bottom), (left, right) = (
            (_clipped(middle - self.half_sides, side), _clipped(middle + self.half_sides, side))
            for side, middle in zip(self.shape, self.centre, strict=True)
        )
        masses: Array = (
            _at(integral, bottom, right)
            - _at(integral, top, right)
            - _at(integral, bottom, left)
            + _at(integral, top, left)
        )
        return masses

    def holding(self, masses: Array, share: float) -> float:
        """Return the share of the image that the smallest square with this share of the mass covers."""
        return _crossing(masses, self.areas, share * masses[-1])


def distances(shape: tuple[int, int], centre: Centre) -> Array:
    """Return the distance of every pixel from a centre, ``(H, W)``, in pixels."""
    rows, columns = (np.arange(side) - middle for side, middle in zip(shape, centre, strict=True))
    away: Array = np.hypot(rows[:, None], columns[None, :])
    return away


def disc_masses(image: NDArray[np.floating], away: Array) -> Array:
    """Return the mass within whole radii 0, 1, 2, …, in pixels; a pixel on the rim counts for its part inside.

    Args:
        image: a map, ``(H, W)``.
        away: the distance of every pixel; see :func:`distances`.
    """
    rim = np.floor(away + 0.5).astype(np.int64).ravel()
    inside = rim + 0.5 - away.ravel()
    values = image.astype(np.float64).ravel()
    count = int(rim.max()) + 2
    masses = np.bincount(rim, values * inside, count) + np.bincount(rim + 1, values * (1 - inside), count)
    masses[1] += masses[0]
    masses[0] = 0.0
    return np.cumsum(masses)


def radius_holding(masses: Array, share: float) -> float:
    """Return the radius, in pixels, of the disc with this share of the mass; ``masses`` from :func:`disc_masses`."""
    return float(np.sqrt(_crossing(masses, np.arange(len(masses), dtype=np.float64) ** 2, share * masses[-1])))


def _clipped(position: Array, side: int) -> Array:
    """Return positions as pixel edges, 0 to ``side``."""
    edges: Array = np.clip(position + 0.5, 0.0, float(side))
    return edges


def _at(integral: Array, rows: Array, columns: Array) -> Array:
    """Return the integral up to positions between pixel edges: exact for values spread evenly over pixels."""
    row, column = (
        np.minimum(position.astype(np.int64), side - 2)
        for position, side in zip((rows, columns), integral.shape, strict=True)
    )
    down, right = rows - row, columns - column
    upper = integral[row, column] * (1 - right) + integral[row, column + 1] * right
    lower = integral[row + 1, column] * (1 - right) + integral[row + 1, column + 1] * right
    value: Array = upper * (1 - down) + lower * down
    return value


def _crossing(masses: Array, measures: Array, mass: float) -> float:
    """Return the measure (an area) at which growing masses first reach a value; even in between."""
    index = int(np.searchsorted(masses, mass * (1 - 1e-12), side="left"))
    if index == 0:
        return float(measures[0])
    if index >= len(masses):
        return float(measures[-1])
    low, high = masses[index - 1], masses[index]
    part = (mass - low) / (high - low) if high > low else 1.0
    return float(measures[index - 1] + min(max(part, 0.0), 1.0) * (measures[index] - measures[index - 1]))


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
