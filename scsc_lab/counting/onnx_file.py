"""Reading an ONNX file from anywhere: onnx's checker refuses what is malformed, and no other file is needed."""

from __future__ import annotations

import ast
import importlib.util
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from scsc_lab.errors import InputError
from scsc_lab.networks.values import TYPES, InputTensor

_MOST_BYTES = 2**31
"""The size limit of one protobuf file."""

MOST_ELEMENTS = 2**48
"""Elements of the largest tensor that is believed."""


_SCOPES = "pkg.torch.onnx.name_scopes"
_DEEPEST_MODULE = 50
_LONGEST_SCOPES = 10_000


@dataclass(frozen=True)
class GraphInput:
    """A tensor that a graph takes.

    Attributes:
        name: its name.
        element: ONNX's number of its element type.
        sides: each side, ``None`` where it is open; ``None`` where their number is unknown.
    """

    name: str
    element: int
    sides: tuple[int | None, ...] | None

    @property
    def dtype(self) -> str:
        """The name of its element type; empty where an input cannot be given in it."""
        import onnx

        try:
            name = str(onnx.helper.tensor_dtype_to_np_dtype(self.element))
        except KeyError:  # of no type, or of one that onnx does not know
            name = ""
        return name if name in TYPES else ""

    def __str__(self) -> str:
        """Return its name and its sides."""
        return f"{self.name} ({'of any sides' if self.sides is None else 'x'.join(str(s or '?') for s in self.sides)})"


def read(path: Path) -> Any:
    """Return the model of an ONNX file; weights that are stored in other files are neither read nor needed.

    Raises:
        InputError: if the extra ``onnx`` is not installed, or the file is no complete and valid ONNX model.
    """
    if importlib.util.find_spec("onnx") is None:
        raise InputError("onnx is not installed: python -m pip install 'scsc-lab[onnx]'")
    import onnx

    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"{path} is not a file")
        if size > _MOST_BYTES:
            raise InputError(f"{path} has {size / 1e9:.1f} GB; an ONNX file has at most 2 GB")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # protobuf's errors have several parents
        raise InputError(f"{path} is not an ONNX file, or is incomplete") from None
    if not model.graph.node or not model.opset_import:
        raise InputError(f"{path} holds no ONNX graph")
    try:
        onnx.checker.check_model(_checkable(model, path))
    except (onnx.checker.ValidationError, ValueError) as error:
        reason = " ".join(str(error).partition("==> Context")[0].split())
        raise InputError(f"{path} is not a valid ONNX file: {reason}") from None
    return model


def inputs(model: Any, path: Path) -> tuple[GraphInput, ...]:
    """Return the tensors that a model takes, in order, without those that it stores itself.

    Raises:
        InputError: if it takes none, anything else, or one of impossible sides.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    graph_inputs = []
    for value in (value for value in model.graph.input if value.name not in stored):
        if not value.type.HasField("tensor_type"):
            raise InputError(f"{path} takes {value.name}, which is no tensor")
        tensor, sides = value.type.tensor_type, None
        if tensor.HasField("shape"):
            dims = tensor.shape.dim
            sides = tuple(int(d.dim_value) if d.HasField("dim_value") and d.dim_value > 0 else None for d in dims)
        graph_inputs.append(GraphInput(value.name, tensor.elem_type, sides))
        if math.prod(side or 1 for side in sides or ()) > MOST_ELEMENTS:
            raise InputError(f"{path} takes a tensor of impossible sides, {graph_inputs[-1]}")
    if not graph_inputs:
        raise InputError(f"{path} takes nothing")
    return tuple(graph_inputs)


def is_image(graph_inputs: Sequence[GraphInput]) -> bool:
    """Return whether a graph takes one image, ``(N, C, H, W)``, and nothing else."""
    return len(graph_inputs) == 1 and len(graph_inputs[0].sides or ()) == 4


def with_names(graph_inputs: Sequence[GraphInput], tensors: Sequence[InputTensor], path: Path) -> list[InputTensor]:
    """Return the tensors for a graph's inputs, in their order, each with its name and its type.

    Args:
        graph_inputs: the graph's inputs.
        tensors: sizes for some of them, by name or in order; the others must be fixed, their batch may be open.
        path: the file, for messages.

    Raises:
        InputError: if a tensor is none of the inputs, of another type, or one that is needed is missing.
    """
    unnamed = [tensor for tensor in tensors if not tensor.name]
    by_name = {tensor.name: tensor for tensor in tensors if tensor.name}
    inputs = f"{path} takes {', '.join(map(str, graph_inputs))}"
    chosen = []
    for graph_input in graph_inputs:
        tensor = by_name.pop(graph_input.name, None) or (unnamed.pop(0) if unnamed else None)
        if tensor is None:
            first, *rest = graph_input.sides or (None, None)
            if None in rest:
                raise InputError(f"{inputs}: give its sizes, e.g. --input {graph_input.name}=1x77")
            tensor = InputTensor((first or 1, *(side for side in rest if side)))
        if tensor.dtype not in ("", graph_input.dtype):
            raise InputError(f"--input {tensor}: {graph_input.name} is {graph_input.dtype} in {path}")
        chosen.append(replace(tensor, name=graph_input.name, dtype=graph_input.dtype))
    if unnamed or by_name:
        raise InputError(f"--input {(unnamed or list(by_name.values()))[0]}: {inputs}")
    return chosen


def resolved(node: Any, call: Mapping[str, Any]) -> Any:
    """Return a node of a function with the attributes of the call in place of references to them."""
    if not any(attribute.ref_attr_name for attribute in node.attribute):
        return node
    copied = type(node)()
    copied.CopyFrom(node)
    del copied.attribute[:]
    for attribute in node.attribute:
        source = call.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute
        if source is not None:
            copied.attribute.append(source)
            copied.attribute[-1].name = attribute.name
    return copied


def attributes(node: Any) -> dict[str, Any]:
    """Return a node's attributes by name."""
    import onnx

    values = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {
        name: value.decode("utf-8", "replace") if isinstance(value, bytes) else value for name, value in values.items()
    }


def constant(node: Any) -> Any:
    """Return the tensor that a ``Constant`` holds, dense or sparse, whichever attribute it is in; None for text."""
    import onnx

    values = attributes(node)
    for name in ("value_int", "value_ints", "value_float", "value_floats"):
        if name in values:
            return onnx.numpy_helper.from_array(np.array(values[name], np.int64 if "int" in name else np.float32))
    return values.get("value", values.get("sparse_value"))


def call_of(function: Any, node: Any) -> dict[str, Any]:
    """Return the attributes that a node calls a function with, its defaults among them."""
    return {attribute.name: attribute for attribute in (*function.attribute_proto, *node.attribute)}


def function_key(node_or_function: Any) -> tuple[str, str, str]:
    """Return the domain, name and overload of a function of a file, from itself or from a node that calls it."""
    name = getattr(node_or_function, "op_type", None) or node_or_function.name
    return (node_or_function.domain, name, node_or_function.overload)


def module_of(node: Any) -> str:
    """Return the module that torch's exporter says a node is in; empty where nothing says it."""
    text = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "")
    try:
        names = ast.literal_eval(text) if text and len(text) < _LONGEST_SCOPES else []
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ""
    name = names[-2] if isinstance(names, list) and len(names) > 1 else ""
    return module_name(name) if isinstance(name, str) else ""


def module_name(name: str) -> str:
    """Return a name if it may be that of a module: parts between dots, not too many; else nothing."""
    parts = name.split(".")
    return name if all(parts) and len(parts) <= _DEEPEST_MODULE else ""


def _checkable(model: Any, path: Path) -> Any:
    """Return a model without what the checker refuses though it can be counted: absent weights, untyped outputs."""
    import onnx

    external = [tensor for tensor in _tensors(model) if tensor.data_location == onnx.TensorProto.EXTERNAL]
    for tensor in external:
        place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        rooted = PurePosixPath(place).is_absolute() or PureWindowsPath(place).is_absolute()
        if not place or rooted or ".." in PurePosixPath(place).parts + PureWindowsPath(place).parts:
            raise InputError(f"{path}: the values of {tensor.name} lie outside its folder, at {place!r}")
    if not external and all(value.HasField("type") for value in model.graph.output):
        return model
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    for tensor in _tensors(copied):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor.CopyFrom(onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=[0]))
    for value in copied.graph.output:
        if not value.HasField("type"):
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
            value.type.tensor_type.shape.SetInParent()
    return copied


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every dense tensor that a model stores, those of its functions and of graphs inside graphs too."""
    graphs = [model.graph, *model.functions]
    while graphs:
        graph = graphs.pop()
        yield from getattr(graph, "initializer", ())
        for attribute in (attribute for node in graph.node for attribute in node.attribute):
            if attribute.HasField("t"):
                yield attribute.t
            graphs += [attribute.g] if attribute.HasField("g") else []
