"""Names under which operators are listed, here and by fvcore, and what fvcore's rules give them.

A cross-check explains the difference between the two, operator by operator.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from scsc_lab.counting.rules import CONVOLUTIONS, FUSED_ATTENTION, RULES
from scsc_lab.counting.tensors import tensors

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
