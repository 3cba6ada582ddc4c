"""An ONNX file as a module that runs on torch's meta device, so that it is counted by the rules of any other module."""

from __future__ import annotations

import ast
import functools
import math
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scsc_lab.counting import onnx_file, products
from scsc_lab.counting.layout import META
from scsc_lab.counting.onnx_operators import FREE, TRANSLATIONS
from scsc_lab.counting.onnx_values import Value, computed, inferred, numbers, on_meta, torch_type
from scsc_lab.errors import InputError, last_line

_MOST_STEPS = 2_000_000
_DEEPEST = 50
_KIND = "pkg.torch.export.graph_signature.InputSpec.kind"
_SCOPES = "pkg.torch.onnx.name_scopes"

_NO_PARAMETERS: Mapping[str, tuple[int, ...]] = {
    "BatchNormalization": (3, 4),
    "Resize": (1, 2, 3),
    "Clip": (1, 2),
    "Pad": (1, 2, 3),
    "Pow": (1,),
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
}
"""Inputs of operators that are statistics, bounds and scales, whatever their type; a parameter is what is learnt."""


class OnnxGraph(nn.Module):
    """An ONNX file that can be counted: no values, no arithmetic, every operator in torch's words.

    Parameters are what torch's exporter calls so. In a file that does not say, they are the floating-point (or
    quantised) tensors that an operator multiplies or adds: not the statistics of BatchNorm, and not single numbers
    without a side. They belong to the modules that their names speak of, and so do the operators of torch's exporter.

    Args:
        path: the file.

    Attributes:
        image: the one image that it takes.
        not_counted: operators that do arithmetic and have no rule, with their calls in the last pass.

    Raises:
        InputError: if it is no whole and sound ONNX file, or takes no image.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.graph = onnx_file.read(path)
        self.image = onnx_file.image(self.graph, path)
        self.opsets = {one.domain if one.domain != "ai.onnx" else "": one.version for one in self.graph.opset_import}
        self.functions = {(one.domain, one.name): one for one in self.graph.functions}
        self.not_counted: Counter[str] = Counter()
        self.steps = 0
        self._known: dict[str, Value] = {}
        used = _used_as_parameters(self.graph.graph)
        scopes = {_scope(node) for node in self.graph.graph.node}
        for tensor in self.graph.graph.initializer:
            self._add(tensor, is_parameter=_is_learnt(tensor, used))
        for scope in sorted(scopes):
            self._place(scope)
        self.eval()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the outputs without values, from an image without values, ``(N, C, H, W)``.

        Raises:
            InputError: if the file fixes another size or batch, or its graph is broken or cyclic.
        """
        self._check_size(x)
        self.not_counted.clear()
        self.steps = 0
        values = dict(self._known)
        kind = next(
            value.type.tensor_type.elem_type for value in self.graph.graph.input if value.name == self.image.name
        )
        values[self.image.name] = x.to(_torch_element(kind))
        for value in self.graph.graph.value_info:  # what the file says of results that nothing else is known of
            values.setdefault(f"declared {value.name}", _declared(value))
        self._run(self.graph.graph.node, values, self.opsets, {}, 0)
        found = [values.get(value.name) for value in self.graph.graph.output]
        return [on_meta(value) for value in found if value is not None]

    def _run(
        self,
        nodes: Sequence[Any],
        values: dict[str, Value],
        opsets: Mapping[str, int],
        outer: Mapping[str, Any],
        depth: int,
    ) -> None:
        """Go through nodes in order, and add what they give to the values."""
        for node in nodes:
            self.steps += 1
            if self.steps > _MOST_STEPS or depth > _DEEPEST:
                raise InputError(f"{self.path} never ends: functions in functions, {self.steps:,} nodes")
            missing = next((name for name in node.input if name and name not in values), None)
            if missing is not None:
                raise InputError(
                    f"{self.path}: {node.op_type} {node.name!r} reads {missing!r}, which nothing before it gives: "
                    "the graph is cyclic, out of order or cut off"
                )
            work = functools.partial(self._result, node, values, opsets, outer, depth)
            try:
                found = self._placed(_scope(node), work)
            except InputError:
                raise
            except Exception as error:  # inputs and attributes that the operator needs are not there, or are odd
                raise InputError(
                    f"{self.path}: {node.op_type} {node.name!r} cannot be counted: {last_line(error)}"
                ) from None
            for name, value in zip(node.output, found, strict=False):
                if name:
                    values[name] = value if value is not None else values.get(f"declared {name}")

    def _result(
        self, node: Any, values: dict[str, Value], opsets: Mapping[str, int], outer: Mapping[str, Any], depth: int
    ) -> Sequence[Value]:
        """Return what a node gives."""
        inputs = [values[name] if name else None for name in node.input]
        attributes = _attributes(node, outer)
        domain = "" if node.domain == "ai.onnx" else node.domain
        name = f"{domain}.{node.op_type}" if domain else node.op_type
        if (node.domain, node.op_type) in self.functions:
            return self._called(self.functions[node.domain, node.op_type], inputs, attributes, depth)
        if node.op_type == "If" and isinstance(inputs[0], np.ndarray):
            branch = attributes["then_branch" if inputs[0].all() else "else_branch"]
            inner = dict(values)
            inner |= {tensor.name: _value(tensor) for tensor in branch.initializer}
            self._run(branch.node, inner, opsets, outer, depth + 1)
            return [inner.get(value.name) for value in branch.output]
        if node.op_type == "Constant" and not domain:
            return [_constant(attributes)]
        if node.op_type in ("Shape", "Size") and not domain and inputs[0] is not None:
            return [_shape(node.op_type, on_meta(inputs[0]), attributes)]
        blind = any(value is None for value, given in zip(inputs, node.input, strict=True) if given)
        if not blind:
            few = computed(node, inputs, opsets) if not domain else None
            if few is not None:
                return few
            if name in TRANSLATIONS:
                return self._translated(name, node, inputs, attributes)
        for value in inputs:
            if isinstance(value, Tensor):
                products.finish(value, name)
        if name not in FREE and not (blind and name in _MOVES):
            self.not_counted[name] += 1
        return inferred(node, inputs, opsets)

    def _translated(self, name: str, node: Any, inputs: Sequence[Value], attributes: dict[str, Any]) -> Sequence[Value]:
        """Return what an operator gives that is said in torch's words."""
        try:
            out = TRANSLATIONS[name](inputs, {"outputs": len(node.output), **attributes})
        except Exception as error:  # sides and attributes that do not fit the operator, or that are not understood
            why = str(error) if isinstance(error, InputError) else last_line(error)
            raise InputError(f"{self.path}: {name} {node.name!r} cannot be counted: {why}") from None
        return out if isinstance(out, (list, tuple)) else [out]

    def _called(
        self, function: Any, inputs: Sequence[Value], attributes: dict[str, Any], depth: int
    ) -> Sequence[Value]:
        """Return what a function of the file's own gives."""
        defaults = {one.name: _attribute(one) for one in function.attribute_proto}
        inner: dict[str, Value] = dict(zip(function.input, inputs, strict=False))
        for name in function.input[len(inputs) :]:
            inner[name] = None
        opsets = {one.domain if one.domain != "ai.onnx" else "": one.version for one in function.opset_import}
        self._run(function.node, inner, opsets, {**defaults, **attributes}, depth + 1)
        return [inner.get(name) for name in function.output]

    def _placed(self, scope: str, work: Callable[[], Sequence[Value]]) -> Sequence[Value]:
        """Do something as a part of the module whose name a scope is."""
        found: Sequence[Value] = self._place(scope)(work) if scope else work()
        return found

    def _place(self, scope: str) -> _Place:
        module: nn.Module = self
        for name in scope.split(".") if scope else ():
            parts = module._modules
            if not isinstance(parts.get(name), _Place):
                parts[name] = _Place()
            module = parts[name] or module
        return module if isinstance(module, _Place) else _Place()

    def _add(self, tensor: Any, *, is_parameter: bool) -> None:
        """Take in a tensor of the file: as a parameter of the module that its name speaks of, or as a constant."""
        value = _value(tensor)
        self._known[tensor.name] = value
        if is_parameter:
            scope = _module(tensor.name.rpartition(".")[0]) if _module(tensor.name) else ""
            module = self._place(scope) if scope else self
            parameter = nn.Parameter(on_meta(value), requires_grad=False)
            module._parameters[f"tensor_{len(module._parameters)}"] = parameter
            self._known[tensor.name] = value if isinstance(value, np.ndarray) else parameter

    def _check_size(self, x: Tensor) -> None:
        words = ("its batch is", "its channels are", "its height is", "its width is")
        for word, side, given in zip(words, self.image.sides, x.shape, strict=True):
            if side is not None and side != given:
                raise InputError(f"{self.path}: {word} fixed at {side}, not {given}")


class _Place(nn.Module):
    """A module that a file's names speak of: a place where work is done."""

    def forward(self, work: Callable[[], Sequence[Value]]) -> Sequence[Value]:
        """Return what the work gives."""
        return work()


_MOVES = frozenset(
    "Transpose Reshape Flatten Squeeze Unsqueeze Expand Slice Split Gather Pad Tile Concat Identity Dropout Where Cast "
    "Relu Sigmoid Tanh Erf Exp Log Sqrt Softmax LayerNormalization BatchNormalization Gelu".split()
)
"""Operators that cost nothing, whatever they are fed."""


def _used_as_parameters(graph: Any) -> set[str]:
    """Return the names of tensors that some operator reads as what is learnt, whatever copies or turns it before."""
    return {
        name
        for nodes in _all_nodes(graph)
        for node in nodes
        for place, name in enumerate(node.input)
        if place not in _NO_PARAMETERS.get(node.op_type, ())
    }


def _all_nodes(graph: Any) -> Iterator[Sequence[Any]]:
    """Yield the nodes of a graph, and of the graphs inside it."""
    yield graph.node
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _all_nodes(attribute.g)


def _is_learnt(tensor: Any, used: Container[str]) -> bool:
    """Return whether a tensor is learnt: if who wrote the file does not say, numbers along a side that something uses.

    Args:
        tensor: a tensor of the file.
        used: names of those that some operator reads as what is learnt.
    """
    kind = next((entry.value for entry in tensor.metadata_props if entry.key == _KIND), "")
    if kind:
        return kind == "PARAMETER"
    element = np.dtype(_element(tensor.data_type))
    whole = element.kind in "iu" and element.itemsize > 1
    return tensor.name in used and len(tensor.dims) > 0 and not whole and element.kind != "b"


def _element(kind: int) -> Any:
    import onnx

    try:
        return onnx.helper.tensor_dtype_to_np_dtype(kind)
    except KeyError:
        raise InputError(f"an ONNX file of no known element type: {kind}") from None


def _torch_element(kind: int) -> torch.dtype:
    return torch_type(_element(kind)) if kind else torch.float32


def _value(tensor: Any) -> Value:
    """Return a tensor of the file: its numbers if they are few and whole, or tell how something is scaled."""
    few = numbers(tensor)
    if few is not None and (few.dtype.kind in "iub" or few.size <= _FEW_SCALES):
        return few
    return torch.empty(list(tensor.dims), dtype=_torch_element(tensor.data_type), device=META)


_FEW_SCALES = 8
"""Elements up to which real numbers are followed: the scales of a resize, a factor."""


def _declared(value: Any) -> Tensor | None:
    """Return what a file says of the shape of one of its results, if that is all numbers."""
    kind = value.type.tensor_type
    sides = [int(dim.dim_value) for dim in kind.shape.dim if dim.HasField("dim_value")]
    if not kind.HasField("shape") or len(sides) != len(kind.shape.dim) or any(side < 0 for side in sides):
        return None
    if math.prod(sides) > onnx_file.MOST_ELEMENTS:
        return None
    return torch.empty(sides, dtype=_torch_element(kind.elem_type), device=META)


def _constant(attributes: dict[str, Any]) -> Value:
    """Return what a ``Constant`` gives."""
    if "value" in attributes:
        return _value(attributes["value"])
    name, given = next(((key, attributes[key]) for key in _CONSTANTS if key in attributes), ("", None))
    return np.array(given, dtype=_CONSTANTS[name]) if name else None


_CONSTANTS = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}


def _shape(kind: str, x: Tensor, attributes: dict[str, Any]) -> np.ndarray:
    if kind == "Size":
        return np.array(x.numel(), dtype=np.int64)
    return np.array(list(x.shape)[attributes.get("start", 0) : attributes.get("end")], dtype=np.int64)


def _attributes(node: Any, outer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node's attributes; inside a function some stand for those of its call."""
    found = {}
    for one in node.attribute:
        if not one.ref_attr_name:
            found[one.name] = _attribute(one)
        elif one.ref_attr_name in outer:
            found[one.name] = outer[one.ref_attr_name]
    return found


def _attribute(one: Any) -> Any:
    import onnx

    value = onnx.helper.get_attribute_value(one)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _scope(node: Any) -> str:
    """Return the module that torch's exporter says a node stands in; empty where nothing says it."""
    text = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "")
    try:
        names = ast.literal_eval(text) if text and len(text) < _LONGEST_SCOPES else []
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ""
    inside = names[:-1] if isinstance(names, list) else []
    name = inside[-1] if inside else ""
    return _module(name) if isinstance(name, str) else ""


def _module(name: str) -> str:
    """Return a name if it may be that of a module: parts between dots, not too many; else nothing."""
    parts = name.split(".")
    return name if all(parts) and len(parts) <= _DEEPEST else ""


_LONGEST_SCOPES = 10_000
