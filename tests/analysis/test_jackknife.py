"""Intervals of fields: they hold the truth as often as they say, over images and over initialisations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scsc_lab.analysis import jackknife
from scsc_lab.analysis.figures_of_merit import figures

SIDE, MIDDLE = 25, (12.0, 12.0)
NONE: dict[str, list[float | None]] = {"images": [], "seeds": []}


def gaussian(sigma):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.exp(-((rows - 12) ** 2 + (columns - 12) ** 2) / (2 * sigma**2))


def drawn(generator, seeds, images, sigma=4.0, spread=0.1):
    """Return maps of crossed initialisations and images: both change the width, and every pixel is noisy."""
    of_seed = generator.standard_normal(seeds) * (spread if seeds > 1 else 0.0)
    widths = sigma * np.exp(of_seed[:, None] + 0.15 * generator.standard_normal(images))
    maps = np.stack([[gaussian(width) for width in row] for row in widths])
    maps = maps * generator.exponential(1.0, maps.shape)
    return (maps / maps.sum(axis=(2, 3), keepdims=True)).astype(np.float32)


def value(maps, key):
    return figures(maps.mean(axis=(0, 1), dtype=np.float64), MIDDLE)[key]


def truth(key, *, several_seeds, sigma=4.0, spread=0.1):
    """Return the figure of the mean of all maps there are, noise and all."""
    generator = np.random.default_rng(0)
    widths = generator.standard_normal((3000, 2)) @ (spread * several_seeds, 0.15)
    singles = (gaussian(sigma * math.exp(width)) for width in widths)
    return figures(sum(one / one.sum() for one in singles), MIDDLE)[key]


@pytest.mark.parametrize(("seeds", "images"), [(1, 6), (1, 24), (3, 12), (6, 6)])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds, images):
    generator = np.random.default_rng(5)
    truths = {key: truth(key, several_seeds=seeds > 1) for key in ("r50", "r95", "truncation")}
    inside = dict.fromkeys(truths, 0)
    for _ in range(80):
        maps = drawn(generator, seeds, images)
        without = jackknife.left_out(maps, MIDDLE)
        for key, true in truths.items():
            low, high = jackknife.interval(value(maps, key), without.of(key), 1.0)
            inside[key] += low <= true <= high
    assert min(inside.values()) >= 70  # of 80, where 76 are due


def test_images_alone_do_not_cover_initialisations():
    generator = np.random.default_rng(6)
    true, inside = truth("r50", several_seeds=True, spread=0.3), 0
    for _ in range(40):
        maps = drawn(generator, 3, 12, spread=0.3)[:1]  # one initialisation, as if there were no other
        low, high = jackknife.interval(value(maps, "r50"), jackknife.left_out(maps, MIDDLE).of("r50"), 1.0)
        inside += low <= true <= high
    assert inside < 30


def test_luos_size_does_not_grow_with_the_number_of_images():
    generator = np.random.default_rng(7)
    means = {}
    for images in (4, 8, 64):
        sizes = [
            jackknife.single_maps(drawn(generator, 1, images), None)["luo_pixels"].mean() for _ in range(512 // images)
        ]
        means[images] = np.mean(sizes)
    assert means[8] == pytest.approx(means[64], rel=0.02)
    assert means[4] == pytest.approx(means[64], rel=0.02)
    inside = 0
    for _ in range(60):
        maps = drawn(generator, 1, 8)
        found = jackknife.left_out(maps, MIDDLE).of("luo_pixels")
        low, high = jackknife.interval(jackknife.single_maps(maps, None)["luo_pixels"].mean(), found)
        inside += low <= means[64] <= high
    assert inside >= 52  # of 60; the size of the mean map was held in 31 of 60


def test_differences_of_networks_on_the_same_images_are_paired():
    generator = np.random.default_rng(8)
    inside, paired, apart = 0, [], []
    for _ in range(60):
        of_image = generator.standard_normal((1, 12))
        rows = []
        for sigma in (4.0, 4.0):
            widths = sigma * np.exp(0.2 * of_image + 0.05 * generator.standard_normal((3, 1)))
            maps = np.array([[gaussian(width) for width in row] for row in widths], dtype=np.float32)
            rows.append((value(maps, "r50"), jackknife.left_out(maps, MIDDLE).of("r50")))
        (ours, a), (theirs, b) = rows
        middle, low, high = jackknife.difference(ours, theirs, a, b, same_images=True)
        inside += low <= 0 <= high
        paired.append(high - low)
        _, low, high = jackknife.difference(ours, theirs, a, b, same_images=False)
        apart.append(high - low)
        assert middle == ours - theirs
    assert inside >= 52
    assert np.mean(paired) < np.mean(apart)


def test_maps_of_dead_units_change_nothing_but_the_number():
    maps = drawn(np.random.default_rng(9), 1, 12)
    with_dead = np.concatenate([maps, np.zeros_like(maps[:, :2])], axis=1)
    for key in ("r50", "luo_pixels"):
        assert value(with_dead, "r50") == pytest.approx(value(maps, "r50"))
        low, high = jackknife.interval(1.0, jackknife.left_out(maps, MIDDLE).of(key))
        lower, higher = jackknife.interval(1.0, jackknife.left_out(with_dead, MIDDLE).of(key))
        assert (lower, higher) == pytest.approx((low, high), rel=0.05)


@pytest.mark.parametrize(("freedom", "quantile"), [(1, 12.7062), (2, 4.30265), (9, 2.26216), (99, 1.98422)])
def test_students_t(freedom, quantile):
    assert jackknife.student(freedom) == pytest.approx(quantile, rel=1e-4)


def test_no_interval_of_few_images_or_missing_values():
    maps = drawn(np.random.default_rng(10), 1, 5)
    assert jackknife.interval(1.0, jackknife.left_out(maps, MIDDLE).of("r50")) == (None, None)
    assert jackknife.interval(1.0, {"images": [1.0] * 5 + [None], "seeds": []}) == (None, None)
    assert jackknife.interval(None, {"images": [1.0] * 6, "seeds": []}) == (None, None)
    assert jackknife.interval(0.0, {"images": [0.0] * 6, "seeds": []}) == (0.0, 0.0)
    assert jackknife.difference(2.0, 1.0, NONE, NONE, same_images=True) == (1.0, None, None)


@pytest.mark.parametrize("method", ["linear", "replknet"])
@pytest.mark.parametrize("signed", [False, True])
def test_every_figure_lies_in_its_interval(method, signed):
    maps = np.random.default_rng(4).random((2, 8, 24, 24)).astype(np.float32) ** 8
    without = jackknife.left_out(maps, (12.0, 12.0), method=method, signed=signed)
    for name, number in without.images[0].items():
        low, high = jackknife.interval(number, without.of(name))
        assert low < number < high


def test_a_single_map_that_is_not_zero_has_no_interval():
    maps = np.zeros((1, 8, 16, 16), np.float32)
    maps[0, 3] = 1.0
    values = jackknife.left_out(maps, MIDDLE).of("r50")
    assert [at for at, value in enumerate(values["images"]) if value is None] == [3]
    assert jackknife.interval(0.5, values) == (None, None)
