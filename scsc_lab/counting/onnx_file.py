"""Reading an ONNX file from anywhere: onnx's checker refuses what is malformed, and no other file is needed."""

from __future__ import annotations

import ast
import importlib.util
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from scsc_lab.errors import InputError

_MOST_BYTES = 2**31
"""The size limit of one protobuf file."""

MOST_ELEMENTS = 2**48
"""Elements of the largest tensor that is believed."""


_SCOPES = "pkg.torch.onnx.name_scopes"
_DEEPEST_MODULE = 50
_LONGEST_SCOPES = 10_000


@dataclass(frozen=True)
class Image:
    """The single image that a graph takes: its name, and each side of ``(N, C, H, W)``, ``None`` where it is open."""

    name: str
    sides: tuple[int | None, int | None, int | None, int | None]


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


def image(model: Any, path: Path) -> Image:
    """Return the single image that a model takes.

    Raises:
        InputError: if it takes anything else.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    shapes = [value.type.tensor_type.shape.dim for value in inputs]
    if len(inputs) != 1 or len(shapes[0]) != 4:
        description = "; ".join(f"{value.name} ({len(dims)} sides)" for value, dims in zip(inputs, shapes, strict=True))
        raise InputError(f"{path} takes {description or 'nothing'}; networks are counted that take one image, N×C×H×W")
    sides = [int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in shapes[0]]
    if math.prod(side or 1 for side in sides) > MOST_ELEMENTS:
        raise InputError(f"{path} takes an image of impossible sides, {'×'.join(str(side or '?') for side in sides)}")
    return Image(inputs[0].name, (sides[0], sides[1], sides[2], sides[3]))


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
