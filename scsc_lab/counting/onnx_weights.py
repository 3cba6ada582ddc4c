"""The parameters of an ONNX file: the tensors that it stores and that its operators read as weights.

A file rarely says what is learnt. A stored tensor (initializer, sparse initializer or ``Constant``, of the main graph,
a graph inside it or a function) is a parameter if it has a side, holds real numbers or integers of at most a byte, and
reaches an operator that does more than copy it in another form. Single factors, statistics, bounds, scales, zero
points, initial states and the numbers that shapes are computed with are no parameters.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scsc_lab.counting.onnx_file import call_of, constant, function_key, module_name, module_of, resolved
from scsc_lab.errors import InputError

MOST_NODES = 50_000
"""Nodes that a file may come to when its functions are expanded and its loops are run."""

_KIND = "pkg.torch.export.graph_signature.InputSpec.kind"

_COPIES = frozenset(
    "Identity Cast CastLike Reshape Transpose Squeeze Unsqueeze Flatten Slice Expand Tile Split Concat".split()
)
"""Operators that give a stored tensor another form. All but Concat read it first, and then numbers."""

_NO_WEIGHTS: Mapping[str, tuple[int, ...]] = {
    "BatchNormalization": (3, 4),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "Clip": (1, 2),
    "Pad": (1, 2, 3),
    "Pow": (1,),
    "Dropout": (1, 2),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (4, 5, 6)),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), (1, 2)),
    **dict.fromkeys(("ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul"), (2, 3)),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearMul"), (1, 2, 4, 5, 6, 7)),
    "RotaryEmbedding": (1, 2, 3),
    "QGemm": (1, 2, 4, 5, 7, 8),
    "MatMulIntegerToFloat": (2, 3, 4, 5),
    "MatMulNBits": (2, 3, 4),
}
"""Inputs that are no weights, whatever their type: statistics, bounds, scales, zero points, initial states."""

_WIDE_INTEGERS = {("DequantizeLinear", 0), ("QLinearConv", 8), ("QGemm", 6)}
"""Inputs that are weights though their integers have more than a byte: quantised biases."""


@dataclass(frozen=True)
class Stored:
    """A tensor that a file stores.

    Attributes:
        path: the function and the graphs that hold it, then its name: once in a file, however often it is used.
        tensor: its ``TensorProto`` or ``SparseTensorProto``; None for the shape of some result.
        sides: its sides. A sparse tensor has those of the dense tensor.
        element: its ONNX element type.
        module: the module that it belongs to; empty if nothing says it.
        kind: what torch's exporter says of it, ``PARAMETER`` say; empty if nothing.
    """

    path: tuple[str, ...]
    sides: tuple[int, ...]
    element: int
    module: str = ""
    kind: str = ""


_SHAPE = Stored((), (), 0)
_Sources = frozenset[Stored] | None
"""The stored tensors that a value is a copy of; None for a value that something else went into."""


def weights(model: Any, path: Path) -> list[Stored]:
    """Return the parameters of a file, each once, in the order in which they are read.

    Raises:
        InputError: if its functions expand to too many nodes.
    """
    flow = _Flow(model, path)
    try:
        flow.graph(model.graph, ChainMap({value.name: None for value in model.graph.input}), {}, ())
    except RecursionError:
        raise flow.too_many() from None
    return list(flow.weights.values())


class _Flow:
    """State of a walk through all nodes of a file, functions expanded and all branches taken."""

    def __init__(self, model: Any, path: Path) -> None:
        self.path = path
        self.functions = {function_key(function): function for function in model.functions}
        self.weights: dict[tuple[str, ...], Stored] = {}
        self.nodes = 0

    def too_many(self) -> InputError:
        """Return the error that ends a walk."""
        limit = f"{MOST_NODES:,} nodes"
        return InputError(f"{self.path} expands to more than {limit}, or too deeply: its functions call functions")

    def _add(self, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MOST_NODES:
            raise self.too_many()

    def _union(self, sources: Iterable[_Sources]) -> _Sources:
        """Return the sources of several values together; None if anything else went into any of them."""
        union: set[Stored] = set()
        for source in sources:
            if source is None:
                return None
            union |= source
        self._add(len(union))  # each is as long to copy as a node to read
        return frozenset(union)

    def graph(
        self, graph: Any, scope: MutableMapping[str, _Sources], call: Mapping[str, Any], path: tuple[str, ...]
    ) -> list[_Sources]:
        """Walk through a graph; return the sources of its outputs."""
        for tensor in (*graph.initializer, *graph.sparse_initializer):
            stored = _stored(tensor, path)
            scope[stored.path[-1]] = frozenset({stored})
            if stored.kind == "PARAMETER":
                self.weights[stored.path] = stored
        self.walk(graph.node, scope, call, path)
        return [scope.get(value.name) for value in graph.output]

    def walk(
        self, nodes: Sequence[Any], scope: MutableMapping[str, _Sources], call: Mapping[str, Any], path: tuple[str, ...]
    ) -> None:
        """Walk through nodes, and add the sources of their results to the scope."""
        for index, node in enumerate(nodes):
            self._add(1)
            sources = [scope.get(name) if name else frozenset() for name in node.input]
            results = self.results(node, sources, scope, call, (*path, str(index)))
            scope.update((name, results[place]) for place, name in enumerate(node.output) if place < len(results))

    def results(
        self, node: Any, sources: list[_Sources], scope: Any, call: Mapping[str, Any], path: tuple[str, ...]
    ) -> Sequence[_Sources]:
        """Return the sources of what a node gives; note the weights that it reads."""
        caller, node = node, resolved(node, call)
        origin = path if node is caller else (*call.get("", ()), *path)  # what a call passes on is stored with the call
        if function := self.functions.get(function_key(node)):
            inner: dict[str, _Sources] = dict.fromkeys(function.input, frozenset())
            inner.update(zip(function.input, sources, strict=False))
            self.walk(function.node, inner, {**call_of(function, node), "": origin}, function_key(function))
            return [inner.get(name) for name in function.output]
        if node.op_type == "Constant":
            tensor = constant(node)
            return [frozenset() if tensor is None else frozenset({_stored(tensor, origin[:-1], node)})]
        if graphs := [attribute for attribute in node.attribute if attribute.HasField("g")]:
            outputs = []
            for attribute in graphs:
                inputs = dict(zip((value.name for value in attribute.g.input), sources, strict=False))
                outputs.append(self.graph(attribute.g, ChainMap(inputs, scope), call, (*path, attribute.name)))
            if node.op_type == "Loop":  # its condition is not among its results; it may run no turn at all
                carried = zip(outputs[0][1:], sources[2:], strict=False)
                return [*map(self._union, carried), *outputs[0][len(sources) - 1 :]]
            return [self._union(both) for both in zip(*outputs, strict=False)]
        if node.op_type in ("Shape", "Size"):
            return [frozenset({_SHAPE})]
        if node.op_type in _COPIES and node.op_type != "Concat":
            return [sources[0]] * len(node.output)
        read = [source for place, source in enumerate(sources) if place not in _NO_WEIGHTS.get(node.op_type, ())]
        union = self._union(read)
        if union is not None and node.op_type == "Concat":
            return [union]
        if union is not None and _SHAPE in union and node.op_type != "ConstantOfShape":
            return [frozenset({_SHAPE})]
        for place, source in enumerate(sources):
            for stored in source or () if place not in _NO_WEIGHTS.get(node.op_type, ()) else ():
                is_scale = node.op_type in ("Mul", "Div") and math.prod(stored.sides) == 1
                if not is_scale and _is_weight(stored, (node.op_type, place) in _WIDE_INTEGERS):
                    self.weights[stored.path] = stored
        return []


def _stored(tensor: Any, path: tuple[str, ...], node: Any = None) -> Stored:
    """Return an initializer, or the tensor that a ``Constant`` node holds."""
    values = getattr(tensor, "values", tensor)
    kind = next((entry.value for entry in values.metadata_props if entry.key == _KIND), "")
    name = values.name if node is None else node.output[0]
    module = module_name(name.rpartition(".")[0]) if node is None else module_of(node)
    return Stored((*path, name), tuple(tensor.dims), values.data_type, module, kind)


def _is_weight(stored: Stored, is_wide: bool) -> bool:
    """Return whether a tensor that an operator works with is a parameter, by its sides and type."""
    from onnx import helper

    if stored.kind or not stored.sides or math.prod(stored.sides) == 0:
        return False  # what torch's exporter calls a parameter is among them already
    dtype = helper.tensor_dtype_to_np_dtype(stored.element)
    return dtype.kind not in "biuOSU" or (dtype.kind in "iu" and (dtype.itemsize == 1 or is_wide))
