"""Targets of elements under an index without values, on the meta device.

What is taken for the values is the same on every device: an index addresses the elements with the fewest products
first, each once as long as there are any left. So an index that could be a permutation is one, the tokens of several
experts are different ones, and two products are added to one element where they have to be. The same index addresses
the same elements of a tensor every time. Masks of booleans are read, since no network can index with one on meta.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_ASSUMED = "_scsc_lab_assumed"
_LISTS = frozenset({"index", "_unsafe_index", "index_put", "_index_put_impl", "_unsafe_index_put"})
_ROWS = frozenset({"index_select", "index_add", "index_copy", "index_fill", "index_reduce"})
_LINES = frozenset({"gather", "scatter", "scatter_add", "scatter_reduce"})


def moves(name: str) -> bool:
    """Return whether an operator moves or adds elements by an index."""
    return name in _LISTS | _ROWS | _LINES | {"take"}


def accumulates(name: str, args: Sequence[Any]) -> bool:
    """Return whether an operator adds the elements that it moves to those of its target."""
    if name in ("scatter_reduce", "index_reduce"):
        return args[4] in ("sum", "mean")
    return name in ("index_add", "scatter_add") or ("index_put" in name and len(args) > 3 and bool(args[3]))


def placing(name: str, args: Sequence[Any], load: Tensor) -> Callable[[Callable[[Tensor], Tensor]], Tensor]:
    """Return a function that applies an operator to stand-ins of its tensors, which another function makes.

    Args:
        name: ATen name of the operator.
        args: its arguments.
        load: products that each element of its first argument adds up, or two if more.
    """
    x = args[0]
    if name == "take":
        place = _assumed(args[1], x, load.flatten())
        return lambda pick: pick(x).flatten()[place]
    if name in _LISTS:
        indices = [_on_cpu(index) for index in args[1]]
        indexed_dims = [dim for dim, index in enumerate(indices) if index is not None]
        if all(args[1][dim].dtype not in (torch.bool, torch.uint8) for dim in indexed_dims):
            indices = _coordinates(args[1], indexed_dims, x, load)
        if "put" not in name:
            return lambda pick: torch.ops.aten.index.Tensor(pick(x), indices)
        return lambda pick: torch.ops.aten.index_put.default(pick(x), indices, pick(args[2]), accumulates(name, args))
    dim, index = args[1], args[2]
    other_dims = [place for place in range(x.dim()) if place != dim % x.dim()]
    rows = load.sum(other_dims) if other_dims else load
    if name in _ROWS:
        place = _assumed(index, x, rows)
        value = args[3] if len(args) > 3 and isinstance(args[3], Tensor) and args[3].dim() else None
        if name == "index_select":
            return lambda pick: pick(x).index_select(dim, place)
        if value is None:
            return lambda pick: pick(x).index_fill(dim, place, 0)
        function = torch.index_add if accumulates(name, args) else torch.index_copy
        return lambda pick: function(pick(x), dim, place, pick(value))
    side = index.shape[dim] if index.dim() else 1
    shape = [side if place == dim % x.dim() else 1 for place in range(index.dim())]
    place = _assumed(index, x, rows, side).reshape(shape).expand(index.shape)
    if name == "gather":
        return lambda pick: pick(x).gather(dim, place)
    source = args[3]
    if not isinstance(source, Tensor):
        return lambda pick: torch.scatter(pick(x), dim, place, 0.0)
    if accumulates(name, args):
        return lambda pick: torch.scatter_add(pick(x), dim, place, pick(source))
    return lambda pick: torch.scatter(pick(x), dim, place, pick(source))


def _assumed(index: Tensor, x: Tensor, load: Tensor, number: int | None = None) -> Tensor:
    """Return the values taken for an index into elements, or rows, of which each has a load."""
    assumed: dict[tuple[int, int], Tensor] = index.__dict__.setdefault(_ASSUMED, {})
    if (id(x), load.numel()) not in assumed:
        order = torch.argsort(load, stable=True)
        size = index.numel() if number is None else number
        places = order[torch.arange(size) % max(load.numel(), 1)]
        assumed[id(x), load.numel()] = places if number is not None else places.reshape(index.shape)
    return assumed[id(x), load.numel()]


def _coordinates(
    indices: Sequence[Tensor | None], indexed_dims: list[int], x: Tensor, load: Tensor
) -> list[Tensor | None]:
    """Return the values taken for indices of several dimensions together."""
    other_dims = [dim for dim in range(x.dim()) if dim not in indexed_dims]
    sizes = [x.shape[dim] for dim in indexed_dims]
    cells = load.sum(other_dims) if other_dims else load
    given = [index for dim in indexed_dims if (index := indices[dim]) is not None]
    shape, first = torch.broadcast_shapes(*(index.shape for index in given)), given[0]
    flat = _assumed(first, x, cells.flatten(), math.prod(shape)).reshape(shape)
    values: list[Tensor | None] = [None] * len(indices)
    for place, dim in enumerate(indexed_dims):
        values[dim] = flat // math.prod(sizes[place + 1 :]) % sizes[place]
    return values


def _on_cpu(index: Tensor | None) -> Tensor | None:
    return index if index is None or index.device.type == "meta" else index.cpu()
