"""Mass within a distance of the centre of a map: squares, discs, and the density at each radius.

Pixel ``(i, j)`` is the square of side 1 around ``(i, j)``, with its value spread evenly over it, so that centres and
sides need not be whole. Squares and discs are clipped to the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
