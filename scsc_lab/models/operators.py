"""The modules that a mixer may replace, and reasons why one of them stays."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from scsc_lab.layers.window_attention import WindowAttention
from scsc_lab.models import folders, fusible
from scsc_lab.networks.mixers import SpatialOperator

Kind: TypeAlias = SpatialOperator | Literal["module"]
"""Kind of a replaced module: an operator, or a module of a class that the rules name."""

_MAP_ATTENTION = ("ShiftedWindowAttention", "ShiftedWindowAttentionV2")
"""Attention modules (torchvision's) that take and give whole maps, ``(N, H, W, C)``."""

HOSTS = {
    "SwinTransformerBlock": ("_attn", True),
    "SwinTransformerV2Block": ("_attn", True),
    "SwinTransformerV2CrBlock": ("_shifted_window_attn", True),
    "PartitionAttentionCl": ("_partition_attn", True),
    "PartitionAttention2d": ("_partition_attn", False),
}
"""Blocks (timm's) that cut a map into windows for their ``attn``: the method that does, and if channels are last."""

TOKEN_MIXERS = ("Pooling",)
"""Token mixers (timm's) without weights: they stay, and are listed."""

_LEAST_SIDE = 3


class Operator(NamedTuple):
    """An operator, and the module whose maps are its own, with its channels last or not."""

    name: str
    kind: Kind
    watched: nn.Module
    channels_last: bool


def modules(model: nn.Module, patterns: Sequence[str]) -> list[Operator]:
    """Return the outermost modules whose class has a name that a pattern matches."""
    matched: list[Operator] = []
    for name, module in model.named_modules():
        kind = type(module)
        called = (kind.__name__, kind.__qualname__, f"{folders.plain_name(kind.__module__)}.{kind.__qualname__}")
        inside = not name or any(name.startswith(f"{outer.name}.") for outer in matched)
        if not inside and any(
            fnmatch.fnmatchcase(class_name, pattern) for class_name in called for pattern in patterns
        ):
            matched.append(Operator(name, "module", module, False))
    return matched


def is_torchs(module: nn.Module) -> bool:
    """Return whether a module is of a class of torch's own."""
    return type(module).__module__.startswith("torch.")


def operators(model: nn.Module) -> list[Operator]:
    """Return the spatial operators of a network, in its order."""
    operators: list[Operator] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) >= _LEAST_SIDE:
            depthwise = module.groups == module.in_channels == module.out_channels > 1
            operators.append(Operator(name, "depthwise" if depthwise else "conv3x3", module, False))
        elif isinstance(module, WindowAttention) or type(module).__name__ in _MAP_ATTENTION:
            operators.append(Operator(name, "attention", module, True))
        elif type(module).__name__ in HOSTS and isinstance(getattr(module, "attn", None), nn.Module):
            operators.append(Operator(f"{name}.attn", "attention", module, HOSTS[type(module).__name__][1]))
        elif type(module).__name__ in TOKEN_MIXERS:
            operators.append(Operator(name, "depthwise", module, False))
    return operators


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
    return {name for holder, names in groups_of_several if fusible.holds_branches(model, holder) for name in names}
