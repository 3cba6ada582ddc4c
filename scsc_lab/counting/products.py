"""What a sum of products is and what is elementwise: one rule, whatever operators a network is written with.

*Product*: the elementwise multiplication of two tensors, neither of them a single number. A tensor with itself or with
an elementwise function of itself (``x * x``, ``x * sigmoid(x)``) is no product but a function of one element, as
``x.square()`` and ``silu(x)`` are.

*Sum of products*: a value whose elements each add up two or more products, by ``sum``, ``mean``, average pooling,
``+``, ``-``, ``addcmul``, ``cumsum`` or ``scatter_add``. It costs one multiply-accumulate for every product that it
adds, and its elements are activations. What stands between a product and its sum changes nothing as long as it is
linear: views, copies, casts, padding, indexing, ``cat``, ``stack``, scaling by a number, dividing, adding what is no
product. Any other function (ReLU, softmax, another product) begins anew with what it reads. Along a dimension in
which one factor is the same everywhere, that factor scales a plain sum: ``(x * gate).mean((2, 3))`` with one gate a
channel is pooling, as ``gate * x.mean((2, 3))`` is.

*Elementwise*, and free: one product by itself, a scale, a gate or a mask, and one product added to something that is no
product (``x + gamma * y``). A sum is finished once anything but a further addition of products has read it: a residual
stream is read by every block, so that its next ``x + gamma * y`` is again one product.

Operators that are sums of products by definition (convolution, ``linear``, ``matmul``, attention) count in full,
whatever their size, and are finished; ``einsum`` is what torch makes of it: matrix products, sums and multiplications.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from scsc_lab.counting.operators import ALLOCATIONS, Kind
from scsc_lab.counting.tensors import tensors

_LINEAR = frozenset(
    "clone _to_copy contiguous constant_pad_nd roll flip rot90 repeat repeat_interleave index index_select gather "
    "take masked_select masked_fill where tril triu neg unfold unfold_copy im2col pixel_shuffle pixel_unshuffle "
    "channel_shuffle native_channel_shuffle expand_copy _unsafe_view _reshape_alias _reshape_copy _unsafe_index "
    "conj_physical select_scatter slice_scatter index_put _index_put_impl masked_scatter scatter diag_embed "
    "native_dropout".split()
)
_ADDITIONS = frozenset({"add", "sub", "rsub", "addcmul"})
_ADDS_UP = frozenset({"cumsum", "index_add", "scatter_add"})
_TERMS, _SOURCE = "_scsc_lab_terms", "_scsc_lab_source"
_WHOLE, _PARTS = "_scsc_lab_whole", "_scsc_lab_parts"


@dataclass(frozen=True)
class _Terms:
    """What the elements of a tensor add up.

    Attributes:
        products: products in each element (on average, where only some have one) that are not counted yet.
        varies: for each dimension, whether both factors of the products change along it.
        counted: whether each element is a sum of products already.
        grown: whether anything has been added, so that reading it finishes it; a bare product stays one.
        readers: what has read it or its views and copies: empty until it is finished.
    """

    products: Fraction
    varies: tuple[bool, ...]
    counted: bool = False
    grown: bool = False
    readers: list[str] = field(default_factory=list)


def follow(func: Any, kind: Kind, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> tuple[int, int]:
    """Return the multiply-accumulates of an operator that adds up products, and the elements with which a sum begins.

    Args:
        func: the ATen operator.
        kind: what is known of it.
        args: its arguments.
        kwargs: its keyword arguments.
        out: its result.
    """
    bare = kind.name.removesuffix("_")
    given = [x for x in tensors((args, kwargs)) if x.numel() > 1]
    terms: _Terms | None = None
    macs = 0
    if bare in ("mul", "addcmul"):
        terms, macs = _multiplied(bare, args, out)
    elif any(_of(x) for x in given):
        if kind.is_view:
            terms = _viewed(func, args, kwargs)
        elif bare in ("cat", "stack"):
            terms = _joined(bare, given, args[1] if len(args) > 1 else kwargs.get("dim", 0), out)
        elif bare in _LINEAR:
            terms = _moved(given, out)
        elif bare in ("copy", "div"):
            terms = _of(args[1 if bare == "copy" else 0])
        elif bare in _ADDITIONS:
            terms, macs = _added([_of(x) for x in given], out)
        elif bare in _SUMS:
            x = next(x for x in reversed(given) if _of(x))
            terms, macs = _summed(x, *_SUMS[bare](_of(x), x, args, kwargs, out), out, adds=bare in _ADDS_UP)
            if terms is not None and not terms.counted:  # it pools what it reads: no products of different factors
                _finish(x, bare)
        else:
            for x in given:
                _finish(x, bare)
    begins = sum(x.numel() for x in tensors(out)) if macs and not any(_counted(x) for x in given) else 0
    _keep_source(given if kind.is_pointwise else [], out)
    _set(args, out, terms)
    if kind.is_view and kind.name not in ALLOCATIONS and args:
        for x in tensors(out):
            _attach(x, args[0])
    return macs, begins


def carry(source: Tensor, target: Tensor) -> None:
    """Give one tensor what is known of another that it stands for."""
    for key in (_TERMS, _SOURCE):
        if hasattr(source, key):
            setattr(target, key, getattr(source, key))


def finish(x: Tensor, reader: str) -> None:
    """Say that something has read a tensor that is no further addition of products: what it sums is finished."""
    _finish(x, reader)


def _of(x: Any) -> _Terms | None:
    terms: _Terms | None = getattr(x, _TERMS, None)
    if hasattr(x, _PARTS):
        terms = _of_parts(x, terms)
    return None if terms is None or terms.readers else terms


def _counted(x: Tensor) -> bool:
    terms = _of(x)
    return terms is not None and terms.counted


def _finish(x: Tensor, reader: str) -> None:
    terms = _of(x)
    if terms is not None and terms.grown:
        terms.readers.append(reader)


def _multiplied(bare: str, args: tuple[Any, ...], out: Tensor) -> tuple[_Terms | None, int]:
    """Return the terms of ``a * b``, or of ``start + a * b``."""
    factors = [x for x in args[-2:] if isinstance(x, Tensor) and x.numel() > 1]
    if len(factors) < 2:
        terms = _of(factors[0]) if factors else None
    else:
        a, b = factors
        square = _source(a) is _source(b) and a.shape == b.shape
        changing = [(False,) * (out.dim() - x.dim()) + tuple(side > 1 for side in x.shape) for x in factors]
        terms = None if square else _Terms(Fraction(1), tuple(map(all, zip(*changing, strict=True))))
        _finish(a, bare)
        _finish(b, bare)
    return _added([_of(args[0]), terms], out) if bare == "addcmul" else (terms, 0)


def _viewed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Terms | None:
    """Return the terms of a view: dimensions in which a factor stands still are followed as strides of 0."""
    x, terms = args[0], _of(args[0])
    if terms is None or torch.Tag.inplace_view in func.tags:
        return terms and replace(terms, varies=(True,) * x.dim())
    still = torch.empty(x.shape, device="meta").as_strided(x.shape, _strides(x.shape, terms.varies))
    try:
        seen = next(tensors(func(still, *args[1:], **kwargs)))
    except RuntimeError:  # dimensions of both kinds become one
        return replace(terms, varies=(True,) * x.dim())
    return replace(terms, varies=tuple(stride > 0 for stride in seen.stride()))


def _strides(shape: Sequence[int], varies: Sequence[bool]) -> list[int]:
    strides, step = [], 1
    for side, own in zip(reversed(shape), reversed(varies), strict=True):
        strides.append(step if own else 0)
        step *= max(side, 1) if own else 1
    return strides[::-1]


def _moved(given: list[Tensor], out: Any) -> _Terms | None:
    """Return the terms of what only moves its inputs; of one, its own, so that reading the one finishes the other."""
    known = [terms for terms in map(_of, given) if terms]
    first = max(known, key=lambda terms: terms.products)
    same = all(len(first.varies) == y.dim() for y in tensors(out))
    varies = first.varies if same else (True,) * max(y.dim() for y in tensors(out))
    return replace(first, varies=varies, counted=any(terms.counted for terms in known))


def _joined(bare: str, given: list[Tensor], dim: int, out: Tensor) -> _Terms | None:
    """Return the terms of tensors side by side: their products on average, different ones along the dimension."""
    known = [terms for terms in map(_of, given) if terms]
    products = sum((terms.products * x.numel() for x in given if (terms := _of(x))), Fraction(0))
    varies = [any(own) for own in zip(*(terms.varies for terms in known), strict=True)]
    if bare == "stack":
        varies.insert(dim % out.dim(), True)
    varies[dim] = True
    counted, grown = (any(getattr(terms, key) for terms in known) for key in ("counted", "grown"))
    return _Terms(products / out.numel(), tuple(varies), counted, grown)


def _added(given: list[_Terms | None], out: Tensor) -> tuple[_Terms | None, int]:
    terms = [t for t in given if t]
    products = sum((t.products for t in terms), Fraction(0))
    if not terms:
        return None, 0
    aligned = [(False,) * (out.dim() - len(t.varies)) + t.varies for t in terms]
    varies = tuple(map(any, zip(*aligned, strict=True)))
    if any(t.counted for t in terms) or products > 1:
        return _Terms(Fraction(0), varies, counted=True, grown=True), round(products * out.numel())
    return _Terms(products, varies, grown=True), 0


def _summed(x: Tensor, number: int, varies: tuple[bool, ...], out: Tensor, *, adds: bool) -> tuple[_Terms | None, int]:
    """Return the terms of a sum of ``number`` elements of ``x`` in all, which ``adds`` whatever their number."""
    terms = _of(x)
    assert terms is not None
    products = terms.products * number
    if terms.counted or products > out.numel() or adds:
        return _Terms(Fraction(0), varies, counted=True, grown=True), round(products)
    return replace(terms, products=products / max(out.numel(), 1), varies=varies), 0


def _source(x: Tensor) -> object:
    """Return what stands for the tensor that ``x`` is an elementwise function of: itself, if of no other."""
    if not hasattr(x, _SOURCE):
        setattr(x, _SOURCE, object())
    return getattr(x, _SOURCE)


def _keep_source(given: list[Tensor], out: Any) -> None:
    """Remember of which one tensor a result is an elementwise function, if of one."""
    one = len({id(_source(x)) for x in given}) == 1 and all(x.shape == y.shape for x in given for y in tensors(out))
    for y in tensors(out):
        if one:
            setattr(y, _SOURCE, _source(given[0]))
        elif hasattr(y, _SOURCE):
            delattr(y, _SOURCE)


def _set(args: tuple[Any, ...], out: Any, terms: _Terms | None) -> None:
    for x in tensors(out):
        if terms is not None and len(terms.varies) != x.dim():  # broadcast, or a view that nothing tells apart
            missing = x.dim() - len(terms.varies)
            terms = replace(terms, varies=(False,) * missing + terms.varies if missing > 0 else (True,) * x.dim())
        if terms is not None or hasattr(x, _TERMS):
            setattr(x, _TERMS, terms)
        if args and x is args[0]:  # in place
            whole = getattr(x, _WHOLE, None)
            if whole is None:
                x.__dict__.pop(_PARTS, None)
            elif terms is not None or _of(whole):
                whole.__dict__.setdefault(_PARTS, {})[_region(x)] = x.numel(), terms


def _attach(view: Tensor, x: Tensor) -> None:
    """Remember of which tensor this is a view, and what was written to this part of it."""
    whole = getattr(x, _WHOLE, x)
    setattr(view, _WHOLE, whole)
    part = getattr(whole, _PARTS, {}).get(_region(view))
    if part is not None:
        setattr(view, _TERMS, part[1])


def _region(x: Tensor) -> tuple[int, ...]:
    """Return which part of its storage a tensor is."""
    sides = [(side, step) for side, step in zip(x.shape, x.stride(), strict=True) if side > 1]
    return (int(x.storage_offset()), *(int(number) for pair in sorted(sides) for number in pair))


def _of_parts(x: Tensor, terms: _Terms | None) -> _Terms | None:
    """Return what a tensor adds up whose parts have been written: the products of all parts, on average."""
    parts: dict[Any, tuple[int, _Terms | None]] = getattr(x, _PARTS)
    rest = x.numel() - sum(size for size, _ in parts.values())
    known = [part for part in (*parts.values(), (rest, terms)) if part[1] and part[0] > 0]
    if not known:
        return None
    products = sum((size * part.products for size, part in known if part), Fraction(0)) / x.numel()
    counted, grown = (any(getattr(part, key) for _, part in known) for key in ("counted", "grown"))
    return _Terms(products, (True,) * x.dim(), counted, grown)


def _every_element(
    terms: _Terms, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor
) -> tuple[int, tuple[bool, ...]]:
    """Return how many elements a sum over whole dimensions adds; those in which a factor stands still count once."""
    dims = kwargs.get("dim", args[1] if len(args) > 1 and not isinstance(args[1], torch.dtype) else None)
    given = [dims] if isinstance(dims, int) else dims or range(x.dim())
    summed = {dim % x.dim() for dim in given}
    number = math.prod(side for dim, side in enumerate(x.shape) if dim not in summed or terms.varies[dim])
    kept = out.dim() == x.dim()
    return number, tuple(own for dim, own in enumerate(terms.varies) if kept or dim not in summed)


def _scattered(
    terms: _Terms, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor
) -> tuple[int, tuple[bool, ...]]:
    return (x.numel() if x is not args[0] else 0), (True,) * out.dim()


def _pooled(
    terms: _Terms, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor
) -> tuple[int, tuple[bool, ...]]:
    """Return how many elements windows of one size add; what is padded counts as elements."""
    kernel = list(args[1])
    inside = terms.varies[-len(kernel) :]
    return out.numel() * math.prod(k for k, own in zip(kernel, inside, strict=True) if own), terms.varies


def _pooled_to_size(
    terms: _Terms, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor
) -> tuple[int, tuple[bool, ...]]:
    """Return how many elements windows add, where output ``i`` of ``n`` covers ``⌊i·s/n⌋`` to ``⌈(i + 1)·s/n⌉``."""
    dims, number = len(args[1]), 1
    for side, cells, own in zip(x.shape[-dims:], out.shape[-dims:], terms.varies[-dims:], strict=True):
        number *= sum(-(-(i + 1) * side // cells) - i * side // cells for i in range(cells)) if own else cells
    return math.prod(x.shape[:-dims]) * number, terms.varies


_SUMS: dict[str, Callable[..., tuple[int, tuple[bool, ...]]]] = {
    **dict.fromkeys(("sum", "mean", "nansum"), _every_element),
    "cumsum": lambda terms, x, args, kwargs, out: (x.numel(), terms.varies),
    **dict.fromkeys(("index_add", "scatter_add"), _scattered),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _pooled),
    **dict.fromkeys(("_adaptive_avg_pool2d", "_adaptive_avg_pool3d"), _pooled_to_size),
}
"""How many elements an operator adds up in all, and along which dimensions of its result both factors change."""
