"""What a network is fed: example shapes and real tensors, in tuples, lists and dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from scsc_lab.counting.tensors import tensors
from scsc_lab.errors import InputError


def arguments(inputs: Any, keywords: Mapping[str, Any] | None = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and keyword arguments of a forward pass, with shapes still in place of tensors.

    Args:
        inputs: one shape or tensor; a tuple or list of arguments; or a mapping of keyword arguments.
        keywords: keyword arguments beside them.

    Raises:
        InputError: if there is no input, or a keyword is no text.
    """
    if isinstance(inputs, Mapping):
        inputs, keywords = (), {**inputs, **(keywords or {})}
    elif _is_shape(inputs) or not isinstance(inputs, (tuple, list)):
        inputs = (inputs,)
    keywords = dict(keywords or {})
    wrong = next((key for key in keywords if not isinstance(key, str)), None)
    if wrong is not None:
        raise InputError(f"keyword arguments have names; {wrong!r} is none")
    if not inputs and not keywords:
        raise InputError("give an input: a shape, e.g. (1, 3, 224, 224), a tensor, or several of them")
    return tuple(inputs), keywords


def example(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Return arguments with tensors on a device: random ones for shapes, copies of real ones; all else as it is."""
    if isinstance(value, Tensor):
        if device.type == "meta":
            empty = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=device)
            return empty.requires_grad_(value.requires_grad)
        return value.detach().clone().to(device).requires_grad_(value.requires_grad)
    if _is_shape(value):
        x = torch.empty(tuple(value), dtype=dtype, device=device)
        return x.normal_() if device.type != "meta" and x.is_floating_point() else x
    if isinstance(value, Mapping):
        return {key: example(item, device, dtype) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        items = [example(item, device, dtype) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def described(value: Any) -> str:
    """Return the shapes of arguments as text, ``1×3×224×224``."""
    shapes = [tuple(x) if _is_shape(x) else tuple(x.shape) for x in _leaves(value)]
    return ", ".join("×".join(map(str, shape)) or "one number" for shape in shapes)


def _leaves(value: Any) -> list[Any]:
    if _is_shape(value):
        return [value]
    if isinstance(value, Mapping):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, (tuple, list)):
        return [leaf for item in value for leaf in _leaves(item)]
    return list(tensors(value))


def _is_shape(value: Any) -> bool:
    """Return whether a value is a shape: a tuple or list of whole numbers (``torch.Size`` too)."""
    is_sequence = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    return (
        is_sequence and len(value) > 0 and all(isinstance(side, int) and not isinstance(side, bool) for side in value)
    )
