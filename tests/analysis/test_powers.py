"""Exponents of power laws and crossings of curves, against closed forms and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from scsc_lab.analysis import fronts


def test_an_exact_power_is_found():
    power = fronts.fit([1, 2, 4, 8], [3, 12, 48, 192])
    assert (power.exponent, power.low, power.high) == pytest.approx((2, 2, 2))
    assert power.at(16) == pytest.approx(768)
    assert power.explained == pytest.approx(1)


def test_a_constant_has_exponent_zero():
    power = fronts.fit([1, 2, 3], [5, 5, 5])
    assert (power.exponent, power.low, power.high, power.at(7), power.explained) == (0, 0, 0, 5, 1)


@pytest.mark.parametrize(("xs", "ys"), [([1, 2], [1, 2]), ([1, 2, 3], [0, 1, 2]), ([1, 1, 1], [1, 2, 3])])
def test_what_is_no_power_has_none(xs, ys):
    assert fronts.fit(xs, ys) is None


def test_the_interval_covers_the_exponent_as_often_as_it_says():
    draw, xs = np.random.default_rng(0), np.array([128, 192, 256, 320, 384, 448, 512.0])
    fits = [fronts.fit(xs, 2e-6 * xs**1.7 * np.exp(draw.normal(0, 0.05, 7))) for _ in range(400)]
    assert 0.92 <= np.mean([fit.low <= 1.7 <= fit.high for fit in fits]) <= 0.98


def test_two_powers_cross_where_they_are_equal():
    xs = np.array([50, 100, 200, 400.0])
    ratio = (xs / 150) ** -0.5
    found = fronts.crossing(xs, ratio, ratio / 1.1, ratio * 1.1)
    assert found.x == pytest.approx(150)
    assert (found.low, found.high) == pytest.approx((150 / 1.21, 150 * 1.21))
    assert found.falls


def test_an_end_outside_the_points_is_open():
    found = fronts.crossing([100, 200], [1.01, 0.9], [0.95, 0.85], [1.3, 0.98])
    assert found.low is None
    assert found.x < found.high < 200


def test_a_crossing_inside_all_intervals_is_none():
    """Nobody knows which of the two is less on either side."""
    assert fronts.crossing([100, 200], [1.01, 0.9], [0.95, 0.85], [1.3, 1.2]) is None


def test_curves_that_are_equal_at_a_point_cross_there_only_if_they_change_sides():
    assert fronts.crossing([1, 2, 3], ratios := [1.2, 1.0, 0.9], ratios, ratios).x == pytest.approx(2)


@pytest.mark.parametrize(
    "ratios", [[1.2, 1.1, 1.05], [1.1, 0.9, 1.1], [1, 1.1, 1.2], [1, 0.9, 0.8], [0.9, 1, 0.9], [1.1, 1.1, 1]]
)
def test_curves_that_do_not_cross_once_have_no_crossing(ratios):
    assert fronts.crossing([1, 2, 3], ratios, ratios, ratios) is None
    assert fronts.crossing([1, 2], [1, 1], [1, 1], [1, 1]) is None
