"""What is known of values in an ONNX graph while it is counted: numbers where shapes depend on them, else shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scsc_lab.counting.layout import META
from scsc_lab.counting.onnx_file import MOST_ELEMENTS
from scsc_lab.errors import InputError

MOST_KNOWN = 1024
"""Elements up to which the values of a tensor are followed: shapes, axes, scales. Larger ones are known by shape."""

Value = np.ndarray | Tensor | None
"""Numbers; or a tensor without storage; or nothing, behind an operator that nothing is known of."""

_COMPUTED = frozenset(
    "Add Sub Mul Div Mod Neg Abs Min Max Gather Concat Slice Squeeze Unsqueeze Reshape Transpose Cast Equal Where "
    "Floor Ceil Sqrt Pow ReduceProd ReduceSum ReduceMax ReduceMin Not Less Greater LessOrEqual GreaterOrEqual And Or "
    "Identity Split Flatten Reciprocal Sign Trilu CumSum ScatterND ScatterElements GatherND GatherElements".split()
)
"""Operators whose results are no larger than their inputs, broadcast against each other."""

_SIZED_BY_INPUT = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1}
"""Operators whose result is as large as the numbers in one of their inputs say."""


def on_meta(value: Value) -> Tensor:
    """Return a value as a tensor without storage."""
    if isinstance(value, Tensor):
        return value
    assert value is not None
    return torch.empty(value.shape, dtype=torch_type(value.dtype), device=META)


def torch_type(dtype: Any) -> torch.dtype:
    """Return torch's element type of NumPy's; what torch has no name for is as wide as a byte."""
    return _TYPES.get(np.dtype(dtype).name, torch.uint8)


_TYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
    "complex64": torch.complex64,
}


def numbers(tensor: Any) -> np.ndarray | None:
    """Return the numbers of a tensor in the file, if they lie in it and are few."""
    import onnx

    if math.prod(tensor.dims) > MOST_KNOWN or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return None
    try:
        return np.asarray(onnx.numpy_helper.to_array(tensor))
    except Exception as error:  # elements and sides that do not go together
        raise InputError(f"the tensor {tensor.name!r} cannot be read: {error}") from None


def computed(node: Any, inputs: Sequence[Value], opsets: Mapping[str, int]) -> list[np.ndarray] | None:
    """Return the results of a node whose inputs are all few known numbers, if it is one that shapes are made with."""
    known = [value for value in inputs if isinstance(value, np.ndarray)]
    if len(known) != len([name for name in node.input if name]) or sum(value.size for value in known) > MOST_KNOWN:
        return None
    if node.op_type in _SIZED_BY_INPUT:
        place = _SIZED_BY_INPUT[node.op_type]
        wanted = [int(side) for side in np.atleast_1d(known[place])] if len(known) > place else []
        if any(side < 0 or side > MOST_KNOWN for side in wanted):
            return None
        if math.prod(max(side, 1) for side in wanted) * (known[0].size if place else 1) > MOST_KNOWN:
            return None
    elif node.op_type == "Range":
        if len(known) != 3 or not known[2].all() or abs((known[1] - known[0]) / known[2]).max() > MOST_KNOWN:
            return None
    elif node.op_type not in _COMPUTED:
        return None
    from onnx.reference import ReferenceEvaluator

    feeds = {name: value for name, value in zip(node.input, inputs, strict=False) if name}
    try:
        found = ReferenceEvaluator(_single(node, feeds, opsets)).run(None, feeds)
    except Exception as error:  # whatever the operator says to numbers that do not fit it
        raise InputError(f"{node.op_type} {node.name!r} cannot be computed: {' '.join(str(error).split())}") from None
    return [np.asarray(value) for value in found]


def _single(node: Any, feeds: Mapping[str, Any], opsets: Mapping[str, int]) -> Any:
    """Return a model of one node."""
    from onnx import helper

    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), None)
        for name, value in feeds.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(helper.make_graph([node], "one", inputs, outputs), opset_imports=imports)


def inferred(node: Any, inputs: Sequence[Value], opsets: Mapping[str, int]) -> list[Value]:
    """Return the results of a node as far as ONNX itself knows their shapes; nothing where it does not."""
    import onnx

    nothing: list[Value] = [None] * len(node.output)
    version = opsets.get(node.domain if node.domain != "ai.onnx" else "", 0)
    if any(value is None for name, value in zip(node.input, inputs, strict=False) if name):
        return nothing
    types, data = {}, {}
    for name, value in zip(node.input, inputs, strict=False):
        if not name:
            continue
        element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(_NUMPY[on_meta(value).dtype]))
        types[name] = onnx.helper.make_tensor_type_proto(element, list(on_meta(value).shape))
        if isinstance(value, np.ndarray):
            data[name] = onnx.numpy_helper.from_array(value, name)
    try:
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
        imports = [onnx.helper.make_opsetid(domain, number) for domain, number in opsets.items()]
        found = onnx.shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=imports)
    except Exception:  # no such operator, or inputs that it does not take
        return nothing
    return [_stand_in(found.get(name)) for name in node.output]


def _stand_in(kind: Any) -> Tensor | None:
    import onnx

    dims = kind.tensor_type.shape.dim if kind is not None and kind.tensor_type.HasField("shape") else None
    if dims is None or not all(dim.HasField("dim_value") for dim in dims):
        return None
    if math.prod(int(dim.dim_value) for dim in dims) > MOST_ELEMENTS:
        raise InputError(f"a result has impossible sides, {'×'.join(str(dim.dim_value) for dim in dims)}")
    dtype = torch_type(onnx.helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type))
    return torch.empty([int(dim.dim_value) for dim in dims], dtype=dtype, device=META)


_NUMPY: dict[torch.dtype, str] = {
    kind: name if kind is not torch.bfloat16 else "float16" for name, kind in _TYPES.items()
}
