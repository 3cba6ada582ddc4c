"""Parameters of ONNX files: wherever a file stores a weight, and as many as in the module that was exported."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_onnx import FLOAT, count, helper, model, node, onnx, weights
from torch import nn

import scsc_lab
from scsc_lab import Network
from scsc_lab.metrics.size import counted

WEIGHT = weights(5, 4, 3, 3)
MACS, PARAMS = 24 * 180, 180
CONV = node("Conv", ["x", "v"], ["y"])


def proto(array):
    return onnx.numpy_helper.from_array(np.asarray(array))


def constant(**value):
    return node("Constant", [], ["w"], **value)


def sparse():
    values = helper.make_tensor("w", FLOAT, [2], [1.0, 2.0])
    return helper.make_sparse_tensor(values, helper.make_tensor("i", onnx.TensorProto.INT64, [2], [0, 7]), [5, 4, 3, 3])


def with_sparse_initializer():
    file = model([node("Conv", ["x", "w"], ["y"])])
    file.graph.sparse_initializer.append(sparse())
    return file


def with_function(*calls):
    """Return a file whose function holds the weight, called several times."""
    file = model([*calls, node("Sum", [name for call in calls for name in call.output], ["y"])])
    body = [constant(value=proto(WEIGHT)), node("Conv", ["x", "w"], ["y"])]
    file.functions.append(helper.make_function("mine", "F", ["x"], ["y"], body, [helper.make_opsetid("", 23)]))
    return file


def call(output, **attributes):
    return node("F", ["x"], [output], domain="mine", **attributes)


def copying():
    """Return the body of a loop that carries a tensor from turn to turn."""
    kinds = {"i": onnx.TensorProto.INT64, "c": onnx.TensorProto.BOOL, "h": FLOAT}
    return helper.make_graph(
        [node("Identity", ["c"], ["d"]), node("Identity", ["h"], ["g"])],
        "body",
        [helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()],
        [helper.make_empty_tensor_value_info(name) for name in "dg"],
    )


def quantised(**tensors):
    return {"w": WEIGHT.astype(np.int8), "s": weights(5), "z": np.zeros(5, np.int8), **tensors}


@pytest.mark.parametrize(
    ("make", "params"),
    [
        (lambda: model([constant(value=proto(WEIGHT)), node("Conv", ["x", "w"], ["y"])]), PARAMS),
        (lambda: model([constant(sparse_value=sparse()), node("Conv", ["x", "w"], ["y"])]), PARAMS),
        (with_sparse_initializer, PARAMS),
        (
            lambda: model(
                [constant(value_floats=[1.0] * 180), node("Reshape", ["w", "s"], ["v"]), CONV],
                {"s": np.array([5, 4, 3, 3])},
            ),
            PARAMS,
        ),
        (
            lambda: model(
                [node("Transpose", ["w"], ["v"], perm=[3, 2, 0, 1]), CONV], {"w": WEIGHT.transpose(2, 3, 1, 0)}
            ),
            PARAMS,
        ),
        (lambda: model([node("Cast", ["w"], ["v"], to=FLOAT), CONV], {"w": WEIGHT.astype(np.float16)}), PARAMS),
        (
            lambda: model(
                [
                    node("Unsqueeze", ["w", "a"], ["u"]),
                    node("Squeeze", ["u", "a"], ["t"]),
                    node("Identity", ["t"], ["v"]),
                    CONV,
                ],
                {"w": WEIGHT, "a": np.array([0])},
            ),
            PARAMS,
        ),
        (
            lambda: model(
                [node("Concat", ["a", "b"], ["v"], axis=0), CONV], {"a": weights(2, 4, 3, 3), "b": weights(3, 4, 3, 3)}
            ),
            PARAMS,
        ),
        # All that is stored counts, also what a slice leaves out.
        (
            lambda: model(
                [node("Slice", ["w", "s", "e"], ["v"]), CONV],
                {"w": weights(7, 4, 3, 3), "s": np.array([0]), "e": np.array([5])},
            ),
            7 * 36,
        ),
        # Quantised weights and biases are parameters; scales and zero points are none.
        (lambda: model([node("DequantizeLinear", ["w", "s", "z"], ["v"], axis=0), CONV], quantised()), PARAMS),
        (
            lambda: model(
                [
                    node("DequantizeLinear", ["w", "s", "z"], ["v"], axis=0),
                    node("DequantizeLinear", ["b", "s"], ["c"], axis=0),
                    node("Conv", ["x", "v", "c"], ["y"]),
                ],
                quantised(b=np.ones(5, np.int32)),
            ),
            PARAMS + 5,
        ),
        (
            lambda: model(
                [node("QuantizeLinear", ["w", "s"], ["q"]), node("DequantizeLinear", ["q", "s"], ["v"]), CONV],
                {"w": WEIGHT, "s": np.float32(1)},
            ),
            PARAMS,
        ),
        (
            lambda: model([node("Loop", ["n", "", "w"], ["v"], body=copying()), CONV], {"w": WEIGHT, "n": np.array(3)}),
            PARAMS,
        ),
        # A function's constant is stored once, however often it is called.
        (lambda: with_function(call("a")), PARAMS),
    ],
)
def test_a_weight_counts_wherever_the_file_stores_it(make, params, tmp_path):
    file = count(make(), tmp_path)
    assert (file.macs, file.params, file.status) == (MACS, params, "complete")


def test_what_is_used_twice_counts_once(tmp_path):
    twice = [node("Conv", ["x", "w"], ["a"]), node("Conv", ["x", "w"], ["b"]), node("Add", ["a", "b"], ["y"])]
    for file in (model(twice, {"w": WEIGHT}), with_function(call("a"), call("b"))):
        cost = count(file, tmp_path)
        assert (cost.macs, cost.params, cost.status) == (2 * MACS, PARAMS, "complete")


def test_a_tensor_that_a_call_passes_to_a_function_is_stored_with_the_call(tmp_path):
    file = with_function(call("a", weight=proto(WEIGHT)), call("b", weight=proto(WEIGHT)))
    function = file.functions[0]
    function.attribute.append("weight")
    function.node[0].attribute[0].CopyFrom(
        onnx.AttributeProto(name="value", ref_attr_name="weight", type=onnx.AttributeProto.TENSOR)
    )
    cost = count(file, tmp_path)
    assert (cost.macs, cost.params, cost.status) == (2 * MACS, 2 * PARAMS, "complete")


@pytest.mark.parametrize(
    ("nodes", "tensors", "params"),
    [
        ([node("Add", ["x", "w"], ["y"])], {"w": np.float32(2)}, 0),
        ([node("Mul", ["x", "w"], ["y"])], {"w": weights(1)}, 0),
        ([node("PRelu", ["x", "w"], ["y"])], {"w": weights(1)}, 1),
        # Bounds, exponents, scales of a resize and what shapes are computed with, behind copies too.
        ([node("Identity", ["w"], ["v"]), node("Pow", ["x", "v"], ["y"])], {"w": weights(6)}, 0),
        ([node("Concat", ["w", "w"], ["v"], axis=0), node("Resize", ["x", "", "v"], ["y"])], {"w": weights(2)}, 0),
        (
            [
                node("Shape", ["x"], ["s"]),
                node("Cast", ["s"], ["f"], to=FLOAT),
                node("Mul", ["f", "w"], ["g"]),
                node("Cast", ["g"], ["h"], to=onnx.TensorProto.INT64),
                node("Resize", ["x", "", "", "h"], ["y"]),
            ],
            {"w": weights(4)},
            0,
        ),
        # Of BatchNorm, scale and bias alone.
        (
            [node("Identity", ["m"], ["n"]), node("BatchNormalization", ["x", "g", "b", "n", "v"], ["y"])],
            {name: weights(4) for name in "gbmv"},
            8,
        ),
        (
            [node("Gather", ["w", "i"], ["t"]), node("Add", ["x", "t"], ["y"])],
            {"w": weights(9, 6), "i": np.ones(8, int)},
            54,
        ),
        (
            [node("Expand", ["w", "s"], ["t"]), node("Concat", ["x", "t"], ["y"], axis=2)],
            {"w": weights(1, 4, 1, 6), "s": np.array([1, 4, 1, 6])},
            24,
        ),
    ],
)
def test_what_is_a_weight_and_what_is_not(nodes, tensors, params, tmp_path):
    assert count(model(nodes, tensors), tmp_path).params == params


class Attending(nn.Module):
    """Convolution, attention, normalisation, a linear layer on tokens and a recurrent layer."""

    def __init__(self):
        super().__init__()
        self.conv, self.attention = nn.Conv2d(3, 4, 3, stride=2), nn.MultiheadAttention(4, 2, batch_first=True)
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 5)
        self.memory = nn.LSTM(5, 3, batch_first=True, bidirectional=True)
        self.scale = nn.Parameter(torch.ones(4))
        for parameter in self.parameters():
            nn.init.normal_(parameter)  # an exporter leaves out biases of zeros

    def forward(self, x):
        x = self.norm(self.conv(x).flatten(2).transpose(1, 2))
        x = x + self.scale * self.attention(x, x, x, need_weights=False)[0]
        return self.memory(self.head(x))[0]


@pytest.mark.filterwarnings("ignore")  # of torch's exporters, about themselves
@pytest.mark.parametrize(
    "options",
    [
        {"dynamo": False},
        {"dynamo": False, "do_constant_folding": False},
        {"dynamo": True, "external_data": True, "verbose": False},
    ],
    ids=str,
)
def test_a_file_has_the_parameters_of_the_module_that_was_exported(options, tmp_path):
    pytest.importorskip("onnxscript")
    module = Attending().eval()
    torch.onnx.export(module, (torch.randn(1, 3, 9, 9),), tmp_path / "model.onnx", **options)
    file = counted(Network.read(str(tmp_path / "model.onnx")))
    expected = scsc_lab.count(module, input_shape=(1, 3, 9, 9))
    assert (file.params, file.macs, file.status) == (expected.params, expected.macs, "complete")
