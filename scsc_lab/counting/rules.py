"""Rules for multiply-accumulates: what each operator with products costs, from its arguments and its output.

Rules count complex multiply-accumulates where the result is complex; :data:`COMPLEX` real ones make one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scsc_lab.execution.passes import tensors

Rule = Callable[..., int]

COMPLEX = 3
"""Real multiply-accumulates of a complex one: torch makes a complex convolution of three real ones, as Gauss did."""

CONVOLUTIONS = frozenset({"convolution", "_convolution", "convolution_overrideable"})
"""Operators whose arguments are those of ``aten::convolution``."""

_ATTENTION_KERNELS = tuple(
    f"_scaled_dot_product_{kernel}"
    for kernel in (
        "flash_attention",
        "flash_attention_for_cpu",
        "efficient_attention",
        "cudnn_attention",
        "fused_attention_overrideable",
    )
)
FUSED_ATTENTION = frozenset(
    {*_ATTENTION_KERNELS, "_scaled_dot_product_attention_math_for_mps", "scaled_dot_product_attention"}
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


def _meetings(weight: Tensor, y: Tensor) -> int:
    """Return how often a kernel's weights meet the positions of maps: each weight each position of each image once."""
    return y.shape[0] * weight.numel() * math.prod(y.shape[2:])


def _convolution(x: Tensor, weight: Tensor, *window: Any, out: Tensor) -> int:
    transposed = window[4]
    return _meetings(weight, x if transposed else out)


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, *window: Any, out: Any) -> int:
    """Return the cost of the forward pass for each of the two gradients wanted: the input's and the weight's."""
    transposed, gradients = window[4], window[7]
    return _meetings(weight, x if transposed else grad) * (int(gradients[0]) + int(gradients[1]))


def _packed_convolution(x: Tensor, packed: Any, *rest: Any, out: Tensor) -> int:
    return _meetings(packed.unpack()[0], x if packed.transpose() else out)


def _matrix_product(a: Tensor, b: Tensor, *rest: Any, out: Tensor, **options: Any) -> int:
    """Return ``n·k·m`` for ``(…, n, k) @ (…, k, m)``, of vectors too; zeros of sparse matrices are free."""
    if b.layout is not torch.strided:
        return a.numel() * b._nnz() // b.shape[-2]
    return (a.numel() if a.layout is torch.strided else a._nnz()) * (b.shape[-1] if b.dim() > 1 else 1)


def _added_product(start: Tensor, a: Tensor, b: Tensor, *rest: Any, out: Tensor, **options: Any) -> int:
    return _matrix_product(a, b, out=out)


def _row_product(x: Tensor, *rest: Any, out: Tensor, **options: Any) -> int:
    """Return the cost of a linear layer whose weight is packed: every row of inputs meets every output."""
    return x.numel() * out.shape[-1]


def _grouped_product(a: Tensor, b: Tensor, *rest: Any, out: Tensor, **options: Any) -> int:
    """Return the cost of products of groups of rows, columns or both, each group with a matrix of its own."""
    return out.numel() * a.shape[-1] if a.dim() > b.dim() else a.numel() * b.shape[-1]


def _trilinear(a: Tensor, b: Tensor, c: Tensor, *dims_and_sum: Any, out: Any) -> int:
    """Return the number of products of three factors that are added up."""
    *dims, summed = dims_and_sum[:4]
    factors = []
    for x, new_dims in zip((a, b, c), dims, strict=True):
        for dim in sorted(new_dims):
            x = x.unsqueeze(dim)
        factors.append(tuple(x.shape))
    return math.prod(np.broadcast_shapes(*factors)) if summed else 0


def _distances(a: Tensor, *rest: Any, out: Tensor) -> int:
    """Return one for every coordinate of every pair."""
    return out.numel() * a.shape[-1]


def _distances_backward(grad: Tensor, a: Tensor, *rest: Any, out: Tensor) -> int:
    return grad.numel() * a.shape[-1]


def _embedding_bag(weight: Any, indices: Tensor, *rest: Any, out: Any, **options: Any) -> int:
    """Return one for every element of every row that is weighted and added up; rows without weights are free."""
    weights = rest[4] if len(rest) > 4 else options.get("per_sample_weights")
    bags, width = next(tensors(out)).shape
    return indices.numel() * width if weights is not None and indices.numel() > bags else 0


def _embedding_bag_backward(grad: Tensor, indices: Tensor, *rest: Any, out: Any) -> int:
    weights = next((x for x in rest[4:] if isinstance(x, Tensor) and x.is_floating_point()), None)
    return indices.numel() * grad.shape[1] if weights is not None else 0


def _fourier(x: Tensor, dims: Sequence[int], *rest: Any, out: Tensor) -> int:
    """Return the butterflies of a radix-2 transform, n/2 · log₂ n for n points, and half of them of real numbers."""
    points = out if x.is_complex() else x
    share = 2 if x.is_complex() and out.is_complex() else 4
    butterflies = math.ceil(points.numel() * math.log2(math.prod(points.shape[dim] for dim in dims)) / share)
    return butterflies if out.is_complex() else COMPLEX * butterflies


def _recurrent(gates: int, sums: int = 0) -> Rule:
    """Return the rule of recurrent layers with packed weights: products of the gates, and sums of two products."""

    def rule(x: Tensor, *rest: Any, out: Any, **options: Any) -> int:
        y, last = [*tensors(out), *tensors(out)][:2]
        width, rows = last.shape[-1], x.numel() // x.shape[-1]
        ways = y.shape[-1] // width
        layers = last.shape[0] // ways if last.dim() == 3 else 1
        inputs = x.shape[-1] + (layers - 1) * ways * width
        return rows * ways * width * (gates * (inputs + layers * width) + 2 * sums * layers)

    return rule


def _reflectors(a: Tensor, scales: Tensor, *, out: Tensor) -> int:
    """Return the cost of the first ``n`` columns of a product of ``k`` reflectors (LAPACK Working Note 41, orgqr)."""
    (*outer, m, n), k = a.shape, scales.shape[-1]
    return math.prod(outer) * round(2 * m * n * k - (m + n) * k**2 + 2 * k**3 / 3)


def _linear_system(a: Tensor, b: Tensor, *rest: Any, out: Any, **options: Any) -> int:
    """Return the cost of a factorisation, n³/3 for n unknowns, and of n² for each column of right sides."""
    *outer, n = a.shape[:-1]
    return math.prod(outer) * round(n**3 / 3) + b.numel() * n


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
_BY_RULE: dict[Rule, Sequence[str]] = {
    _convolution: tuple(CONVOLUTIONS),
    _convolution_backward: ("convolution_backward", "convolution_backward_overrideable"),
    _packed_convolution: tuple(_QUANTISED_CONVOLUTIONS),
    lambda x, weight, *rest, out: _meetings(weight, out): ("mkldnn_convolution", "torchvision::deform_conv2d"),
    lambda grad, x, weight, *rest, out: 2 * _meetings(weight, grad): ("torchvision::_deform_conv2d_backward",),
    lambda x, weight, *rest, out: out.numel() * weight[:, :, 0].numel(): ("conv_tbc",),
    _matrix_product: (
        "mm",
        "bmm",
        "mv",
        "dot",
        "vdot",
        "_int_mm",
        "quantized::matmul",
        "_scaled_mm",
        "_scaled_mm_v2",
        "_sparse_mm_reduce_impl",
    ),
    _grouped_product: ("_grouped_mm", "_scaled_grouped_mm"),
    _added_product: ("addmm", "baddbmm", "addbmm", "addmv", "_addmm_activation", "_sparse_addmm"),
    lambda start, a, b, *rest, out, **options: start._nnz() * a.shape[-1]: ("sparse_sampled_addmm",),
    _row_product: (
        *("_weight_int8pack_mm", "_weight_int4pack_mm", "_weight_int4pack_mm_for_cpu", "mkldnn_linear"),
        *_QUANTISED_LINEAR,
    ),
    _recurrent(4, 1): ("quantized_lstm", "quantized::quantized_lstm_cell_dynamic"),
    _recurrent(3): ("quantized_gru", "quantized::quantized_gru_cell_dynamic"),
    _recurrent(1): tuple(f"quantized::quantized_rnn_{function}_cell_dynamic" for function in ("tanh", "relu")),
    lambda *args, out: 2 * out[0].numel(): ("_thnn_fused_lstm_cell",),  # f·c + i·g
    _trilinear: ("_trilinear",),
    _distances: ("_euclidean_dist", "_cdist_forward", "_pdist_forward"),
    _distances_backward: ("_cdist_backward", "_pdist_backward"),
    _embedding_bag: (
        *("_embedding_bag", "_embedding_bag_forward_only"),
        *("quantized::embedding_bag_byte", "quantized::embedding_bag_4bit"),
    ),
    _embedding_bag_backward: ("_embedding_bag_backward", "_embedding_bag_dense_backward"),
    lambda grad, weight, indices, *rest, out: indices.numel() * grad.shape[1]: (
        "_embedding_bag_per_sample_weights_backward",
    ),
    _fourier: ("_fft_r2c", "_fft_c2r", "_fft_c2c"),
    _reflectors: ("linalg_householder_product",),
    _linear_system: ("_linalg_solve_ex",),
    lambda lu, pivots, b, *rest, out, **options: b.numel() * lu.shape[-1]: ("linalg_lu_solve",),
    lambda a, b, *rest, out, **options: b.numel() * a.shape[-1] // 2: ("linalg_solve_triangular",),
    lambda a, out: 5 * a.numel() * a.shape[-1]: ("linalg_matrix_exp",),  # torch's polynomial of degree 18, unscaled
    lambda a, b, *rest, out, **options: 2 * out.numel(): ("linalg_cross",),
    lambda *args, out, **options: attention(*args)[0]: tuple(FUSED_ATTENTION),
    # The gradients of queries, keys, values and scores are one product each; scores made a second time are not counted.
    lambda grad, *args, out, **options: 2 * attention(*args)[0]: tuple(
        f"{name}_backward" for name in _ATTENTION_KERNELS
    ),
}
RULES: dict[str, Rule] = {name: rule for rule, names in _BY_RULE.items() for name in names}
"""Multiply-accumulates of an operator, from its arguments and its output: by ATen name, others by their full name."""
