"""Results of common ATen operators on the meta device: shape, strides and type, nothing else.

torch has its own, in Python; the first use of most of them imports sympy and torch._dynamo, which takes longer than the
rest of a count. What is not here goes to torch. A test holds these against torch's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

META = torch.device("meta")


def like(*operands: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return the empty meta tensor that an elementwise operator on ``operands`` writes.

    Shape by broadcasting; the order of the dimensions in memory by the rules of torch's TensorIterator: as in the
    first operand that tells two dimensions apart, without gaps.
    """
    shape = np.broadcast_shapes(*(tuple(operand.shape) for operand in operands))
    if all(operand.shape == shape and operand.is_contiguous() for operand in operands):
        return new(shape, dtype or operands[0].dtype)
    if all(operand.shape == shape and _is_channels_last(operand) for operand in operands):
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


def _memory_format(*xs: Tensor) -> torch.memory_format:
    return torch.channels_last if all(map(_is_channels_last, xs)) else torch.contiguous_format


def _broadcast_strides(x: Tensor, shape: Sequence[int]) -> list[int]:
    missing = len(shape) - x.dim()
    own = [
        0 if size == 1 and side != 1 else stride
        for size, stride, side in zip(x.shape, x.stride(), shape[missing:], strict=True)
    ]
    return [0] * missing + own


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


def _is_channels_last(x: Tensor) -> bool:
    return x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def new(
    shape: Sequence[int], dtype: torch.dtype, memory_format: torch.memory_format = torch.contiguous_format
) -> Tensor:
    """Return an empty meta tensor, contiguous unless told otherwise."""
    return torch.empty(tuple(shape), dtype=dtype, device=META, memory_format=memory_format)


def _unary(x: Tensor, *rest: Any, **options: Any) -> Tensor:
    return like(x)


def _in_place(x: Tensor, *rest: Any, **options: Any) -> Tensor:
    return x


def _elementwise(*args: Any, **options: Any) -> Tensor:
    operands = [arg for arg in args if isinstance(arg, Tensor)]
    dtype = operands[0].dtype
    for arg in args[1:]:
        dtype = torch.promote_types(dtype, torch.result_type(operands[0], arg))
    return like(*operands, dtype=dtype)


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    *rest: Any,
) -> Any:
    if transposed or x.dim() != weight.dim() or x.shape[1] != weight.shape[1] * rest[1]:
        return NotImplemented
    dims = range(x.dim() - 2)
    sides = [
        (x.shape[2 + d] + 2 * padding[d] - dilation[d] * (weight.shape[2 + d] - 1) - 1) // stride[d] + 1 for d in dims
    ]
    if min(sides) < 1:
        raise RuntimeError(f"a kernel of {tuple(weight.shape[2:])} does not fit a map of {tuple(x.shape[2:])}")
    shape = (x.shape[0], weight.shape[0], *sides)
    return new(shape, x.dtype, _memory_format(x))


def _batch_norm(x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *rest: Any) -> Any:
    if training or not (x.is_contiguous() or _is_channels_last(x)):
        return NotImplemented
    return like(x), new((0,), x.dtype), new((0,), x.dtype)


def _layer_norm(x: Tensor, shape: Sequence[int], *rest: Any) -> Any:
    outer = tuple(x.shape[: x.dim() - len(shape)]) + (1,) * len(shape)
    return new(x.shape, x.dtype), new(outer, x.dtype), new(outer, x.dtype)


def _product(a: Tensor, b: Tensor, *rest: Any) -> Any:
    if a.dim() != b.dim() or a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
        return NotImplemented
    return new((*a.shape[:-1], b.shape[-1]), a.dtype)


def _added_product(start: Tensor, a: Tensor, b: Tensor, *rest: Any, **options: Any) -> Any:
    return _product(a, b)


def _reduction(x: Tensor, dims: Any = None, keepdim: bool = False, **options: Any) -> Any:
    if dims is None or not x.is_floating_point() or options.get("dtype") is not None:
        return NotImplemented
    reduced = {dim % x.dim() for dim in ([dims] if isinstance(dims, int) else dims)} or set(range(x.dim()))
    kept = [1 if dim in reduced else size for dim, size in enumerate(x.shape)]
    return new(kept if keepdim else [side for dim, side in enumerate(kept) if dim not in reduced], x.dtype)


def _cat(xs: Sequence[Tensor], dim: int = 0) -> Any:
    first = xs[0]
    if any(x.dim() != first.dim() or x.dtype != first.dtype for x in xs):
        return NotImplemented
    shape = list(first.shape)
    shape[dim] = sum(x.shape[dim] for x in xs)
    channels_last = all(map(_suggests_channels_last, xs))
    return new(shape, first.dtype, torch.channels_last if channels_last else torch.contiguous_format)


def _suggests_channels_last(x: Tensor) -> bool:
    """Return torch's own reading of strides, which tells what a tensor is that lies in both orders at once."""
    if x.dim() != 4 or x.stride(1) == 0:
        return False
    least = 0
    for dim in (1, 3, 2, 0):
        if x.shape[dim] == 0 or x.stride(dim) < least or (dim == 0 and least == x.stride(1)):
            return False
        least = x.stride(dim) * max(x.shape[dim], 1)
    return True


def _max_pool(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int] = (), padding: Sequence[int] = (0,), *rest: Any
) -> Any:
    if rest or x.dim() != 4:
        return NotImplemented
    pair = [list(values) * (2 // len(values)) for values in (kernel, stride or kernel, padding)]
    sides = [(x.shape[2 + d] + 2 * pair[2][d] - pair[0][d]) // pair[1][d] + 1 for d in (0, 1)]
    if min(sides) < 1:
        return NotImplemented
    shape = (*x.shape[:2], *sides)
    return new(shape, x.dtype, _memory_format(x)), new(shape, torch.int64, _memory_format(x))


def _contiguous(x: Tensor, *rest: Any) -> Any:
    return new(x.shape, x.dtype) if x.is_contiguous() else NotImplemented


def _clone(x: Tensor, *, memory_format: torch.memory_format | None = None) -> Any:
    if memory_format in (None, torch.preserve_format):
        return like(x)
    return new(x.shape, x.dtype, memory_format)


def _index(x: Tensor, indices: Sequence[Tensor | None]) -> Any:
    rows = indices[0]
    if len(indices) != 1 or not x.is_contiguous() or rows is None or rows.dtype not in (torch.int64, torch.int32):
        return NotImplemented
    return new((*rows.shape, *x.shape[1:]), x.dtype)


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return the result of attention in the layout of torch's fused kernels: heads beside their channels."""
    *outer, tokens, _ = query.shape
    if len(outer) != 2:
        return new((*outer, tokens, value.shape[-1]), query.dtype)
    return new((outer[0], tokens, outer[1], value.shape[-1]), query.dtype).transpose(1, 2)


RESULTS: dict[str, Callable[..., Any]] = {
    "convolution": _convolution,
    "native_batch_norm": _batch_norm,
    "native_layer_norm": _layer_norm,
    **dict.fromkeys(("mm", "bmm"), _product),
    **dict.fromkeys(("addmm", "baddbmm"), _added_product),
    **dict.fromkeys(("gelu", "relu", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid"), _unary),
    **dict.fromkeys(("_softmax", "_safe_softmax", "roll"), _contiguous),
    **dict.fromkeys(("relu_", "silu_", "hardswish_", "add_", "mul_", "addcmul_"), _in_place),
    **dict.fromkeys(("add", "sub", "mul", "div", "addcmul"), _elementwise),
    **dict.fromkeys(("mean", "sum"), _reduction),
    "cat": _cat,
    "max_pool2d_with_indices": _max_pool,
    "clone": _clone,
    "index": _index,
}
"""Result of an operator by ATen name; ``NotImplemented`` where the case is torch's."""


def result(name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the result of an operator whose tensors are all on the meta device."""
    known = RESULTS.get(name)
    if known is not None:
        out = known(*args, **kwargs)
        if out is not NotImplemented:
            return out
    return func(*args, **kwargs)
