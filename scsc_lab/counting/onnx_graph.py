"""An ONNX file as a module that runs on torch's meta device, so that it is counted by the rules of any other module."""

from __future__ import annotations

import functools
from collections import ChainMap, Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from scsc_lab.counting import onnx_file, onnx_values, onnx_weights, products
from scsc_lab.counting.onnx_control import CONTROL, Results
from scsc_lab.counting.onnx_file import function_key, module_of
from scsc_lab.counting.onnx_operators import FREE, MOVES, TRANSLATIONS
from scsc_lab.counting.onnx_values import Value
from scsc_lab.counting.onnx_weights import MOST_NODES
from scsc_lab.errors import InputError, last_line


@dataclass(frozen=True)
class _Scope:
    """What a node refers to: values by name, declared shapes, versions of operators, the attributes of a call."""

    values: ChainMap[str, Value | None]
    declared: Mapping[str, Any]
    opsets: Mapping[str, int]
    call: Mapping[str, Any]


class _NodeError(InputError):
    """A mistake that names its node."""


class _Place(nn.Module):
    """A module that a file's names speak of."""

    def forward(self, work: Callable[[], Results]) -> Results:
        """Return what the work gives."""
        return work()


class OnnxGraph(nn.Module):
    """An ONNX file that can be counted: no weights, no arithmetic, every operator in torch's words.

    Its parameters are those of :mod:`scsc_lab.counting.onnx_weights`. They belong to the modules that their names speak
    of, and so do the operators of torch's exporter.

    Args:
        path: the file.

    Attributes:
        image: the single image that it takes.
        not_counted: operators that do arithmetic and have no rule, with their calls in the last pass.

    Raises:
        InputError: if it is no complete and valid ONNX file, takes no image, or expands to too many nodes.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.onnx = onnx_file.read(path)
        self.image = onnx_file.image(self.onnx, path)
        self.functions = {function_key(function): function for function in self.onnx.functions}
        self.not_counted: Counter[str] = Counter()
        self.nodes = 0
        for stored in onnx_weights.weights(self.onnx, path):
            empty = onnx_values.empty(stored.sides, stored.element).tensor
            parameters = self._place(stored.module)._parameters
            parameters[f"tensor_{len(parameters)}"] = nn.Parameter(empty, requires_grad=False)
        for name in sorted({module_of(node) for node in self.onnx.graph.node}):
            self._place(name)
        self.eval()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the outputs without values, from an image without values, ``(N, C, H, W)``.

        Raises:
            InputError: if the file fixes another size or batch, or an operator does not fit its inputs.
        """
        descriptions = ("its batch is", "its channels are", "its height is", "its width is")
        for description, side, image_side in zip(descriptions, self.image.sides, x.shape, strict=True):
            if side is not None and side != image_side:
                raise InputError(f"{self.path}: {description} fixed at {side}, not {image_side}")
        self.not_counted.clear()
        self.nodes = 0
        graph = self.onnx.graph
        elements = {value.name: value.type.tensor_type.elem_type for value in graph.input}
        image = Value(x.to(onnx_values.element_type(elements[self.image.name])))
        declared = {value.name: value.type for value in graph.value_info}
        scope = _Scope(ChainMap({self.image.name: image}), declared, _opsets(self.onnx), {})
        return [value.tensor for value in self._graph(graph, (), scope) if value is not None]

    def _graph(self, graph: Any, inputs: Results, scope: _Scope) -> Results:
        """Return what a graph gives, which sees the values around it."""
        values = scope.values.new_child(dict(zip((value.name for value in graph.input), inputs, strict=False)))
        for tensor in (*graph.initializer, *graph.sparse_initializer):
            values[getattr(tensor, "values", tensor).name] = onnx_values.of_tensor(tensor, self.path.parent)
        self._run(graph.node, replace(scope, values=values))
        return [values.get(value.name) for value in graph.output]

    def _call(self, function: Any, node: Any, inputs: Results) -> Results:
        """Return what a function of the file gives, which sees its inputs alone."""
        values: ChainMap[str, Value | None] = ChainMap(dict(zip(function.input, inputs, strict=False)))
        self._run(function.node, _Scope(values, {}, _opsets(function), onnx_file.call_of(function, node)))
        return [values.get(name) for name in function.output]

    def _run(self, nodes: Sequence[Any], scope: _Scope) -> None:
        """Run nodes in order, and add their results to the values."""
        for node in nodes:
            self.nodes += 1
            if self.nodes > MOST_NODES:
                raise _NodeError(
                    f"{self.path} runs more than {MOST_NODES:,} nodes: its loops are too long to be counted"
                )
            module, work = module_of(node), functools.partial(self._results, node, scope)
            try:
                results = self._place(module)(work) if module else work()
            except _NodeError:
                raise
            except Exception as error:  # inputs and attributes that do not fit the operator
                reason = str(error) if isinstance(error, InputError) else last_line(error)
                raise _NodeError(f"{self.path}: {node.op_type} {node.name!r} cannot be counted: {reason}") from None
            for name, value in zip(node.output, results, strict=False):
                scope.values[name] = value or onnx_values.declared(scope.declared.get(name))

    def _results(self, node: Any, scope: _Scope) -> Results:
        """Return what a node gives."""
        node = onnx_file.resolved(node, scope.call)
        inputs = [scope.values.get(name) if name else None for name in node.input]
        name = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        if function_key(node) in self.functions:
            return self._call(self.functions[function_key(node)], node, inputs)
        if name in CONTROL:
            run = functools.partial(self._graph, scope=scope)
            results, is_complete = CONTROL[name](run, node, inputs, onnx_file.attributes(node))
            self.not_counted.update([] if is_complete else [name])
            return results
        if name == "Constant":
            tensor = onnx_file.constant(node)
            return [None if tensor is None else onnx_values.of_tensor(tensor, self.path.parent)]
        is_blind = any(value is None for key, value in zip(node.input, inputs, strict=True) if key)
        if not is_blind:
            numbers = onnx_values.computed(node, inputs, scope.opsets)
            if numbers is not None:
                return numbers
            if name in TRANSLATIONS:
                infer = functools.partial(onnx_values.inferred, node, inputs, scope.opsets)
                tensors = TRANSLATIONS[name](inputs, onnx_file.attributes(node), infer)
                return [None if tensor is None else Value(tensor) for tensor in tensors]
        for value in inputs:
            if value is not None:
                products.finish(value.tensor, name)
        if name not in FREE and not (is_blind and name in MOVES):
            self.not_counted[name] += 1
        return onnx_values.inferred(node, inputs, scope.opsets)

    def _place(self, module: str) -> nn.Module:
        """Return the module of a name, made if it is new."""
        place: nn.Module = self
        for name in module.split(".") if module else ():
            place = place._modules.get(name) or place._modules.setdefault(name, _Place()) or place
        return place


def _opsets(model_or_function: Any) -> dict[str, int]:
    imports = model_or_function.opset_import
    return {"" if opset.domain == "ai.onnx" else opset.domain: opset.version for opset in imports}
