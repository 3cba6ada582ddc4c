"""Intervals of a field's figures over images and initialisations: each left out in turn, and Student's t.

Images and initialisations are crossed: every initialisation sees the same images. The variance of a figure is that over
images plus that over initialisations, each from the figure without one of them (Efron and Stein, 1981); what both share
counts twice, which errs on the safe side. The degrees of freedom are Satterthwaite's, so that three initialisations
have the wide interval that three numbers support.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scsc_lab.analysis import figures_of_merit
from scsc_lab.analysis.figures_of_merit import Analysis, Array, Centre, Figures

FEWEST_IMAGES = 6
"""Images below which there is no interval: so few say little about their own spread."""

Interval = tuple[float | None, float | None]


@dataclass(frozen=True)
class LeftOut:
    """The figures of a field without each of its images, and without each of its initialisations.

    Attributes:
        images: one set of figures an image.
        seeds: one set of figures an initialisation; none if there is only one.
    """

    images: tuple[Figures, ...]
    seeds: tuple[Figures, ...]

    def of(self, key: str) -> dict[str, list[float | None]]:
        """Return the values of one figure, as ``images`` and ``seeds``."""
        return {"images": [figures[key] for figures in self.images], "seeds": [figures[key] for figures in self.seeds]}


def left_out(
    maps: NDArray[np.float32],
    centre: Centre,
    *,
    method: str = "linear",
    signed: bool = False,
    support: NDArray[np.bool_] | None = None,
) -> LeftOut:
    """Return the figures of the mean of maps without each image, and without each initialisation.

    Args:
        maps: one map an initialisation and image, ``(seeds, images, H, W)``; all zero where the unit was dead.
        centre: row and column of the true centre, in pixels.
        method: ``linear`` or ``replknet``.
        signed: whether the maps have signs, so that the absolute value of their mean is analysed.
        support: the theoretical field, for the share of it that is filled.
    """
    seeds, images = maps.shape[:2]
    sizes = single_maps(maps, support) if method == "linear" else {}
    if method == "linear" and not signed:
        analysis = Analysis((maps.shape[2], maps.shape[3]), centre)
        parts = np.stack([[analysis.sums(image) for image in row] for row in maps])
        figures_of_rests = [analysis.figures(rest) for rest in _rests(parts)]
    else:
        figures_of_rests = [_of_mean(rest, centre, method) for rest in _rests(maps.astype(np.float64))]
    keep = [~np.eye(images, dtype=bool)[None, i].repeat(seeds, 0) for i in range(images)]
    keep += [~np.eye(seeds, dtype=bool)[i, :, None].repeat(images, 1) for i in range(seeds if seeds > 1 else 0)]
    for figures, is_kept in zip(figures_of_rests, keep, strict=True):
        figures |= {key: _mean(values[is_kept]) for key, values in sizes.items()}
    return LeftOut(tuple(figures_of_rests[:images]), tuple(figures_of_rests[images:]))


def single_maps(maps: NDArray[np.float32], support: NDArray[np.bool_] | None) -> dict[str, Array]:
    """Return the figures that are taken of each map by itself, ``(seeds, images)``; NaN where the unit was dead.

    Luo's size rests on the largest pixel: that of a mean of maps grows with their number. The mean of the sizes of
    single maps does not.
    """
    alive = maps.any(axis=(2, 3))
    above = [[figures_of_merit.above_luos_level(np.abs(image)) for image in row] for row in maps]
    sizes = {"luo_pixels": np.array([[math.sqrt(np.count_nonzero(field_map)) for field_map in row] for row in above])}
    if support is not None:
        shares = [
            [np.count_nonzero(field_map & support) / np.count_nonzero(support) for field_map in row] for row in above
        ]
        sizes["filled"] = np.array(shares)
    return {key: np.where(alive, values, np.nan) for key, values in sizes.items()}


def interval(value: float | None, without: Mapping[str, Sequence[float | None]], largest: float = math.inf) -> Interval:
    """Return the 95 % interval of a figure that is nowhere negative; none where one of the values is missing.

    It is taken of the logarithm, where there is one, so that it does not reach below zero.

    Args:
        value: the figure.
        without: the figure without each image and each initialisation; see :meth:`LeftOut.of`.
        largest: what the figure cannot exceed.
    """
    values = [*without["images"], *without["seeds"]]
    if value is None or len(without["images"]) < FEWEST_IMAGES or any(item is None for item in values):
        return None, None
    groups = [np.array(without[axis], dtype=np.float64) for axis in ("images", "seeds")]
    if value > 0 and all((group > 0).all() for group in groups):
        reach = _reach([np.log(group) for group in groups])
        return value * math.exp(-min(reach, 700.0)), min(value * math.exp(min(reach, 700.0)), largest)
    reach = _reach(groups)
    return max(value - reach, 0.0), min(value + reach, largest)


def difference(
    ours: float | None,
    theirs: float | None,
    without_ours: Mapping[str, Sequence[float | None]],
    without_theirs: Mapping[str, Sequence[float | None]],
    *,
    same_images: bool,
) -> tuple[float | None, float | None, float | None]:
    """Return the difference of a figure between two networks, and its 95 % interval.

    Args:
        ours: the figure of one.
        theirs: the figure of the other.
        without_ours: the figure of one without each image and each initialisation.
        without_theirs: that of the other.
        same_images: whether both saw the same images, in the same order; then images are left out of both at once.
            Initialisations of the same seeds are, wherever their number is the same.
    """
    if ours is None or theirs is None:
        return None, None, None
    groups = []
    for axis, paired in (("images", same_images), ("seeds", True)):
        first, second = without_ours[axis], without_theirs[axis]
        if None in (*first, *second) or (axis == "images" and min(len(first), len(second)) < FEWEST_IMAGES):
            return ours - theirs, None, None
        a, b = np.array(first, dtype=np.float64), np.array(second, dtype=np.float64)
        groups += [a - b] if paired and len(a) == len(b) else [a, b]
    reach = _reach(groups)
    return ours - theirs, ours - theirs - reach, ours - theirs + reach


def _reach(groups: Sequence[Array]) -> float:
    """Return half the 95 % interval from what leaving out each member of each group gives."""
    parts = [(float(((len(g) - 1) / len(g)) * ((g - g.mean()) ** 2).sum()), len(g) - 1) for g in groups if len(g) > 1]
    variance = sum(part for part, _ in parts)
    if variance <= 0:
        return 0.0
    freedom = variance**2 / sum(part**2 / freedom for part, freedom in parts)
    return student(freedom) * math.sqrt(variance)


def student(freedom: float) -> float:
    """Return the 97.5 % quantile of Student's t, for any degrees of freedom, whole or not."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def _rests(parts: Array) -> list[Array]:
    """Return the mean of parts, ``(seeds, images, …)``, without each image, then without each of several seeds."""
    seeds, images = parts.shape[:2]
    total = parts.sum(axis=(0, 1))
    rests = [(total - part) / (seeds * max(images - 1, 1)) for part in parts.sum(axis=0)]
    if seeds > 1:
        rests += [(total - part) / ((seeds - 1) * images) for part in parts.sum(axis=1)]
    return rests


def _of_mean(image: Array, centre: Centre, method: str) -> Figures:
    if method != "replknet":
        return figures_of_merit.figures(np.abs(image), centre)
    image = figures_of_merit.log_map(image)  # the published sizes come in steps; those of squares of any side do not
    return figures_of_merit.figures(image, (image.shape[0] // 2, image.shape[1] // 2))


def _mean(values: Array) -> float | None:
    finite = values[~np.isnan(values)]
    return float(finite.mean()) if len(finite) else None
