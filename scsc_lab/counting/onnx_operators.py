"""ONNX's operators in torch's words, so that a file is counted by the same rules as a module.

Each translation is a small function with ONNX's names, in lower case. Left of ``/`` are tensors without storage, in the
order of the operator's inputs; right of it are numbers, of further inputs and of attributes, whichever of the two the
opset has; ``results`` are the shapes of the results as ONNX infers them. An operator that is neither translated nor on
the list of free ones makes a count partial.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from scsc_lab.counting.onnx_values import (
    Integers,
    Value,
    attend,
    attention,
    average_pool,
    conv,
    conv_transpose,
    element_type,
    gemm,
    heads,
    layer_norm,
    matmul,
    recurrent,
    rotary,
)
from scsc_lab.errors import InputError


@dataclass(frozen=True)
class Translation:
    """A function that does what an operator does, and the inputs of the operator that it takes: all, or some places."""

    function: Callable[..., Any]
    places: tuple[int, ...] | None = None

    @functools.cached_property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The parameters of the function, by name."""
        return inspect.signature(self.function).parameters

    def __call__(
        self, inputs: Sequence[Value | None], attributes: Mapping[str, Any], infer: Callable[[], list[Value | None]]
    ) -> list[Tensor | None]:
        """Return the results of the operator; those that nothing reads may be missing.

        Raises:
            InputError: if a shape depends on values that are only known when the network runs.
        """
        if self.places is not None:
            inputs = [inputs[place] if place < len(inputs) else None for place in self.places]
        kinds = [parameter.kind for parameter in self.parameters.values()]
        number = len(inputs) if inspect.Parameter.VAR_POSITIONAL in kinds else kinds.count(kinds[0].POSITIONAL_ONLY)
        tensors = [value and value.tensor for value in inputs[:number]]
        takes_all = inspect.Parameter.VAR_KEYWORD in kinds
        options = {
            key.lower(): value for key, value in attributes.items() if takes_all or key.lower() in self.parameters
        }
        for name, value in zip([*self.parameters][number:], inputs[number:], strict=False):
            if value is not None:
                options[name] = _integers(value)
        if "results" in self.parameters:
            options["results"] = [value and value.tensor.shape for value in infer()]
            if None in options["results"]:
                raise _unknown_shape()
        outputs = self.function(*tensors, **options)
        return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def _integers(value: Value) -> list[int]:
    if value.numbers is None:
        raise _unknown_shape()
    return [int(number) for number in np.atleast_1d(value.numbers)]


def _unknown_shape() -> InputError:
    return InputError("its shape depends on values that are only known when it runs")


def _reduction(reduce: Callable[..., Tensor]) -> Translation:
    def result(x: Tensor, /, axes: Integers = (), keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
        if not axes and noop_with_empty_axes:
            return x
        return reduce(x, tuple(axes) or tuple(range(x.dim())), keepdim=bool(keepdims))

    return Translation(result)


def _transpose(x: Tensor, /, perm: Integers = ()) -> Tensor:
    return x.permute(*(perm or reversed(range(x.dim()))))


def _slice(x: Tensor, /, starts: Integers, ends: Integers, axes: Integers = (), steps: Integers = ()) -> Tensor:
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis, step = (axes[place] if axes else place) % x.dim(), steps[place] if steps else 1
        if step < 0:  # from the end: the same places of the mirrored side
            side = x.shape[axis]
            start, end = (side - 1 - (min(place + side if place < 0 else place, side - 1)) for place in (start, end))
            x, step = x.flip(axis), -step
        x = x[(slice(None),) * axis + (slice(start, end, step),)]
    return x


def _gather(x: Tensor, index: Tensor, /, axis: int = 0) -> Tensor:
    axis %= x.dim()
    picked = x.index_select(axis, index.reshape(-1).long())
    return picked.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _pad(x: Tensor, /, pads: Integers, axes: Integers = ()) -> Tensor:
    both = [0] * 2 * x.dim()
    for place, axis in enumerate(axes or range(x.dim())):
        back = x.dim() - 1 - axis % x.dim()
        both[2 * back : 2 * back + 2] = pads[place], pads[place + len(pads) // 2]
    return F.pad(x, both)


def over_all(function: Callable[[Tensor, Tensor], Tensor]) -> Translation:
    """Return the translation of an operator of any number of inputs: a function of two, again and again."""
    return Translation(lambda *xs: functools.reduce(function, xs))


def pointwise(function: Callable[[Tensor], Tensor]) -> Translation:
    """Return the translation of a function of the first input alone."""
    return Translation(lambda x, /: function(x), (0,))


TRANSLATIONS: dict[str, Translation] = {
    "Conv": Translation(conv),
    "ConvTranspose": Translation(conv_transpose),
    "DeformConv": Translation(conv, (0, 1, 3)),
    "Gemm": Translation(gemm),
    "MatMul": Translation(matmul),
    "Einsum": Translation(lambda *xs, equation: torch.einsum(equation, *xs)),
    "ConvInteger": Translation(conv, (0, 1)),
    "QLinearConv": Translation(conv, (0, 3)),
    "MatMulInteger": Translation(matmul, (0, 1)),
    "QLinearMatMul": Translation(matmul, (0, 3)),
    "Attention": Translation(attention, (0, 1, 2, 4, 5)),
    "RotaryEmbedding": Translation(rotary, (0,)),
    "LSTM": Translation(recurrent(torch.lstm, 2), (0, 1, 2, 3)),
    "GRU": Translation(recurrent(torch.gru, 1), (0, 1, 2, 3)),
    "RNN": Translation(recurrent(torch.rnn_tanh, 1), (0, 1, 2, 3)),
    **{name: over_all(getattr(torch, name.lower())) for name in ("Sub", "Mul", "Div", "Pow")},
    **dict.fromkeys(("Add", "Sum"), over_all(torch.add)),
    "Mean": Translation(lambda *xs: functools.reduce(torch.add, xs) / len(xs)),
    "Min": over_all(torch.minimum),
    "Max": over_all(torch.maximum),
    "ReduceSum": _reduction(torch.sum),
    "ReduceMean": _reduction(torch.mean),
    "AveragePool": Translation(average_pool),
    "GlobalAveragePool": Translation(lambda x, /: x.mean(tuple(range(2, x.dim())), keepdim=True)),
    "CumSum": Translation(lambda x, /, axis: torch.cumsum(x, axis[0])),
    "BatchNormalization": Translation(lambda x, w, b, mean, var, /: F.batch_norm(x, mean, var, w, b), (0, 1, 2, 3, 4)),
    **dict.fromkeys(
        ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"), Translation(layer_norm, (0,))
    ),
    "Softmax": Translation(lambda x, /, axis=-1: F.softmax(x, axis)),
    "Transpose": Translation(_transpose),
    **dict.fromkeys(
        ("Reshape", "Flatten", "Squeeze", "Unsqueeze"), Translation(lambda x, /, results: x.reshape(results[0]), (0,))
    ),
    "Expand": Translation(lambda x, /, results: x.expand(results[0]), (0,)),
    "Slice": Translation(_slice),
    "Split": Translation(lambda x, /, results, axis=0: x.split([sides[axis] for sides in results], axis), (0,)),
    "Gather": Translation(_gather),
    "Pad": Translation(_pad, (0, 1, 3)),
    "Tile": Translation(lambda x, /, repeats: x.repeat(*repeats)),
    "Concat": Translation(lambda *xs, axis: torch.cat(xs, axis)),
    "Cast": Translation(lambda x, /, to: x.to(element_type(to))),
    "DepthToSpace": Translation(lambda x, /, blocksize: F.pixel_shuffle(x, blocksize)),
    "SpaceToDepth": Translation(lambda x, /, blocksize: F.pixel_unshuffle(x, blocksize)),
    **dict.fromkeys(("Identity", "Dropout"), pointwise(lambda x: x)),
    "Where": Translation(lambda condition, x, y, /: torch.where(condition.bool(), x, y)),
    **{
        name: pointwise(getattr(torch, name.lower()))
        for name in "Relu Sigmoid Tanh Erf Exp Log Sqrt Reciprocal Abs Floor Ceil Round Sign Sin Cos Neg".split()
    },
    **{
        name: pointwise(getattr(F, name.lower()))
        for name in "Softplus Softsign HardSigmoid HardSwish Gelu Mish Elu Selu Celu".split()
    },
    **dict.fromkeys(("Clip", "PRelu", "ThresholdedRelu"), pointwise(torch.relu)),
    "LeakyRelu": pointwise(F.leaky_relu),
    "Swish": pointwise(F.silu),
}
"""Rule of each ONNX operator, by its name; those of ONNX Runtime with their domain before it."""


def _multi_head_attention(
    q: Tensor, k: Tensor | None = None, v: Tensor | None = None, /, *past: Tensor | None, num_heads: int
) -> Tensor:
    if k is None or v is None or k.dim() == 5:
        raise InputError("its queries, keys and values are packed together")
    return attend(*(heads(x, num_heads) for x in (q, k, v)), *past).transpose(1, 2).flatten(2)


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


_FUSED: dict[str, Translation] = {
    "FusedConv": Translation(conv, (0, 1, 2)),
    "FusedGemm": Translation(gemm),
    **dict.fromkeys(("FusedMatMul", "TransposeMatMul"), Translation(matmul)),
    "MultiHeadAttention": Translation(_multi_head_attention, (0, 1, 2, 6, 7)),
    "Attention": Translation(_projected_attention, (0, 1, 2)),
    **dict.fromkeys(
        ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), Translation(_skip_layer_norm, (0, 1))
    ),
    **dict.fromkeys(("SimplifiedLayerNormalization", "LayerNormalization"), Translation(layer_norm, (0,))),
    **dict.fromkeys(("BiasGelu", "FastGelu", "Gelu"), pointwise(F.gelu)),
    "QuickGelu": pointwise(F.silu),
    "RotaryEmbedding": Translation(rotary, (0,)),
    "BiasAdd": over_all(torch.add),
    "MatMulNBits": Translation(lambda x, /, k, n: F.linear(x, x.new_empty(n, k)), (0,)),
    "QGemm": Translation(gemm, (0, 3)),
    "QLinearAdd": Translation(lambda a, b, /: a + b, (0, 3)),
    "QLinearMul": Translation(lambda a, b, /: a * b, (0, 3)),
    **dict.fromkeys(("DynamicQuantizeMatMul", "MatMulIntegerToFloat"), Translation(matmul, (0, 1))),
    **dict.fromkeys(("GroupNorm", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax"), pointwise(torch.relu)),
    "QLinearGlobalAveragePool": Translation(lambda x, /: x.amax(tuple(range(2, x.dim())), keepdim=True), (0,)),
}

TRANSLATIONS |= {f"com.microsoft.{name}": translation for name, translation in _FUSED.items()}

MOVES = frozenset(
    "Transpose Reshape Flatten Squeeze Unsqueeze Expand Slice Split Gather Pad Tile Concat Identity Dropout Where Cast "
    "Relu Sigmoid Tanh Erf Exp Log Sqrt Softmax LayerNormalization BatchNormalization Gelu".split()
)
"""Translated operators that cost nothing, whatever they read."""

FREE = frozenset(
    "CastLike Mod Not And Or Xor Equal Less Greater LessOrEqual "
    "GreaterOrEqual IsNaN IsInf BitShift Shrink Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Tan "
    "BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BitCast CumProd NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss "
    "HannWindow HammingWindow BlackmanWindow TensorScatter "
    "Shape Size Constant ConstantOfShape Range OneHot EyeLike Trilu RandomNormal RandomUniform RandomNormalLike "
    "RandomUniformLike Bernoulli Multinomial "
    "MaxPool GlobalMaxPool LpPool GlobalLpPool MaxUnpool MaxRoiPool RoiAlign Resize Upsample GridSample AffineGrid "
    "CenterCropPad Col2Im GatherElements GatherND ScatterElements ScatterND Scatter "
    "ReverseSequence Compress Unique NonZero TopK ArgMax ArgMin "
    "InstanceNormalization GroupNormalization LpNormalization MeanVarianceNormalization LRN LogSoftmax Hardmax "
    "ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare NonMaxSuppression "
    "QuantizeLinear DequantizeLinear DynamicQuantizeLinear".split()
)
"""Operators that move, compare, choose, normalise, pool, resample, draw or activate: they cost no MACs."""
