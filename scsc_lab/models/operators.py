"""The modules that a mixer may replace: spatial operators, or modules of some classes."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from torch import nn

from scsc_lab.layers.window_attention import WindowAttention
from scsc_lab.models import folders
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
