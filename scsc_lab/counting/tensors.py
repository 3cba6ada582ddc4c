"""The tensors in what operators take and give: what they weigh, and how those without storage lie in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

META = torch.device("meta")


def tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in arguments or results, those in lists, tuples and dictionaries included."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))


def check_strided(tensor: Tensor) -> None:
    """Raise a RuntimeError if the meta device has no tensors that are stored in this way."""
    if tensor.layout is not torch.strided:
        raise RuntimeError(f"it holds a tensor of the layout {tensor.layout}")


def stored_bytes(tensor: Tensor) -> int:
    """Return the bytes of the different elements of a tensor; zeros of a sparse one are not stored."""
    if tensor.layout is not torch.strided:
        return (tensor.numel() if tensor.is_mkldnn else tensor._nnz()) * tensor.element_size()
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride != 0)
    return math.prod(sizes) * tensor.element_size() if tensor.numel() else 0


def like(*operands: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return the empty meta tensor that an elementwise operator on ``operands`` writes.

    Shape by broadcasting; the order of the dimensions in memory by the rules of torch's TensorIterator: as in the
    first operand that tells two dimensions apart, without gaps.
    """
    shape = np.broadcast_shapes(*(tuple(operand.shape) for operand in operands))
    if all(operand.shape == shape and operand.is_contiguous() for operand in operands):
        return new(shape, dtype or operands[0].dtype)
    if all(operand.shape == shape and is_channels_last(operand) for operand in operands):
        return new(shape, dtype or operands[0].dtype, torch.channels_last)
    strides = [_broadcast_strides(operand, shape) for operand in operands]
    order = list(range(len(shape)))[::-1]
    for start in range(1, len(order)):
        moving = start
        for place in range(start - 1, -1, -1):
            later = _compare(order[place], order[moving], shape, strides)
            if later > 0:
                order[place], order[moving] = order[moving], order[place]
                moving = place
            elif later < 0:
                break
    dense, step = [0] * len(shape), 1
    for dim in order:
        dense[dim] = step
        step *= max(shape[dim], 1)
    return torch.empty_strided(shape, dense, dtype=dtype or operands[0].dtype, device=META)


def memory_format(*xs: Tensor) -> torch.memory_format:
    """Return channels-last if all are in that order alone, else contiguous."""
    return torch.channels_last if all(map(is_channels_last, xs)) else torch.contiguous_format


def _broadcast_strides(x: Tensor, shape: Sequence[int]) -> list[int]:
    missing = len(shape) - x.dim()
    steps = [
        0 if size == 1 and side != 1 else stride
        for size, stride, side in zip(x.shape, x.stride(), shape[missing:], strict=True)
    ]
    return [0] * missing + steps


def _compare(a: int, b: int, shape: Sequence[int], strides: Sequence[Sequence[int]]) -> int:
    """Return 1 if dimension ``a`` lies further out in memory than ``b``, -1 if further in, 0 if nothing tells."""
    for stride in strides:
        if stride[a] == 0 or stride[b] == 0:
            continue
        if stride[a] != stride[b]:
            return 1 if stride[a] > stride[b] else -1
        if shape[a] > shape[b]:
            return 1
    return 0


def is_channels_last(x: Tensor) -> bool:
    """Return whether a map lies in channels-last order, and not in the contiguous one too."""
    return x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def new(
    shape: Sequence[int], dtype: torch.dtype, memory_format: torch.memory_format = torch.contiguous_format
) -> Tensor:
    """Return an empty meta tensor, contiguous unless told otherwise."""
    return torch.empty(tuple(shape), dtype=dtype, device=META, memory_format=memory_format)


def suggests_channels_last(x: Tensor) -> bool:
    """Return torch's own reading of strides, which tells what a tensor is that lies in both orders at once."""
    if x.dim() != 4 or x.stride(1) == 0:
        return False
    least = 0
    for dim in (1, 3, 2, 0):
        if x.shape[dim] == 0 or x.stride(dim) < least or (dim == 0 and least == x.stride(1)):
            return False
        least = x.stride(dim) * max(x.shape[dim], 1)
    return True
