"""Tensors without storage: how they lie in memory, of which values theirs are made, and where indices move them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree

from scsc_lab.counting.terms import viewed
from scsc_lab.execution.passes import tensors

META = torch.device("meta")


def check_strided(tensor: Tensor) -> None:
    """Raise a RuntimeError if the meta device has no tensors that are stored in this way."""
    if tensor.layout is not torch.strided:
        raise RuntimeError(f"it holds a tensor of the layout {tensor.layout}")


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


Relation: TypeAlias = Literal["elementwise", "view", "move", "other"]
"""How a result comes from its operands."""

_SOURCE = "_scsc_lab_source"


class Source:
    """Identity of a tensor's values; a view or a move has a source derived from it, one per way."""

    def __init__(self) -> None:
        self._derived: dict[object, Source] = {}

    def derived(self, key: object) -> Source:
        """Return the source of values derived in one way, the same each time."""
        return self._derived.setdefault(key, Source())


def source(x: Tensor) -> Source:
    """Return the source of the tensor that ``x`` is an elementwise function of: its own if of no other."""
    if not hasattr(x, _SOURCE):
        setattr(x, _SOURCE, Source())
    shared: Source = getattr(x, _SOURCE)
    return shared


def keep(func: Any, arguments: Any, operands: Sequence[Tensor], out: Any, relation: Relation) -> None:
    """Remember the tensor of which a result is an elementwise function, a view or a move, if any.

    Args:
        func: the operator.
        arguments: its arguments.
        operands: the tensors among them.
        out: its result.
        relation: its relation to them.
    """
    inputs = [x for x in operands if x.numel() > 1]
    is_function = relation == "elementwise" and len({id(source(x)) for x in inputs}) == 1
    for at, y in enumerate(tensors(out)):
        root = viewed(y) if relation == "view" else None
        if is_function and all(x.shape == y.shape for x in inputs):
            setattr(y, _SOURCE, source(inputs[0]))
        elif root is not None:
            is_same = _geometry(y) == _geometry(root)
            setattr(y, _SOURCE, source(root) if is_same else source(root).derived(_geometry(y)))
        elif inputs and relation in ("elementwise", "move") and not any(y is x for x in operands):
            parts = [source(x) if isinstance(x, Tensor) else repr(x) for x in _pytree.tree_leaves(arguments)]
            setattr(y, _SOURCE, source(inputs[0]).derived((func, at, *parts)))
        elif hasattr(y, _SOURCE):
            delattr(y, _SOURCE)


def _geometry(x: Tensor) -> tuple[object, ...]:
    return x.storage_offset(), x.shape, x.stride(), x.dtype


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
        indices = [index if index is None or index.device.type == "meta" else index.cpu() for index in args[1]]
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
    joint = [index for dim in indexed_dims if (index := indices[dim]) is not None]
    shape, first = torch.broadcast_shapes(*(index.shape for index in joint)), joint[0]
    flat = _assumed(first, x, cells.flatten(), math.prod(shape)).reshape(shape)
    values: list[Tensor | None] = [None] * len(indices)
    for place, dim in enumerate(indexed_dims):
        values[dim] = flat // math.prod(sizes[place + 1 :]) % sizes[place]
    return values
