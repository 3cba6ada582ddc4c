"""What networks from elsewhere say of their input; whether they are modules that end and can be copied."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from scsc_lab.errors import InputError, last_line
from scsc_lab.models.carried import hooks_of_weight


@dataclass(frozen=True)
class Declared:
    """Input that a network declares: size in pixels, channels and normalisation, as far as it does."""

    resolution: tuple[int, int] | None = None
    channels: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def declared(source: object) -> Declared | None:
    """Return what a factory or a module says of its input, or ``None`` if that is nothing that can be understood."""
    for config in (getattr(source, name, None) for name in ("pretrained_cfg", "default_cfg")):
        get = config.get if isinstance(config, Mapping) else functools.partial(getattr, config)
        if config is not None and (size := _size(get("input_size", None))):
            return Declared(size[1:], size[0], _floats(get("mean", None)), _floats(get("std", None)))
    size = _size(getattr(source, "input_size", None))
    return Declared(size[1:], size[0]) if size else None


def _size(size: object) -> tuple[int | None, int, int] | None:
    """Return channels, height and width of a size as networks write it."""
    numbers = [size, size] if isinstance(size, int) else list(size) if isinstance(size, (list, tuple)) else []
    if len(numbers) not in (2, 3) or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in numbers):
        return None
    channels = numbers[0] if len(numbers) == 3 else None
    return channels, numbers[-2], numbers[-1]


def _floats(values: object) -> tuple[float, ...] | None:
    return tuple(map(float, values)) if isinstance(values, (list, tuple)) else None


def require_module(model: object) -> None:
    """Raise InputError for anything that is not a module."""
    if not isinstance(model, nn.Module):
        raise InputError(f"model {model!r}: a module; scsc_lab.build returns that of a name")


def check_ends(model: nn.Module) -> None:
    """Raise RuntimeError if a module contains itself: whatever walks through it would not end."""
    inside: set[int] = set()
    visited: set[int] = set()

    def visit(module: nn.Module, name: str) -> None:
        if id(module) in inside:
            raise RuntimeError(f"its module {name!r} contains itself")
        if id(module) in visited:
            return
        visited.add(id(module))
        inside.add(id(module))
        for child, inner in module.named_children():
            visit(inner, f"{name}.{child}" if name else child)
        inside.remove(id(module))

    visit(model, "")


def copied(model: nn.Module) -> nn.Module:
    """Return a copy of a network, with the hooks of its weights.

    Raises:
        InputError: if it cannot be copied, as with the hooks of the old ``weight_norm`` and ``spectral_norm``.
    """
    try:
        check_ends(model)
        twin = copy.deepcopy(model)
    except Exception as error:  # whatever the network holds
        if any(isinstance(getattr(module, "weight_g", None), nn.Parameter) for module in model.modules()):
            raise InputError(
                f"{type(model).__name__} cannot be copied: it has the old weight_norm; "
                "use torch.nn.utils.parametrizations.weight_norm"
            ) from None
        raise InputError(f"{type(model).__name__} cannot be copied: {last_line(error)}") from error
    for tensor, copied_tensor in zip(model.parameters(), twin.parameters(), strict=True):
        for method, hook in hooks_of_weight(tensor):  # which deepcopy leaves behind
            getattr(copied_tensor, method)(hook)
    return twin
