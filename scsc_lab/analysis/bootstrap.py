"""Intervals over images: the figures of maps averaged over images drawn again, with replacement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scsc_lab.analysis import figures_of_merit
from scsc_lab.analysis.figures_of_merit import Analysis, Figures
from scsc_lab.analysis.profiles import Array, Centre

FEWEST_IMAGES = 6
"""Images below which there is no interval: of five, resampling says little and even the whole range too little."""

RESAMPLES = 1000
RESAMPLES_OF_LOG_MAPS = 100
"""Fewer where every resampled map has to be analysed as a whole."""


def intervals(
    maps: NDArray[np.float32], centre: Centre, *, method: str = "linear", signed: bool = False, seed: int = 0
) -> dict[str, tuple[float | None, float | None]]:
    """Return the 95 % interval (percentile bootstrap over images) of every figure.

    Args:
        maps: one map an image, ``(images, H, W)``.
        centre: row and column of the true centre, in pixels.
        method: ``linear`` or ``replknet``.
        signed: whether the maps have signs, so that the absolute value of their mean is analysed.
        seed: seed of the draw.

    Returns:
        Low and high by key; ``None`` below :data:`FEWEST_IMAGES` images, which cannot support an interval.
    """
    images = len(maps)
    whole = method == "replknet" or signed
    draws = np.random.default_rng(seed).multinomial(
        images, np.full(images, 1 / images), RESAMPLES_OF_LOG_MAPS if whole else RESAMPLES
    )
    weights: Array = draws / images
    whole_mean = _of_whole_maps(maps, centre, np.full((1, images), 1 / images), method)[0]
    if images < FEWEST_IMAGES:
        return dict.fromkeys(whole_mean, (None, None))
    found = _of_whole_maps(maps, centre, weights, method) if whole else _of_sums(maps, centre, weights)
    return {
        key: figures_of_merit.interval(value, [figures[key] for figures in found]) for key, value in whole_mean.items()
    }


def _of_sums(maps: NDArray[np.float32], centre: Centre, weights: Array) -> list[Figures]:
    analysis = Analysis((maps.shape[1], maps.shape[2]), centre)
    sums = weights @ np.stack([analysis.sums(image) for image in maps])
    sizes = [
        figures_of_merit.luo_pixels(image)
        for chunk in np.array_split(weights[: RESAMPLES // 4], 25)
        for image in _resampled(maps, chunk)
    ]
    return [{**analysis.figures(row), "luo_pixels": sizes[index % len(sizes)]} for index, row in enumerate(sums)]


def _of_whole_maps(maps: NDArray[np.float32], centre: Centre, weights: Array, method: str) -> list[Figures]:
    found = []
    for row in weights:
        image = _resampled(maps, row[None])[0]
        if method == "replknet":
            found.append(figures_of_merit.replknet_figures(image))
        else:
            found.append(figures_of_merit.figures(np.abs(image), centre))
    return found


def _resampled(maps: NDArray[np.float32], weights: Array) -> NDArray[np.float32]:
    flat = weights.astype(np.float32) @ maps.reshape(len(maps), -1)
    return flat.reshape(-1, *maps.shape[1:])
