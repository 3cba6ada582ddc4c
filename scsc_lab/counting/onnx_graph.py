"""An ONNX file as a module that runs on torch's meta device, so that it is counted by the rules of any other module."""

from __future__ import annotations

import functools
from collections import ChainMap, Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scsc_lab.counting import onnx_file, onnx_values, onnx_weights, terms
from scsc_lab.counting.onnx_file import GraphInput, function_key, module_of
from scsc_lab.counting.onnx_operators import FREE, MOVES, TRANSLATIONS
from scsc_lab.counting.onnx_values import Value, of_numbers
from scsc_lab.counting.onnx_weights import MOST_NODES
from scsc_lab.errors import InputError, last_line

_Results = Sequence[Value | None]
_Run = Callable[[Any, _Results], _Results]
"""Runs a graph on inputs, and returns its results."""


_IMAGE_SIDES = ("its batch is", "its channels are", "its height is", "its width is")


@dataclass(frozen=True)
class _Scope:
    """Scope of a node: values by name, declared shapes, versions of operators, the attributes of a call."""

    values: ChainMap[str, Value | None]
    declared: Mapping[str, Any]
    opsets: Mapping[str, int]
    call: Mapping[str, Any]


class _NodeError(InputError):
    """A mistake that names its node."""


class _Place(nn.Module):
    """A module that a file's names speak of."""

    def forward(self, work: Callable[[], _Results]) -> _Results:
        """Return what the work gives."""
        return work()


class OnnxGraph(nn.Module):
    """An ONNX file that can be counted: no weights, no arithmetic, every operator in torch's words.

    Its parameters are those of :mod:`scsc_lab.counting.onnx_weights`. They belong to the modules that their names speak
    of, and so do the operators of torch's exporter.

    Args:
        path: the file.

    Attributes:
        inputs: the tensors that it takes.
        not_counted: operators that do arithmetic and have no rule, with their calls in the last pass.

    Raises:
        InputError: if it is no complete and valid ONNX file, takes no tensor, or expands to too many nodes.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.onnx = onnx_file.read(path)
        self.inputs = onnx_file.inputs(self.onnx, path)
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

    def forward(self, *tensors: Tensor, **by_name: Tensor) -> list[Tensor]:
        """Return the outputs without values, from inputs without values, in order or by name.

        Raises:
            InputError: if the file fixes another size or batch, or an operator does not fit its inputs.
        """
        graph = self.onnx.graph
        values: dict[str, Value | None] = {}
        for graph_input, x in zip(self.inputs, [*tensors, *by_name.values()], strict=True):
            x = by_name.get(graph_input.name, x)
            self._check(graph_input, x)
            values[graph_input.name] = Value(x.to(onnx_values.element_type(graph_input.element)))
        self.not_counted.clear()
        self.nodes = 0
        declared = {value.name: value.type for value in graph.value_info}
        scope = _Scope(ChainMap(values), declared, _opsets(self.onnx), {})
        return [value.tensor for value in self._graph(graph, (), scope) if value is not None]

    def _check(self, graph_input: GraphInput, x: Tensor) -> None:
        """Raise InputError if the file fixes another size of an input."""
        sides = (None,) * x.dim() if graph_input.sides is None else graph_input.sides
        if len(sides) != x.dim():
            raise InputError(f"{self.path}: {graph_input.name} has {len(sides)} sides, not {x.dim()}")
        for at, (side, length) in enumerate(zip(sides, x.shape, strict=True)):
            if side not in (None, length):
                which = _IMAGE_SIDES[at] if onnx_file.is_image(self.inputs) else f"side {at} of {graph_input.name} is"
                raise InputError(f"{self.path}: {which} fixed at {side}, not {length}")

    def _graph(self, graph: Any, inputs: _Results, scope: _Scope) -> _Results:
        """Return what a graph gives, which sees the values around it."""
        values = scope.values.new_child(dict(zip((value.name for value in graph.input), inputs, strict=False)))
        for tensor in (*graph.initializer, *graph.sparse_initializer):
            values[getattr(tensor, "values", tensor).name] = onnx_values.of_tensor(tensor, self.path.parent)
        self._run(graph.node, replace(scope, values=values))
        return [values.get(value.name) for value in graph.output]

    def _call(self, function: Any, node: Any, inputs: _Results) -> _Results:
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

    def _results(self, node: Any, scope: _Scope) -> _Results:
        """Return what a node gives."""
        node = onnx_file.resolved(node, scope.call)
        inputs = [scope.values.get(name) if name else None for name in node.input]
        name = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        if function_key(node) in self.functions:
            return self._call(self.functions[function_key(node)], node, inputs)
        if name in _CONTROL:
            run = functools.partial(self._graph, scope=scope)
            results, is_complete = _CONTROL[name](run, node, inputs, onnx_file.attributes(node))
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
                terms.finish(value.tensor, name)
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


def _branch(run: _Run, node: Any, inputs: _Results, attributes: Mapping[str, Any]) -> tuple[_Results, bool]:
    """_Run the branch of an ``If`` that its condition picks."""
    condition = _numbers(inputs[0])
    is_first = condition is None or bool(condition.all())
    return run(attributes["then_branch" if is_first else "else_branch"], ()), condition is not None


def _loop(run: _Run, node: Any, inputs: _Results, attributes: Mapping[str, Any]) -> tuple[_Results, bool]:
    """_Run the body of a ``Loop`` until its trips are done or its condition is false."""
    carried, trips = list(inputs[2:]), _numbers(inputs[0])
    condition = _numbers(inputs[1]) if len(node.input) > 1 and node.input[1] else np.array(True)
    is_complete = condition is not None and (trips is not None or not node.input[0])
    most = (int(trips.item()) if trips is not None else None) if is_complete else 1
    _check_trips(most or 0, attributes["body"])
    is_going, rows = condition is None or bool(condition.all()), list[_Results]()
    while is_going and (most is None or len(rows) < most):
        condition_value, *results = run(attributes["body"], [of_numbers(len(rows)), of_numbers(True), *carried])
        carried = results[: len(carried)]
        rows.append(results[len(carried) :])
        condition = _numbers(condition_value)
        is_complete &= condition is not None
        is_going = condition is not None and bool(condition.all())
    return [*carried, *(_stacked(column, 0) for column in zip(*rows, strict=True))], is_complete


def _scan(run: _Run, node: Any, inputs: _Results, attributes: Mapping[str, Any]) -> tuple[_Results, bool]:
    """_Run the body of a ``Scan`` once per step of its sequences."""
    body, number = attributes["body"], int(attributes["num_scan_inputs"])
    states, sequences = list(inputs[:-number]), [value.tensor for value in inputs[-number:] if value is not None]
    if len(sequences) < number or len(body.input) != len(inputs):  # opset 8 has another form
        return [None] * len(node.output), False
    axes = attributes.get("scan_input_axes") or [0] * number
    rows, trips = [], sequences[0].shape[axes[0]]
    _check_trips(trips, body)
    for _ in range(trips):
        steps = [Value(x.select(axis, 0)) for x, axis in zip(sequences, axes, strict=True)]
        results = run(body, [*states, *steps])
        states = list(results[: len(states)])
        rows.append(results[len(states) :])
    columns = list(zip(*rows, strict=True))
    ends = attributes.get("scan_output_axes") or [0] * len(columns)
    return [*states, *(_stacked(column, axis) for column, axis in zip(columns, ends, strict=True))], True


_CONTROL = {"If": _branch, "Loop": _loop, "Scan": _scan}
"""Rule for the graphs inside a node: returns their outputs, and whether the count is complete.

Where the branch, or the number of trips, depends on values that are only known when the network runs, the first branch,
or one trip, is counted.
"""


def _check_trips(trips: int, body: Any) -> None:
    if trips * len(body.node) > MOST_NODES:
        raise InputError(f"{trips:,} trips of {len(body.node):,} nodes are more than {MOST_NODES:,} nodes")


def _numbers(value: Value | None) -> np.ndarray | None:
    return None if value is None else value.numbers


def _stacked(values: _Results, axis: int) -> Value | None:
    """Return what the steps give, along a new axis."""
    tensors = [value.tensor for value in values if value is not None]
    return Value(torch.stack(tensors, axis)) if len(tensors) == len(values) else None
