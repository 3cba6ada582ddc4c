"""Products that the elements of tensors add up, shared by tensors that share memory, and operators that add them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_TERMS, _WHOLE, _WRITES = "_scsc_lab_terms", "_scsc_lab_whole", "_scsc_lab_writes"


@dataclass(frozen=True)
class Terms:
    """Products that the elements of a tensor add up.

    Attributes:
        products: products in each element that are not counted yet, in the tensor's shape, with strides of 0 along
            dimensions in which all are the same.
        counted: which elements are sums of products already, in the same way.
        varies: for each dimension, whether both factors of the products change along it.
        grown: whether anything has been added, so that reading it finishes it; a bare product stays one.
        readers: what has read it or its views and copies: empty until it is finished.
    """

    products: Tensor
    counted: Tensor
    varies: tuple[bool, ...]
    grown: bool = False
    readers: list[str] = field(default_factory=list)


def of(x: Any) -> Terms | None:
    """Return what the elements of a tensor add up, if any adds products that are not finished."""
    terms: Terms | None = getattr(x, _TERMS, None)
    base = getattr(x, _WHOLE, None)
    if base is not None and base[1] != getattr(base[0], _WRITES, 0):  # written to since this view was made
        root = of(base[0])
        terms = root and Terms(
            _region(root.products, base[0], x),
            _region(root.counted, base[0], x),
            root.varies if x.dim() == base[0].dim() else (True,) * x.dim(),
            root.grown,
            root.readers,
        )
    return None if terms is None or terms.readers or x.numel() == 0 else terms


def note(x: Tensor, terms: Terms | None) -> None:
    """Note what the elements of a new tensor add up."""
    if terms is not None and len(terms.varies) != x.dim():  # broadcast, or a view that nothing tells apart
        missing = x.dim() - len(terms.varies)
        terms = replace(terms, varies=(False,) * missing + terms.varies if missing > 0 else (True,) * x.dim())
    if terms is not None or hasattr(x, _TERMS):
        setattr(x, _TERMS, terms and replace(terms, products=_fit(terms.products, x), counted=_fit(terms.counted, x)))


def write(x: Tensor, terms: Terms | None) -> None:
    """Note the terms of a tensor that was written to, and so those of the tensor of which it is a view."""
    note(x, terms)
    base = getattr(x, _WHOLE, None)
    root = base[0] if base else x
    before = of(root) if base else None
    if terms is None and before is None and not hasattr(root, _WRITES):
        return
    setattr(root, _WRITES, getattr(root, _WRITES, 0) + 1)
    if base is None:
        return
    setattr(x, _WHOLE, (root, getattr(root, _WRITES)))
    if x.shape == root.shape:
        note(root, terms)
    elif terms is not None or before is not None:
        note(root, _overwritten(before, root, getattr(x, _TERMS, None), x))


def attach(view: Tensor, x: Tensor) -> None:
    """Note of which tensor another is a view."""
    root = getattr(x, _WHOLE, (x, 0))[0]
    setattr(view, _WHOLE, (root, getattr(root, _WRITES, 0)))


def viewed(view: Tensor) -> Tensor | None:
    """Return the tensor that another views, or None if it is no view."""
    attached = getattr(view, _WHOLE, None)
    return attached[0] if attached else None


def carry(source: Tensor, target: Tensor) -> None:
    """Give one tensor what is known of another that it stands for."""
    for key in [key for key in vars(source) if key.startswith("_scsc_lab_")]:
        setattr(target, key, getattr(source, key))


def finish(x: Tensor, reader: str) -> None:
    """Note that an operator other than a further addition has read a tensor: its sums are finished."""
    terms = of(x)
    if terms is not None and terms.grown:
        terms.readers.append(reader)


def constant(value: float, shape: Sequence[int]) -> Tensor:
    """Return a tensor that has one value everywhere, and room for one."""
    return torch.full((), value, dtype=torch.float64).expand(tuple(shape))


def nothing(shape: Sequence[int]) -> Terms:
    """Return the terms of elements that add no products."""
    return Terms(constant(0, shape), torch.tensor(False).expand(tuple(shape)), (False,) * len(shape))


def narrowed(values: Tensor) -> Tensor:
    """Return values with each dimension along which all are the same as one element; it broadcasts to the same."""
    return values[tuple(slice(0, 1) if step == 0 else slice(None) for step in values.stride())]


def total(values: Tensor) -> float:
    """Return the sum of all values."""
    few = narrowed(values)
    return float(few.sum()) * (values.numel() // max(few.numel(), 1))


def settled(products: Tensor, counted: Tensor, shape: Sequence[int], varies: tuple[bool, ...]) -> tuple[Terms, int]:
    """Return the terms of elements once they are added up, and the cost: every product of those that add two or more.

    Args:
        products: products in each element.
        counted: which elements add to what is a sum of products already.
        shape: shape of the result; both broadcast to it.
        varies: as in :class:`Terms`.
    """
    products, counted = narrowed(products), narrowed(counted).bool()
    sums = counted | (products > 1)
    spent = products.where(sums, 0)
    terms = Terms((products - spent).expand(tuple(shape)), sums.expand(tuple(shape)), varies, grown=True)
    return terms, round(total(spent.expand(tuple(shape))))


def _fit(values: Tensor, x: Tensor) -> Tensor:
    if values.shape == x.shape:
        return values
    try:
        return values.expand(x.shape)
    except RuntimeError:
        return values.amax().expand(x.shape)


def _flat(values: Tensor, x: Tensor) -> Tensor:
    """Return values of a tensor's elements in the order of its memory."""
    extent = 1 + sum((side - 1) * step for side, step in zip(x.shape, x.stride(), strict=True))
    flat = values.new_zeros(max(extent, 0))
    flat.as_strided(x.shape, x.stride()).copy_(values)
    return flat


def _inside(x: Tensor, root: Tensor) -> int:
    return int(x.storage_offset() - root.storage_offset())


def _region(values: Tensor, root: Tensor, x: Tensor) -> Tensor:
    """Return the values of a tensor's elements that a view shows."""
    if not any(values.stride()):
        return narrowed(values).amax().expand(x.shape)
    return _flat(values, root).as_strided(x.shape, x.stride(), _inside(x, root))


def _overwritten(before: Terms | None, root: Tensor, terms: Terms | None, x: Tensor) -> Terms:
    """Return the terms of a tensor, a view of which has been written to."""
    before, terms = before or nothing(root.shape), terms or nothing(x.shape)
    values = []
    for old, new in ((before.products, terms.products), (before.counted, terms.counted)):
        flat = _flat(old, root)
        flat.as_strided(x.shape, x.stride(), _inside(x, root)).copy_(new)
        values.append(flat.as_strided(root.shape, root.stride()))
    varies = (True,) * root.dim()
    if x.dim() == root.dim() and x.stride() == root.stride():
        sides = zip(before.varies, terms.varies, x.shape, root.shape, strict=True)
        varies = tuple(old or new or part != side for old, new, part, side in sides)
    products, counted = values
    return Terms(products, counted, varies, before.grown or terms.grown)


def strides(shape: Sequence[int], varies: Sequence[bool]) -> list[int]:
    """Return strides that are 0 along dimensions that do not vary."""
    steps, step = [], 1
    for side, changes in zip(reversed(shape), reversed(varies), strict=True):
        steps.append(step if changes else 0)
        step *= max(side, 1) if changes else 1
    return steps[::-1]


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
    pool = functional.avg_pool2d if dims == 2 else functional.avg_pool3d

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
