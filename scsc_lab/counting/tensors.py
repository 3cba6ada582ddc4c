"""The tensors in what operators take and give, and what they weigh."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor


def tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in arguments or results, those in lists, tuples and dictionaries included."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))


def stored_bytes(tensor: Tensor) -> int:
    """Return the bytes of the different elements of a tensor: an expanded one is read once."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride != 0)
    return math.prod(sizes) * tensor.element_size() if tensor.numel() else 0
