"""What stands for pooling, and for elements selected by value, where only the way of the gradient matters.

The largest element may be any: its gradient goes evenly to all that it is taken from, or, for the true centre, to what
is in the middle of the window.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Rule = Callable[..., Any]
"""Replacement of a function of torch, called with the same arguments."""


def centre_taps(sides: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return a kernel of sum 1 on its middle: one tap of an odd side, two of an even one."""
    taps = torch.zeros(*sides, dtype=dtype)
    taps[tuple(slice((side - 1) // 2, side // 2 + 1) for side in sides)] = 1.0
    return taps / taps.sum()


def _pooled(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    middle: bool = False,
) -> Tensor:
    """Stand for max pooling by the mean, or by what is in the middle of each window; same shape."""
    sides, strides, pads, dilations = (
        (value, value) if isinstance(value, int) else tuple(value)
        for value in (kernel_size, stride or kernel_size, padding, dilation)
    )
    if not middle and dilations == (1, 1):
        return F.avg_pool2d(x, sides, strides, pads, ceil_mode)
    size = F.max_pool2d(x.detach(), sides, strides, pads, dilations, ceil_mode).shape[2:]
    taps = centre_taps(sides, x.dtype) if middle else torch.full(sides, 1.0 / math.prod(sides), dtype=x.dtype)
    missing = [
        max((out - 1) * step + d * (side - 1) + 1 - length - 2 * pad, 0)
        for out, step, d, side, length, pad in zip(size, strides, dilations, sides, x.shape[2:], pads, strict=True)
    ]
    x = F.pad(x, (pads[1], pads[1] + missing[1], pads[0], pads[0] + missing[0]))
    return F.conv2d(x, taps.expand(x.shape[1], 1, *sides), None, strides, 0, dilations, x.shape[1])


def _middle_of_mean(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, *rest: Any, **options: Any
) -> Tensor:
    """Stand for average pooling by what is in the middle of each window."""
    ceil_mode = bool(options.get("ceil_mode", rest[0] if rest else False))
    return _pooled(x, kernel_size, stride, padding, ceil_mode=ceil_mode, middle=True)


def selected(operator: str, dim_at: int = 0, dim: Any = None) -> Rule:
    """Return what stands for elements selected along an axis by value: the gradient goes evenly to all along it.

    Args:
        operator: name of the function in torch.
        dim_at: which argument behind the tensor is the axis.
        dim: the axis where none is given; all of them: None.
    """

    def rule(x: Tensor, *rest: Any, **options: Any) -> Any:
        out = getattr(torch, operator)(x.detach(), *rest, **options)
        if not x.is_floating_point():  # of indices
            return out
        values = out if isinstance(out, Tensor) else out[0]
        axis = options.get("dim", rest[dim_at] if len(rest) > dim_at else dim)
        axes = tuple(range(x.dim())) if axis is None or axis == () else axis
        mean = x.mean(dim=axes, keepdim=values.dim() == x.dim())
        values = values + mean - mean.detach()
        return values if isinstance(out, Tensor) else type(out)((values, *out[1:]))

    return rule


def _with_indices(stand_in: Rule, pool: Rule) -> Rule:
    """Return what stands for a max pooling that tells where its maxima are."""
    return lambda x, *rest, **options: (stand_in(x, *rest, **options), pool(x.detach(), *rest, **options)[1])


def _whole_mean(x: Tensor, size: Any, *rest: Any, **options: Any) -> Tensor:
    return F.adaptive_avg_pool2d(x, size)


def _unpooled(x: Tensor, indices: Tensor, *rest: Any, **options: Any) -> Tensor:
    """Stand for max unpooling: a maximum may stand anywhere in its window."""
    size = F.max_unpool2d(x.detach(), indices, *rest, **options).shape[2:]
    return F.interpolate(x, size, mode="nearest")


def _mean_of(dims: int) -> Rule:
    """Return what stands for max pooling over one or three dimensions: the mean, where windows have no gaps."""
    largest, mean = getattr(torch, f"max_pool{dims}d"), getattr(F, f"avg_pool{dims}d")

    def rule(
        x: Tensor, size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False, **_: Any
    ) -> Any:
        if dilation in (1, (1,) * dims):
            return mean(x, size, stride, padding, ceil_mode)
        return largest(x, size, stride or size, padding, dilation, ceil_mode)

    return rule


MEANS: dict[str, Rule] = {
    **{operator: selected(operator) for operator in ("amax", "amin", "median", "nanmedian")},
    **{operator: selected(operator, dim=-1) for operator in ("sort", "mode")},
    **{operator: selected(operator, 1, -1) for operator in ("topk", "kthvalue")},
    "max_pool1d": _mean_of(1),
    "max_pool2d": _pooled,
    "max_pool2d_with_indices": _with_indices(_pooled, F.max_pool2d_with_indices),
    "max_pool3d": _mean_of(3),
    "max_unpool2d": _unpooled,
    "adaptive_max_pool2d": _whole_mean,
    "adaptive_max_pool2d_with_indices": _with_indices(_whole_mean, F.adaptive_max_pool2d_with_indices),
}
"""Stand-ins whose gradient goes to every element, by the name of the function."""

_MIDDLE_OF_LARGEST = functools.partial(_pooled, middle=True)
MIDDLES: dict[str, Rule] = {
    "max_pool2d": _MIDDLE_OF_LARGEST,
    "max_pool2d_with_indices": _with_indices(_MIDDLE_OF_LARGEST, F.max_pool2d_with_indices),
    "avg_pool2d": _middle_of_mean,
}
"""Stand-ins whose gradient goes to the middle of each window."""
