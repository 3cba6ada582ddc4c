"""The spatial operators of any network: which they are, what maps they take and give, and which had better stay."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from scsc_lab.architectures.specs import SpatialOperator, TransplantSpec
from scsc_lab.errors import InputError, last_line
from scsc_lab.layers.window_attention import WindowAttention

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

_TOKEN_MIXERS = ("Pooling",)
"""Token mixers (timm's) without weights: they stay, and are listed."""

_STAYING_PLACES = {
    "fuse_layers": "it fuses maps of several resolutions",
    "aggreg": "it aggregates queries, keys and values",
    "shortcut": "it is a shortcut",
    "skip": "it is a shortcut",
}
"""Parts of a name that say what an operator is for (timm's HRNet, EfficientViT, GhostNet), and why it stays."""

_SMALL_SHARE = 0.25


class Maps(NamedTuple):
    """The maps that an operator was seen to take and give, ``(N, C, H, W)``."""

    given: torch.Size
    out: torch.Size


@dataclass(frozen=True)
class Candidate:
    """One spatial operator, and why it stays, if it does.

    Attributes:
        name: its qualified name; the first, if it has several.
        kind: what it is.
        module: the operator.
        was: what it is, in words.
        maps: the maps of its first call; ``None`` if it was never called with maps.
        calls: the shapes of the maps that it was given, one a call.
        stays: why it stays; empty if it does not.
    """

    name: str
    kind: SpatialOperator
    module: nn.Module
    was: str
    maps: Maps | None
    calls: tuple[torch.Size, ...] = ()
    stays: str = ""

    @property
    def stride(self) -> int:
        """Its stride; 1 for attention."""
        return self.module.stride[0] if isinstance(self.module, nn.Conv2d) else 1


class _Operator(NamedTuple):
    """An operator, and the module whose maps are its own, with its channels last or not."""

    name: str
    kind: SpatialOperator
    watched: nn.Module
    channels_last: bool


class _Seen(NamedTuple):
    maps: Maps
    source: Tensor  # kept, so that its identity stays its own
    calls: list[torch.Size]


def find(model: nn.Module, x: Tensor, rules: TransplantSpec) -> tuple[list[Candidate], torch.Size]:
    """Return the operators that the rules ask for, with the maps one forward pass shows, and the output's shape.

    What a pattern of ``rules.names`` does not name is left alone where it is a part of the stem, a shortcut, one of
    several branches of one layer, or where its name says that it is not there to mix.

    Raises:
        InputError: if the network fails on this input.
    """
    operators = [operator for operator in _operators(model) if operator.kind in rules.replace]
    seen: dict[str, _Seen] = {}
    out = watch(
        model, x, {operator.watched: _record(seen, operator.name, operator.channels_last) for operator in operators}
    )
    stem = _stem([operator.name for operator in operators], seen, x)
    branches = _branches(seen)
    found = []
    for name, kind, watched, _ in operators:
        maps = seen[name].maps if name in seen else None
        if rules.names and not any(fnmatch.fnmatchcase(name, pattern) for pattern in rules.names):
            continue
        if rules.stages and not (maps and stage(maps.out, x.shape) in rules.stages):
            continue
        module = model.get_submodule(name)
        why = _cannot(module, maps, x.shape) or ("" if getattr(watched, "partition_block", True) else _GRID)
        if not why and not rules.names:
            why = _had_better_not(name, stem, branches)
        calls = tuple(seen[name].calls) if name in seen else ()
        found.append(Candidate(name, kind, module, _in_words(module, kind), maps, calls, why))
    return found, shape_of(out)


def watch(model: nn.Module, x: Tensor, hooks: dict[nn.Module, Callable[..., Any]]) -> Any:
    """Return the output of a forward pass without gradients, with a forward hook on some of the modules.

    Raises:
        InputError: if the network fails on this input.
    """
    handles = [module.register_forward_hook(hook) for module, hook in hooks.items()]
    try:
        with torch.no_grad():
            return model(x)
    except Exception as error:  # whatever the network's own code raises
        size = "×".join(map(str, x.shape))
        raise InputError(f"the network fails on an input of {size}: {last_line(error)}") from error
    finally:
        for handle in handles:
            handle.remove()


def stage(map_shape: torch.Size, image: torch.Size) -> int:
    """Return the stage of a map by its stride: 1 for 4, 2 for 8, 3 for 16, 4 for 32; a finer map is stage 1."""
    return max(round(math.log2(image[2] / map_shape[2])) - 1, 1)


def shape_of(out: Any) -> torch.Size:
    """Return the shape of a network's output, or of the first of several."""
    while isinstance(out, (list, tuple)) and out:
        out = out[0]
    return out.shape if isinstance(out, Tensor) else torch.Size()


def channels_first(x: Tensor, channels_last: bool) -> Tensor:
    """Return a map as ``(N, C, H, W)``."""
    return x.permute(0, 3, 1, 2) if channels_last else x


def _operators(model: nn.Module) -> list[_Operator]:
    found: list[_Operator] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) >= _LEAST:
            depthwise = module.groups == module.in_channels == module.out_channels > 1
            found.append(_Operator(name, "depthwise" if depthwise else "conv3x3", module, False))
        elif isinstance(module, WindowAttention) or type(module).__name__ in _MAP_ATTENTION:
            found.append(_Operator(name, "attention", module, True))
        elif type(module).__name__ in HOSTS and isinstance(getattr(module, "attn", None), nn.Module):
            found.append(_Operator(f"{name}.attn", "attention", module, HOSTS[type(module).__name__][1]))
        elif type(module).__name__ in _TOKEN_MIXERS:
            found.append(_Operator(name, "depthwise", module, False))
    return found


_LEAST = 3
_GRID = "grid attention is not local"


def _record(seen: dict[str, _Seen], name: str, channels_last: bool) -> Callable[..., Any]:
    def record(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        given = args[0] if args else None
        if isinstance(given, Tensor) and isinstance(out, Tensor) and given.dim() == out.dim() == 4:
            maps = Maps(channels_first(given, channels_last).shape, channels_first(out, channels_last).shape)
            seen.setdefault(name, _Seen(maps, given, [])).calls.append(maps.given)

    return record


def _in_words(module: nn.Module, kind: SpatialOperator) -> str:
    if isinstance(module, nn.Conv2d):
        size = "×".join(map(str, module.kernel_size))
        stride = f" stride {module.stride[0]}" if module.stride != (1, 1) else ""
        grouped = f" in {module.groups} groups" if kind == "conv3x3" and module.groups > 1 else ""
        return f"{kind if kind == 'depthwise' else 'conv'} {size}{stride}{grouped}"
    return type(module).__name__


def _cannot(module: nn.Module, maps: Maps | None, image: torch.Size) -> str:
    """Return why a mixer could not keep the shape, stride and dilation of an operator; nothing if it could."""
    if type(module).__name__ in _TOKEN_MIXERS:
        return "a token mixer without weights"
    if maps is None:
        return "the forward pass never gave it a map"
    stride = 1
    if isinstance(module, nn.Conv2d):
        stride = module.stride[0]
        if module.kernel_size[0] != module.kernel_size[1] or module.stride[0] != module.stride[1]:
            return "not square"
        if stride not in (1, 2):
            return f"stride {stride}"
        if module.dilation != (1, 1):
            return f"dilation {max(module.dilation)}"
        if maps.given[1] == image[1] and maps.given[2:] == image[2:]:
            return "its input is the image"
    if tuple(maps.out[2:]) != tuple(math.ceil(side / stride) for side in maps.given[2:]):
        return f"its padding gives {maps.out[2]}×{maps.out[3]} from {maps.given[2]}×{maps.given[3]}"
    return ""


def _had_better_not(name: str, stem: str | None, branches: set[str]) -> str:
    """Return why an operator stays unless it is named; nothing if it does not."""
    *holders, _ = name.split(".")
    if stem is not None and (name.startswith(f"{stem}.") or (not stem and not holders)):
        return "it is a part of the stem"
    if name in branches:
        return "one of several branches of one layer"
    return next((why for part, why in _STAYING_PLACES.items() if part in holders), "")


def _stem(names: list[str], seen: dict[str, _Seen], x: Tensor) -> str | None:
    """Return the part of the network that holds the stem: ``stem``, ``conv1``; ``""`` is the network itself.

    It is the largest part around the convolution that takes the image which has a small share of all operators.
    """
    first = next((name for name in names if name in seen and seen[name].maps.given[1:] == x.shape[1:]), None)
    if first is None:
        return None
    parts = first.split(".")
    for depth in range(1, len(parts)):
        part = ".".join(parts[:depth])
        if sum(name.startswith(f"{part}.") for name in names) <= _SMALL_SHARE * len(names):
            return part
    alone = sum("." not in name for name in names)
    return "" if len(parts) == 1 and alone <= _SMALL_SHARE * len(names) else None


def _branches(seen: dict[str, _Seen]) -> set[str]:
    """Return the operators that see the same map as another one of the same layer and give maps of the same shape.

    The layer is the module that holds their lists or wrappers: ``conv_kxk.0.conv`` and ``conv_kxk.1.conv``,
    ``large_conv.conv`` and ``small_conv.conv``.
    """
    found: dict[tuple[str, int, torch.Size], list[str]] = {}
    for name, one in seen.items():
        parts = name.split(".")
        for holders in {len(parts) - 1, max(len(parts) - 2, 0)}:
            found.setdefault((".".join(parts[:holders]), id(one.source), one.maps.out), []).append(name)
    return {name for names in found.values() if len(names) > 1 for name in names}
