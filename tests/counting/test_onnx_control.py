"""Recurrent and quantised layers, branches and loops of ONNX files are counted by what they come to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_onnx import FLOAT, POSITIONS, count, helper, model, node, onnx, weights
from torch import nn

import scsc_lab
from scsc_lab import InputError

INT64, BOOL = onnx.TensorProto.INT64, onnx.TensorProto.BOOL


def subgraph(nodes, inputs=(), outputs=(), tensors=()):
    given = [onnx.numpy_helper.from_array(array, name) for name, array in dict(tensors).items()]
    ends = [helper.make_empty_tensor_value_info(name) for name in outputs]
    return helper.make_graph(
        nodes, "inner", [helper.make_tensor_value_info(*value, None) for value in inputs], ends, given
    )


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_layers_cost_what_torch_s_do(kind, gates, layout, directions, tmp_path):
    options = {"hidden_size": 5, "layout": layout, "direction": ("forward", "bidirectional")[directions - 1]}
    nodes = [
        node("Reshape", ["x", "s"], ["f"]),
        node(kind, ["f", "w", "r", "b"], ["q"], **options),
        node("Reshape", ["q", "t"], ["p"]),
        node("MatMul", ["p", "v"], ["y"]),
    ]
    tensors = {"w": weights(directions, gates * 5, 6), "r": weights(directions, gates * 5, 5), "v": weights(5, 2)}
    tensors |= {"b": weights(directions, gates * 10), "s": np.array([4, 8, 6]), "t": np.array([-1, 5])}
    file = count(model(nodes, tensors), tmp_path)
    layer = getattr(nn, kind)(6, 5, bidirectional=directions == 2, batch_first=bool(layout))
    expected = scsc_lab.count(layer, input_shape=(4, 8, 6))
    assert file.status == "complete"
    assert file.params == expected.params + 10
    assert file.macs == expected.macs + 4 * 8 * directions * 10


def quantising(*nodes):
    """Return nodes that quantise the image, run, and scale what comes out."""
    return [node("QuantizeLinear", ["x", "s", "z"], ["q"]), *nodes, node("DequantizeLinear", ["o", "s", "z"], ["y"])]


def dynamic(*nodes):
    """Return nodes that find the image's scale when they run."""
    start = node("DynamicQuantizeLinear", ["x"], ["q", "t", "u"])
    return [start, *nodes, node("Cast", ["o"], ["f"], to=FLOAT), node("Mul", ["f", "t"], ["y"])]


PADDED = {"pads": [1, 1, 1, 1]}
KERNEL, MATRIX = (5, 4, 3, 3), (6, 7)
QUANTISED = {
    "QLinearConv": (
        quantising(node("QLinearConv", ["q", "s", "z", "w", "s", "n", "s", "z", "b"], ["o"], **PADDED)),
        {"w": np.ones(KERNEL, np.int8), "b": np.ones(5, np.int32)},
    ),
    "ConvInteger": (dynamic(node("ConvInteger", ["q", "w", "u"], ["o"], **PADDED)), {"w": np.ones(KERNEL, np.uint8)}),
    "QLinearMatMul": (
        quantising(node("QLinearMatMul", ["q", "s", "z", "w", "s", "n", "s", "z"], ["o"])),
        {"w": np.ones(MATRIX, np.int8)},
    ),
    "MatMulInteger": (dynamic(node("MatMulInteger", ["q", "w", "u"], ["o"])), {"w": np.ones(MATRIX, np.uint8)}),
    "DynamicQuantizeMatMul": (
        [node("DynamicQuantizeMatMul", ["x", "w", "s", "n", "b"], ["y"], domain="com.microsoft")],
        {"w": np.ones(MATRIX, np.int8), "b": weights(7)},
    ),
}


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_layers_cost_what_real_ones_do(name, tmp_path):
    nodes, tensors = QUANTISED[name]
    file = count(model(nodes, {"s": np.float32(1), "z": np.uint8(0), "n": np.int8(0), **tensors}), tmp_path)
    macs = POSITIONS * 180 if "Conv" in name else 4 * 8 * 42
    params = sum(tensor.size for tensor in tensors.values())
    assert (file.macs, file.params, file.status) == (macs, params, "complete")


def conditional(*condition, **tensors):
    """Return a file that convolves by 3×3 or by 1×1, with a weight in each branch."""
    branches = {
        name: subgraph([node("Conv", ["x", name], [f"{name}_y"])], (), [f"{name}_y"], {name: weights(5, 4, side, side)})
        for name, side in (("then_branch", 3), ("else_branch", 1))
    }
    return model([*condition, node("If", ["c"], ["y"], **branches)], tensors)


def test_a_branch_is_that_of_its_condition_and_the_weights_are_those_of_both(tmp_path):
    for value, macs in ((True, 24 * 180), (False, POSITIONS * 20)):
        file = count(conditional(c=np.array(value)), tmp_path)
        assert (file.macs, file.params, file.status) == (macs, 200, "complete")
    data = [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Cast", ["m"], ["c"], to=BOOL)]
    file = count(conditional(*data), tmp_path)
    assert (file.macs, file.params, dict(file.unknown)) == (24 * 180, 200, {"If": 1})


def looping(*condition, trips="n", **tensors):
    """Return a file that convolves in a loop, and then what the loop carries and what it stacks."""
    conv = node("Conv", ["h", "w"], ["g"], pads=[1, 1, 1, 1])
    body = subgraph(
        [conv, node("ReduceMax", ["g"], ["m"], keepdims=0), *condition],
        [("i", INT64), ("c", BOOL), ("h", FLOAT)],
        ["d", "g", "g"],
        {"w": weights(4, 4, 3, 3)},
    )
    nodes = [
        node("Loop", [trips, "", "x"], ["h", "s"], body=body),
        node("Conv", ["h", "v"], ["y"]),
        node("MatMul", ["s", "u"], ["z"]),
    ]
    return model(nodes, {"v": weights(2, 4, 1, 1), "u": weights(6, 7), "n": np.array(3), **tensors}, outputs=("y", "z"))


@pytest.mark.parametrize(
    ("file", "trips", "unknown"),
    [
        (looping(node("Identity", ["c"], ["d"])), 3, {}),
        (looping(node("Less", ["i", "two"], ["d"]), trips="", two=np.array(1)), 2, {}),
        (looping(node("Cast", ["m"], ["d"], to=BOOL)), 1, {"Loop": 1}),
    ],
)
def test_a_loop_costs_its_trips(file, trips, unknown, tmp_path):
    cost = count(file, tmp_path)
    assert cost.macs == trips * POSITIONS * 144 + POSITIONS * 8 + trips * 4 * 8 * 42
    assert (cost.params, dict(cost.unknown)) == (144 + 8 + 42, unknown)


def test_a_scan_costs_its_steps(tmp_path):
    body = subgraph(
        [node("MatMul", ["e", "w"], ["f"]), node("Add", ["h", "f"], ["g"]), node("Identity", ["g"], ["o"])],
        [("h", FLOAT), ("e", FLOAT)],
        ["g", "o"],
        {"w": weights(6, 5)},
    )
    scan = node(
        "Scan", ["h", "x"], ["k", "s"], body=body, num_scan_inputs=1, scan_input_axes=[2], scan_output_axes=[-1]
    )
    start = node("Constant", [], ["h"], value_float=0.0)
    file = count(model([start, scan, node("MatMul", ["s", "v"], ["y"])], {"v": weights(8, 3)}), tmp_path)
    assert (file.macs, file.params, file.status) == (8 * 4 * 30 + 4 * 5 * 24, 54, "complete")


def bomb(levels=31):
    """Return a file of functions that call each other twice: a kilobyte that expands to two thousand million nodes."""
    file = model([node("F0", ["x"], ["y"], domain="mine")])
    imports = [helper.make_opsetid("", 23), helper.make_opsetid("mine", 1)]
    for level in range(levels):
        name = f"F{level + 1}" if level + 1 < levels else "Relu"
        domain = "mine" if level + 1 < levels else ""
        body = [node(name, ["x"], ["a"], domain=domain), node(name, ["a"], ["y"], domain=domain)]
        file.functions.append(helper.make_function("mine", f"F{level}", ["x"], ["y"], body, imports))
    return file


def joining(number=400):
    """Return a file that joins its weights one by one, so that the copies of all take the square of their number."""
    joins = [node("Concat", [f"j{at}" if at else "w0", f"w{at + 1}"], [f"j{at + 1}"], axis=0) for at in range(number)]
    return model([*joins, node("Relu", ["x"], ["y"])], {f"w{at}": weights(1) for at in range(number + 1)})


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (joining(), "expands to more than 50,000 nodes"),
        (bomb(), "expands to more than 50,000 nodes"),
        (looping(node("Identity", ["c"], ["d"]), n=np.array(10**12)), "1,000,000,000,000 trips"),
    ],
)
def test_what_expands_without_end_is_one_line(file, message, tmp_path):
    assert count(bomb(5), tmp_path).status == "complete"
    with pytest.raises(InputError, match=message):
        count(file, tmp_path)


def test_shapes_and_weights_pass_through_functions_branches_and_loops(tmp_path):
    """A weight that is sparse, or behind a function, a branch and a loop, is one parameter and knows its shape."""
    inner = subgraph(
        [node("Identity", ["c"], ["d"]), node("Conv", ["h", "p"], ["g"], pads=[1, 1, 1, 1])],
        [("i", INT64), ("c", BOOL), ("h", FLOAT)],
        ["d", "g"],
    )
    loop = subgraph([node("Loop", ["n", "", "x"], ["h"], body=inner)], (), ["h"])
    branch = subgraph([node("Identity", ["x"], ["e"])], (), ["e"])
    file = model([node("F", ["x", "w"], ["y"], domain="mine")])
    body = [
        node("Constant", [], ["n"], value_int=2),
        node("Constant", [], ["t"], value=onnx.numpy_helper.from_array(np.array(True))),
        node("Transpose", ["v"], ["p"], perm=[1, 0, 2, 3]),
        node("If", ["t"], ["y"], then_branch=loop, else_branch=branch),
    ]
    file.functions.append(helper.make_function("mine", "F", ["x", "v"], ["y"], body, [helper.make_opsetid("", 23)]))
    values = helper.make_tensor("w", FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", INT64, [1], [5])
    file.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4, 4, 3, 3]))
    cost = count(file, tmp_path)
    assert (cost.macs, cost.params, cost.status) == (2 * POSITIONS * 144, 144, "complete")


def test_a_reference_to_an_attribute_of_the_call_is_followed(tmp_path):
    conv = node("Conv", ["x", "w"], ["y"])
    reference = conv.attribute.add()
    reference.name, reference.ref_attr_name, reference.type = "strides", "step", onnx.AttributeProto.INTS
    file = model([node("F", ["x", "w"], ["y"], domain="mine", step=[2, 2])], {"w": weights(5, 4, 3, 3)})
    imports = [helper.make_opsetid("", 23)]
    file.functions.append(helper.make_function("mine", "F", ["x", "w"], ["y"], [conv], imports, ["step"]))
    assert count(file, tmp_path).macs == 6 * 180


def test_a_transposed_convolution_has_the_activations_of_torch_s(tmp_path):
    layer = nn.ConvTranspose2d(4, 5, 3, stride=2, padding=1, output_padding=1, bias=False)
    expected = scsc_lab.count(layer, input_shape=(1, 4, 8, 6))
    same = {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}
    for window in (same, {"strides": [2, 2], "auto_pad": "SAME_UPPER"}):
        file = count(model([node("ConvTranspose", ["x", "w"], ["y"], **window)], {"w": weights(4, 5, 3, 3)}), tmp_path)
        assert (file.macs, file.activations) == (expected.macs, expected.activations)


def test_a_slice_from_the_end_is_as_long_as_onnx_says(tmp_path):
    for start, end, side in ((-1, -(2**40), 8), (6, 1, 5), (-2, -5, 3), (2**40, 3, 4)):
        nodes = [node("Slice", ["x", "s", "e", "a", "t"], ["f"]), node("Conv", ["f", "w"], ["y"])]
        numbers = {"s": [start], "e": [end], "a": [2], "t": [-1]}
        tensors = {"w": weights(1, 4, 1, 1), **{name: np.array(value) for name, value in numbers.items()}}
        assert count(model(nodes, tensors), tmp_path).macs == side * 6 * 4
        assert torch.arange(8).numpy()[start:end:-1].size == side
