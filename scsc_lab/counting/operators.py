"""What each ATen operator costs: the rules for multiply-accumulates, and what is known of an operator.

Convolution, matrix products, attention and a few others have rules. Operators that move, view, allocate, normalise,
activate, pool, resample, compare or work on each element alone are free (:mod:`scsc_lab.counting.free`), unless
:mod:`scsc_lab.counting.products` finds that they add up products. Anything else makes a count partial.

Rules count complex multiply-accumulates where the result is complex; :data:`COMPLEX` real ones make one of them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scsc_lab.counting.free import FREE
from scsc_lab.errors import InputError

Rule = Callable[..., int]


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    *rest: Any,
    out: Tensor,
) -> int:
    """Every weight meets every output position (input position, if transposed) of every image once."""
    positions = (x if transposed else out).shape[2:]
    return x.shape[0] * weight.numel() * math.prod(positions)


def _matrix_product(a: Tensor, b: Tensor, *rest: Any, out: Tensor) -> int:
    """Return ``n·k·m`` for ``(…, n, k) @ (…, k, m)``, a vector on either side included."""
    return a.numel() * (b.shape[-1] if b.dim() > 1 else 1)


def _added_product(start: Tensor, a: Tensor, b: Tensor, *rest: Any, out: Tensor, **options: Any) -> int:
    return _matrix_product(a, b, out=out)


CONVOLUTIONS = frozenset({"convolution", "_convolution", "convolution_overrideable"})
"""Operators whose arguments are those of ``aten::convolution``."""


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, *rest: Any, out: Any) -> int:
    """Return the cost of the forward pass for each of the two gradients wanted: the input's and the weight's."""
    _, _, _, _, transposed, _, _, wanted = rest
    positions = (x if transposed else grad).shape[2:]
    return x.shape[0] * weight.numel() * math.prod(positions) * (int(wanted[0]) + int(wanted[1]))


FUSED_ATTENTION = frozenset(
    {
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention",
        "_scaled_dot_product_fused_attention_overrideable",
        "_scaled_dot_product_attention_math_for_mps",
        "scaled_dot_product_attention",
    }
)
"""Every form in which attention's two products come as one operator."""


def attention(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **options: Any) -> tuple[int, int]:
    """Return the multiply-accumulates of attention's two products, and the elements they write.

    ``(…, L, E)`` queries meet ``(…, S, E)`` keys, and their scores ``(…, S, E')`` values; the dimensions before are
    broadcast, and keys and values of fewer heads serve several heads of queries each.
    """
    (*outer, queries, width), keys, written = query.shape, key.shape[-2], value.shape[-1]
    scores = _heads(outer, key.shape[:-2])
    values = _heads(scores, value.shape[:-2])
    first, second = math.prod(scores) * queries * keys, math.prod(values) * queries * written
    return first * width + second * keys, first + second


def _heads(queries: Sequence[int], keys: Sequence[int]) -> tuple[int, ...]:
    if len(queries) == len(keys) and queries and queries[-1] > keys[-1] > 1:
        keys = (*keys[:-1], queries[-1])
    return np.broadcast_shapes(tuple(queries), tuple(keys))


_BACKWARD_ATTENTION = frozenset(
    {
        "_scaled_dot_product_flash_attention_backward",
        "_scaled_dot_product_flash_attention_for_cpu_backward",
        "_scaled_dot_product_efficient_attention_backward",
        "_scaled_dot_product_cudnn_attention_backward",
        "_scaled_dot_product_fused_attention_overrideable_backward",
    }
)

COMPLEX = 3
"""Real multiply-accumulates of a complex one: torch makes a complex convolution of three real ones, as Gauss did."""


def _row_product(x: Tensor, *rest: Any, out: Tensor, **options: Any) -> int:
    """Return the cost of a linear layer whose weight is packed: every row of inputs meets every output."""
    return x.numel() * out.shape[-1]


def _grouped_product(a: Tensor, b: Tensor, *rest: Any, out: Tensor, **options: Any) -> int:
    """Return the cost of products of groups of rows, columns or both, each group with a matrix of its own."""
    return out.numel() * a.shape[-1] if a.dim() > b.dim() else a.numel() * b.shape[-1]


def _trilinear(
    a: Tensor, b: Tensor, c: Tensor, dims_a: Any, dims_b: Any, dims_c: Any, summed: Sequence[int], *rest: Any, out: Any
) -> int:
    """Return the number of products of three factors that are added up."""
    factors = []
    for x, dims in ((a, dims_a), (b, dims_b), (c, dims_c)):
        for dim in sorted(dims):
            x = x.unsqueeze(dim)
        factors.append(tuple(x.shape))
    return math.prod(np.broadcast_shapes(*factors)) if summed else 0


def _distances(a: Tensor, *rest: Any, out: Tensor) -> int:
    """Return one for every coordinate of every pair."""
    return out.numel() * a.shape[-1]


def _distances_backward(grad: Tensor, a: Tensor, *rest: Any, out: Tensor) -> int:
    return grad.numel() * a.shape[-1]


def _embedding_bag(weight: Tensor, indices: Tensor, *rest: Any, out: Any, **options: Any) -> int:
    """Return one for every element of every row that is weighted and added up; rows without weights are free."""
    weights = rest[4] if len(rest) > 4 else options.get("per_sample_weights")
    bags = out[0].shape[0]
    return indices.numel() * weight.shape[1] if weights is not None and indices.numel() > bags else 0


def _embedding_bag_backward(grad: Tensor, indices: Tensor, *rest: Any, out: Any) -> int:
    weights = next((x for x in rest[4:] if isinstance(x, Tensor) and x.is_floating_point()), None)
    return indices.numel() * grad.shape[1] if weights is not None else 0


def _fourier(x: Tensor, dims: Sequence[int], *rest: Any, out: Tensor) -> int:
    """Return the butterflies of a radix-2 transform, n/2 · log₂ n for n points, and half of them of real numbers."""
    points = out if x.is_complex() else x
    real = not (x.is_complex() and out.is_complex())
    butterflies = math.ceil(
        points.numel() * math.log2(math.prod(points.shape[dim] for dim in dims)) / (4 if real else 2)
    )
    return butterflies if out.is_complex() else COMPLEX * butterflies


def _packed_convolution(x: Tensor, packed: Any, *rest: Any, out: Tensor) -> int:
    weight = packed.unpack()[0]
    positions = (x if packed.transpose() else out).shape[2:]
    return int(x.shape[0] * weight.numel() * math.prod(positions))


def _deformed_convolution(x: Tensor, weight: Tensor, *rest: Any, out: Tensor) -> int:
    return weight.numel() * out.numel() // weight.shape[0]


def _deformed_convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, *rest: Any, out: Any) -> int:
    return 2 * weight.numel() * grad.numel() // weight.shape[0]


_QUANTISED_LINEAR = (
    f"quantized::linear{activation}{form}"
    for activation in ("", "_relu", "_leaky_relu", "_tanh")
    for form in ("", "_dynamic", "_dynamic_fp16")
)
_QUANTISED_CONVOLUTIONS = (
    f"quantized::conv{transposed}{dims}d{form}"
    for transposed in ("", "_transpose")
    for dims in (1, 2, 3)
    for form in ("", "_relu", "_add", "_add_relu", "_dynamic")
)
RULES: dict[str, Rule] = {
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(("convolution_backward", "convolution_backward_overrideable"), _convolution_backward),
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot", "_int_mm", "quantized::matmul"), _matrix_product),
    **dict.fromkeys(
        ("_scaled_mm", "_scaled_mm_v2"), lambda a, b, *rest, out, **options: _matrix_product(a, b, out=out)
    ),
    **dict.fromkeys(("_grouped_mm", "_scaled_grouped_mm"), _grouped_product),
    **dict.fromkeys(("addmm", "baddbmm", "addbmm", "addmv", "_addmm_activation"), _added_product),
    **dict.fromkeys(("_weight_int8pack_mm", "_weight_int4pack_mm", "_weight_int4pack_mm_for_cpu"), _row_product),
    **dict.fromkeys(_QUANTISED_LINEAR, _row_product),
    **dict.fromkeys(_QUANTISED_CONVOLUTIONS, _packed_convolution),
    "torchvision::deform_conv2d": _deformed_convolution,
    "torchvision::_deform_conv2d_backward": _deformed_convolution_backward,
    "_trilinear": _trilinear,
    **dict.fromkeys(("_euclidean_dist", "_cdist_forward"), _distances),
    "_pdist_forward": _distances,
    **dict.fromkeys(("_cdist_backward", "_pdist_backward"), _distances_backward),
    **dict.fromkeys(("_embedding_bag", "_embedding_bag_forward_only"), _embedding_bag),
    "_embedding_bag_backward": _embedding_bag_backward,
    "_embedding_bag_dense_backward": _embedding_bag_backward,
    "_embedding_bag_per_sample_weights_backward": lambda grad, weight, indices, *rest, out: (
        indices.numel() * grad.shape[1]
    ),
    **dict.fromkeys(("_fft_r2c", "_fft_c2r", "_fft_c2c"), _fourier),
    "_thnn_fused_lstm_cell": lambda *args, out: 2 * out[0].numel(),  # f·c + i·g
    "linalg_cross": lambda a, b, *rest, out, **options: 2 * out.numel(),
    **dict.fromkeys(FUSED_ATTENTION, lambda *args, out, **options: attention(*args)[0]),
    # The gradients of queries, keys, values and scores are one product each; scores made a second time are not counted.
    **dict.fromkeys(_BACKWARD_ATTENTION, lambda grad, *args, out, **options: 2 * attention(*args)[0]),
}
"""Multiply-accumulates of an operator, from its arguments and its output: by ATen name, others by their full name."""


def rule(name: str) -> Callable[[Rule], Rule]:
    """Say what an operator of your own costs: a decorator for a function that returns its multiply-accumulates.

    The function gets the operator's arguments, and its result as ``out``::

        @rule("mylib::gated_matmul")
        def _(x, weight, *, out):
            return out.numel() * weight.shape[0]

    Args:
        name: the operator's full name, ``namespace::name``, all its overloads.

    Raises:
        InputError: if there is no such operator, it is one of those that cost none, or it has a rule.
    """
    namespace, _, bare = name.partition("::")
    if not bare:
        raise InputError(f"{name!r} is no operator's full name, e.g. 'mylib::op'")
    packet = getattr(getattr(torch.ops, namespace), bare, None)
    if packet is None:
        raise InputError(f"there is no operator {name!r}; define it before its rule")
    key = bare if namespace == "aten" else name
    if key in RULES or (namespace == "aten" and bare in FREE):
        raise InputError(f"{name!r} has a rule")

    def register(function: Rule) -> Rule:
        RULES[key] = function
        kind.cache_clear()
        return function

    return register


_VIEWS_UNTAGGED = frozenset({"_unsafe_view", "_reshape_alias", "lift_fresh", "detach", "alias"})
ALLOCATIONS = frozenset({"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"})
"""Operators that make room."""


@dataclass(frozen=True)
class Kind:
    """What is known of an operator.

    Attributes:
        name: its ATen name; of an operator from elsewhere the full name, ``namespace::name``, so that no name hides it.
        rule: its multiply-accumulates, if it has any.
        is_view: whether it only looks at its input in another way, or makes room: it moves no bytes.
        is_pointwise: whether it works on each element alone.
        is_free: whether it is known to cost no multiply-accumulates.
    """

    name: str
    rule: Rule | None
    is_view: bool
    is_pointwise: bool
    is_free: bool


@functools.cache
def kind(operator: Any) -> Kind:
    """Return what is known of an operator."""
    namespace, _, bare = operator._schema.name.partition("::")
    name = bare if namespace == "aten" else operator._schema.name
    view = operator.is_view or torch.Tag.inplace_view in operator.tags or name in _VIEWS_UNTAGGED | ALLOCATIONS
    pointwise = torch.Tag.pointwise in operator.tags
    free = not FREE.isdisjoint((name, name.removesuffix("_"), name.removesuffix("_backward"))) or view or pointwise
    return Kind(name, RULES.get(name), view, pointwise, free)


@functools.cache
def is_composite(operator: Any) -> bool:
    """Return whether an operator is made of other operators, on every device and with every gradient."""
    return bool(
        torch._C._dispatch_has_kernel_for_dispatch_key(operator.name(), "CompositeImplicitAutograd")
        and operator._can_decompose()
    )
