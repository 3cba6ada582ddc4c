"""What ONNX's operators do, said in torch's: so that a file is counted by the very rules that a module is counted by.

An operator that has no translation here and is on the list of free ones is known by the shape of its result; any other
makes the count partial. Of the fused operators of ONNX Runtime (domain ``com.microsoft``) those that transformers and
convolutional networks get are translated into what was fused.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from scsc_lab.counting.onnx_values import Value, on_meta, torch_type
from scsc_lab.errors import InputError

Attributes = dict[str, Any]
Translation = Callable[[Sequence[Value], Attributes], Any]


def _integers(value: Value) -> list[int]:
    """Return numbers that a shape depends on.

    Raises:
        InputError: if they are only known when the network runs.
    """
    if not isinstance(value, np.ndarray):
        raise InputError("its shape depends on values that are only known when it runs")
    return [int(number) for number in np.atleast_1d(value)]


def _argument(inputs: Sequence[Value], place: int, attributes: Attributes, name: str) -> list[int] | None:
    """Return numbers that are an input in newer operators and an attribute in older ones."""
    if len(inputs) > place and inputs[place] is not None:
        return _integers(inputs[place])
    given = attributes.get(name)
    return None if given is None else [int(number) for number in given]


def _padding(x: Tensor, kernel: Sequence[int], attributes: Attributes) -> tuple[Tensor, list[int]]:
    """Return the input, padded where the two ends of a side differ, and what is left to pad at both ends."""
    dims = len(kernel)
    strides = attributes.get("strides") or [1] * dims
    dilations = attributes.get("dilations") or [1] * dims
    pads = list(attributes.get("pads") or [0] * 2 * dims)
    how = attributes.get("auto_pad", "NOTSET")
    if how.startswith("SAME"):
        for d in range(dims):
            side = x.shape[2 + d]
            needed = (math.ceil(side / strides[d]) - 1) * strides[d] + dilations[d] * (kernel[d] - 1) + 1 - side
            low = max(needed, 0) // 2 if how == "SAME_UPPER" else -(-max(needed, 0) // 2)
            pads[d], pads[dims + d] = low, max(needed, 0) - low
    if pads[:dims] == pads[dims:] and min(pads) >= 0:
        return x, pads[:dims]
    both = [number for d in reversed(range(dims)) for number in (pads[d], pads[dims + d])]
    return F.pad(x, both), [0] * dims


def _convolution(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    x, weight = on_meta(inputs[0]), on_meta(inputs[1])
    bias = on_meta(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else None
    dims = weight.dim() - 2
    x, pads = _padding(x, weight.shape[2:], attributes)
    convolve: Callable[..., Tensor] = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
    strides, dilations = (attributes.get(key) or [1] * dims for key in ("strides", "dilations"))
    return convolve(x, weight, bias, tuple(strides), tuple(pads), tuple(dilations), int(attributes.get("group", 1)))


def _fused_convolution(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    """Convolution, then a sum with a shortcut if there is one, then an activation: ``com.microsoft.FusedConv``."""
    y = _convolution(inputs[:3], attributes)
    if len(inputs) > 3 and inputs[3] is not None:
        y = y + on_meta(inputs[3])
    return torch.relu(y) if attributes.get("activation") else y


def _transposed_convolution(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    x, weight = on_meta(inputs[0]), on_meta(inputs[1])
    bias = on_meta(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else None
    dims = weight.dim() - 2
    strides, dilations = (attributes.get(key) or [1] * dims for key in ("strides", "dilations"))
    convolve: Callable[..., Tensor] = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[dims - 1]
    extra = attributes.get("output_padding") or [0] * dims
    pads = attributes.get("pads") or [0] * 2 * dims
    y = convolve(x, weight, bias, tuple(strides), 0, 0, int(attributes.get("group", 1)), tuple(dilations))
    sides = [y.shape[2 + d] + extra[d] - pads[d] - pads[dims + d] for d in range(dims)]
    if attributes.get("output_shape"):
        sides = [int(side) for side in attributes["output_shape"][-dims:]]
    elif attributes.get("auto_pad", "NOTSET").startswith("SAME"):
        sides = [x.shape[2 + d] * strides[d] for d in range(dims)]
    return y.new_empty((*y.shape[:2], *sides))


def _gemm(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    a, b = on_meta(inputs[0]), on_meta(inputs[1])
    c = on_meta(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else None
    a = a.t() if attributes.get("transA") else a
    b = b if attributes.get("transB") else b.t()
    y = F.linear(a, b, c if c is not None and c.dim() == 1 and c.shape[0] == b.shape[0] else None)
    return y + c if c is not None and not (c.dim() == 1 and c.shape[0] == b.shape[0]) else y


def _fused_gemm(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    y = _gemm(inputs, attributes)
    return torch.relu(y) if attributes.get("activation") else y


def _product(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    """Matrix product; with a weight on the right it is what torch calls a linear layer."""
    a, b = on_meta(inputs[0]), on_meta(inputs[1])
    if attributes.get("transA"):
        a = a.transpose(-1, -2)
    if attributes.get("transB"):
        b = b.transpose(-1, -2)
    if b.dim() == 2 and a.dim() > 1:
        return F.linear(a, b.t())
    return torch.matmul(a, b)


def _einsum(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    return torch.einsum(attributes["equation"], *(on_meta(value) for value in inputs))


def _heads(x: Tensor, heads: int) -> Tensor:
    """Return ``(N, L, heads·E)`` as ``(N, heads, L, E)``; what has four sides is so already."""
    return x if x.dim() == 4 else x.unflatten(2, (heads, -1)).transpose(1, 2)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return attention's result, ``(N, heads, L, E')``; keys and values of fewer heads serve several each."""
    if key.shape[1] != query.shape[1]:
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    return F.scaled_dot_product_attention(query, key, value)


def _attention(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    """``Attention`` of opset 23 and ``com.microsoft.MultiHeadAttention``: queries, keys and values apart."""
    if any(value is None for value in inputs[:3]) or len(inputs) < 3 or on_meta(inputs[1]).dim() == 5:
        raise InputError("its queries, keys and values are packed together")
    if any(isinstance(value, Tensor) for value in inputs[4:6]) and "num_heads" not in attributes:
        raise InputError("it goes on from keys and values of the past")
    query, key, value = (on_meta(x) for x in inputs[:3])
    heads = int(attributes.get("q_num_heads") or attributes.get("num_heads") or 1)
    own = int(attributes.get("kv_num_heads") or heads)
    flat = query.dim() == 3
    y = _attend(_heads(query, heads), _heads(key, own), _heads(value, own))
    return y.transpose(1, 2).flatten(2) if flat else y


def _projected_attention(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    """``com.microsoft.Attention``: one layer makes queries, keys and values, which then attend."""
    x, weight = on_meta(inputs[0]), on_meta(inputs[1])
    bias = on_meta(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else None
    made = F.linear(x, weight.t(), bias)
    sizes = attributes.get("qkv_hidden_sizes") or [made.shape[2] // 3] * 3
    query, key, value = (_heads(part, int(attributes["num_heads"])) for part in made.split([*map(int, sizes)], dim=2))
    return _attend(query, key, value).transpose(1, 2).flatten(2)


def _reduction(reduce: Callable[..., Tensor]) -> Translation:
    def result(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
        x = on_meta(inputs[0])
        axes = _argument(inputs, 1, attributes, "axes")
        if not axes and attributes.get("noop_with_empty_axes"):
            return x
        return reduce(x, tuple(axes) if axes else tuple(range(x.dim())), keepdim=bool(attributes.get("keepdims", 1)))

    return result


def _average_pool(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    kernel = [int(side) for side in attributes["kernel_shape"]]
    x, pads = _padding(on_meta(inputs[0]), kernel, attributes)
    strides = attributes.get("strides") or [1] * len(kernel)
    pool: Callable[..., Tensor] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    if any(2 * pad > side for pad, side in zip(pads, kernel, strict=True)):
        x, pads = F.pad(x, [number for pad in reversed(pads) for number in (pad, pad)]), [0] * len(kernel)
    return pool(x, tuple(kernel), tuple(strides), tuple(pads), bool(attributes.get("ceil_mode", 0)))


def _pool_all(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    x = on_meta(inputs[0])
    return x.mean(tuple(range(2, x.dim())), keepdim=True)


def _cumulative_sum(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    return torch.cumsum(on_meta(inputs[0]), _integers(inputs[1])[0])


def _over_all(function: Callable[[Tensor, Tensor], Tensor]) -> Translation:
    """Return a translation of an operator of any number of inputs, two by two."""
    return lambda inputs, attributes: functools.reduce(function, (on_meta(value) for value in inputs))


def _elementwise(function: Callable[..., Tensor]) -> Translation:
    """Return a translation into a function of tensors alone; numbers that are known are tensors to it."""
    return lambda inputs, attributes: function(*(on_meta(value) for value in inputs if value is not None))


def _first_alone(function: Callable[..., Tensor]) -> Translation:
    return lambda inputs, attributes: function(on_meta(inputs[0]))


def _batch_norm(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    x, weight, bias, mean, var = (on_meta(value) for value in inputs[:5])
    return F.batch_norm(x, mean, var, weight, bias)


def _layer_norm(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    x = on_meta(inputs[0])
    return F.layer_norm(x, x.shape[int(attributes.get("axis", -1)) % x.dim() :])


def _added_layer_norm(inputs: Sequence[Value], attributes: Attributes) -> Any:
    """``com.microsoft.SkipLayerNormalization``: a shortcut is added, then normalised; the sum is the fourth output."""
    x = on_meta(inputs[0]) + on_meta(inputs[1])
    return F.layer_norm(x, x.shape[-1:]), None, None, x


def _biased_gelu(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    x = on_meta(inputs[0])
    return F.gelu(x + on_meta(inputs[1]) if len(inputs) > 1 and inputs[1] is not None else x)


def _softmax(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    return F.softmax(on_meta(inputs[0]), int(attributes.get("axis", -1)))


def _transpose(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    x = on_meta(inputs[0])
    return x.permute(*(attributes.get("perm") or reversed(range(x.dim()))))


def _reshape(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    x, sides = on_meta(inputs[0]), _integers(inputs[1])
    if not attributes.get("allowzero"):
        sides = [x.shape[place] if side == 0 else side for place, side in enumerate(sides)]
    return x.reshape(sides)


def _flatten(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    x, axis = on_meta(inputs[0]), int(attributes.get("axis", 1))
    axis = axis % x.dim() if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _squeeze(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    x, axes = on_meta(inputs[0]), _argument(inputs, 1, attributes, "axes")
    return x.squeeze(tuple(axes)) if axes is not None else x.squeeze()


def _unsqueeze(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    x, axes = on_meta(inputs[0]), _argument(inputs, 1, attributes, "axes") or []
    for axis in sorted(axis % (x.dim() + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _expand(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    x = on_meta(inputs[0])
    return x.expand(np.broadcast_shapes(tuple(x.shape), tuple(_integers(inputs[1]))))


def _slice(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    x = on_meta(inputs[0])
    starts, ends = (_argument(inputs, place, attributes, key) or [] for place, key in ((1, "starts"), (2, "ends")))
    axes = _argument(inputs, 3, attributes, "axes") or list(range(len(starts)))
    steps = _argument(inputs, 4, attributes, "steps") or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        chosen = (
            range(x.shape[axis])[slice(start, end, step)] if step > 0 else _backwards(x.shape[axis], start, end, step)
        )
        if step > 0:
            places = [slice(None)] * x.dim()
            places[axis % x.dim()] = slice(chosen.start, chosen.stop, chosen.step)
            x = x[tuple(places)]
        else:
            x = x.index_select(axis, torch.empty(len(chosen), dtype=torch.int64, device=x.device))
    return x


def _backwards(side: int, start: int, end: int, step: int) -> range:
    """Return which places are read backwards: an end far below zero is that of the whole side."""
    start = min(max(start + side if start < 0 else start, 0), side - 1)
    end = -1 if end < -side else end + side if end < 0 else end
    return range(start, end, step)


def _split(inputs: Sequence[Value], attributes: Attributes) -> Sequence[Tensor]:
    x, axis = on_meta(inputs[0]), int(attributes.get("axis", 0))
    sizes = _argument(inputs, 1, attributes, "split")
    if sizes is None:
        number = int(attributes.get("num_outputs") or attributes["outputs"])
        each = -(-x.shape[axis] // number)
        sizes = [min(each, x.shape[axis] - place * each) for place in range(number)]
    parts: Sequence[Tensor] = x.split(sizes, axis)
    return parts


def _gather(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    x, index, axis = on_meta(inputs[0]), inputs[1], int(attributes.get("axis", 0))
    if isinstance(index, np.ndarray) and index.ndim == 0:
        return x.select(axis, int(index))
    rows = on_meta(index)
    picked = x.index_select(axis, rows.reshape(-1).long())
    axis %= x.dim()
    return picked.reshape(*x.shape[:axis], *rows.shape, *x.shape[axis + 1 :])


def _pad(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    x = on_meta(inputs[0])
    pads = _argument(inputs, 1, attributes, "pads") or []
    axes = _argument(inputs, 3, attributes, "axes") or list(range(x.dim()))
    both = [0] * 2 * x.dim()
    for place, axis in enumerate(axes):
        both[2 * (axis % x.dim()) : 2 * (axis % x.dim()) + 2] = pads[place], pads[place + len(axes)]
    return F.pad(x, [n for d in reversed(range(x.dim())) for n in both[2 * d : 2 * d + 2]])


def _tile(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    return on_meta(inputs[0]).repeat(_integers(inputs[1]))


def _concatenate(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    return torch.cat([on_meta(value) for value in inputs], int(attributes["axis"]))


def _same(inputs: Sequence[Value], attributes: Attributes) -> Value:
    return inputs[0]


def _where(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    condition, a, b = (on_meta(value) for value in inputs)
    return torch.where(condition.bool(), a, b)


def _cast(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    import onnx

    kind = onnx.helper.tensor_dtype_to_np_dtype(attributes["to"])
    return on_meta(inputs[0]).to(torch_type(kind))


def _depth_to_space(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    return F.pixel_shuffle(on_meta(inputs[0]), int(attributes["blocksize"]))


def _space_to_depth(inputs: Sequence[Value], attributes: Attributes) -> Tensor:
    return F.pixel_unshuffle(on_meta(inputs[0]), int(attributes["blocksize"]))


def _quantised(translation: Translation, *places: int) -> Translation:
    """Return a translation of an operator on whole numbers: it multiplies as many as that on real ones."""

    def result(inputs: Sequence[Value], attributes: Attributes) -> Any:
        given = [on_meta(inputs[place]) for place in places]
        return translation([x.new_empty(x.shape, dtype=torch.float32) for x in given], attributes)

    return result


_POINTWISE: dict[str, Callable[..., Tensor]] = {
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Log": torch.log,
    "Sqrt": torch.sqrt,
    "Reciprocal": torch.reciprocal,
    "Abs": torch.abs,
    "Floor": torch.floor,
    "Ceil": torch.ceil,
    "Round": torch.round,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "HardSigmoid": F.hardsigmoid,
    "HardSwish": F.hardswish,
    "Gelu": F.gelu,
    "Mish": F.mish,
    "Swish": F.silu,
    "LeakyRelu": F.leaky_relu,
    "Elu": F.elu,
    "Selu": F.selu,
    "Celu": F.celu,
    "Neg": torch.neg,
    "com.microsoft.QuickGelu": F.silu,
    "Clip": torch.relu,
    "PRelu": torch.relu,
    "ThresholdedRelu": torch.relu,
}

TRANSLATIONS: dict[str, Translation] = {
    "Conv": _convolution,
    "com.microsoft.FusedConv": _fused_convolution,
    "ConvTranspose": _transposed_convolution,
    "Gemm": _gemm,
    "com.microsoft.FusedGemm": _fused_gemm,
    "MatMul": _product,
    "com.microsoft.FusedMatMul": _product,
    "com.microsoft.TransposeMatMul": _product,
    "Einsum": _einsum,
    "ConvInteger": _quantised(_convolution, 0, 1),
    "QLinearConv": _quantised(_convolution, 0, 3),
    "MatMulInteger": _quantised(_product, 0, 1),
    "QLinearMatMul": _quantised(_product, 0, 3),
    "Attention": _attention,
    "com.microsoft.MultiHeadAttention": _attention,
    "com.microsoft.Attention": _projected_attention,
    "Add": _elementwise(torch.add),
    "Sub": _elementwise(torch.sub),
    "Mul": _elementwise(torch.mul),
    "Div": _elementwise(torch.div),
    "Sum": _over_all(torch.add),
    "Pow": _elementwise(torch.pow),
    "Min": _over_all(torch.minimum),
    "Max": _over_all(torch.maximum),
    "ReduceSum": _reduction(torch.sum),
    "ReduceMean": _reduction(torch.mean),
    "AveragePool": _average_pool,
    "GlobalAveragePool": _pool_all,
    "CumSum": _cumulative_sum,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "RMSNormalization": _layer_norm,
    "SimplifiedLayerNormalization": _layer_norm,
    "com.microsoft.SkipLayerNormalization": _added_layer_norm,
    "com.microsoft.SkipSimplifiedLayerNormalization": _added_layer_norm,
    "com.microsoft.BiasGelu": _biased_gelu,
    "com.microsoft.FastGelu": _biased_gelu,
    "com.microsoft.Gelu": _biased_gelu,
    "Softmax": _softmax,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Expand": _expand,
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    "Pad": _pad,
    "Tile": _tile,
    "Concat": _concatenate,
    "Cast": _cast,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "Identity": _same,
    "Dropout": _same,
    "Where": _where,
    **{name: _first_alone(function) for name, function in _POINTWISE.items()},
}
"""By operator, those of other domains than ONNX's own with the domain before: its inputs and attributes to results."""

FREE = frozenset(
    "CastLike Mod Not And Or Xor Equal Less Greater LessOrEqual "
    "GreaterOrEqual IsNaN IsInf BitShift Shrink Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Tan "
    "Shape Size Constant ConstantOfShape Range OneHot EyeLike Trilu RandomNormal RandomUniform RandomNormalLike "
    "RandomUniformLike Bernoulli Multinomial "
    "MaxPool GlobalMaxPool LpPool GlobalLpPool MaxUnpool MaxRoiPool RoiAlign Resize Upsample GridSample AffineGrid "
    "CenterCropPad Col2Im GatherElements GatherND ScatterElements ScatterND Scatter "
    "ReverseSequence Compress Unique NonZero TopK ArgMax ArgMin "
    "InstanceNormalization GroupNormalization LpNormalization MeanVarianceNormalization LRN LogSoftmax Hardmax "
    "ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare NonMaxSuppression "
    "QuantizeLinear DequantizeLinear DynamicQuantizeLinear "
    "com.microsoft.GroupNorm com.microsoft.SkipGroupNorm com.microsoft.BiasAdd com.microsoft.NhwcMaxPool".split()
)
"""Operators that move, compare, choose, normalise, pool, resample, draw or activate: they cost no MACs."""
