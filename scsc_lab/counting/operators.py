"""What each ATen operator costs: the rules for multiply-accumulates, and the one list of operators that cost none.

Convolution, matrix products and attention have rules. Operators that move, view, allocate, normalise, activate, pool,
resample, compare or work on each element alone are listed as free, unless :mod:`scsc_lab.counting.products` finds that
they add up products. Anything else makes a count partial.
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
    transposed, wanted = rest[4], rest[7]
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

RULES: dict[str, Rule] = {
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(("convolution_backward", "convolution_backward_overrideable"), _convolution_backward),
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot"), _matrix_product),
    **dict.fromkeys(("addmm", "baddbmm", "addbmm", "addmv"), _added_product),
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


FREE = frozenset(
    # move, copy, index
    "cat stack clone copy _to_copy contiguous constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d "
    "replication_pad1d replication_pad2d replication_pad3d roll flip rot90 repeat repeat_interleave index index_put "
    "_index_put_impl index_select index_add index_copy index_fill gather scatter scatter_add scatter_reduce "
    "masked_select masked_scatter masked_fill take nonzero embedding "
    "_unsafe_view _unsafe_index _reshape_alias _reshape_copy im2col col2im pixel_shuffle pixel_unshuffle "
    "channel_shuffle native_channel_shuffle as_strided tril triu tril_indices triu_indices diag_embed unfold "
    "unfold_copy _unsafe_masked_index expand_copy resize set unsafe_split unsafe_split_with_sizes complex polar "
    # allocate, draw
    "empty empty_like empty_strided empty_permuted new_empty new_empty_strided new_zeros new_ones new_full zeros "
    "zeros_like ones ones_like full full_like scalar_tensor arange linspace logspace eye rand rand_like randn "
    "randn_like randint randperm normal uniform bernoulli lift_fresh lift_fresh_copy fill zero native_dropout dropout "
    # normalise
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training _batch_norm_with_update "
    "_batch_norm_no_update batch_norm_update_stats cudnn_batch_norm miopen_batch_norm native_layer_norm "
    "native_group_norm _fused_rms_norm rms_norm norm linalg_vector_norm _weight_norm_interface renorm "
    # activate
    "_softmax _log_softmax _safe_softmax relu relu6 leaky_relu elu celu selu gelu silu mish hardswish hardsigmoid "
    "hardtanh softplus softshrink hardshrink threshold prelu _prelu_kernel rrelu rrelu_with_noise glu sigmoid tanh "
    # pool and resample
    "max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d "
    "_adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d upsample_nearest1d upsample_nearest2d "
    "upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d upsample_linear1d upsample_bilinear2d "
    "upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa grid_sampler_2d "
    "grid_sampler_3d affine_grid_generator "
    # reduce, compare, order
    "sum mean prod amax amin max min aminmax argmax argmin any all var std var_mean std_mean logsumexp median "
    "nanmedian mode nansum topk sort argsort kthvalue unique_dim _unique2 unique_consecutive bincount histc "
    "searchsorted bucketize floor_divide remainder fmod cumsum cumprod cummax cummin logcumsumexp equal is_same_size "
    "_local_scalar_dense item isin one_hot count_nonzero sym_size sym_numel sym_stride sym_storage_offset "
    # gradients under a name of their own
    "_softmax_backward_data _log_softmax_backward_data embedding_dense_backward select_backward slice_backward "
    "diagonal_backward value_selecting_reduction_backward _unsafe_masked_index_put_accumulate "
    # guards that torch leaves in a graph
    "_assert_async _assert_scalar _assert_tensor_metadata record_stream".split()
)
"""Operators that cost no multiply-accumulates, and so their gradients; beside views and what ATen tags as pointwise."""

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
