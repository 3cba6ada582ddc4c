"""Operators that add up elements of one tensor: how many products each element of their result adds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from scsc_lab.counting.terms import Terms, narrowed, settled


def _summed(
    terms: Terms, func: Any, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor
) -> tuple[Terms, int]:
    """Return the terms of a sum over whole dimensions; those in which a factor stands still count once."""
    dims = kwargs.get("dim", args[1] if len(args) > 1 and not isinstance(args[1], torch.dtype) else None)
    all_dims = [dims] if isinstance(dims, int) else dims or range(x.dim())
    summed = {dim % x.dim() for dim in all_dims}
    products, counted, number = terms.products, terms.counted, 1
    for dim in summed:
        if terms.varies[dim] and products.stride(dim):
            products = products.sum(dim, keepdim=True)
        elif terms.varies[dim]:
            number *= x.shape[dim]
        products, counted = _most(products, dim), _most(counted, dim)
    keeps = out.dim() == x.dim()
    place = tuple(slice(None) if keeps or dim not in summed else 0 for dim in range(x.dim()))
    varies = tuple(changes for dim, changes in enumerate(terms.varies) if keeps or dim not in summed)
    return settled(narrowed(products[place]) * number, counted[place], out.shape, varies)


def _most(values: Tensor, dim: int) -> Tensor:
    return values.narrow(dim, 0, 1) if values.stride(dim) == 0 else values.amax(dim, keepdim=True)


def _run_up(
    terms: Terms, func: Any, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor
) -> tuple[Terms, int]:
    """Return the terms of a running sum, which adds each product once."""
    dim = args[1] if len(args) > 1 else kwargs["dim"]
    adds = x.shape[dim] > 1
    return settled(terms.products, torch.tensor(True) if adds else terms.counted, out.shape, terms.varies)


def _pooled(
    terms: Terms, func: Any, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor
) -> tuple[Terms, int]:
    """Return the terms of sums over windows of one size; what is padded is no product."""
    kernel, *rest = args[1:5]
    dims = out.dim() - (x.dim() - len(kernel))
    sides = list(kernel) * (dims // len(kernel))
    standing = math.prod(k for k, changes in zip(sides, terms.varies[-dims:], strict=True) if not changes)
    pool = F.avg_pool2d if dims == 2 else F.avg_pool3d

    def windows(values: Tensor) -> Tensor:
        options = dict(zip(("stride", "padding", "ceil_mode"), rest, strict=False))
        options["stride"] = options.get("stride") or kernel
        added: Tensor = pool(_outer(values.double(), dims), kernel, **options, divisor_override=1)
        return torch.ceil(added / standing)

    return settled(windows(terms.products), windows(terms.counted) > 0, out.shape, terms.varies)


def _pooled_to_size(
    terms: Terms, func: Any, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor
) -> tuple[Terms, int]:
    """Return the terms of sums over windows, where output ``i`` of ``n`` covers ``⌊i·s/n⌋`` to ``⌈(i + 1)·s/n⌉``."""
    dims = len(args[1])
    sizes = torch.ones((), dtype=torch.float64)
    for side, cells, changes in zip(x.shape[-dims:], out.shape[-dims:], terms.varies[-dims:], strict=True):
        widths = [-(-(i + 1) * side // cells) - i * side // cells if changes else 1 for i in range(cells)]
        sizes = sizes.unsqueeze(-1) * torch.tensor(widths, dtype=torch.float64)
    products, counted = (func(_outer(x.double(), dims), args[1]) * sizes for x in (terms.products, terms.counted))
    return settled((products - 1e-6).ceil(), counted > 0, out.shape, terms.varies)


def _outer(values: Tensor, dims: int) -> Tensor:
    """Return values with outer dimensions along which all are the same as one element each."""
    place = [slice(0, 1) if step == 0 else slice(None) for step in values.stride()[:-dims]]
    return values[tuple(place)]


def _folded(
    terms: Terms, func: Any, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor
) -> tuple[Terms, int]:
    """Return the terms of sums of patches where they overlap."""
    products, counted = (func(values.double(), *args[1:]) for values in (terms.products, terms.counted))
    return settled(products, counted > 0, out.shape, (True,) * out.dim())


SUMS: dict[str, Callable[..., tuple[Terms, int]]] = {
    **dict.fromkeys(("sum", "mean", "nansum"), _summed),
    "cumsum": _run_up,
    **dict.fromkeys(("avg_pool2d", "avg_pool3d"), _pooled),
    **dict.fromkeys(("_adaptive_avg_pool2d", "_adaptive_avg_pool3d"), _pooled_to_size),
    "col2im": _folded,
    "trace": lambda terms, func, x, args, kwargs, out: settled(
        terms.products.diagonal().sum(), terms.counted.diagonal().any(), (), ()
    ),
}
"""Terms of the result, and their cost, of operators that add up elements of one tensor."""
