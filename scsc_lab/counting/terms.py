"""What the elements of tensors add up, and how tensors that share memory share that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

_TERMS, _WHOLE, _WRITES = "_scsc_lab_terms", "_scsc_lab_whole", "_scsc_lab_writes"


@dataclass(frozen=True)
class Terms:
    """What the elements of a tensor add up.

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
    """Note what the elements of a tensor that was written to add up now, and so those of what it is a view of."""
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


def carry(source: Tensor, target: Tensor) -> None:
    """Give one tensor what is known of another that it stands for."""
    for key in [key for key in vars(source) if key.startswith("_scsc_lab_")]:
        setattr(target, key, getattr(source, key))


def finish(x: Tensor, reader: str) -> None:
    """Note that something has read a tensor that is no further addition of products: what it sums is finished."""
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
