"""The spatial operators of any network: which they are, what maps they take and give, and why some of them stay."""

from __future__ import annotations

import fnmatch
import functools
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from scsc_lab.errors import InputError, located_by_user
from scsc_lab.execution import layout
from scsc_lab.models import declared, operators
from scsc_lab.models.operators import Kind, Maps, Operator, Record
from scsc_lab.networks.mixers import TransplantSpec

Hook: TypeAlias = Callable[..., Any]
"""A forward hook: called with the module, its positional arguments and its output."""


@dataclass(frozen=True)
class Candidate:
    """One spatial operator, and why it stays, if it does.

    Attributes:
        name: its qualified name; the first, if it has several.
        kind: kind of operator.
        module: the operator.
        was: description of the operator.
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
        return operators.stride_of(self.module, self.maps)


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
    records: dict[str, Record] = {}
    first_inputs: list[Tensor] = []
    weighted = [(module, _record_first(first_inputs)) for module in model.modules() if _has_weights(module)]
    recorders = [(operator.watched, _record(records, operator, x.shape)) for operator in chosen]
    out = watch(model, x, [*weighted, *recorders])
    stems = operators.stems_of(chosen, records, [x, *first_inputs])
    stem = operators.stem_of(stems, [operator.name for operator in chosen])
    branches, ties = operators.branches_of(model, records), operators.ties_of(model)
    candidates = []
    for name, kind, watched, _ in chosen:
        maps = records[name].maps if name in records else None
        if rules.names and not any(fnmatch.fnmatchcase(name, pattern) for pattern in rules.names):
            continue
        if rules.stages and not (maps and stage(maps.output, x.shape) in rules.stages):
            continue
        module = model.get_submodule(name)
        why = operators.cannot(module, maps) or declared.lost(module, takes_windows=watched is not module)
        unless_named = not why and not rules.names and not rules.modules
        if unless_named:
            why = "its input is the image" if name in stems else operators.does_not_mix(name, watched, stem, branches)
            why = why or ties.get(module, "")
        calls, first_input, last = (
            (tuple(records[name].calls), *records[name][1:3]) if name in records else ((), x, False)
        )
        description = _in_words(module, kind)
        like = next(itertools.chain(module.parameters(), module.buffers(), [first_input]))
        candidates.append(
            Candidate(name, kind, module, description, maps, calls, why, like, last, unless_named and bool(why))
        )
    return candidates, shape_of(out)


def watch(model: nn.Module, x: Tensor, watchers: Iterable[tuple[nn.Module, Hook]]) -> Any:
    """Return the output of a forward pass without gradients, with forward hooks that run before all others.

    Raises:
        InputError: if the network fails on this input.
    """
    handles = [
        module.register_forward_hook(functools.partial(_with_all_arguments, hook), prepend=True, with_kwargs=True)
        for module, hook in watchers
    ]
    try:
        with torch.no_grad():
            return model(x)
    except Exception as error:  # whatever the network's own code raises
        size = "×".join(map(str, x.shape))
        raise InputError(f"the network fails on an input of {size}: {located_by_user(error)}") from error
    finally:
        for handle in handles:
            handle.remove()


def _with_all_arguments(hook: Hook, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
    return hook(module, (*args, *kwargs.values()), out)


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
    """Return whether a module that takes hooks, and no TorchScript, is a convolution or has weights of its own."""
    is_layer = isinstance(module, nn.Conv2d) or any(weight.dim() > 1 for weight in module.parameters(recurse=False))
    return is_layer and not isinstance(module, torch.jit.ScriptModule)


def _record_first(inputs: list[Tensor]) -> Hook:
    """Return a hook that keeps the first input of all modules that it is on."""

    def record(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        if not inputs:
            inputs.extend(first for first in args[:1] if isinstance(first, Tensor))

    return record


def _record(records: dict[str, Record], operator: Operator, image: torch.Size) -> Hook:
    def record(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        first = args[0] if args else None
        if isinstance(first, Tensor) and isinstance(out, Tensor) and first.dim() == out.dim() == 4:
            last = operator.channels_last
            if operator.kind == "module":
                readings = layout.readings(tuple(first.shape), (image[2], image[3]), None)
                last = [reading.name for reading in readings] == ["nhwc"]
            maps = Maps(channels_first(first, last).shape, channels_first(out, last).shape)
            records.setdefault(operator.name, Record(maps, first, last, [])).calls.append(maps.input)

    return record


def _in_words(module: nn.Module, kind: Kind) -> str:
    if isinstance(module, nn.Conv2d):
        size = "×".join(map(str, module.kernel_size))
        stride = f" stride {module.stride[0]}" if module.stride != (1, 1) else ""
        grouped = f" in {module.groups} groups" if kind == "conv3x3" and module.groups > 1 else ""
        return f"{kind if kind == 'depthwise' else 'conv'} {size}{stride}{grouped}"
    return type(module).__name__
