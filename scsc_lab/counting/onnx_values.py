"""Values in an ONNX graph while it is counted: tensors without storage, with their numbers where shapes need them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
