"""Figures of merit: closed forms, and what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scsc_lab.analysis import SHARES, figures_of_merit, key
from scsc_lab.analysis.figures_of_merit import Squares, above_luos_level, figures


def gaussian(shape, centre, sigma):
    rows, columns = (np.arange(side) - middle for side, middle in zip(shape, centre, strict=True))
    return np.exp(-(rows[:, None] ** 2 + columns[None, :] ** 2) / (2 * sigma**2))


@pytest.mark.parametrize("centre", [(31.5, 31.5), (32.0, 32.0), (30.25, 33.7), (3.0, 60.0)])
@pytest.mark.parametrize("shape", [(64, 64), (65, 80)])
def test_a_uniform_map_gives_t(shape, centre):
    found = figures(np.full(shape, 3.0), centre)
    for share in SHARES:
        assert found[key(share)] == pytest.approx(share, abs=1e-9)


def test_a_uniform_map_has_the_deviation_and_the_ring_of_its_pixels():
    found = figures(np.ones((100, 100)), (49.5, 49.5))
    assert found["sigma_x_pixels"] == found["sigma_y_pixels"] == pytest.approx(math.sqrt((100**2 - 1) / 12))
    assert found["truncation"] == pytest.approx(1 - 0.9**2)
    assert above_luos_level(np.ones((100, 100))).sum() == 100**2


@pytest.mark.parametrize("centre", [(100.0, 100.0), (99.5, 99.5), (90.3, 105.8)])
def test_a_gaussian_has_its_radii_and_deviations(centre):
    sigma = 12.0
    found = figures(gaussian((201, 201), centre, sigma), centre)
    assert found["sigma_x_pixels"] == pytest.approx(sigma, rel=1e-3)
    assert found["sigma_y_pixels"] == pytest.approx(sigma, rel=1e-3)
    for name, share in (("radius50_pixels", 0.5), ("radius95_pixels", 0.95)):
        assert found[name] == pytest.approx(sigma * math.sqrt(-2 * math.log(1 - share)), rel=0.01)
    above = above_luos_level(gaussian((201, 201), centre, sigma))
    assert above.sum() == pytest.approx(math.pi * 2 * sigma**2 * -math.log(0.0455), rel=0.02)
    # half the mass of a square: erf(s / (sigma sqrt 2))^2 = 1/2
    half_side = 1.0519 * sigma * math.sqrt(0.5) * math.sqrt(2)
    area = (2 * half_side) ** 2 / 201**2
    assert found["r50"] == pytest.approx(area, rel=0.02)


def test_squares_are_exact_between_pixels():
    image = np.random.default_rng(0).random((9, 12))
    squares = Squares.around((9, 12), (3.3, 7.9))
    masses = squares.masses(image)
    for half_side, area, mass in zip(squares.half_sides, squares.areas, masses, strict=True):
        weights = []
        for side, centre in ((9, 3.3), (12, 7.9)):
            low, high = np.arange(side) - 0.5, np.arange(side) + 0.5
            weights.append(np.clip(np.minimum(high, centre + half_side) - np.maximum(low, centre - half_side), 0, 1))
        cover = weights[0][:, None] * weights[1][None, :]
        assert mass == pytest.approx((image * cover).sum(), abs=1e-9)
        assert area == pytest.approx(cover.sum() / (9 * 12), abs=1e-9)
    assert masses[-1] == pytest.approx(image.sum())


def test_masses_of_discs():
    image = np.zeros((21, 21))
    image[10, 10] = 1.0
    masses = figures_of_merit.disc_masses(image, figures_of_merit.distances((21, 21), (10.0, 10.0)))
    assert masses[0] == 0
    assert masses[1] == masses[-1] == pytest.approx(1.0)
