"""ONNX files are counted by the rules of modules; those that are not whole or not sound end in one line."""

from __future__ import annotations

import numpy as np
import pytest

from scsc_lab import InputError, Network
from scsc_lab.cli import main
from scsc_lab.metrics.size import counted

onnx = pytest.importorskip("onnx")
helper = onnx.helper
FLOAT = onnx.TensorProto.FLOAT


def model(nodes, initializers=(), shape=(1, 4, 8, 6), outputs=("y",)):
    image = helper.make_tensor_value_info("x", FLOAT, shape)
    given = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in dict(initializers).items()]
    ends = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(nodes, "graph", [image], ends, given)
    imports = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("mine", 1)]
    return helper.make_model(graph, opset_imports=imports)


def count(given, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(given if isinstance(given, bytes) else given.SerializeToString())
    return counted(Network.read(str(path)))


def weights(*sides):
    return np.ones(sides, dtype=np.float32)


node = helper.make_node
POSITIONS = 8 * 6


@pytest.mark.parametrize(
    ("nodes", "tensors", "macs", "params"),
    [
        ([node("Conv", ["x", "w"], ["y"], pads=[0, 1, 2, 1])], {"w": weights(5, 4, 3, 3)}, 48 * 5 * 4 * 9, 180),
        (
            [node("Conv", ["x", "w"], ["y"], group=4, auto_pad="SAME_UPPER", strides=[2, 2])],
            {"w": weights(4, 1, 3, 3)},
            12 * 36,
            36,
        ),
        ([node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])], {"w": weights(4, 5, 2, 2)}, POSITIONS * 80, 80),
        ([node("MatMul", ["x", "w"], ["y"])], {"w": weights(6, 7)}, 4 * 8 * 6 * 7, 42),
        ([node("Einsum", ["x", "w"], ["y"], equation="nchw,wd->nchd")], {"w": weights(6, 7)}, 4 * 8 * 6 * 7, 42),
        (
            [node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w", "b"], ["y"], transB=1)],
            {"w": weights(3, 192), "b": weights(3)},
            3 * 192,
            579,
        ),
        ([node("Attention", ["x", "x", "x"], ["y"])], {}, 2 * 4 * 8 * 8 * 6, 0),
        (
            [node("Attention", ["x", "x", "x", "", "past", "past"], ["y"])],
            {"past": weights(1, 4, 3, 6)},
            2 * 4 * 8 * (3 + 8) * 6,
            72,
        ),
        (
            [node("RotaryEmbedding", ["x", "cos", "sin"], ["y"], rotary_embedding_dim=4)],
            {"cos": weights(1, 8, 2), "sin": weights(1, 8, 2)},
            2 * 4 * 8 * 4,
            0,
        ),
        (
            [node("FusedConv", ["x", "w", "", "x"], ["y"], domain="com.microsoft", activation="Relu")],
            {"w": weights(4, 4, 1, 1)},
            POSITIONS * 16,
            16,
        ),
        (
            [node("DeformConv", ["x", "w", "offsets"], ["y"])],
            {"w": weights(5, 4, 3, 3), "offsets": weights(1, 18, 6, 4)},
            24 * 180,
            180 + 18 * 24,
        ),
        (
            [node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=6, N=7, bits=4, block_size=16)],
            {"w": np.ones((7, 1, 8), np.uint8), "s": weights(7)},
            4 * 8 * 6 * 7,
            56,
        ),
        (
            [node("Mul", ["x", "w"], ["a"]), node("Mul", ["x", "v"], ["b"]), node("Mean", ["a", "b"], ["y"])],
            {"w": weights(4, 8, 6), "v": weights(4, 8, 6)},
            2 * 192,
            384,
        ),
        (
            [node("Flatten", ["x"], ["f"]), node("SoftmaxCrossEntropyLoss", ["f", "labels"], ["y"])],
            {"labels": np.array([0])},
            0,
            0,
        ),
        # One product by itself is elementwise; two of them that are added are a sum of products.
        ([node("Mul", ["x", "w"], ["y"])], {"w": weights(4, 8, 6)}, 0, 192),
        (
            [node("Mul", ["x", "w"], ["a"]), node("Mul", ["x", "v"], ["b"]), node("Add", ["a", "b"], ["y"])],
            {"w": weights(4, 8, 6), "v": weights(4, 8, 6)},
            2 * 192,
            384,
        ),
        (
            [node("Mul", ["x", "w"], ["a"]), node("ReduceSum", ["a", "axes"], ["y"])],
            {"w": weights(4, 8, 6), "axes": np.array([1])},
            192,
            192,
        ),
        ([node("Sigmoid", ["x"], ["a"]), node("Mul", ["x", "a"], ["b"]), node("ReduceMean", ["b"], ["y"])], {}, 0, 0),
    ],
)
def test_operators_cost_what_torch_s_do(nodes, tensors, macs, params, tmp_path):
    found = count(model(nodes, tensors), tmp_path)
    assert (found.macs, found.params, found.status) == (macs, params, "complete")


def test_shapes_are_followed_through_the_arithmetic_of_an_open_batch(tmp_path, capsys):
    nodes = [
        node("Shape", ["x"], ["n"], end=1),
        node("Concat", ["n", "rest"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["f"]),
        node("Gemm", ["f", "w"], ["y"]),
    ]
    given = model(nodes, {"rest": np.array([-1]), "w": weights(192, 3)}, ("batch", 4, 8, 6))
    path = tmp_path / "model.onnx"
    path.write_bytes(given.SerializeToString())
    assert counted(Network.read(str(path)), 5).macs == 5 * 192 * 3
    given = model(nodes, {"rest": np.array([-1]), "w": weights(192, 3)})
    path.write_bytes(given.SerializeToString())
    assert main(["flops", str(path), "--batch", "5"]) == 2
    assert "its batch is fixed at 1, not 5" in capsys.readouterr().err


def test_unknown_arithmetic_makes_the_count_partial(tmp_path, capsys):
    given = model(
        [node("Magic", ["x"], ["a"], domain="mine"), node("Conv", ["a", "w"], ["y"])], {"w": weights(4, 4, 1, 1)}
    )
    found = count(given, tmp_path)
    assert found.status == "partial"
    assert dict(found.unknown) == {"mine.Magic": 1, "Conv": 1}
    given.graph.value_info.append(helper.make_tensor_value_info("a", FLOAT, (1, 4, 8, 6)))  # the file says its shape
    found = count(given, tmp_path)
    assert (dict(found.unknown), found.macs) == ({"mine.Magic": 1}, POSITIONS * 16)
    assert main(["flops", str(tmp_path / "model.onnx"), "--no-check"]) == 1
    assert "PARTIAL" in capsys.readouterr().out


def conv():
    return model([node("Conv", ["x", "w"], ["y"])], {"w": weights(4, 4, 3, 3)})


def outside():
    given = conv()
    tensor = given.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    return given


def enormous():
    given = conv()
    given.graph.initializer[0].dims[0] = 2**60
    return given


def lying():
    given = conv()
    given.graph.initializer[0].dims[0] = 2**20
    return given


def cyclic():
    return model([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])])


def endless():
    given = model([node("F", ["x"], ["y"], domain="mine")])
    imports = [helper.make_opsetid("", 23), helper.make_opsetid("mine", 1)]
    body = [node("F", ["x"], ["a"], domain="mine"), node("F", ["a"], ["y"], domain="mine")]
    given.functions.append(helper.make_function("mine", "F", ["x"], ["y"], body, imports))
    return given


def growing():
    return model(
        [node("ConstantOfShape", ["s"], ["a"]), node("Expand", ["x", "s"], ["y"])], {"s": np.array([2**40, 2**40])}
    )


def of_no_type():
    given = conv()
    given.graph.input[0].type.tensor_type.elem_type = 777
    return given


def outside_and_impossible():
    given = outside()
    given.graph.initializer[0].external_data[0].value = "weights.bin"
    given.graph.initializer[0].dims[0] = 2**60
    return given


def branchless():
    return model([node("If", ["c"], ["y"])], {"c": np.array(True)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (of_no_type, "no known element type: 777"),
        (lambda: model([node("Relu", ["x"], ["y"])], shape=(1, 2**61, 8, 6)), "takes a tensor of impossible sides"),
        (branchless, "Required attribute 'else_branch' is missing"),
        (lambda: model([node("Shape", [], ["y"])]), "input size 0 not in range"),
        (lambda: b"", "holds no ONNX graph"),
        (lambda: b"this is a text, no model\n" * 20, "is not an ONNX file"),
        (lambda: conv().SerializeToString()[:-40], "is not an ONNX file, or is incomplete"),
        (outside, "lie outside its folder, at '../../../etc/passwd'"),
        (enormous, "dimension product overflow"),
        (lying, "raw_data size (576 bytes) is too small"),
        (cyclic, "must be topologically sorted, however input 'b'"),
        (endless, "must not be recursive"),
        (growing, "impossible sides"),
        (outside_and_impossible, "impossible sides"),
        (lambda: model([node("Konv", ["x"], ["y"])]), "No Op registered for Konv"),
    ],
)
def test_hostile_files_end_in_one_line(make, message, tmp_path, capsys):
    given = make()
    path = tmp_path / "model.onnx"
    path.write_bytes(given if isinstance(given, bytes) else given.SerializeToString())
    assert main(["flops", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_names_of_many_parts_and_declared_sides_that_cannot_be_are_not_believed(tmp_path):
    name = ".".join("a" * 20_000)
    given = model([node("Conv", ["x", name], ["y"])], {name: weights(4, 4, 1, 1)})
    given.graph.value_info.append(helper.make_tensor_value_info("y", FLOAT, (2**62, 2**62)))
    found = count(given, tmp_path)
    assert (found.macs, found.params) == (POSITIONS * 16, 16)


def test_weights_in_another_file_are_not_needed_and_shapes_in_it_are_read(tmp_path):
    given = outside()
    given.graph.initializer[0].external_data[0].value = "weights.bin"
    assert (count(given, tmp_path).macs, count(given, tmp_path).params) == (24 * 144, 144)
    nodes = [node("Reshape", ["x", "s"], ["f"]), node("Gemm", ["f", "w"], ["y"])]
    file = model(nodes, {"s": np.array([1, -1]), "w": weights(192, 3)})
    onnx.save(file, tmp_path / "model.onnx", save_as_external_data=True, location="all.bin", size_threshold=0)
    assert counted(Network.read(str(tmp_path / "model.onnx"))).macs == 192 * 3
    (tmp_path / "all.bin").unlink()
    with pytest.raises(InputError, match="depends on values that are only known when it runs"):
        counted(Network.read(str(tmp_path / "model.onnx")))


def test_a_file_that_is_not_there_is_one_line():
    with pytest.raises(InputError, match=r"cannot read nowhere\.onnx: No such file"):
        counted(Network.read("nowhere.onnx"))
