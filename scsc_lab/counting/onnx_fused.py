"""Operators that ONNX Runtime writes into the files that it optimises or quantises, in torch's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from scsc_lab.counting.onnx_layers import attend, conv, gemm, heads, layer_norm, matmul
from scsc_lab.counting.onnx_operators import Translation, over_all, pointwise
from scsc_lab.errors import InputError


def _fused_conv(
    x: Tensor, w: Tensor, b: Tensor | None = None, z: Tensor | None = None, /, activation: str = "", **window: Any
) -> Tensor:
    """Return a convolution, plus a shortcut if there is one, then activated."""
    y = conv(x, w, b, **window)
    y = y if z is None else y + z
    return torch.relu(y) if activation else y


def _fused_gemm(
    a: Tensor, b: Tensor, c: Tensor | None = None, /, transa: int = 0, transb: int = 0, activation: str = ""
) -> Tensor:
    y = gemm(a, b, c, transa, transb)
    return torch.relu(y) if activation else y


def _multi_head_attention(
    q: Tensor, k: Tensor | None = None, v: Tensor | None = None, /, *past: Tensor | None, num_heads: int
) -> Tensor:
    if k is None or v is None or k.dim() == 5:
        raise InputError("its queries, keys and values are packed together")
    if any(x is not None for x in past):
        raise InputError("it continues from past keys and values")
    return attend(*(heads(x, num_heads) for x in (q, k, v))).transpose(1, 2).flatten(2)


def _projected_attention(
    x: Tensor, w: Tensor, b: Tensor | None = None, /, num_heads: int = 1, qkv_hidden_sizes: list[int] | None = None
) -> Tensor:
    """Return the result of attention whose queries, keys and values are made by one linear layer."""
    y = F.linear(x, w.t(), b)
    parts = y.split(qkv_hidden_sizes or y.shape[2] // 3, dim=2)
    return attend(*(heads(part, num_heads) for part in parts)).transpose(1, 2).flatten(2)


def _skip_layer_norm(x: Tensor, skip: Tensor, /) -> tuple[Tensor | None, ...]:
    """Return the normalised sum of two maps; the sum itself is the fourth result."""
    y = x + skip
    return F.layer_norm(y, y.shape[-1:]), None, None, y


def _biased(activation: Callable[[Tensor], Tensor]) -> Translation:
    return Translation(lambda x, b=None, /: activation(x if b is None else x + b))


_FUSED: dict[str, Translation] = {
    "FusedConv": Translation(_fused_conv),
    "FusedGemm": Translation(_fused_gemm),
    **dict.fromkeys(("FusedMatMul", "TransposeMatMul"), Translation(matmul)),
    "MultiHeadAttention": Translation(_multi_head_attention, (0, 1, 2, 6, 7)),
    "Attention": Translation(_projected_attention, (0, 1, 2)),
    **dict.fromkeys(
        ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), Translation(_skip_layer_norm, (0, 1))
    ),
    **dict.fromkeys(("SimplifiedLayerNormalization", "LayerNormalization"), Translation(layer_norm, (0,))),
    **dict.fromkeys(("BiasGelu", "FastGelu", "Gelu"), _biased(F.gelu)),
    "QuickGelu": pointwise(F.silu),
    "BiasAdd": over_all(torch.add),
    "MatMulNBits": Translation(lambda x, /, k, n: F.linear(x, x.new_empty(n, k)), (0,)),
    "QGemm": Translation(gemm, (0, 3)),
    "QLinearAdd": Translation(lambda a, b, /: a + b, (0, 3)),
    "QLinearMul": Translation(lambda a, b, /: a * b, (0, 3)),
    **dict.fromkeys(("DynamicQuantizeMatMul", "MatMulIntegerToFloat"), Translation(matmul, (0, 1))),
    **dict.fromkeys(("GroupNorm", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax"), pointwise(torch.relu)),
    "QLinearGlobalAveragePool": Translation(lambda x, /: x.amax(tuple(range(2, x.dim())), keepdim=True), (0,)),
}

FUSED = {f"com.microsoft.{name}": translation for name, translation in _FUSED.items()}
"""What each operator of ONNX Runtime does, by its name with the domain before it."""
