"""A measured receptive field: its maps, with everything needed to analyse and draw them again. No torch."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scsc_lab.analysis import bootstrap, figures_of_merit, replknet
from scsc_lab.analysis.figures_of_merit import SHARES, Figures
from scsc_lab.analysis.profiles import Array, Centre
from scsc_lab.records import Row


@dataclass(frozen=True)
class Setting:
    """What a field was measured on.

    Attributes:
        model: label of the network.
        stage: name of the stage, or dotted name of the layer.
        layer: dotted name of the module whose output it is of.
        resolution: input height and width, in pixels.
        centre: row and column of the unit's true centre, in pixels.
        method, contribution: as in :class:`scsc_lab.analysis.protocol.Protocol`.
        images: number of images.
        image_kind: what they are, in words.
        skipped: files in the folder that are no images or broken.
        weights: ``random``, ``trained`` or ``as given``.
        seeds: random initialisations averaged over.
        seed: the first of them, and the seed of the images.
        units: places on the feature map whose fields were averaged, each moved to the common centre.
        rectified: whether the unit is the sum of channels behind a ReLU, not the plain sum: RepLKNet's way, and where
            the plain sum is constant, as behind a LayerNorm.
        window_pixels: period of the attention windows averaged over, height and width; ``None`` without windows.
        layout: order of the feature map's axes.
        map_size: height and width of the feature map.
        theoretical: sides of the theoretical field, in pixels, as far as it is inside the image.
        theoretical_reaches_border: whether it goes on beyond the image.
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


@dataclass(frozen=True, eq=False)
class Field:
    """The effective receptive field of one feature map of one network.

    Attributes:
        setting: what it was measured on.
        maps: one map an image and initialisation, ``(seeds · images, H, W)``, the images of a seed together; or their
            mean alone, ``(1, H, W)``, which has figures but no intervals (see :meth:`condensed`).
        support: theoretical field of the unit, ``(H, W)``; ``None`` where it could not be told.
    """

    setting: Setting
    maps: NDArray[np.float32]
    support: NDArray[np.bool_] | None = None

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
        return replknet.log_map(self.map) if self.setting.method == "replknet" else self.map * self.map.size

    @property
    def images_as_text(self) -> str:
        """Number and kind of the images."""
        return f"{self.setting.images} {self.setting.image_kind}"

    @functools.cached_property
    def _figures(self) -> Figures:
        if self.setting.method == "replknet":
            return figures_of_merit.replknet_figures(self.map)
        return figures_of_merit.figures(self.map, self.setting.centre)

    def figures(self) -> Figures:
        """Return the figures of merit of the mean map; see :func:`scsc_lab.analysis.figures_of_merit.figures`."""
        return dict(self._figures)

    @functools.cached_property
    def filled(self) -> float | None:
        """Share of the theoretical field that the effective one fills: its pixels by Luo's level, over all of it."""
        size = self._figures["luo_pixels"]
        if self.support is None or size is None or not self.support.any():
            return None
        return min(size**2 / int(np.count_nonzero(self.support)), 1.0)

    @functools.cached_property
    def _row(self) -> Row:
        setting, found = self.setting, self._figures
        intervals: dict[str, tuple[float | None, float | None]] = dict.fromkeys(found, (None, None))
        if len(self.maps) == setting.seeds * setting.images:
            per_image = self.maps.reshape(setting.seeds, setting.images, *setting.resolution).mean(axis=0)
            signed = setting.contribution == "signed"
            intervals = bootstrap.intervals(
                per_image, setting.centre, method=setting.method, signed=signed, seed=setting.seed
            )
        row: Row = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(setting).items()}
        row["theoretical_pixels"] = row.pop("theoretical")
        for name, value in found.items():
            low, high = intervals[name]
            row |= {name: value, f"{name}_low": low, f"{name}_high": high}
        for share in SHARES:
            name = figures_of_merit.key(share)
            for end in ("", "_low", "_high"):
                value = row[f"{name}{end}"]
                row[f"{name}_over_t{end}"] = None if value is None else value / share
        pixels = int(np.count_nonzero(self.support)) if self.support is not None else 0
        row["filled"] = self.filled
        for end in ("_low", "_high"):
            size = row[f"luo_pixels{end}"]
            row[f"filled{end}"] = min(size**2 / pixels, 1.0) if pixels and size is not None else None
        row["seed_figures"] = (
            [one.figures() for one in self.by_seed()] if setting.seeds > 1 and len(self.maps) > 1 else []
        )
        return row

    def row(self) -> Row:
        """Return setting and figures with their 95 % intervals over images (``_low``, ``_high``) as one row."""
        return dict(self._row)

    def condensed(self) -> Field:
        """Return the field with the mean of its maps alone: what it takes to draw it."""
        return Field(self.setting, self.map[None].astype(np.float32), self.support)

    def by_seed(self) -> list[Field]:
        """Return the field of each initialisation."""
        one = replace(self.setting, seeds=1)
        return [Field(one, maps, self.support) for maps in np.split(self.maps, self.setting.seeds)]
