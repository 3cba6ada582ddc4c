"""Effective receptive fields of networks: images and places chosen, gradients taken, maps averaged."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from scsc_lab.analysis.field import Field, Setting
from scsc_lab.analysis.protocol import CONTRIBUTIONS, LAYOUTS, METHODS, Protocol
from scsc_lab.errors import InputError, nearest
from scsc_lab.execution import device as devices
from scsc_lab.models.stages import stage_maps, stride_maps
from scsc_lab.models.subject import Subject
from scsc_lab.receptive_field import images as pictures
from scsc_lab.receptive_field.feature_maps import Seen, Unit, survey, units
from scsc_lab.receptive_field.gradients import Target, constant_sums, gradient_maps
from scsc_lab.receptive_field.images import Images
from scsc_lab.receptive_field.theoretical import ReceptiveField, receptive_fields

__all__ = ["Field", "Protocol", "chosen", "measure"]

_OFF_SUPPORT = 1e-3
"""Share of the mass outside the theoretical field from which that is not believed."""


def measure(subject: Subject, protocol: Protocol, progress: Callable[[int, int], None] | None = None) -> list[Field]:
    """Return the effective receptive field of each feature map that the protocol names, of one network.

    Args:
        subject: the network.
        protocol: how to measure.
        progress: told the number of images done and to do.

    Raises:
        InputError: if a stage or layer does not exist or is no map, there are no images, or the input is too small.
    """
    check(protocol)
    if protocol.seeds > 1 and not subject.random:
        raise InputError(f"--seeds averages over random weights; {subject.label} has weights of its own")
    resolution = protocol.resolution or subject.resolution
    subject.check_resolution(resolution)
    device = devices.find(protocol.device)
    drawn = _images(subject, protocol, resolution)
    shape = (subject.channels, *resolution)
    plans: list[_Plan] = []
    maps: list[list[NDArray[np.float32]]] = []
    total = protocol.seeds * len(drawn.pixels)
    for seed in range(protocol.seeds):
        model = _made(subject, protocol.seed + seed, device)
        if not plans:
            named = chosen(model, protocol, subject.label, shape)
            seen = survey(model, list(named.values()), shape, protocol.layout, device)
            theory = receptive_fields(model, seen, shape)
            plans = [_plan(n, s, t, protocol, len(drawn.pixels)) for n, s, t in zip(named, seen, theory, strict=True)]
            maps = [[] for _ in plans]
            if protocol.method == "linear":
                constant = constant_sums(model, drawn.pixels[:1], [plan.target for plan in plans], device)
                plans = [replace(plan, rectified=flag) for plan, flag in zip(plans, constant, strict=True)]
        found = gradient_maps(
            model,
            drawn.pixels,
            [plan.target for plan in plans],
            contribution=_contribution(protocol),
            batch=protocol.batch,
            device=device,
            progress=_from(seed * len(drawn.pixels), total, progress),
        )
        for plan, gradients, own in zip(plans, found, maps, strict=True):
            own.append(_averaged(gradients, plan, protocol))
    return [
        _field(subject, protocol, drawn, plan, np.concatenate(own), resolution)
        for plan, own in zip(plans, maps, strict=True)
    ]


def subject_of(model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> Subject:
    """Return a module as a network to be measured, with its weights as they are; it has one input."""
    label = type(model).__name__
    return _Given(label, (224, 224), lambda: model, lambda device: model, len(mean), mean, std)


class _Given(Subject):
    """A module that somebody made: nobody knows here where its weights are from."""

    @property
    def random(self) -> bool:
        return False

    @property
    def weights_kind(self) -> str:
        return "as given"


def check(protocol: Protocol) -> None:
    """Raise InputError if a protocol asks for what there is not."""
    for what, value, known in (
        ("method", protocol.method, METHODS),
        ("contribution", protocol.contribution, CONTRIBUTIONS),
        ("layout", protocol.layout, (None, *LAYOUTS)),
    ):
        if value not in known:
            words = [word for word in known if word]
            raise InputError(f"{what} {value!r}: one of {', '.join(words)}{nearest(str(value), words)}")
    for what, number in (("samples", protocol.samples), ("seeds", protocol.seeds), ("batch", protocol.batch or 1)):
        if number < 1:
            raise InputError(f"{what} {number}: at least 1 is needed")
    if protocol.method == "replknet" and protocol.contribution not in ("abs", "relu"):
        raise InputError("method replknet drops negative gradients, as published: leave --contribution out")


def chosen(model: nn.Module, protocol: Protocol, label: str, shape: tuple[int, int, int]) -> dict[str, str]:
    """Return the dotted name of the module of each stage or layer asked for, in order.

    Stages go by number, by name (``stage2``), or by the stride of their map (``stride8``).

    Raises:
        InputError: if the network puts out no maps, or has no such stage.
    """
    if protocol.layers:
        return {layer: layer for layer in protocol.layers}
    known = stage_maps(model, shape)
    if not known:
        raise InputError(f"{label} shows no maps of stages: name a module with --layer, e.g. {_example(model)}")
    if not protocol.stages:
        last = list(known)[-1]
        return {last: known[last]}
    if "all" in protocol.stages:
        return dict(known)
    found = {}
    for stage in protocol.stages:
        name = f"stage{stage}" if stage.isdecimal() else stage
        maps = stride_maps(model, shape) if name.startswith("stride") else known
        if name not in maps:
            raise InputError(f"{label} has no stage {stage!r}: one of {', '.join(maps)}, or all{nearest(name, maps)}")
        found[name] = maps[name]
    return found


@dataclass(frozen=True, eq=False)
class _Plan:
    """One feature map: which unit each image serves, and how the maps come together.

    The unit is the sum of its channels, behind a ReLU in RepLKNet's method, and where the plain sum is constant.
    """

    stage: str
    seen: Seen
    theory: ReceptiveField
    centre: tuple[float, float]
    units: tuple[Unit, ...]
    assigned: NDArray[np.int64]
    rectified: bool

    @property
    def target(self) -> Target:
        places = np.array([(unit.row, unit.column) for unit in self.units], dtype=np.int64)
        return Target(self.seen.layer, self.seen.layout, places[self.assigned], self.rectified)


def _plan(stage: str, seen: Seen, theory: ReceptiveField, protocol: Protocol, images: int) -> _Plan:
    size = seen.layout.size
    if protocol.method == "replknet":
        middle = (size[0] // 2, size[1] // 2)
        found, centre = [Unit(*middle, weight=1.0)], theory.centre
    else:
        found, place = units(size, theory.stride, seen.window)
        centre = (
            theory.centre[0] + (place[0] - size[0] // 2) * theory.stride[0],
            theory.centre[1] + (place[1] - size[1] // 2) * theory.stride[1],
        )
    repetitions = -(-len(found) // images)
    order = np.random.default_rng(protocol.seed).permutation(len(found))
    assigned = order[np.arange(images * repetitions) % len(found)].reshape(images, repetitions)
    return _Plan(stage, seen, theory, centre, tuple(found), assigned, protocol.method == "replknet")


def _averaged(gradients: NDArray[np.float64], plan: _Plan, protocol: Protocol) -> NDArray[np.float32]:
    """Return one map an image, whose mean over the images is the field: ``(images, H, W)``.

    Each gradient map is normalised, moved so that its unit's centre is the common one, and weighted; a pixel that some
    units cannot see, because it is moved in from beyond the image, is the mean over the units that do.
    """
    masses = np.abs(gradients).sum(axis=(2, 3))
    if not masses.all():
        raise InputError(f"the gradient of {plan.seen.layer} is zero for some image: nothing reaches the pixels")
    if protocol.method == "replknet":
        return gradients[:, 0].astype(np.float32)
    times = np.bincount(plan.assigned.ravel(), minlength=len(plan.units))
    shape = gradients.shape[2:]
    maps, coverage = np.zeros((len(gradients), *shape)), np.zeros(shape)
    for image, places in enumerate(plan.assigned):
        for repetition, place in enumerate(places):
            unit = plan.units[place]
            weight = unit.weight / times[place]
            onto, of = _moved(shape, unit.shift)
            maps[image][onto] += weight * gradients[image, repetition][of] / masses[image, repetition]
            coverage[onto] += weight
    maps *= len(maps) / np.where(coverage > 0, coverage, 1.0)
    mass = float(np.abs(maps).sum() / len(maps))
    return (maps / mass).astype(np.float32)


def _moved(shape: tuple[int, ...], shift: tuple[int, int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return where a map that is moved lands inside the image, and which part of it does."""
    onto = tuple(slice(max(move, 0), side + min(move, 0)) for side, move in zip(shape, shift, strict=True))
    of = tuple(slice(max(-move, 0), side + min(-move, 0)) for side, move in zip(shape, shift, strict=True))
    return onto, of


def _field(
    subject: Subject,
    protocol: Protocol,
    drawn: Images,
    plan: _Plan,
    maps: NDArray[np.float32],
    resolution: tuple[int, int],
) -> Field:
    support = plan.theory.support
    if support is not None and len(plan.units) == 1:
        mass = np.abs(maps).mean(axis=0, dtype=np.float64)
        if mass[~support].sum() > _OFF_SUPPORT * mass.sum():
            support = None  # the network does something that the theoretical field does not follow
    windowed = len(plan.units) > 1 and plan.seen.window is not None
    setting = Setting(
        model=subject.label,
        stage=plan.stage,
        layer=plan.seen.layer,
        resolution=resolution,
        centre=plan.centre,
        method=protocol.method,
        contribution=_contribution(protocol),
        images=len(drawn.pixels),
        image_kind=drawn.kind,
        skipped=drawn.skipped,
        weights=subject.weights_kind,
        seeds=protocol.seeds,
        seed=protocol.seed,
        units=len(plan.units),
        rectified=plan.rectified,
        window_pixels=plan.seen.window if windowed else None,
        layout=plan.seen.layout.name,
        map_size=plan.seen.layout.size,
        theoretical=plan.theory.sides if support is not None else None,
        theoretical_reaches_border=plan.theory.reaches_border,
    )
    return Field(setting, maps, support)


def _images(subject: Subject, protocol: Protocol, resolution: tuple[int, int]) -> Images:
    """Return the images in an order that depends on what they show alone, so that the order given does not matter."""
    normalisation = (resolution, subject.mean, subject.std, protocol.seed)
    if protocol.images is None:
        drawn = pictures.synthetic(protocol.samples, *normalisation)
    else:
        drawn = pictures.from_folder(protocol.images, protocol.samples, *normalisation)
    order = sorted(range(len(drawn.pixels)), key=lambda index: zlib.crc32(drawn.pixels[index].tobytes()))
    return Images(drawn.pixels[order], drawn.kind, drawn.skipped)


def _made(subject: Subject, seed: int, device: torch.device) -> nn.Module:
    """Return the network on a device; a module that was given is copied if it is on another."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = subject.make()
    model = getattr(model, "_orig_mod", model)
    if isinstance(subject, _Given) and any(p.device != device for p in model.parameters()):
        model = copy.deepcopy(model)
    return model.to(device)


def _from(before: int, total: int, progress: Callable[[int, int], None] | None) -> Callable[[int], None] | None:
    """Return what is told the images done of one initialisation, and tells those of all."""
    return None if progress is None else lambda done: progress(before + done, total)


def _contribution(protocol: Protocol) -> str:
    return "relu" if protocol.method == "replknet" else protocol.contribution


def _example(model: nn.Module) -> str:
    names: Sequence[str] = [name for name, _ in model.named_children()]
    return names[-2] if len(names) > 1 else (names or ["features"])[0]
