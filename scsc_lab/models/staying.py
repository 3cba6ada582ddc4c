"""Reasons why an operator stays: a mixer could not replace it, or it does not mix."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from scsc_lab.models import reparametrised
from scsc_lab.models.operators import TOKEN_MIXERS, Operator

_STAYING_PLACES = {
    "fuse_layers": "it fuses maps of several resolutions",
    "aggreg": "it aggregates queries, keys and values",
    "shortcut": "it is a shortcut",
    "skip": "it is a shortcut",
}
"""Parts of a name that say what an operator is for (timm's HRNet, EfficientViT, GhostNet), and why it stays."""

_SMALL_SHARE = 0.25
_IMAGE_CHANNELS = 4


class Maps(NamedTuple):
    """The maps that an operator was seen to take and give, ``(N, C, H, W)``."""

    input: torch.Size
    output: torch.Size


class Record(NamedTuple):
    """Observation of an operator in a pass: first maps, first input, its layout, and the inputs of all calls."""

    maps: Maps
    source: Tensor  # held, so that no other tensor gets its identity
    channels_last: bool
    calls: list[torch.Size]


def cannot(module: nn.Module, maps: Maps | None) -> str:
    """Return why a mixer could not keep the shape, stride and dilation of an operator; empty if it could."""
    if maps is None:
        return "the forward pass never gave it a map"
    stride = stride_of(module, maps)
    if isinstance(module, nn.Conv2d):
        if module.kernel_size[0] != module.kernel_size[1] or module.stride[0] != module.stride[1]:
            return "not square"
        if stride not in (1, 2):
            return f"stride {stride}"
        if module.dilation != (1, 1):
            return f"dilation {max(module.dilation)}"
    if tuple(maps.output[2:]) != tuple(math.ceil(side / stride) for side in maps.input[2:]):
        cause = "its padding" if isinstance(module, nn.Conv2d) else "it"
        return f"{cause} gives {maps.output[2]}×{maps.output[3]} from {maps.input[2]}×{maps.input[3]}"
    return ""


def stride_of(module: nn.Module, maps: Maps | None) -> int:
    """Return the stride of a convolution, or the one that the maps of a module show: 1 or 2."""
    if isinstance(module, nn.Conv2d):
        return module.stride[0]
    halved = maps and [math.ceil(side / 2) for side in maps.input[2:]] == [*maps.output[2:]] != [*maps.input[2:]]
    return 2 if halved else 1


def does_not_mix(name: str, watched: nn.Module, stem: str | None, branches: set[str]) -> str:
    """Return why an operator stays unless it is named; empty if it does not."""
    *holders, _ = name.split(".")
    if not getattr(watched, "partition_block", True):
        return "grid attention is not local"
    if type(watched).__name__ in TOKEN_MIXERS:
        return "a token mixer without weights"
    if stem is not None and (name.startswith(f"{stem}.") or (not stem and not holders)):
        return "it is a part of the stem"
    if name in branches:
        return "one of several branches of one layer"
    return next((why for part, why in _STAYING_PLACES.items() if part in holders), "")


def ties_of(model: nn.Module) -> dict[nn.Module, str]:
    """Return why modules stay that have a parameter in common with another module: the tie would be lost."""
    owners: dict[int, dict[nn.Module, str]] = {}
    for name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), {})[module] = name
    return {
        module: f"its weight is tied to {next(name for owner, name in tied.items() if owner is not module)}"
        for tied in owners.values()
        for module in tied
        if len(tied) > 1
    }


def stems_of(chosen: list[Operator], records: dict[str, Record], inputs: list[Tensor]) -> list[str]:
    """Return the convolutions that make features of the image; none if the network is given features.

    They take the network's input, or what becomes of it before the first layer with weights, and give more channels. An
    input of more than four channels is an image if a convolution that is one among many more than doubles them.

    Args:
        chosen: the operators that the rules choose.
        records: their maps, by name.
        inputs: the network's input, and the input of its first layer with weights.
    """
    channels, among_many = inputs[0].shape[1], _SMALL_SHARE * len(chosen) >= 1
    least = channels if channels <= _IMAGE_CHANNELS else 2 * channels if among_many else math.inf
    return [
        name
        for name, kind, *_ in chosen
        if name in records and kind != "attention" and records[name].maps.output[1] > least
        if any(records[name].source is image for image in inputs)
    ]


def stem_of(stems: list[str], names: list[str]) -> str | None:
    """Return the part of the network that holds the stem: ``stem``, ``conv1``; ``""`` is the network itself.

    It is the largest part around the first convolution that takes the image which has a small share of all operators.
    """
    if not stems:
        return None
    parts = stems[0].split(".")
    for depth in range(1, len(parts)):
        part = ".".join(parts[:depth])
        if sum(name.startswith(f"{part}.") for name in names) <= _SMALL_SHARE * len(names):
            return part
    alone = sum("." not in name for name in names)
    return "" if len(parts) == 1 and alone <= _SMALL_SHARE * len(names) else None


def branches_of(model: nn.Module, records: dict[str, Record]) -> set[str]:
    """Return the operators that are branches of one reparametrised block: they see one map and give maps of one shape.

    The block is the module that holds their lists or wrappers: ``conv_kxk.0.conv`` and ``conv_kxk.1.conv``,
    ``large_conv.conv`` and ``small_conv.conv``.
    """
    groups: dict[tuple[str, int, torch.Size], list[str]] = {}
    for name, first in records.items():
        parts = name.split(".")
        for depth in {len(parts) - 1, max(len(parts) - 2, 0)}:
            groups.setdefault((".".join(parts[:depth]), id(first.source), first.maps.output), []).append(name)
    groups_of_several = ((holder, names) for (holder, *_), names in groups.items() if len(names) > 1)
    return {
        name for holder, names in groups_of_several if reparametrised.holds_branches(model, holder) for name in names
    }
