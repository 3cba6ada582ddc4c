"""Effective receptive fields of networks: which stages, which images and how many initialisations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import nn

from scsc_lab.analysis.field import Field
from scsc_lab.analysis.protocol import Protocol
from scsc_lab.errors import InputError, nearest
from scsc_lab.execution import device as devices
from scsc_lab.models.stages import stage_maps, stride_maps
from scsc_lab.models.subject import Subject
from scsc_lab.receptive_field import images as pictures
from scsc_lab.receptive_field import measure as mechanism
from scsc_lab.receptive_field.measure import Whose

__all__ = ["Field", "Protocol", "chosen", "measure"]

USUAL_SEEDS = 3
"""Initialisations that are averaged over where the weights are random, if nobody says otherwise."""


def measure(subject: Subject, protocol: Protocol, progress: Callable[[int, int], None] | None = None) -> list[Field]:
    """Return the effective receptive field of each feature map that the protocol names, of one network.

    Args:
        subject: the network.
        protocol: how to measure.
        progress: told the number of images done and to do.

    Raises:
        InputError: if a stage or layer does not exist or is no map, there are no images, or the input is too small.
    """
    mechanism.check(protocol)
    if (protocol.seeds or 1) > 1 and not subject.random:
        raise InputError(f"--seeds averages over random weights; {subject.label} has weights of its own")
    resolution = protocol.resolution or subject.resolution
    subject.check_resolution(resolution)
    device = devices.find(protocol.device)
    shape = (subject.channels, *resolution)
    drawn = pictures.drawn(protocol.images, protocol.samples, resolution, subject.mean, subject.std, protocol.seed)
    seeds = protocol.seeds or (USUAL_SEEDS if subject.random else 1)
    return mechanism.measure(
        lambda seed: _made(subject, seed, device),
        lambda model: chosen(model, protocol, subject.label, shape),
        drawn,
        protocol,
        Whose(subject.label, subject.weights_kind, seeds),
        device,
        progress,
    )


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


def _made(subject: Subject, seed: int, device: torch.device) -> nn.Module:
    """Return the network on a device; a module that was given is copied if it is on another."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = subject.make()
    model = getattr(model, "_orig_mod", model)
    if isinstance(subject, _Given) and any(p.device != device for p in model.parameters()):
        model = copy.deepcopy(model)
    return model.to(device)


def _example(model: nn.Module) -> str:
    names: Sequence[str] = [name for name, _ in model.named_children()]
    return names[-2] if len(names) > 1 else (names or ["features"])[0]
