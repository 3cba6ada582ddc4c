"""One rule for sums of products and elementwise products, for any spelling of a network.

*Product*: the elementwise multiplication of two tensors, neither of them a single number or a mask. A tensor with
itself or with an elementwise function of itself (``x * x``, ``x * sigmoid(x)``, ``x[:, 0] * x[:, 0]``) is no product
but a function of one element, as ``x.square()`` and ``silu(x)`` are. *Mask*: a tensor of booleans, one made of
nothing but such (converted, scaled, reshaped), or one drawn by ``bernoulli`` or rounded from random numbers, as
dropout draws it.

*Sum of products*: a value that adds up two or more products, by ``sum``, ``mean``, average pooling, ``+``, ``-``,
``addcmul``, ``cumsum``, ``fold``, ``index_add``, ``scatter_add`` or ``index_put`` that accumulates. It costs one
multiply-accumulate for every product that it adds, and its elements are activations. What stands between a product and
its sum changes nothing as long as it is linear: views, copies, casts, padding, indexing, ``cat``, ``stack``, writing to
a part, masks, scaling by a number, dividing, adding what is no product. Any other function (ReLU, softmax, another
product) begins anew with its operands. Along a dimension in which one factor is the same everywhere, that factor
scales a plain sum: ``(x * gate).mean((2, 3))`` with one gate a channel is pooling, as ``gate * x.mean((2, 3))`` is.

*Elementwise*, and free: one product by itself, a scale, a gate or a mask, and one product added to something that is no
product (``x + gamma * y``). A sum is finished once anything but a further addition of products has read it: a residual
stream is read by every block, so that its next ``x + gamma * y`` is again one product.

Each element is followed by itself, so that ``cat``, slices and ``+=`` come to the same. Where an element goes to by an
index is not known without values: :mod:`scsc_lab.counting.tensors` says what is taken for it.

Operators that are sums of products by definition (convolution, ``linear``, ``matmul``, attention) count in full,
whatever their size, and are finished; ``einsum`` is what torch makes of it: matrix products, sums and multiplications.
Complex products are counted as such; the recorder makes real ones of them.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from scsc_lab.counting.operators import ALLOCATIONS, Kind
from scsc_lab.counting.tensors import Relation, accumulates, keep, moves, placing, source
from scsc_lab.counting.terms import (
    SUMS,
    Terms,
    attach,
    constant,
    finish,
    narrowed,
    note,
    nothing,
    of,
    settled,
    strides,
    write,
)
from scsc_lab.execution.passes import tensors

_SAME = frozenset("clone _to_copy contiguous neg conj_physical native_dropout masked_fill div".split())
_CHOICES = frozenset({"where", "masked_scatter"})
_MOVES = frozenset(
    "cat stack roll flip rot90 repeat repeat_interleave unfold pixel_shuffle pixel_unshuffle "
    "channel_shuffle native_channel_shuffle block_diag constant_pad_nd im2col tril triu diag_embed "
    "select_scatter slice_scatter diagonal_scatter masked_select".split()
)
_WITH_ROOM = frozenset(
    "constant_pad_nd im2col tril triu diag_embed block_diag slice_scatter select_scatter diagonal_scatter".split()
)
"""Operators that put zeros beside what they move."""

_PRODUCTS = frozenset({"mul", "addcmul", "addr", "lerp"})
_ADDITIONS = frozenset({"add", "sub", "rsub", "addcmul"})
_NOISE = "_scsc_lab_noise"
_DRAWS = frozenset({"rand", "rand_like", "uniform"})
_ROUNDS = frozenset({"floor", "ceil", "round", "trunc", "sign"})


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
    operands = list(tensors((args, {key: value for key, value in kwargs.items() if key != "out"})))
    begins = not any((terms := of(x)) is not None and bool(narrowed(terms.counted).any()) for x in operands)
    terms, macs = None, 0
    if bare in _PRODUCTS or any(of(x) for x in operands):
        with torch._C.DisableTorchFunction():
            terms, macs = _terms(func, kind, bare, operands, args, kwargs, out)
    _keep_noise(bare, kind, operands, out)
    for x in tensors(out):
        in_place = (bool(args) and x is args[0]) or x is kwargs.get("out")
        (write if in_place and torch.Tag.inplace_view not in func.tags else note)(x, terms)
        if kind.is_view and kind.name not in ALLOCATIONS and args and x is not args[0]:
            attach(x, args[0])
    with torch._C.DisableTorchFunction():
        keep(func, (args, kwargs), operands, out, _relation(kind, bare))
    return macs, sum(x.numel() for x in tensors(out)) if macs and begins else 0


def _terms(
    func: Any, kind: Kind, bare: str, operands: list[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> tuple[Terms | None, int]:
    """Return what a result adds up, and what that costs."""
    if bare in _PRODUCTS:
        return _multiplied(bare, args, out)
    if kind.is_view or (bare.endswith("_copy") and bare not in ("_to_copy", "index_copy")):
        return (None if kind.name in ALLOCATIONS else _viewed(func, args, kwargs, out)), 0
    if bare in _SAME or (bare == "copy" and of(args[1])):
        return of(args[1 if bare == "copy" else 0]), 0
    if bare in _CHOICES:
        return _chosen(operands, out), 0
    if bare in _MOVES:
        return _moved(bare, operands, args, out), 0
    if moves(bare):
        return _indexed(bare, operands, args, out)
    if bare in _ADDITIONS:
        return _added([of(x) for x in operands], out)
    if bare in SUMS:
        x = args[0]
        terms = of(x)
        if terms is None:
            return None, 0
        result, macs = SUMS[bare](terms, func, x, args, kwargs, out)
        if not macs:  # it pools its input: no products of different factors
            result = replace(result, grown=terms.grown, readers=terms.readers)
            finish(x, bare)
        return result, macs
    if bare != "copy":
        for x in operands:
            finish(x, bare)
    return None, 0


def _multiplied(bare: str, args: tuple[Any, ...], out: Tensor) -> tuple[Terms | None, int]:
    """Return the terms of ``a * b``, or of ``start + a * b``."""
    if bare == "addr":
        args = (args[0], args[1].unsqueeze(1), args[2])
    factors = [x for x in args[-2:] if isinstance(x, Tensor) and x.numel() > 1 and _noise(x) != "mask"]
    if len(factors) < 2:
        terms = of(factors[0]) if factors else None
    else:
        a, b = factors
        square = len({source(x) for x in (args if bare == "lerp" else factors)}) == 1 and a.shape == b.shape
        changing = [(False,) * (out.dim() - x.dim()) + tuple(side > 1 for side in x.shape) for x in factors]
        varies = tuple(map(all, zip(*changing, strict=True)))
        none = nothing(out.shape)
        terms = None if square else replace(none, products=constant(1, out.shape), varies=varies)
        finish(a, bare)
        finish(b, bare)
    return (terms, 0) if bare == "mul" else _added([of(args[0]), terms], out)


def _viewed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Terms | None:
    """Return the terms of a view: dimensions in which a factor stands still are followed as strides of 0."""
    terms = of(args[0])
    if terms is None:
        return None
    if any(x.dtype != args[0].dtype for x in tensors(out)):  # of complex numbers as pairs, or of bits
        each = next(tensors(out)).shape
        most = replace(terms, products=terms.products.amax().expand(each), counted=terms.counted.amax().expand(each))
        return replace(most, varies=(True,) * len(each))
    shape = terms.products.shape  # the tensor has its new shape already, if it was changed in place

    def viewed(values: Tensor) -> Tensor:
        values = values.view(shape)
        try:
            view = next(tensors(func(values, *args[1:], **kwargs)))
        except RuntimeError:  # dimensions of both kinds become one
            view = next(tensors(func(values.contiguous(), *args[1:], **kwargs)))
        return view

    stand_in = torch.empty(shape, device="meta").as_strided(shape, strides(shape, terms.varies))
    try:
        varies = tuple(step > 0 for step in next(tensors(func(stand_in, *args[1:], **kwargs))).stride())
    except RuntimeError:
        varies = (True,) * 64
    products, counted = viewed(terms.products), viewed(terms.counted)
    return replace(terms, products=products, counted=counted, varies=varies[: products.dim()])


def _values(x: Tensor, key: str) -> Tensor:
    values: Tensor = getattr(of(x) or nothing(x.shape), key)
    return values.double()


def _chosen(operands: list[Tensor], out: Tensor) -> Terms | None:
    """Return the terms of elements that are each one of several: the one with most products."""
    each_terms = [terms for x in operands if (terms := of(x))]
    products, counted = each_terms[0].products, each_terms[0].counted
    for terms in each_terms[1:]:
        products, counted = torch.maximum(products, terms.products), counted | terms.counted
    return Terms(
        products, counted, _either(each_terms, out), any(terms.grown for terms in each_terms), each_terms[0].readers
    )


def _either(each_terms: list[Terms], out: Tensor) -> tuple[bool, ...]:
    """Return the dimensions along which the products of any of several tensors vary, broadcast to one shape."""
    if any(len(terms.varies) > out.dim() for terms in each_terms):
        return (True,) * out.dim()
    return tuple(map(any, zip(*((False,) * (out.dim() - len(t.varies)) + t.varies for t in each_terms), strict=True)))


def _moved(bare: str, operands: list[Tensor], args: tuple[Any, ...], out: Tensor) -> Terms:
    """Return the terms of what only moves its inputs; with its readers, so that reading one finishes both."""
    each_terms = [terms for x in operands if (terms := of(x))]
    first = each_terms[0]
    has_same_dims = all(len(terms.varies) == out.dim() for terms in each_terms)
    varies = _either(each_terms, out) if has_same_dims else (True,) * out.dim()
    if bare in ("cat", "stack"):
        dim = (args[1] if len(args) > 1 else 0) % out.dim()
        if bare == "stack" and not has_same_dims:
            varies = _either(each_terms, operands[0])
            varies = (*varies[:dim], True, *varies[dim:])
        varies = tuple(changes or place == dim for place, changes in enumerate(varies))
    result = []
    for key in ("products", "counted"):
        each = [narrowed(getattr(terms, key)) for terms in each_terms]
        alike = all(x.numel() == 1 for x in each) and len({float(x) for x in each}) == 1
        if alike and len(each_terms) == len(operands) and bare not in _WITH_ROOM:
            result.append(each[0].reshape(()).double().expand(out.shape))
        else:
            result.append(
                getattr(torch.ops.aten, bare)(*_replaced(args[:2] if bare == "constant_pad_nd" else args, key))
            )
    return Terms(result[0], result[1] > 0, varies, any(terms.grown for terms in each_terms), first.readers)


def _replaced(value: Any, key: str) -> Any:
    """Return arguments with the products of each tensor in its place, or with whether they are counted."""
    if isinstance(value, Tensor):
        return value if value.dtype == torch.bool and value.device.type != "meta" else _values(value, key)
    return type(value)(_replaced(item, key) for item in value) if isinstance(value, (list, tuple)) else value


def _indexed(bare: str, operands: list[Tensor], args: tuple[Any, ...], out: Tensor) -> tuple[Terms | None, int]:
    each_terms = [terms for x in operands if (terms := of(x))]
    varies = (True,) * out.dim()
    load = _values(args[0], "products") + 2 * _values(args[0], "counted")
    place = placing(bare, args, load)
    products, counted = (place(functools.partial(_values, key=key)) for key in ("products", "counted"))
    if accumulates(bare, args):
        return settled(products, counted > 0, out.shape, varies)
    return Terms(products, counted > 0, varies, any(terms.grown for terms in each_terms), each_terms[0].readers), 0


def _added(operands: list[Terms | None], out: Tensor) -> tuple[Terms | None, int]:
    each_terms = [terms for terms in operands if terms]
    if not each_terms:
        return None, 0
    products = sum((narrowed(terms.products) for terms in each_terms), torch.zeros((), dtype=torch.float64))
    counted = torch.zeros((), dtype=torch.bool)
    for terms in each_terms:
        counted = counted | narrowed(terms.counted)
    return settled(products, counted, out.shape, _either(each_terms, out))


def _relation(kind: Kind, bare: str) -> Relation:
    """Return how a result comes from its operands."""
    if kind.is_pointwise or bare in _SAME:
        return "elementwise"
    return "view" if kind.is_view else "move" if bare in _MOVES else "other"


def _noise(x: Tensor) -> str:
    """Return ``mask`` for a mask, ``random`` for random numbers that rounding makes one, else nothing."""
    return "mask" if x.dtype == torch.bool else getattr(x, _NOISE, "")


def _keep_noise(bare: str, kind: Kind, operands: list[Tensor], out: Any) -> None:
    """Remember whether a result is a mask, or random numbers from 0 to 1: of such alone, and of single numbers."""
    inputs = {_noise(x) for x in operands if x.numel() > 1}
    noise = "mask" if bare == "bernoulli" else "random" if bare in _DRAWS else ""
    if not noise and len(inputs) == 1 and kind.rule is None and bare not in SUMS:
        noise = inputs.pop()
        noise = "mask" if noise and bare in _ROUNDS else noise
    for x in tensors(out):
        if noise or hasattr(x, _NOISE):
            setattr(x, _NOISE, noise)
