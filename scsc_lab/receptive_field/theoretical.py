"""The theoretical receptive field of a unit: which pixels can reach it at all, and where its true centre is.

Both come from gradients through a stand-in for the network; see :mod:`scsc_lab.receptive_field.stand_in`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.overrides import TorchFunctionMode

from scsc_lab.receptive_field.feature_maps import FeatureMap, run_to
from scsc_lab.receptive_field.stand_in import Alignment, FaintAlignment, Support, stand_in

_Place: TypeAlias = tuple[float, float]
"""Row and column, in pixels."""

_PERIODS = (12, 6, 4, 2, 1)
"""Numbers of units after which those behind an upsampling by 2, 3, 4 or 6 see the same around them again."""

_NOISE = 1e-6
"""Share of the gradient through uneven weights below which that through even weights is rounding."""


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """The theoretical field of the unit in the middle of a feature map.

    Attributes:
        support: pixels that reach unit ``(h // 2, w // 2)``, ``(H, W)``; ``None`` where it could not be told.
        centre: true centre of that unit, row and column, in pixels.
        stride: distance of neighbouring units, in pixels.
        supports: pixels that reach each of the two or four units in the middle of even sides, by its row and column:
            behind a transposed convolution units do not see the same around them. Empty with windows.
    """

    support: NDArray[np.bool_] | None
    centre: tuple[float, float]
    stride: tuple[float, float]
    supports: Mapping[tuple[int, int], NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def sides(self) -> tuple[int, int] | None:
        """Height and width of the field, in pixels, as far as it is inside the image."""
        if self.support is None:
            return None
        (top, bottom), (left, right) = _ends(self.support)
        return bottom - top + 1, right - left + 1

    @property
    def reaches_border(self) -> bool:
        """Whether the next pixel of the field may lie beyond the image: strides and dilations leave gaps in fields."""
        return self.support is not None and _reaches_border(self.support)

    def middle(self, place: tuple[int, int]) -> tuple[float, float] | None:
        """Return row and column of the middle of a unit's field, in pixels; None if it is unknown or cut off."""
        support = self.supports.get(place)
        if support is None or not support.any() or _reaches_border(support):
            return None
        return middle_of(support)


def middle_of(support: NDArray[np.bool_]) -> tuple[float, float]:
    """Return row and column of the middle of a field, in pixels."""
    (top, bottom), (left, right) = _ends(support)
    return (top + bottom) / 2, (left + right) / 2


def _ends(support: NDArray[np.bool_]) -> tuple[tuple[int, int], tuple[int, int]]:
    rows, columns = (np.flatnonzero(support.any(axis=axis)) for axis in (1, 0))
    return (int(rows[0]), int(rows[-1])), (int(columns[0]), int(columns[-1]))


def _reaches_border(support: NDArray[np.bool_]) -> bool:
    for axis, side in zip((1, 0), support.shape, strict=True):
        places = np.flatnonzero(support.any(axis=axis))
        gap = np.diff(places).max(initial=1)
        if places[0] < gap or side - 1 - places[-1] < gap:
            return True
    return False


def receptive_fields(model: nn.Module, maps: Sequence[FeatureMap], shape: tuple[int, int, int]) -> list[ReceptiveField]:
    """Return the theoretical field of the middle unit of each feature map.

    The centre of a unit is the middle of its support where the image holds all of that; in windows of attention, which
    a unit need not be in the middle of, and where the support is unknown or cut off, it is the unit's alignment.

    Args:
        model: the network; it is left as it is.
        maps: the feature maps; see :func:`scsc_lab.receptive_field.feature_maps.survey`.
        shape: input channels, height and width.
    """
    fields = []
    aligned = _aligned(model, maps, shape)
    middles = [_middle(feature_map) for feature_map in maps]
    gradients = _gradients(stand_in(model, centre_taps=False), maps, shape, Support(), middles)
    for feature_map, centroids, offsets, gradients_of_map in zip(maps, aligned, middles, gradients, strict=True):
        size = feature_map.layout.size
        places = [_place(size, offset) for offset in offsets]
        supports = {place: gradient > 0 for place, gradient in zip(places, gradients_of_map, strict=True)}
        support = supports[places[0]]
        centre, stride = _alignment(centroids, feature_map, shape[1:])
        by_place = {} if feature_map.window else supports
        field = ReceptiveField(support if support.any() else None, centre, stride, by_place)
        fields.append(replace(field, centre=field.middle(places[0]) or centre))
    return fields


def _middle(feature_map: FeatureMap) -> list[tuple[int, int]]:
    """Return the offsets of the units in the middle of a map; of the first alone with windows."""
    rows, columns = (range(1 if side % 2 or feature_map.window else 2) for side in feature_map.layout.size)
    return [*itertools.product(rows, columns)]


def _far(feature_map: FeatureMap) -> int:
    """Return how many rows and columns before the middle unit the one is whose distance tells the stride."""
    least = min(feature_map.layout.size) // 2 - 1  # at the border, fields are cut off
    return next((period for period in _PERIODS if period <= least), 1)


def _place(size: tuple[int, int], offset: tuple[int, int]) -> tuple[int, int]:
    """Return the row and column of a unit so many rows and columns before the middle one."""
    return max(size[0] // 2 - offset[0], 0), max(size[1] // 2 - offset[1], 0)


def _aligned(model: nn.Module, maps: Sequence[FeatureMap], shape: tuple[int, int, int]) -> list[list[_Place | None]]:
    """Return the true centres of the middle unit of each map and of another one on the diagonal."""
    diagonals = [[(0, 0), (_far(feature_map),) * 2] for feature_map in maps]
    even, uneven = (
        _gradients(stand_in(model, centre_taps=True, uneven=uneven), maps, shape, Alignment(), diagonals)
        for uneven in (False, True)  # even weights keep the middle of patches, which Linear layers merge
    )
    centres = [
        [
            _centroid(even_ if even_.sum() > _NOISE * uneven_.sum() else uneven_)
            for even_, uneven_ in zip(*units, strict=True)
        ]
        for units in zip(even, uneven, strict=True)
    ]
    if any(None in places for places in centres):  # only gates lead to the unit
        faint = _gradients(stand_in(model, centre_taps=True), maps, shape, FaintAlignment(), diagonals)
        centres = [
            [*map(_centroid, gradients)] if None in places else places
            for places, gradients in zip(centres, faint, strict=True)
        ]
    return centres


def _gradients(
    model: nn.Module,
    feature_maps: Sequence[FeatureMap],
    shape: tuple[int, int, int],
    mode: TorchFunctionMode,
    offsets: Sequence[Sequence[tuple[int, int]]],
) -> list[list[NDArray[np.float64]]]:
    """Return absolute gradients of the units at each map's offsets from its middle, ``(H, W)`` each.

    The unit is a sum of its channels with weights from 1 to 2: their plain sum is constant behind some normalisations.
    """
    x = torch.ones(1, *shape, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad(), mode:
        outputs = run_to(model, x, {feature_map.layer: lambda output: output for feature_map in feature_maps})
        maps = [feature_map.layout.maps(outputs[feature_map.layer]) for feature_map in feature_maps]
    gradients = []
    for feature, offsets_of_map in zip(maps, offsets, strict=True):
        weights = torch.linspace(1.0, 2.0, feature.shape[1], dtype=feature.dtype)
        places = [_place((feature.shape[2], feature.shape[3]), offset) for offset in offsets_of_map]
        units = [feature[0, :, row, column] @ weights for row, column in places]
        grads = [
            torch.autograd.grad(unit, x, retain_graph=True)[0] if unit.requires_grad else torch.zeros_like(x)
            for unit in units
        ]
        gradients.append([grad[0].abs().sum(0).double().numpy() for grad in grads])
    return gradients


def _alignment(
    centres: Sequence[_Place | None], feature_map: FeatureMap, resolution: tuple[int, ...]
) -> tuple[_Place, _Place]:
    """Return centre and stride of a map's units from the centres of two of them on its diagonal."""
    size = feature_map.layout.size
    if any(centre is None for centre in centres):
        stride = [input_side / side for input_side, side in zip(resolution, size, strict=True)]
        middle = [(side // 2 + 0.5) * step - 0.5 for side, step in zip(size, stride, strict=True)]
        return (middle[0], middle[1]), (stride[0], stride[1])
    first_centre, other_centre = (np.array(centre) for centre in centres)
    stride = [
        float(distance) / (side // 2 - place)
        if side > 1 and distance > 0
        else input_side / side  # units may share a centre, as behind a pool
        for distance, side, place, input_side in zip(
            first_centre - other_centre, size, _place(size, (_far(feature_map),) * 2), resolution, strict=True
        )
    ]
    return (float(first_centre[0]), float(first_centre[1])), (stride[0], stride[1])


def _centroid(gradient: NDArray[np.float64]) -> _Place | None:
    total = gradient.sum()
    if not np.isfinite(total) or total <= 0:
        return None
    rows, columns = gradient.sum(1) @ np.arange(gradient.shape[0]), gradient.sum(0) @ np.arange(gradient.shape[1])
    return round(float(rows / total), 4), round(float(columns / total), 4)
