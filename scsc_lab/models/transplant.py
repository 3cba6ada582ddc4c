"""SCSC in place of the spatial operators of any network, on a copy: shapes, strides and shortcuts stay."""

from __future__ import annotations

import copy
import fnmatch
import math
import types
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from scsc_lab.architectures.specs import SCSCSpec, SpatialOperator, TransplantSpec, scsc_of
from scsc_lab.errors import InputError
from scsc_lab.layers.scsc import SCSC
from scsc_lab.layers.window_attention import WindowAttention
from scsc_lab.models import construct

_MAP_ATTENTION = ("ShiftedWindowAttention", "ShiftedWindowAttentionV2")
"""Attention modules (torchvision's) that take and give whole maps, ``(N, H, W, C)``."""

_HOSTS = {
    "SwinTransformerBlock": ("_attn", True),
    "SwinTransformerV2Block": ("_attn", True),
    "SwinTransformerV2CrBlock": ("_shifted_window_attn", True),
    "PartitionAttentionCl": ("_partition_attn", True),
    "PartitionAttention2d": ("_partition_attn", False),
}
"""Blocks (timm's) that cut a map into windows for their ``attn``: the method that does, and if channels are last."""


@dataclass(frozen=True)
class Change:
    """What became of one spatial operator.

    Attributes:
        name: its qualified name.
        kind: what it is: ``depthwise``, ``conv3x3`` or ``attention``.
        was: what it was, in words.
        replaced: whether SCSC stands there now.
        reason: why not, if not; else the SCSC module in words.
    """

    name: str
    kind: SpatialOperator
    was: str
    replaced: bool
    reason: str


@dataclass(frozen=True)
class _Candidate:
    """One spatial operator, with the maps it was seen to take and give, ``(N, C, H, W)``."""

    name: str
    kind: SpatialOperator
    module: nn.Module
    was: str
    seen: tuple[torch.Size, torch.Size] | None
    local: bool = True


def transplant(
    model: nn.Module, rules: TransplantSpec | None = None, *, input_shape: Sequence[int] = (1, 3, 224, 224)
) -> tuple[nn.Module, list[Change]]:
    """Return a copy of a network with SCSC in place of its spatial operators, and what became of each of them.

    Nothing but the chosen modules changes. A module is left alone, with the reason, where SCSC could not keep its
    shape, stride, dilation and channels. New weights are random, from torch's global generator.

    Args:
        model: any network; it is not changed.
        rules: which operators, and with which SCSC module; the defaults fit most networks.
        input_shape: an input it takes, ``(N, C, H, W)``: one forward pass tells the maps' sizes.

    Raises:
        InputError: if no operator fits the rules, or the network does not take this input.
    """
    rules = rules or TransplantSpec()
    grafted = copy.deepcopy(model).eval()
    device = next((parameter.device for parameter in grafted.parameters()), torch.device("cpu"))
    x = torch.zeros(*input_shape, device=device)
    candidates, shape = _candidates(grafted, x, rules)
    decided = [(candidate, *_scsc_for(candidate, x.shape, rules)) for candidate in candidates]
    for candidate, scsc, _ in decided:
        if scsc is not None:
            _put(grafted, candidate, scsc, rules)
    if _failure(grafted, x, shape):
        grafted, decided = _one_by_one(copy.deepcopy(model).eval(), decided, x, shape, rules)
    changes = [Change(c.name, c.kind, c.was, scsc is not None, reason) for c, scsc, reason in decided]
    if not any(change.replaced for change in changes):
        why = f": {changes[0].name} stays: {changes[0].reason}" if changes else ""
        raise InputError(f"the transplant finds nothing to replace in {type(model).__name__}{why}")
    return grafted, changes


_Decision = tuple[_Candidate, SCSC | None, str]


def _one_by_one(
    grafted: nn.Module, decided: list[_Decision], x: Tensor, shape: torch.Size, rules: TransplantSpec
) -> tuple[nn.Module, list[_Decision]]:
    """Replace again, trying the network after each module, so that one it cannot do without stays."""
    kept: list[_Decision] = []
    for candidate, scsc, reason in decided:
        if scsc is not None:
            trial = copy.deepcopy(grafted)
            _put(trial, candidate, scsc, rules)
            failure = _failure(trial, x, shape)
            grafted, scsc, reason = (grafted, None, failure) if failure else (trial, scsc, reason)
        kept.append((candidate, scsc, reason))
    return grafted, kept


def _candidates(model: nn.Module, x: Tensor, rules: TransplantSpec) -> tuple[list[_Candidate], torch.Size]:
    """Return the operators that the rules ask for, with the maps one forward pass shows, and the output's shape."""
    found = [(name, kind, watched, last) for name, kind, watched, last in _operators(model) if kind in rules.replace]
    seen: dict[str, tuple[torch.Size, torch.Size]] = {}
    hooks = [watched.register_forward_hook(_recorder(seen, name, last)) for name, _, watched, last in found]
    try:
        with torch.no_grad():
            out = model(x)
    except Exception as error:  # whatever the network's own code raises
        size = "×".join(map(str, x.shape))
        raise InputError(f"the network fails on an input of {size}: {type(error).__name__}: {error}") from error
    finally:
        for hook in hooks:
            hook.remove()
    candidates = []
    for name, kind, watched, _ in found:
        if not rules.names or any(fnmatch.fnmatchcase(name, pattern) for pattern in rules.names):
            module, local = model.get_submodule(name), getattr(watched, "partition_block", True)
            candidates.append(_Candidate(name, kind, module, _in_words(module, kind), seen.get(name), local))
    wanted = [c for c in candidates if not rules.stages or (c.seen and _stage(c.seen[1], x.shape) in rules.stages)]
    return wanted, _shape(out)


def _operators(model: nn.Module) -> list[tuple[str, SpatialOperator, nn.Module, bool]]:
    """Return every spatial operator: name, kind, the module whose maps are its own, and whether channels are last."""
    found: list[tuple[str, SpatialOperator, nn.Module, bool]] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and min(module.kernel_size) >= 3:
            depthwise = module.groups == module.in_channels == module.out_channels > 1
            found.append((name, "depthwise" if depthwise else "conv3x3", module, False))
        elif isinstance(module, WindowAttention) or type(module).__name__ in _MAP_ATTENTION:
            found.append((name, "attention", module, True))
        elif type(module).__name__ in _HOSTS and isinstance(getattr(module, "attn", None), nn.Module):
            found.append((f"{name}.attn", "attention", module, _HOSTS[type(module).__name__][1]))
    return found


def _recorder(seen: dict[str, tuple[torch.Size, torch.Size]], name: str, channels_last: bool) -> Any:
    def record(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        given = args[0] if args else None
        if isinstance(given, Tensor) and isinstance(out, Tensor) and given.dim() == out.dim() == 4:
            maps = [x.permute(0, 3, 1, 2) if channels_last else x for x in (given, out)]
            seen.setdefault(name, (maps[0].shape, maps[1].shape))

    return record


def _in_words(module: nn.Module, kind: SpatialOperator) -> str:
    if isinstance(module, nn.Conv2d):
        size = "×".join(map(str, module.kernel_size))
        stride = f" stride {module.stride[0]}" if module.stride != (1, 1) else ""
        grouped = f" in {module.groups} groups" if kind == "conv3x3" and module.groups > 1 else ""
        return f"{kind if kind == 'depthwise' else 'conv'} {size}{stride}{grouped}"
    return type(module).__name__


def _scsc_for(candidate: _Candidate, image: torch.Size, rules: TransplantSpec) -> tuple[SCSC | None, str]:
    """Return the SCSC module for one operator, or ``None``, and it in words, or why there is none."""
    if candidate.seen is None:
        return None, "the forward pass never gave it a map"
    given, out = candidate.seen
    stride = 1
    if isinstance(candidate.module, nn.Conv2d):
        conv = candidate.module
        stride = conv.stride[0]
        if conv.kernel_size[0] != conv.kernel_size[1] or conv.stride[0] != conv.stride[1]:
            return None, "not square"
        if stride not in (1, 2):
            return None, f"stride {stride}"
        if conv.dilation != (1, 1):
            return None, f"dilation {conv.dilation[0]}"
        if given[1] == image[1] and given[2:] == image[2:]:
            return None, "its input is the image"
    elif not candidate.local:
        return None, "grid attention is not local"
    if tuple(out[2:]) != tuple(math.ceil(side / stride) for side in given[2:]):
        return None, f"its padding gives {out[2]}×{out[3]} from {given[2]}×{given[3]}"
    spec = scsc_of(rules.settings, _stage(out, image))
    scales = len(spec.kernels)
    if given[1] < scales:
        return None, f"{given[1]} channels for {scales} kernels"
    spec = replace(spec, groups=min(spec.groups, given[1] // scales))
    module = _like(spec, candidate.module, given[1], out[1], stride)
    return module, f"SCSC {','.join(map(str, spec.kernels))} groups {spec.groups}"


def _like(spec: SCSCSpec, old: nn.Module, in_channels: int, out_channels: int, stride: int) -> SCSC:
    """Return an SCSC module with random weights on the device and in the type of the module it stands in for."""
    reference = next(old.parameters())
    on_meta = reference.device.type == "meta"
    with torch.device(reference.device), construct.uninitialised():
        scsc = SCSC.from_spec(spec, in_channels, out_channels, stride)
    if not on_meta:
        construct.initialise(scsc)
    return scsc.to(reference.dtype).eval()


def _put(model: nn.Module, candidate: _Candidate, scsc: SCSC, rules: TransplantSpec) -> None:
    """Set an SCSC module in the place of an operator."""
    assert candidate.seen is not None
    holder, _, name = candidate.name.rpartition(".")
    parent = model.get_submodule(holder)
    method, channels_last = _HOSTS.get(type(parent).__name__, ("", candidate.kind == "attention"))
    shortcut = rules.shortcut and candidate.seen[0] == candidate.seen[1]
    plain = candidate.kind != "attention" and not shortcut
    setattr(parent, name, scsc if plain else MapSCSC(scsc, channels_last=channels_last, shortcut=shortcut))
    if method and candidate.kind == "attention":
        setattr(parent, method, types.MethodType(_whole_map, parent))


def _whole_map(host: Any, x: Tensor) -> Any:
    """Stand in for a method that cuts a map into windows: SCSC takes the map as it is."""
    return host.attn(x)


class MapSCSC(nn.Module):
    """An SCSC module on maps with their channels last, or with an identity shortcut around it."""

    def __init__(self, scsc: SCSC, *, channels_last: bool, shortcut: bool) -> None:
        super().__init__()
        self.scsc = scsc
        self.channels_last = channels_last
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return the output map, channels where they were."""
        maps = x.permute(0, 3, 1, 2) if self.channels_last else x
        y: Tensor = self.scsc(maps)
        y = maps + y if self.shortcut else y
        return y.permute(0, 2, 3, 1) if self.channels_last else y


def _failure(model: nn.Module, x: Tensor, shape: torch.Size) -> str:
    """Return why a network no longer gives an output of the same shape, in one line; nothing if it does."""
    try:
        with torch.no_grad():
            out = model(x)
    except Exception as error:  # the network's own code, which may look into the module that is gone
        return f"the network cannot do without it ({type(error).__name__}: {str(error).splitlines()[0]})"
    return "" if _shape(out) == shape else "the network's output changes its shape"


def _shape(out: Any) -> torch.Size:
    while isinstance(out, (list, tuple)) and out:
        out = out[0]
    return out.shape if isinstance(out, Tensor) else torch.Size()


def _stage(map_shape: torch.Size, image: torch.Size) -> int:
    """Return the stage of a map by its stride: 1 for 4, 2 for 8, 3 for 16, 4 for 32; a finer map is stage 1."""
    return max(round(math.log2(image[2] / map_shape[2])) - 1, 1)
