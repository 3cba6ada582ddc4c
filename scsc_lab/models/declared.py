"""What networks from elsewhere say of their input: size, channels and normalisation."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from scsc_lab.errors import InputError


@dataclass(frozen=True)
class Declared:
    """What a network says of its input: size in pixels, channels and normalisation, as far as it does."""

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
