"""The spatial operators of any network: which they are, what maps they take and give, and why some of them stay."""

from __future__ import annotations

import fnmatch
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from scsc_lab.errors import InputError, located_by_user
from scsc_lab.execution import layout
from scsc_lab.models import hooks, operators, reparametrised
from scsc_lab.models.operators import TOKEN_MIXERS, Kind, Operator
from scsc_lab.networks.specs import TransplantSpec

_STAYING_PLACES = {
    "fuse_layers": "it fuses maps of several resolutions",
    "aggreg": "it aggregates queries, keys and values",
    "shortcut": "it is a shortcut",
    "skip": "it is a shortcut",
}
"""Parts of a name that say what an operator is for (timm's HRNet, EfficientViT, GhostNet), and why it stays."""

_SMALL_SHARE = 0.25
_IMAGE_CHANNELS = 4

Hook: TypeAlias = Callable[..., Any]
"""A forward hook: called with the module, its positional arguments and its output."""


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
        calls: the shapes of the maps that it was given, one per call.
        stays: why it stays; empty if it does not.
        like: a tensor of the type and on the device of its weights, or of its maps if it has none.
        channels_last: whether its maps are ``(N, H, W, C)``.
        unless_named: whether it stays only until a pattern names it.
    """

    name: str
    kind: Kind
    module: nn.Module
    was: str
    maps: Maps | None
    calls: tuple[torch.Size, ...] = ()
    stays: str = ""
    like: Tensor = field(default_factory=lambda: torch.zeros(()), repr=False, compare=False)
    channels_last: bool = False
    unless_named: bool = False

    @property
    def stride(self) -> int:
        """Its stride; 1 for attention."""
        return _stride(self.module, self.maps)


class _Seen(NamedTuple):
    maps: Maps
    source: Tensor  # held, so that no other tensor gets its identity
    channels_last: bool
    calls: list[torch.Size]


def find(model: nn.Module, x: Tensor, rules: TransplantSpec) -> tuple[list[Candidate], torch.Size]:
    """Return the operators that the rules select, with the maps of one forward pass, and the output's shape.

    An operator that ``rules.names`` does not match stays where it takes the image, is a part of the stem, a shortcut or
    a branch of a reparametrised block, or where its name says that it does not mix. One that it matches stays only
    where a mixer cannot stand in for it.

    Raises:
        InputError: if the network fails on this input.
    """
    chosen = operators.modules(model, rules.modules)
    if not rules.modules:
        chosen = [operator for operator in operators.operators(model) if operator.kind in rules.replace]
    seen: dict[str, _Seen] = {}
    first_inputs: list[Tensor] = []
    weighted = [(module, _record_first(first_inputs)) for module in model.modules() if _has_weights(module)]
    recorders = [(operator.watched, _record(seen, operator, x.shape)) for operator in chosen]
    out = watch(model, x, [*weighted, *recorders])
    stems = _stems(chosen, seen, [x, *first_inputs])
    stem = _stem(stems, [operator.name for operator in chosen])
    branches = _branches(model, seen)
    candidates = []
    for name, kind, watched, _ in chosen:
        maps = seen[name].maps if name in seen else None
        if rules.names and not any(fnmatch.fnmatchcase(name, pattern) for pattern in rules.names):
            continue
        if rules.stages and not (maps and stage(maps.out, x.shape) in rules.stages):
            continue
        module = model.get_submodule(name)
        why = _cannot(module, maps) or hooks.lost(module, takes_windows=watched is not module)
        unless_named = not why and not rules.names and not rules.modules
        if unless_named:
            why = "its input is the image" if name in stems else _does_not_mix(name, watched, stem, branches)
        calls, given, last = (tuple(seen[name].calls), *seen[name][1:3]) if name in seen else ((), x, False)
        words = _in_words(module, kind)
        like = next(itertools.chain(module.parameters(), module.buffers(), [given]))
        candidates.append(
            Candidate(name, kind, module, words, maps, calls, why, like, last, unless_named and bool(why))
        )
    return candidates, shape_of(out)


def watch(model: nn.Module, x: Tensor, watchers: Iterable[tuple[nn.Module, Hook]]) -> Any:
    """Return the output of a forward pass without gradients, with forward hooks that run before all others.

    Raises:
        InputError: if the network fails on this input.
    """
    handles = [module.register_forward_hook(hook, prepend=True) for module, hook in watchers]
    try:
        with torch.no_grad():
            return model(x)
    except Exception as error:  # whatever the network's own code raises
        size = "×".join(map(str, x.shape))
        raise InputError(f"the network fails on an input of {size}: {located_by_user(error)}") from error
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


def _has_weights(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) or any(weight.dim() > 1 for weight in module.parameters(recurse=False))


def _record_first(inputs: list[Tensor]) -> Hook:
    """Return a hook that keeps the first input of all modules that it is on."""

    def record(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        if not inputs:
            inputs.extend(given for given in args[:1] if isinstance(given, Tensor))

    return record


def _record(seen: dict[str, _Seen], operator: Operator, image: torch.Size) -> Hook:
    def record(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        given = args[0] if args else None
        if isinstance(given, Tensor) and isinstance(out, Tensor) and given.dim() == out.dim() == 4:
            last = operator.channels_last
            if operator.kind == "module":
                readings = layout.readings(tuple(given.shape), (image[2], image[3]), None)
                last = [reading.name for reading in readings] == ["nhwc"]
            maps = Maps(channels_first(given, last).shape, channels_first(out, last).shape)
            seen.setdefault(operator.name, _Seen(maps, given, last, [])).calls.append(maps.given)

    return record


def _in_words(module: nn.Module, kind: Kind) -> str:
    if isinstance(module, nn.Conv2d):
        size = "×".join(map(str, module.kernel_size))
        stride = f" stride {module.stride[0]}" if module.stride != (1, 1) else ""
        grouped = f" in {module.groups} groups" if kind == "conv3x3" and module.groups > 1 else ""
        return f"{kind if kind == 'depthwise' else 'conv'} {size}{stride}{grouped}"
    return type(module).__name__


def _cannot(module: nn.Module, maps: Maps | None) -> str:
    """Return why a mixer could not keep the shape, stride and dilation of an operator; empty if it could."""
    if maps is None:
        return "the forward pass never gave it a map"
    stride = _stride(module, maps)
    if isinstance(module, nn.Conv2d):
        if module.kernel_size[0] != module.kernel_size[1] or module.stride[0] != module.stride[1]:
            return "not square"
        if stride not in (1, 2):
            return f"stride {stride}"
        if module.dilation != (1, 1):
            return f"dilation {max(module.dilation)}"
    if tuple(maps.out[2:]) != tuple(math.ceil(side / stride) for side in maps.given[2:]):
        what = "its padding" if isinstance(module, nn.Conv2d) else "it"
        return f"{what} gives {maps.out[2]}×{maps.out[3]} from {maps.given[2]}×{maps.given[3]}"
    return ""


def _stride(module: nn.Module, maps: Maps | None) -> int:
    """Return the stride of a convolution, or the one that the maps of a module show: 1 or 2."""
    if isinstance(module, nn.Conv2d):
        return module.stride[0]
    halved = maps and [math.ceil(side / 2) for side in maps.given[2:]] == [*maps.out[2:]] != [*maps.given[2:]]
    return 2 if halved else 1


def _does_not_mix(name: str, watched: nn.Module, stem: str | None, branches: set[str]) -> str:
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


def _stems(chosen: list[Operator], seen: dict[str, _Seen], inputs: list[Tensor]) -> list[str]:
    """Return the convolutions that make features of the image; none if the network is given features.

    They take the network's input, or what becomes of it before the first layer with weights, and give more channels. An
    input of more than four channels is an image if a convolution that is one among many more than doubles them.

    Args:
        chosen: the operators that the rules choose.
        seen: their maps, by name.
        inputs: the network's input, and the input of its first layer with weights.
    """
    channels, among_many = inputs[0].shape[1], _SMALL_SHARE * len(chosen) >= 1
    least = channels if channels <= _IMAGE_CHANNELS else 2 * channels if among_many else math.inf
    return [
        name
        for name, kind, *_ in chosen
        if name in seen and kind != "attention" and seen[name].maps.out[1] > least
        if any(seen[name].source is image for image in inputs)
    ]


def _stem(stems: list[str], names: list[str]) -> str | None:
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


def _branches(model: nn.Module, seen: dict[str, _Seen]) -> set[str]:
    """Return the operators that are branches of one reparametrised block: they see one map and give maps of one shape.

    The block is the module that holds their lists or wrappers: ``conv_kxk.0.conv`` and ``conv_kxk.1.conv``,
    ``large_conv.conv`` and ``small_conv.conv``.
    """
    groups: dict[tuple[str, int, torch.Size], list[str]] = {}
    for name, first in seen.items():
        parts = name.split(".")
        for depth in {len(parts) - 1, max(len(parts) - 2, 0)}:
            groups.setdefault((".".join(parts[:depth]), id(first.source), first.maps.out), []).append(name)
    several = ((holder, names) for (holder, *_), names in groups.items() if len(names) > 1)
    return {name for holder, names in several if reparametrised.holds_branches(model, holder) for name in names}
