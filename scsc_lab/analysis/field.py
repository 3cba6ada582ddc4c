"""A measured receptive field: its maps, with everything needed to analyse and draw them again. No torch."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scsc_lab.analysis import SHARES, figures_of_merit, jackknife, key
from scsc_lab.analysis.figures_of_merit import Array, Centre, Figures
from scsc_lab.records import Row

COMPARED = (*map(key, SHARES), "radius50_pixels", "radius95_pixels")
"""Figures whose difference between two networks has an interval; see :func:`difference`."""

_OF_SINGLE_MAPS = ("luo_pixels", "filled")


@dataclass(frozen=True)
class Setting:
    """Settings of a measured field.

    Attributes:
        model: label of the network.
        stage: name of the stage, or dotted name of the layer.
        layer: dotted name of the module whose output it is of.
        resolution: input height and width, in pixels.
        centre: row and column of the unit's true centre, in pixels.
        method, contribution: as in :class:`scsc_lab.settings.Fields`.
        images: number of images.
        images_id: what tells images apart: two fields with the same one were measured on the same images.
        image_kind: what they are, in words.
        skipped: number of files in the folder that were left out.
        weights: ``random``, ``file``, ``own`` (its factory's or the module's), or ``mixed``; older: ``trained``.
        seeds: random initialisations averaged over.
        seed: the first of them, and the seed of the images.
        dead: gradients that are zero everywhere, of units that an image or an initialisation does not reach; left out.
        units: places on the feature map whose fields were averaged, each moved to the common centre.
        rectified: whether the unit is the sum of channels behind a ReLU, not the plain sum: RepLKNet's way, and where
            the plain sum is constant, as behind a LayerNorm.
        window_pixels: period of the attention windows averaged over, height and width; ``None`` without windows.
        layout: order of the feature map's axes.
        map_size: height and width of the feature map.
        theoretical: sides of the theoretical field, in pixels, as far as it is inside the image.
        theoretical_reaches_border: whether it extends beyond the image.
        skipped_files: the files left out, by suffix or by another reason, in words.
        field_threads: threads per operator; 0 elsewhere than on the CPU, and in older files.
    """

    model: str
    stage: str
    layer: str
    resolution: tuple[int, int]
    centre: Centre
    method: str
    contribution: str
    images: int
    image_kind: str
    skipped: int
    weights: str
    seeds: int
    seed: int
    units: int
    rectified: bool
    window_pixels: tuple[float, float] | None
    layout: str
    map_size: tuple[int, int]
    theoretical: tuple[int, int] | None
    theoretical_reaches_border: bool
    images_id: str = ""
    dead: int = 0
    skipped_files: str = ""
    field_threads: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class Field:
    """The effective receptive field of one feature map of one network.

    Attributes:
        setting: network, layer, images and method of the measurement.
        maps: one map per image and initialisation, ``(seeds · images, H, W)``, the images of a seed together; or their
            mean alone, ``(1, H, W)``, which has figures but no intervals (see :meth:`condensed`).
        support: the theoretical field, ``(H, W)``: which pixels reach the unit at all, around the same centre as the
            maps; ``None`` where it could not be told.
    """

    setting: Setting
    maps: NDArray[np.float32]
    support: NDArray[np.bool_] | None = None

    def __repr__(self) -> str:
        """Return network, images and weights, not the maps."""
        setting = self.setting
        size = "×".join(map(str, setting.resolution))
        seeds = f" of {setting.seeds} seeds" if setting.seeds > 1 else ""
        whose = f"{setting.weights} weights{seeds}"
        return f"Field({setting.model} {setting.stage}, {size}, {self.images_as_text}, {whose})"

    @functools.cached_property
    def map(self) -> Array:
        """The mean over images and initialisations: of sum 1, or with ``replknet`` the mean contribution ``A``."""
        mean: Array = self.maps.mean(axis=0, dtype=np.float64)
        if self.setting.method == "replknet":
            return mean
        mean = np.abs(mean)
        normalised: Array = mean / mean.sum()
        return normalised

    @property
    def drawn(self) -> Array:
        """The map as it is drawn: contributions over their mean (1: uniform), or RepLKNet's log map."""
        return figures_of_merit.log_map(self.map) if self.setting.method == "replknet" else self.map * self.map.size

    @property
    def images_as_text(self) -> str:
        """Number and kind of the images."""
        return f"{self.setting.images} {self.setting.image_kind}"

    @functools.cached_property
    def _figures(self) -> Figures:
        if self.setting.method == "replknet":
            return {**figures_of_merit.replknet_figures(self.map), **dict.fromkeys(_OF_SINGLE_MAPS)}
        return {**figures_of_merit.figures(self.map, self.setting.centre), **self._of_single_maps}

    @functools.cached_property
    def _of_single_maps(self) -> Figures:
        """The figures that are taken of each map by itself, as means; none from the mean of several maps."""
        figures: Figures = dict.fromkeys(_OF_SINGLE_MAPS)
        if self._by_image is not None:
            for key, values in jackknife.single_maps(self._by_image, self.support).items():
                figures[key] = float(np.nanmean(values))
        return figures

    @property
    def _by_image(self) -> NDArray[np.float32] | None:
        """The maps as ``(seeds, images, H, W)``, if they are all there."""
        setting = self.setting
        if len(self.maps) != setting.seeds * setting.images:
            return None
        return self.maps.reshape(setting.seeds, setting.images, *setting.resolution)

    def figures(self) -> Figures:
        """Return the figures of merit.

        Those of the mean map are of :func:`scsc_lab.analysis.figures_of_merit.figures`; ``luo_pixels`` and ``filled``
        are means over the single maps, of :func:`scsc_lab.analysis.jackknife.single_maps`.
        """
        return dict(self._figures)

    @functools.cached_property
    def _row(self) -> Row:
        setting, figures = self.setting, self._figures
        row: Row = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(setting).items()}
        row["theoretical_pixels"] = row.pop("theoretical")
        without = None
        if self._by_image is not None and setting.images >= jackknife.FEWEST_IMAGES:
            signed = setting.contribution == "signed"
            without = jackknife.left_out(
                self._by_image, setting.centre, method=setting.method, signed=signed, support=self.support
            )
        row["left_out"] = {}
        for name, value in figures.items():
            row |= {name: value, f"{name}_low": None, f"{name}_high": None}
            if without is not None and value is not None:
                largest = math.inf if name.endswith("_pixels") else 1.0
                row[f"{name}_low"], row[f"{name}_high"] = jackknife.interval(value, without.of(name), largest)
                if name in COMPARED:
                    row["left_out"][name] = without.of(name)
        for share in SHARES:
            name = key(share)
            for end in ("", "_low", "_high"):
                value = row[f"{name}{end}"]
                row[f"{name}_over_t{end}"] = None if value is None else value / share
        row["seed_figures"] = (
            [field.figures() for field in self.by_seed()] if setting.seeds > 1 and len(self.maps) > 1 else []
        )
        return row

    def row(self) -> Row:
        """Return setting and figures with their 95 % intervals (``_low``, ``_high``) as one row.

        Intervals are over images, and over initialisations where there are several. ``left_out`` has what the interval
        of a difference takes; see :func:`difference`.
        """
        return dict(self._row)

    def condensed(self) -> Field:
        """Return the field with the mean of its maps alone, which is enough to draw it."""
        return Field(self.setting, self.map[None].astype(np.float32), self.support)

    def by_seed(self) -> list[Field]:
        """Return the field of each initialisation, without those in which every unit was dead."""
        setting = replace(self.setting, seeds=1)
        return [Field(setting, maps, self.support) for maps in np.split(self.maps, self.setting.seeds) if maps.any()]


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any], key: str) -> tuple[float | None, ...]:
    """Return the difference of a figure between the rows of two fields, and its 95 % interval: value, low, high.

    Images are left out of both at once where both saw the same images, initialisations wherever their number is the
    same.

    Args:
        ours: a row of :meth:`Field.row`.
        theirs: the row it is compared with.
        key: one of :data:`COMPARED`.
    """
    none: dict[str, list[float | None]] = {"images": [], "seeds": []}
    return jackknife.difference(
        ours[key],
        theirs[key],
        ours.get("left_out", {}).get(key, none),
        theirs.get("left_out", {}).get(key, none),
        same_images=bool(ours.get("images_id")) and ours.get("images_id") == theirs.get("images_id"),
    )
