"""An ONNX graph while it is counted: its values, tensors without storage, and its layers in torch's words.

Left of ``/`` are a layer's inputs, tensors without storage; right of it are its attributes, in lower case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from scsc_lab.counting.onnx_file import MOST_ELEMENTS, attributes
from scsc_lab.counting.tensors import META
from scsc_lab.errors import InputError

_MOST_NUMBERS = 1024
"""Elements up to which the numbers of a tensor are followed: shapes, axes, indices."""

_MOST_REAL_NUMBERS = 8
"""Elements up to which real numbers are: the scales of a resize, a factor."""

_COMPUTED = frozenset(
    "Add Sub Mul Div Mod Neg Abs Min Max Gather Concat Slice Squeeze Unsqueeze Reshape Transpose Cast Equal Where "
    "Floor Ceil Sqrt Pow ReduceProd ReduceSum ReduceMax ReduceMin Not Less Greater LessOrEqual GreaterOrEqual And Or "
    "Identity Split Flatten Reciprocal Sign Trilu CumSum ScatterND ScatterElements GatherND GatherElements "
    "ConstantOfShape Expand Tile Range".split()
)
"""Operators that shapes are computed with."""

_TYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    14: torch.complex64,
    15: torch.complex128,
    16: torch.bfloat16,
}
_ELEMENTS = {dtype: element for element, dtype in _TYPES.items()}


@dataclass(frozen=True)
class Value:
    """A result in a graph.

    Attributes:
        tensor: its shape and type, on the meta device.
        numbers: its elements, where they are few and known.
    """

    tensor: Tensor
    numbers: np.ndarray | None = None


def element_type(element: int) -> torch.dtype:
    """Return torch's element type of an ONNX element type; one that torch lacks takes a byte.

    Raises:
        InputError: if ONNX has no such element type.
    """
    import onnx

    if element not in onnx.TensorProto.DataType.values():
        raise InputError(f"an ONNX file of no known element type: {element}")
    return _TYPES.get(element, torch.uint8) if element else torch.float32


def empty(sides: Sequence[int], element: int) -> Value:
    """Return a value of which nothing but its shape and its ONNX element type is known.

    Raises:
        InputError: if no tensor has such sides.
    """
    if any(side < 0 for side in sides) or math.prod(sides) > MOST_ELEMENTS:
        raise InputError(f"a tensor of impossible sides, {'×'.join(map(str, sides))}")
    return Value(torch.empty(list(sides), dtype=element_type(element), device=META))


def of_numbers(numbers: Any) -> Value:
    """Return a value of which all is known."""
    import onnx

    array = np.asarray(numbers)
    return Value(empty(array.shape, onnx.helper.np_dtype_to_tensor_dtype(array.dtype)).tensor, array)


def of_tensor(tensor: Any, folder: Path) -> Value:
    """Return a tensor that a file stores, with its numbers if they are few."""
    import onnx

    if isinstance(tensor, onnx.SparseTensorProto):
        return empty(tensor.dims, tensor.values.data_type)
    value = empty(tensor.dims, tensor.data_type)
    is_real = value.tensor.is_floating_point() or value.tensor.is_complex()
    if value.tensor.numel() > (_MOST_REAL_NUMBERS if is_real else _MOST_NUMBERS):
        return value
    try:
        return Value(value.tensor, np.asarray(onnx.numpy_helper.to_array(tensor, str(folder))))
    except Exception as error:  # elements that do not fit the sides, or that are in a file that is absent
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            return value
        raise InputError(f"the tensor {tensor.name!r} cannot be read: {' '.join(str(error).split())}") from None


def computed(node: Any, inputs: Sequence[Value | None], opsets: Mapping[str, int]) -> list[Value] | None:
    """Return the results of a node that computes shapes; None if it does not, or if the numbers are many."""
    if node.op_type in ("Shape", "Size") and not node.domain and inputs[0] is not None:
        sides, ends = inputs[0].tensor.shape, attributes(node)
        numbers = list(sides)[ends.get("start", 0) : ends.get("end")] if node.op_type == "Shape" else sides.numel()
        return [of_numbers(np.array(numbers, dtype=np.int64))]
    feeds = {name: value.numbers for name, value in zip(node.input, inputs, strict=True) if name and value}
    if node.op_type not in _COMPUTED or node.domain or any(numbers is None for numbers in feeds.values()):
        return None
    results = inferred(node, inputs, opsets)
    if any(value is None or value.tensor.numel() > _MOST_NUMBERS for value in results):
        return None
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    declared = [helper.make_empty_tensor_value_info(name) for name in feeds]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    model = helper.make_model(helper.make_graph([node], "node", declared, outputs), opset_imports=imports)
    try:
        return [of_numbers(numbers) for numbers in ReferenceEvaluator(model).run(None, feeds)]
    except Exception as error:  # whatever the operator raises for numbers that do not fit it
        raise InputError(f"{node.op_type} {node.name!r} cannot be computed: {' '.join(str(error).split())}") from None


def inferred(node: Any, inputs: Sequence[Value | None], opsets: Mapping[str, int]) -> list[Value | None]:
    """Return the shapes of a node's results as ONNX infers them; None where it does not."""
    import onnx

    types, data = {}, {}
    for name, value in zip(node.input, inputs, strict=True):
        if name and value is None:
            return [None] * len(node.output)
        if value is not None:
            element = _ELEMENTS[value.tensor.dtype]
            types[name] = onnx.helper.make_tensor_type_proto(element, list(value.tensor.shape))
            if value.numbers is not None:
                data[name] = onnx.numpy_helper.from_array(value.numbers, name)
    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets.get(domain, 0), domain)
        imports = [onnx.helper.make_opsetid(key, version) for key, version in opsets.items()]
        outputs = onnx.shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=imports)
    except Exception:  # no such operator, or inputs that it does not take
        return [None] * len(node.output)
    return [declared(outputs.get(name)) for name in node.output]


def declared(kind: Any) -> Value | None:
    """Return a value of a declared type; None if its shape is not all numbers."""
    dims = kind.tensor_type.shape.dim if kind is not None and kind.tensor_type.HasField("shape") else None
    if dims is None or not all(dim.HasField("dim_value") for dim in dims):
        return None
    return empty([int(dim.dim_value) for dim in dims], kind.tensor_type.elem_type)


Integers = Sequence[int]


def _padded(x: Tensor, kernel: Integers, window: Mapping[str, Any]) -> tuple[Tensor, tuple[int, ...]]:
    """Return a map, padded where the two ends of a side differ, and what is left to pad at both ends of each side."""
    dims = len(kernel)
    pads, auto_pad = window.get("pads") or [0] * 2 * dims, window.get("auto_pad", "NOTSET")
    strides, dilations = (window.get(name) or [1] * dims for name in ("strides", "dilations"))
    low, high = list(pads[:dims]), list(pads[dims:])
    for d, side in enumerate(x.shape[2:]) if auto_pad.startswith("SAME") else ():
        total = max((math.ceil(side / strides[d]) - 1) * strides[d] + dilations[d] * (kernel[d] - 1) + 1 - side, 0)
        low[d] = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
        high[d] = total - low[d]
    if low == high and min(low) >= 0:
        return x, tuple(low)
    return F.pad(x, [number for d in reversed(range(dims)) for number in (low[d], high[d])]), (0,) * dims


def _like(x: Tensor, weight: Tensor) -> Tensor:
    """Return a weight in the type of the tensor that it meets: of quantised ones, one may be signed and one not."""
    return weight if weight.dtype == x.dtype else weight.new_empty(weight.shape, dtype=x.dtype)


def conv(x: Tensor, w: Tensor, b: Tensor | None = None, /, group: int = 1, **window: Any) -> Tensor:
    """Return a convolution in one to three dimensions."""
    dims = w.dim() - 2
    x, padding = _padded(x, w.shape[2:], window)
    strides, dilations = (tuple(window.get(name) or [1] * dims) for name in ("strides", "dilations"))
    convolve: Callable[..., Tensor] = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
    return convolve(x, _like(x, w), b, strides, padding, dilations, group)


def conv_transpose(
    x: Tensor, w: Tensor, b: Tensor | None = None, /, *, results: list[Integers], group: int = 1, **window: Any
) -> Tensor:
    """Return a transposed convolution, padded so that it gives the size that ONNX infers."""
    dims = w.dim() - 2
    strides, dilations = (tuple(window.get(name) or [1] * dims) for name in ("strides", "dilations"))
    convolve: Callable[..., Tensor] = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[dims - 1]
    sides = [(x.shape[2 + d] - 1) * strides[d] + dilations[d] * (w.shape[2 + d] - 1) + 1 for d in range(dims)]
    cut = [side - target for side, target in zip(sides, results[0][2:], strict=True)]
    padding = tuple(max(math.ceil(number / 2), 0) for number in cut)
    most = [max(both) - 1 for both in zip(strides, dilations, strict=True)]
    extra = tuple(min(2 * p - number, limit) for p, number, limit in zip(padding, cut, most, strict=True))
    y = convolve(x, w, b, strides, padding, extra, group, dilations)
    return y if y.shape == torch.Size(results[0]) else y.new_empty(results[0])


def gemm(a: Tensor, b: Tensor, c: Tensor | None = None, /, transa: int = 0, transb: int = 0) -> Tensor:
    """Return ``a @ b + c``: a linear layer if the bias has a number per column."""
    a, b = a.t() if transa else a, b if transb else b.t()
    if c is None or c.shape == b.shape[:1]:
        return F.linear(a, _like(a, b), c)
    return F.linear(a, b) + c


def matmul(a: Tensor, b: Tensor, /, transa: int = 0, transb: int = 0) -> Tensor:
    """Return a matrix product; with a matrix on the right it is what torch calls a linear layer."""
    a, b = a.mT if transa else a, _like(a, b.mT if transb else b)
    return F.linear(a, b.t()) if b.dim() == 2 and a.dim() > 1 else torch.matmul(a, b)


def heads(x: Tensor, number: int) -> Tensor:
    """Return ``(N, L, heads·E)`` as ``(N, heads, L, E)``; a tensor of four sides is so already."""
    return x if x.dim() == 4 else x.unflatten(2, (number, -1)).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, *past: Tensor | None) -> Tensor:
    """Return the result of attention, ``(N, heads, L, E')``; keys and values of fewer heads serve several each.

    Keys and values of the past come before those of now.
    """
    key, value = (
        x if old is None else torch.cat([old, x], 2) for x, old in zip((key, value), past or (None, None), strict=True)
    )
    if key.shape[1] != query.shape[1]:
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    return F.scaled_dot_product_attention(query, key, value)


def attention(
    q: Tensor, k: Tensor, v: Tensor, /, *past: Tensor | None, q_num_heads: int = 1, kv_num_heads: int = 0
) -> Tensor:
    """Return the result of attention, of three sides or four as its queries."""
    y = attend(heads(q, q_num_heads), *(heads(x, kv_num_heads or q_num_heads) for x in (k, v)), *past)
    return y.transpose(1, 2).flatten(2) if q.dim() == 3 else y


def rotary(x: Tensor, /, num_heads: int = 0, rotary_embedding_dim: int = 0) -> Tensor:
    """Return tokens with some or all channels of each head turned: two products per element."""
    y = x.unflatten(-1, (num_heads, -1)) if x.dim() == 3 and num_heads else x
    side = rotary_embedding_dim or y.shape[-1]
    part, factor = y[..., :side], torch.empty_like(y[..., :side])
    return torch.cat([part * factor + part.flip(-1) * factor, y[..., side:]], -1).reshape(x.shape)


def recurrent(function: Callable[..., Any], states: int) -> Callable[..., list[Tensor]]:
    """Return a recurrent layer, of one or two directions; all steps are counted."""

    def result(x: Tensor, w: Tensor, r: Tensor, b: Tensor | None = None, /, layout: int = 0) -> list[Tensor]:
        x, (directions, _, width) = x.transpose(0, 1) if layout else x, r.shape
        biases = [()] * directions if b is None else [part.chunk(2) for part in b]
        weights = [part for d in range(directions) for part in (w[d], r[d], *biases[d])]
        start = [x.new_empty(directions, x.shape[1], width)] * states
        y, *last = function(
            x, start if states > 1 else start[0], weights, b is not None, 1, 0.0, False, directions == 2, False
        )
        y = y.unflatten(2, (directions, width))
        return [y.transpose(0, 1), *(x.transpose(0, 1) for x in last)] if layout else [y.transpose(1, 2), *last]

    return result


def average_pool(x: Tensor, /, kernel_shape: Integers, ceil_mode: int = 0, **window: Any) -> Tensor:
    """Return averages over windows, in one to three dimensions."""
    dims = len(kernel_shape)
    x, padding = _padded(x, kernel_shape, window)
    if any(2 * pad > side for pad, side in zip(padding, kernel_shape, strict=True)):
        x, padding = F.pad(x, [pad for pad in reversed(padding) for _ in range(2)]), (0,) * dims
    pool: Callable[..., Tensor] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[dims - 1]
    return pool(x, tuple(kernel_shape), tuple(window.get("strides") or [1] * dims), padding, bool(ceil_mode))


def layer_norm(x: Tensor, /, axis: int = -1) -> Tensor:
    """Return the normalised tensor, over all dimensions from an axis on."""
    return F.layer_norm(x, x.shape[axis % x.dim() :])
