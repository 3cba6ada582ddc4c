"""ONNX's control flow: graphs inside nodes, run as often as the numbers that are known say.

Each function returns what the node gives and whether its count is complete: where the branch, or the number of trips,
depends on values that are only known when the network runs, the first branch, or one trip, is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from scsc_lab.counting.onnx_values import Value, of_numbers
from scsc_lab.counting.onnx_weights import MOST_NODES
from scsc_lab.errors import InputError

Results = Sequence[Value | None]
Run = Callable[[Any, Results], Results]
"""Runs a graph on inputs, and returns what it gives."""


def branch(run: Run, node: Any, inputs: Results, attributes: Mapping[str, Any]) -> tuple[Results, bool]:
    """Run the branch of an ``If`` that its condition picks."""
    condition = _numbers(inputs[0])
    is_first = condition is None or bool(condition.all())
    return run(attributes["then_branch" if is_first else "else_branch"], ()), condition is not None


def loop(run: Run, node: Any, inputs: Results, attributes: Mapping[str, Any]) -> tuple[Results, bool]:
    """Run the body of a ``Loop`` until its trips are done or its condition is false."""
    carried, trips = list(inputs[2:]), _numbers(inputs[0])
    condition = _numbers(inputs[1]) if len(node.input) > 1 and node.input[1] else np.array(True)
    is_complete = condition is not None and (trips is not None or not node.input[0])
    most = (int(trips.item()) if trips is not None else None) if is_complete else 1
    _check_trips(most or 0, attributes["body"])
    is_going, rows = condition is None or bool(condition.all()), list[Results]()
    while is_going and (most is None or len(rows) < most):
        condition_value, *results = run(attributes["body"], [of_numbers(len(rows)), of_numbers(True), *carried])
        carried = results[: len(carried)]
        rows.append(results[len(carried) :])
        condition = _numbers(condition_value)
        is_complete &= condition is not None
        is_going = condition is not None and bool(condition.all())
    return [*carried, *(_stacked(column, 0) for column in zip(*rows, strict=True))], is_complete


def scan(run: Run, node: Any, inputs: Results, attributes: Mapping[str, Any]) -> tuple[Results, bool]:
    """Run the body of a ``Scan`` once per step of its sequences."""
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


CONTROL = {"If": branch, "Loop": loop, "Scan": scan}
"""By operator: what runs its graphs."""


def _check_trips(trips: int, body: Any) -> None:
    if trips * len(body.node) > MOST_NODES:
        raise InputError(f"{trips:,} trips of {len(body.node):,} nodes are more than {MOST_NODES:,} nodes")


def _numbers(value: Value | None) -> np.ndarray | None:
    return None if value is None else value.numbers


def _stacked(values: Results, axis: int) -> Value | None:
    """Return what the steps give, along a new axis."""
    tensors = [value.tensor for value in values if value is not None]
    return Value(torch.stack(tensors, axis)) if len(tensors) == len(values) else None
