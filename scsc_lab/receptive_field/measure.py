"""Effective receptive fields of modules: places chosen, gradients taken, maps averaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from scsc_lab import image_files
from scsc_lab.analysis.field import Field, Setting
from scsc_lab.errors import InputError
from scsc_lab.receptive_field.feature_maps import FeatureMap, Unit, centred, survey, units
from scsc_lab.receptive_field.gradients import Target, constant_sums, gradient_maps
from scsc_lab.receptive_field.images import Images
from scsc_lab.receptive_field.theoretical import ReceptiveField, middle_of, receptive_fields
from scsc_lab.settings import Fields

_OFF_SUPPORT = 1e-3
"""Share of the mass outside the theoretical field from which that is not believed."""


@dataclass(frozen=True)
class Whose:
    """Network, weights and seeds of a measurement, for the maps' settings.

    Attributes:
        label: name of the network.
        weights: ``random``, ``file``, ``own`` or ``mixed``.
        seeds: random initialisations.
        seed: that of the first one, and of the places of units in a window.
    """

    label: str
    weights: str
    seeds: int = 1
    seed: int = 0


def measure(
    make: Callable[[int], nn.Module],
    layers: Callable[[nn.Module], Mapping[str, str]],
    drawn: Images,
    settings: Fields,
    whose: Whose,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> list[Field]:
    """Return the effective receptive field of each feature map, over images and initialisations.

    Args:
        make: returns the network of a seed, on ``device``.
        layers: returns the dotted name of the module of each stage or layer, by the name it is to have.
        drawn: the images, which every initialisation sees.
        settings: how to measure.
        whose: whose fields they are.
        device: where the networks run.
        progress: called with the images done and the images in total.

    Raises:
        InputError: if a layer does not exist or is no map, or no unit has a gradient.
    """
    images = drawn.pixels
    shape = (images.shape[1], images.shape[2], images.shape[3])
    plans: list[_Plan] = []
    maps: list[list[NDArray[np.float32]]] = []
    dead: list[int] = []
    for seed in range(whose.seeds):
        model = make(whose.seed + seed)
        if not plans:
            layer_names = layers(model)
            surveyed = survey(model, list(layer_names.values()), shape, settings.layout, device)
            theory = receptive_fields(model, surveyed, shape)
            plans = [
                _plan(n, s, t, settings, whose.seed, len(images))
                for n, s, t in zip(layer_names, surveyed, theory, strict=True)
            ]
            maps, dead = [[] for _ in plans], [0] * len(plans)
            constant = constant_sums(model, images[:1], [plan.target for plan in plans], device)
            plans = [replace(p, rectified=p.rectified or flag) for p, flag in zip(plans, constant, strict=True)]
        gradients_by_layer = gradient_maps(
            model,
            images,
            [plan.target for plan in plans],
            contribution=_contribution(settings),
            batch=settings.chunk,
            device=device,
            progress=_from(seed * len(images), whose.seeds * len(images), progress),
        )
        for index, (plan, gradients) in enumerate(zip(plans, gradients_by_layer, strict=True)):
            averaged, without = _averaged(gradients, plan, settings)
            maps[index].append(averaged)
            dead[index] += without
    threads = torch.get_num_threads() if device.type == "cpu" else 0
    return [
        _field(whose, settings, drawn, plan, np.concatenate(layer_maps), without, threads)
        for plan, layer_maps, without in zip(plans, maps, dead, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Plan:
    """One feature map: which unit each image serves, and how the maps come together.

    The unit is the sum of its channels, behind a ReLU in RepLKNet's method, and where the plain sum is constant.
    """

    stage: str
    feature_map: FeatureMap
    theory: ReceptiveField
    centre: tuple[float, float]
    units: tuple[Unit, ...]
    assigned: NDArray[np.int64]
    rectified: bool

    @property
    def target(self) -> Target:
        places = np.array([(unit.row, unit.column) for unit in self.units], dtype=np.int64)
        return Target(self.feature_map.layer, self.feature_map.layout, places[self.assigned], self.rectified)


def _plan(
    stage: str, feature_map: FeatureMap, theory: ReceptiveField, settings: Fields, seed: int, images: int
) -> _Plan:
    size, is_inside = feature_map.layout.size, False
    if settings.method == "replknet":
        middle = (size[0] // 2, size[1] // 2)
        chosen_units, centre = [Unit(*middle, weight=1.0)], theory.centre
    else:
        chosen_units, mean_place = units(size, theory.stride, feature_map.window)
        centre = (
            theory.centre[0] + (mean_place[0] - size[0] // 2) * theory.stride[0],
            theory.centre[1] + (mean_place[1] - size[1] // 2) * theory.stride[1],
        )
        middles = [
            middle_place
            for unit in chosen_units
            if (middle_place := theory.middle((unit.row, unit.column))) is not None
        ]
        is_inside = len(middles) == len(chosen_units)
        chosen_units = centred(chosen_units, middles) if is_inside else chosen_units
    repetitions = -(-len(chosen_units) // images)
    order = np.random.default_rng(seed).permutation(len(chosen_units))
    assigned = order[np.arange(images * repetitions) % len(chosen_units)].reshape(images, repetitions)
    plan = _Plan(stage, feature_map, theory, centre, tuple(chosen_units), assigned, settings.method == "replknet")
    support = _moved_support(plan) if is_inside else None
    return plan if support is None else replace(plan, centre=middle_of(support))


def _averaged(gradients: NDArray[np.float64], plan: _Plan, settings: Fields) -> tuple[NDArray[np.float32], int]:
    """Return one map per image, ``(images, H, W)``, whose mean is the field, and the number of dead ones.

    Each gradient map is normalised, moved so that its unit's centre is the common one, and weighted; a pixel that some
    units cannot see, because it is moved in from beyond the image, is the mean over the units that do. A unit that has
    no gradient at all is dead, and left out; the map of an image all of whose units are is zero.
    """
    masses = np.abs(gradients).sum(axis=(2, 3))
    dead = int(np.count_nonzero(masses == 0))
    if settings.method == "replknet":
        return gradients[:, 0].astype(np.float32), dead
    times = np.bincount(plan.assigned[masses > 0], minlength=len(plan.units))
    shape = gradients.shape[2:]
    maps, coverage = np.zeros((len(gradients), *shape)), np.zeros(shape)
    for image, repetition in np.argwhere(masses > 0):
        place = plan.assigned[image, repetition]
        unit = plan.units[place]
        weight = unit.weight / times[place]
        onto, of = _moved(shape, unit.shift)
        maps[image][onto] += weight * gradients[image, repetition][of] / masses[image, repetition]
        coverage[onto] += weight
    maps /= np.where(coverage > 0, coverage, 1.0)
    sums = np.abs(maps).sum(axis=(1, 2))
    alive = np.count_nonzero(sums)
    return (maps * (alive / max(float(sums.sum()), np.finfo(float).tiny))).astype(np.float32), dead


def _moved(shape: tuple[int, ...], shift: tuple[int, int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return where a map that is moved lands inside the image, and which part of it does."""
    onto = tuple(slice(max(move, 0), side + min(move, 0)) for side, move in zip(shape, shift, strict=True))
    of = tuple(slice(max(-move, 0), side + min(-move, 0)) for side, move in zip(shape, shift, strict=True))
    return onto, of


def _moved_support(plan: _Plan) -> NDArray[np.bool_] | None:
    """Return the theoretical field of all units together, each moved to the common centre as its map is.

    Units mostly see the same around them: theirs is that of the middle one, moved. What is moved in from beyond the
    image is as its rim is.
    """
    support = plan.theory.support
    if support is None:
        return None
    middle = [side // 2 for side in plan.feature_map.layout.size]
    moves: set[tuple[tuple[int, int] | None, tuple[int, ...]]] = set()
    for unit in plan.units:
        place = (unit.row, unit.column)
        steps = zip(place, middle, plan.theory.stride, unit.shift, strict=True)
        is_supported = place in plan.theory.supports
        moved = tuple(round((at - centre) * stride) + shift for at, centre, stride, shift in steps)
        moves.add((place, unit.shift) if is_supported else (None, moved))
    union = np.zeros_like(support)
    for key, move in moves:
        pads = [(max(step, 0), max(-step, 0)) for step in move]
        wider = np.pad(support if key is None else plan.theory.supports[key], pads, mode="edge")
        union |= wider[pads[0][1] : pads[0][1] + support.shape[0], pads[1][1] : pads[1][1] + support.shape[1]]
    return union


def _field(
    whose: Whose,
    settings: Fields,
    drawn: Images,
    plan: _Plan,
    maps: NDArray[np.float32],
    dead: int,
    threads: int,
) -> Field:
    if not maps.any():
        reason = "nothing reaches the pixels"
        if plan.theory.support is not None:
            reason = "no channel is alive, or their sum does not change, as behind a softmax; name the layer before it"
        raise InputError(f"the gradient of {plan.feature_map.layer} is zero for every image: {reason}")
    theory = replace(plan.theory, support=_moved_support(plan))
    support = theory.support
    windowed = len(plan.units) > 1 and plan.feature_map.window is not None
    if support is not None and not windowed:
        mass = np.abs(maps).mean(axis=0, dtype=np.float64)
        if mass[~support].sum() > _OFF_SUPPORT * mass.sum():
            support = None  # the network does something that the theoretical field does not follow
    setting = Setting(
        model=whose.label,
        stage=plan.stage,
        layer=plan.feature_map.layer,
        resolution=(maps.shape[1], maps.shape[2]),
        centre=plan.centre,
        method=settings.method,
        contribution=_contribution(settings),
        images=len(drawn.pixels),
        image_kind=drawn.kind,
        skipped=sum(drawn.left_out.values()),
        weights=whose.weights,
        seeds=whose.seeds,
        seed=whose.seed,
        units=len(plan.units),
        rectified=plan.rectified,
        window_pixels=plan.feature_map.window if windowed else None,
        layout=plan.feature_map.layout.name,
        map_size=plan.feature_map.layout.size,
        theoretical=theory.sides if support is not None else None,
        theoretical_reaches_border=theory.reaches_border,
        images_id=drawn.key,
        dead=dead,
        skipped_files=image_files.counted(drawn.left_out),
        field_threads=threads,
    )
    return Field(setting, maps, support)


def _from(before: int, total: int, progress: Callable[[int, int], None] | None) -> Callable[[int], None] | None:
    """Return a callback for the images of one initialisation that reports those of all."""
    return None if progress is None else lambda done: progress(before + done, total)


def _contribution(settings: Fields) -> str:
    return "relu" if settings.method == "replknet" else settings.contribution
