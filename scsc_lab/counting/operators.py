"""What each ATen operator costs: the rules for multiply-accumulates, and the one list of operators that cost none.

Convolution, matrix products and attention have rules. Operators that move, view, allocate, normalise, activate, pool,
resample, compare or work on each element alone are listed as free. Anything else makes a count partial.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

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

    ``(…, L, E)`` queries meet ``(…, S, E)`` keys, and their scores ``(…, S, E')`` values.
    """
    queries, keys = math.prod(query.shape[:-1]), key.shape[-2]
    return queries * keys * (query.shape[-1] + value.shape[-1]), queries * (keys + value.shape[-1])


RULES: dict[str, Rule] = {
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot"), _matrix_product),
    **dict.fromkeys(("addmm", "baddbmm", "addbmm", "addmv"), _added_product),
    **dict.fromkeys(FUSED_ATTENTION, lambda *args, out, **options: attention(*args)[0]),
}
"""Multiply-accumulates of an operator, from its arguments and its output, by ATen name."""

FREE = frozenset(
    # move, copy, index
    "cat stack clone copy _to_copy contiguous constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d "
    "replication_pad1d replication_pad2d replication_pad3d roll flip rot90 repeat repeat_interleave index index_put "
    "_index_put_impl index_select index_add index_copy index_fill gather scatter scatter_add scatter_reduce "
    "masked_select masked_scatter take nonzero embedding "
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
    # guards that torch leaves in a graph
    "_assert_async _assert_scalar _assert_tensor_metadata record_stream".split()
)
"""Operators that cost no multiply-accumulates, beside views and those that ATen tags as pointwise."""

_VIEWS_UNTAGGED = frozenset({"_unsafe_view", "_reshape_alias", "lift_fresh", "detach", "alias"})
_ALLOCATIONS = frozenset(
    {"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided", "lift_fresh"}
)


def is_view(operator: Any) -> bool:
    """Return whether an ATen operator only looks at its input in another way, or makes room: it moves no bytes."""
    name = operator.overloadpacket.__name__
    return bool(operator.is_view) or name in _VIEWS_UNTAGGED or name in _ALLOCATIONS


def is_free(operator: Any) -> bool:
    """Return whether an ATen operator, in place or not, is known to cost no multiply-accumulates."""
    name = operator.overloadpacket.__name__
    return name in FREE or name.removesuffix("_") in FREE or is_view(operator) or torch.Tag.pointwise in operator.tags


def tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in arguments or results, those in lists, tuples and dictionaries included."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))


def stored_bytes(tensor: Tensor) -> int:
    """Return the bytes of the different elements of a tensor: an expanded one is read once."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride != 0)
    return math.prod(sizes) * tensor.element_size() if tensor.numel() else 0


def fvcore_rule(name: str, label: str, args: tuple[Any, ...], out: Any, macs: int) -> tuple[str, int]:
    """Return under which name fvcore lists an operator, and what its rules give it; ``("", 0)`` without a rule.

    Args:
        name: ATen name of the operator.
        label: name of the torch function that the network called.
        args: arguments of the ATen operator.
        out: its result.
        macs: its multiply-accumulates.

    Source: fvcore 0.1.5, ``fvcore/nn/flop_count.py``.
    """
    if name in CONVOLUTIONS:
        return "conv", macs
    if label == "einsum":
        return "einsum", 0  # its own rule, once a call
    if label in _FVCORE_PRODUCTS:
        return (label, macs) if name in RULES else ("", 0)
    if label == "multi_head_attention_forward" and name in RULES:
        return ("linear", macs) if name in ("addmm", "mm") else ("bmm", macs) if name == "bmm" else ("", 0)
    if label == "adaptive_avg_pool2d" and name in ("mean", "_adaptive_avg_pool2d"):
        return label, int(args[0].numel())
    if name in _FVCORE_NORMS:
        listed, plain, affine = ("instance_norm", 4, 5) if label == "instance_norm" else _FVCORE_NORMS[name]
        if name == "native_batch_norm" and args[5]:  # statistics of the batch itself, as weight standardisation has it
            plain, affine = 4, 5
        weight = args[2] if name == "native_layer_norm" else args[1]
        return listed, (plain if weight is None else affine) * args[0].numel()
    if name in _FVCORE_RESAMPLERS:
        listed, factor = _FVCORE_RESAMPLERS[name]
        return listed, factor * out.numel()
    return "", 0


def fvcore_einsum(equation: str, *operands: Any) -> int:
    """Return what fvcore gives an einsum: two forms by rule, any other by NumPy's estimate, printed and read again.

    Source: fvcore 0.1.5, ``einsum_flop_jit`` in ``fvcore/nn/jit_handles.py``.
    """
    given = list(tensors(list(operands)))
    letters = dict.fromkeys(letter for letter in equation if letter.isalpha())
    renamed = equation.replace(" ", "").translate({ord(letter): 97 + i for i, letter in enumerate(letters)})
    if renamed in ("abc,abd->acd", "abc,adc->adb"):
        return given[0].numel() * (given[1].shape[-1] if renamed == "abc,abd->acd" else given[1].shape[1])
    report = np.einsum_path(renamed, *(np.broadcast_to(0.0, x.shape) for x in given), optimize="optimal")[1]
    line = next(line for line in report.split("\n") if "optimized flop" in line.lower())
    return math.floor(float(line.split(":")[-1]) / 2)


_FVCORE_PRODUCTS = frozenset({"linear", "matmul", "bmm", "mm", "addmm"})
_FVCORE_NORMS = {
    "native_batch_norm": ("batch_norm", 1, 2),
    "_native_batch_norm_legit_no_training": ("batch_norm", 1, 2),
    "cudnn_batch_norm": ("batch_norm", 1, 2),
    "native_layer_norm": ("layer_norm", 4, 5),
    "native_group_norm": ("group_norm", 4, 5),
}
_FVCORE_RESAMPLERS = {
    "upsample_nearest2d": ("upsample_nearest2d", 1),
    "upsample_bilinear2d": ("upsample_bilinear2d", 4),
    "grid_sampler_2d": ("grid_sampler", 4),
}
