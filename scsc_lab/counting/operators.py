"""Rules of ATen operators, those that cost nothing, and the names that list operators here and in fvcore."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scsc_lab.counting.rules import CONVOLUTIONS, FUSED_ATTENTION, RULES, Rule
from scsc_lab.errors import InputError
from scsc_lab.execution.passes import tensors

FREE = frozenset(
    # move, copy, index
    "cat stack clone copy contiguous constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d "
    "replication_pad1d replication_pad2d replication_pad3d roll flip rot90 repeat repeat_interleave index index_put "
    "_index_put_impl index_select index_add index_fill gather scatter scatter_add scatter_reduce masked_select "
    "masked_scatter masked_fill take put nonzero nonzero_static embedding embedding_renorm index_reduce _unsafe_view "
    "_unsafe_index _reshape_alias addr im2col col2im pixel_shuffle pixel_unshuffle channel_shuffle "
    "native_channel_shuffle as_strided tril triu tril_indices triu_indices diag_embed unfold _unsafe_masked_index "
    "resize set unsafe_split unsafe_split_with_sizes complex polar select_scatter slice_scatter diagonal_scatter "
    "as_strided_scatter _pack_padded_sequence to_padded_tensor trace nested_to_padded_tensor _nested_tensor_from_mask "
    "_nested_tensor_from_mask_left_aligned _to_dense to_mkldnn _to_sparse _to_sparse_csr _to_sparse_csc "
    "_sparse_coo_tensor_with_dims _sparse_coo_tensor_with_dims_and_tensors _coalesce mkldnn_reorder_conv2d_weight "
    "mkldnn_reorder_conv3d_weight block_diag _chunk_cat lu_unpack rsub sparse_mask "
    # allocate, draw
    "empty empty_like empty_strided empty_permuted new_empty new_empty_strided new_zeros new_ones new_full zeros "
    "zeros_like ones ones_like full full_like scalar_tensor arange linspace logspace eye rand rand_like randn "
    "randn_like randint randint_like randperm normal uniform bernoulli exponential cauchy geometric log_normal random "
    "poisson binomial multinomial _standard_gamma _sample_dirichlet _efficientzerotensor lift_fresh fill zero "
    "native_dropout dropout hann_window hamming_window bartlett_window blackman_window kaiser_window "
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
    "upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d "
    "upsample_linear1d upsample_bilinear2d mkldnn_max_pool2d mkldnn_max_pool3d mkldnn_adaptive_avg_pool2d "
    "upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa grid_sampler_2d "
    "grid_sampler_3d affine_grid_generator max_unpool2d max_unpool3d fractional_max_pool2d fractional_max_pool3d "
    "torchvision::roi_align torchvision::roi_pool torchvision::ps_roi_align torchvision::ps_roi_pool torchvision::nms "
    # reduce, compare, order
    "sum mean prod amax amin max min aminmax argmax argmin any all var std var_mean std_mean logsumexp median "
    "nanmedian mode nansum topk sort argsort kthvalue unique_dim _unique2 unique_consecutive bincount histc "
    "searchsorted bucketize floor_divide remainder fmod cumsum cumprod cummax cummin logcumsumexp equal allclose "
    "is_same_size _has_same_storage_numel _linalg_check_errors _local_scalar_dense item isin one_hot count_nonzero "
    "sym_size sym_numel sym_stride sym_storage_offset histogram _histogramdd_bin_edges _histogramdd_from_bin_cts "
    "_histogramdd_from_bin_tensors hash_tensor "
    # gradients under a name of their own
    "_softmax_backward_data _log_softmax_backward_data embedding_dense_backward select_backward slice_backward "
    "diagonal_backward batch_norm_backward value_selecting_reduction_backward _unsafe_masked_index_put_accumulate "
    # losses
    "nll_loss_forward nll_loss2d_forward nll_loss nll_loss2d mse_loss smooth_l1_loss huber_loss binary_cross_entropy "
    "binary_cross_entropy_with_logits soft_margin_loss multi_margin_loss multilabel_margin_loss_forward "
    "multilabel_margin_loss log_sigmoid_forward log_sigmoid _ctc_loss dist "
    # quantise
    "quantize_per_tensor quantize_per_tensor_dynamic quantize_per_channel dequantize int_repr q_scale q_zero_point "
    "q_per_channel_scales q_per_channel_zero_points q_per_channel_axis qscheme _empty_affine_quantized "
    "_empty_per_channel_affine_quantized _make_per_tensor_quantized_tensor _make_per_channel_quantized_tensor "
    "fake_quantize_per_tensor_affine_cachemask fake_quantize_per_channel_affine_cachemask "
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams _fake_quantize_learnable_per_tensor_affine "
    "_fake_quantize_learnable_per_channel_affine _fused_moving_avg_obs_fq_helper quantized_max_pool1d "
    "quantized_max_pool2d quantized_max_pool3d quantized_batch_norm quantized::add quantized::add_relu "
    "quantized::add_scalar quantized::add_scalar_relu quantized::mul quantized::mul_relu quantized::mul_scalar "
    "quantized::mul_scalar_relu quantized::cat quantized::cat_relu quantized::relu6 quantized::leaky_relu "
    "quantized::elu quantized::celu quantized::prelu quantized::hardswish quantized::sigmoid quantized::tanh "
    "quantized::softmax quantized::batch_norm quantized::batch_norm_relu quantized::batch_norm1d "
    "quantized::batch_norm1d_relu quantized::batch_norm2d quantized::batch_norm2d_relu quantized::batch_norm3d "
    "quantized::batch_norm3d_relu quantized::layer_norm quantized::group_norm quantized::instance_norm "
    "quantized::embedding_byte quantized::embedding_4bit quantized_decomposed::quantize_per_tensor "
    "quantized_decomposed::dequantize_per_tensor quantized_decomposed::quantize_per_channel "
    "quantized_decomposed::dequantize_per_channel quantized_decomposed::choose_qparams "
    # guards that torch leaves in a graph, and marks of the profiler
    "profiler::_record_function_enter profiler::_record_function_enter_new profiler::_record_function_exit "
    "_assert_async _assert_scalar _assert_tensor_metadata record_stream".split()
)
"""Operators that cost none, nor do their gradients; beside views, ``…_copy`` and what ATen tags as pointwise."""


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
        raise InputError(f"{name!r} is not the full name of an operator, e.g. 'mylib::op'")
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


_POINTWISE_UNTAGGED = frozenset({"hardswish", "prelu", "_prelu_kernel", "rrelu_with_noise", "log_sigmoid_forward"})
_VIEWS_UNTAGGED = frozenset({"_unsafe_view", "_reshape_alias", "lift_fresh", "detach", "alias"})
ALLOCATIONS = frozenset({"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"})
"""Operators that make room."""


@dataclass(frozen=True)
class Kind:
    """Rule of an operator.

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
    pointwise = torch.Tag.pointwise in operator.tags or name.removesuffix("_") in _POINTWISE_UNTAGGED
    free = not FREE.isdisjoint((name, name.removesuffix("_"), name.removesuffix("_backward"))) or name.endswith("_copy")
    return Kind(name, RULES.get(name, RULES.get(name.removesuffix("_"))), view, pointwise, free or view or pointwise)


@functools.cache
def is_composite(operator: Any) -> bool:
    """Return whether an operator is made of other operators, on every device and with every gradient."""
    return bool(
        torch._C._dispatch_has_kernel_for_dispatch_key(operator.name(), "CompositeImplicitAutograd")
        and operator._can_decompose()
    )


PRIMITIVES = {"addmm": "linear", "mm": "linear"}
_REFLECTED = {"radd": "add", "iadd": "add", "rmul": "mul", "imul": "mul", "rsub": "sub", "isub": "sub"}
_SPELLINGS = {
    **_REFLECTED,
    "rmatmul": "matmul",
    "truediv": "div",
    "rtruediv": "div",
    "itruediv": "div",
    "linalg_matmul": "matmul",
} | {
    "getitem": "index",
    "setitem": "index_put",
}


def spelled(name: str) -> str:
    """Return the name of a torch function, however an operator of Python spells it."""
    bare = name.strip("_")
    return _SPELLINGS.get(bare, bare)


def contraction_name(name: str, label: str, args: tuple[Any, ...]) -> str:
    """Return the name of an operator with a rule, where the torch function's own does not say enough."""
    if name in CONVOLUTIONS:
        return _convolution_name(*args)
    if name.startswith("convolution_backward"):
        return _convolution_name(*args[1:10])
    if name in FUSED_ATTENTION:
        return "scaled_dot_product_attention"
    if label == "multi_head_attention_forward":
        return "linear" if _is_projection(name, args) else "scaled_dot_product_attention"
    return ""


def _is_projection(name: str, args: tuple[Any, ...]) -> bool:
    """Return whether a product inside multi-head attention is with a weight, common to the batch."""
    return name in ("addmm", "mm") or (name == "bmm" and args[1].stride(0) == 0)


def _convolution_name(
    x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, *rest: Any
) -> str:
    groups = rest[-1]
    name = f"conv{'_transpose' if transposed else ''}{x.dim() - 2}d"
    if groups > 1:
        return f"{name} {'depthwise' if groups == x.shape[1] else 'grouped'}"
    return f"{name} 1×1" if math.prod(weight.shape[2:]) == 1 else name


def fvcore_rule(name: str, label: str, args: tuple[Any, ...], out: Any, macs: int) -> tuple[str, int]:
    """Return the name under which fvcore lists an operator, and its count by the rules of fvcore, else ``("", 0)``.

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
        if label == "matmul":
            return label, 0  # its own rule, once a call
        return (label, macs) if name in RULES else ("", 0)
    if label == "scaled_dot_product_attention" or name in FUSED_ATTENTION:
        return "bmm", macs  # the two products, spelled out in the graph that it counts
    if label == "multi_head_attention_forward" and name in ("bmm", "addmm", "mm"):
        return "linear" if _is_projection(name, args) else "bmm", macs
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
    factors = list(tensors(list(operands)))
    letters = dict.fromkeys(letter for letter in equation if letter.isalpha())
    renamed = equation.replace(" ", "").translate({ord(letter): 97 + i for i, letter in enumerate(letters)})
    if renamed in ("abc,abd->acd", "abc,adc->adb"):
        return factors[0].numel() * (factors[1].shape[-1] if renamed == "abc,abd->acd" else factors[1].shape[1])
    report = np.einsum_path(renamed, *(np.broadcast_to(0.0, x.shape) for x in factors), optimize="optimal")[1]
    line = next(line for line in report.split("\n") if "optimized flop" in line.lower())
    return math.floor(float(line.split(":")[-1]) / 2)


def fvcore_matmul(function: str, a: Tensor, b: Tensor, *rest: Any) -> int:
    """Return what fvcore gives a matrix product: its rule does not see that the first factor is broadcast.

    Source: fvcore 0.1.5, ``matmul_flop_jit`` in ``fvcore/nn/jit_handles.py``.
    """
    first, second = (b, a) if function == "__rmatmul__" else (a, b)
    return first.numel() * second.shape[-1]


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
    "grid_sampler_3d": ("grid_sampler", 4),
}
