"""ONNX's layers in torch's words: convolution, matrix products, attention, recurrence, windows and normalisation.

Left of ``/`` are an operator's inputs, tensors without storage; right of it are its attributes, in lower case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Integers = Sequence[int]


def _padded(x: Tensor, kernel: Integers, window: Mapping[str, Any]) -> tuple[Tensor, tuple[int, ...]]:
    """Return a map, padded where the two ends of a side differ, and what is left to pad at both ends of each side."""
    dims = len(kernel)
    pads, auto_pad = window.get("pads") or [0] * 2 * dims, window.get("auto_pad", "NOTSET")
    strides, dilations = (window.get(name) or [1] * dims for name in ("strides", "dilations"))
    low, high = list(pads[:dims]), list(pads[dims:])
    for d, side in enumerate(x.shape[2:]) if auto_pad.startswith("SAME") else ():
        total = max((math.ceil(side / strides[d]) - 1) * strides[d] + dilations[d] * (kernel[d] - 1) + 1 - side, 0)
        low[d] = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
        high[d] = total - low[d]
    if low == high and min(low) >= 0:
        return x, tuple(low)
    return F.pad(x, [number for d in reversed(range(dims)) for number in (low[d], high[d])]), (0,) * dims


def _like(x: Tensor, weight: Tensor) -> Tensor:
    """Return a weight in the type of the tensor that it meets: of quantised ones, one may be signed and one not."""
    return weight if weight.dtype == x.dtype else weight.new_empty(weight.shape, dtype=x.dtype)


def conv(x: Tensor, w: Tensor, b: Tensor | None = None, /, group: int = 1, **window: Any) -> Tensor:
    """Return a convolution in one to three dimensions."""
    dims = w.dim() - 2
    x, padding = _padded(x, w.shape[2:], window)
    strides, dilations = (tuple(window.get(name) or [1] * dims) for name in ("strides", "dilations"))
    convolve: Callable[..., Tensor] = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
    return convolve(x, _like(x, w), b, strides, padding, dilations, group)


def conv_transpose(
    x: Tensor, w: Tensor, b: Tensor | None = None, /, *, results: list[Integers], group: int = 1, **window: Any
) -> Tensor:
    """Return a transposed convolution, padded so that it gives the size that ONNX infers."""
    dims = w.dim() - 2
    strides, dilations = (tuple(window.get(name) or [1] * dims) for name in ("strides", "dilations"))
    convolve: Callable[..., Tensor] = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[dims - 1]
    sides = [(x.shape[2 + d] - 1) * strides[d] + dilations[d] * (w.shape[2 + d] - 1) + 1 for d in range(dims)]
    cut = [side - target for side, target in zip(sides, results[0][2:], strict=True)]
    padding = tuple(max(math.ceil(number / 2), 0) for number in cut)
    most = [max(both) - 1 for both in zip(strides, dilations, strict=True)]
    extra = tuple(min(2 * p - number, limit) for p, number, limit in zip(padding, cut, most, strict=True))
    y = convolve(x, w, b, strides, padding, extra, group, dilations)
    return y if y.shape == torch.Size(results[0]) else y.new_empty(results[0])


def gemm(a: Tensor, b: Tensor, c: Tensor | None = None, /, transa: int = 0, transb: int = 0) -> Tensor:
    """Return ``a @ b + c``: a linear layer if the bias has a number per column."""
    a, b = a.t() if transa else a, b if transb else b.t()
    if c is None or c.shape == b.shape[:1]:
        return F.linear(a, _like(a, b), c)
    return F.linear(a, b) + c


def matmul(a: Tensor, b: Tensor, /, transa: int = 0, transb: int = 0) -> Tensor:
    """Return a matrix product; with a matrix on the right it is what torch calls a linear layer."""
    a, b = a.mT if transa else a, _like(a, b.mT if transb else b)
    return F.linear(a, b.t()) if b.dim() == 2 and a.dim() > 1 else torch.matmul(a, b)


def heads(x: Tensor, number: int) -> Tensor:
    """Return ``(N, L, heads·E)`` as ``(N, heads, L, E)``; a tensor of four sides is so already."""
    return x if x.dim() == 4 else x.unflatten(2, (number, -1)).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, *past: Tensor | None) -> Tensor:
    """Return the result of attention, ``(N, heads, L, E')``; keys and values of fewer heads serve several each.

    Keys and values of the past come before those of now.
    """
    key, value = (
        x if old is None else torch.cat([old, x], 2) for x, old in zip((key, value), past or (None, None), strict=True)
    )
    if key.shape[1] != query.shape[1]:
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    return F.scaled_dot_product_attention(query, key, value)


def attention(
    q: Tensor, k: Tensor, v: Tensor, /, *past: Tensor | None, q_num_heads: int = 1, kv_num_heads: int = 0
) -> Tensor:
    """Return the result of attention, of three sides or four as its queries."""
    y = attend(heads(q, q_num_heads), *(heads(x, kv_num_heads or q_num_heads) for x in (k, v)), *past)
    return y.transpose(1, 2).flatten(2) if q.dim() == 3 else y


def rotary(x: Tensor, /, num_heads: int = 0, rotary_embedding_dim: int = 0) -> Tensor:
    """Return tokens with some or all channels of each head turned: two products per element."""
    y = x.unflatten(-1, (num_heads, -1)) if x.dim() == 3 and num_heads else x
    side = rotary_embedding_dim or y.shape[-1]
    part, factor = y[..., :side], torch.empty_like(y[..., :side])
    return torch.cat([part * factor + part.flip(-1) * factor, y[..., side:]], -1).reshape(x.shape)


def recurrent(function: Callable[..., Any], states: int) -> Callable[..., list[Tensor]]:
    """Return a recurrent layer, of one or two directions; all steps are counted."""

    def result(x: Tensor, w: Tensor, r: Tensor, b: Tensor | None = None, /, layout: int = 0) -> list[Tensor]:
        x, (directions, _, width) = x.transpose(0, 1) if layout else x, r.shape
        biases = [()] * directions if b is None else [part.chunk(2) for part in b]
        weights = [part for d in range(directions) for part in (w[d], r[d], *biases[d])]
        start = [x.new_empty(directions, x.shape[1], width)] * states
        y, *last = function(
            x, start if states > 1 else start[0], weights, b is not None, 1, 0.0, False, directions == 2, False
        )
        y = y.unflatten(2, (directions, width))
        return [y.transpose(0, 1), *(x.transpose(0, 1) for x in last)] if layout else [y.transpose(1, 2), *last]

    return result


def average_pool(x: Tensor, /, kernel_shape: Integers, ceil_mode: int = 0, **window: Any) -> Tensor:
    """Return averages over windows, in one to three dimensions."""
    dims = len(kernel_shape)
    x, padding = _padded(x, kernel_shape, window)
    if any(2 * pad > side for pad, side in zip(padding, kernel_shape, strict=True)):
        x, padding = F.pad(x, [pad for pad in reversed(padding) for _ in range(2)]), (0,) * dims
    pool: Callable[..., Tensor] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[dims - 1]
    return pool(x, tuple(kernel_shape), tuple(window.get("strides") or [1] * dims), padding, bool(ceil_mode))


def layer_norm(x: Tensor, /, axis: int = -1) -> Tensor:
    """Return the normalised tensor, over all dimensions from an axis on."""
    return F.layer_norm(x, x.shape[axis % x.dim() :])
