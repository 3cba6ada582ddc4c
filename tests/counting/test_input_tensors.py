"""Networks that take other inputs than one image: several tensors, tokens, clips and series, in every command."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import scsc_lab
from scsc_lab import InputError, api
from scsc_lab.cli import main
from scsc_lab.networks.values import InputTensor, of_python

NETS = """
import torch
from torch import nn


class Pair(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.table, self.text = nn.Embedding(50, width), nn.Linear(width, width)
        self.conv = nn.Conv2d(3, width, 3, 2, 1)

    def forward(self, tokens, image, *, scale=None):
        pooled = self.conv(image).mean((2, 3))
        return pooled @ self.text(self.table(tokens)).mean(1).T, pooled


class Clip(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4)

    def forward(self, x):
        if x.dim() != 5:
            raise ValueError("clips")
        return self.norm(self.conv(x)).relu()


class Series(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(6, 4, 3, padding=1)

    def forward(self, x):
        return self.conv(x)
"""
PAIR = ("nets.py:Pair", "--input", "tokens=int64:2x7", "--input", "image=1x3x8x8")
PAIR_MACS = 8 * 27 * 16 + 2 * 7 * 64 + 16
CLIP_MACS = 4 * 81 * 4 * 8 * 8
QUICK = ("--pairs", "3", "--min-time", "0", "--max-time", "3", "--warm-up", "0")


@pytest.fixture(autouse=True)
def nets(tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(capsys, *arguments, code=0):
    assert main([*arguments, "--format", "json"]) == code
    return json.loads(capsys.readouterr().out)["rows"]


@pytest.mark.parametrize(
    ("text", "tensor"),
    [
        ("1x3x224x224", InputTensor((1, 3, 224, 224))),
        ("1×77", InputTensor((1, 77))),
        ("tokens=int64:1x77", InputTensor((1, 77), "int64", "tokens")),
        ("float16:5", InputTensor((5,), "float16")),
        ("onnx::Add_3=1x2", InputTensor((1, 2), "", "onnx::Add_3")),
    ],
)
def test_texts_read_back(text, tensor):
    assert InputTensor.read(text) == tensor
    assert InputTensor.read(str(tensor)) == tensor


@pytest.mark.parametrize("text", ["", "x", "1x", "1x-3", "a=b=1x2", "int7:1", "0x3", "1x1.5", f"{10**8}x{10**8}"])
def test_texts_that_are_none(text, capsys):
    assert main(["flops", "nets.py:Series", f"--input={text}"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "--input" in line


def test_python_gives_shapes_tensors_and_texts():
    named = (InputTensor((2, 7), "int64", "tokens"), InputTensor((1, 3, 8, 8), "", "image"))
    assert of_python({"tokens": "int64:2x7", "image": (1, 3, 8, 8)}) == named
    assert of_python(["tokens=int64:2x7", "image=1x3x8x8"]) == named
    assert of_python((1, 6, 9)) == of_python([(1, 6, 9)]) == (InputTensor((1, 6, 9)),)
    assert of_python(torch.zeros(2, 7, dtype=torch.int64)) == (InputTensor((2, 7), "int64"),)
    with pytest.raises(InputError, match="a shape, a tensor, or a text"):
        of_python([3.5])


def test_counts_are_closed_forms(capsys):
    (row,) = rows(capsys, "flops", *PAIR)
    assert (row["macs"], row["check"], row["resolution"]) == (PAIR_MACS, "explained", [])
    assert row["inputs"] == "tokens=int64:2x7 image=1x3x8x8"
    (row,) = rows(capsys, "flops", "nets.py:Clip", "--input", "1x3x4x8x8")
    assert (row["macs"], row["check"]) == (CLIP_MACS, "explained")
    (row,) = rows(capsys, "flops", "nets.py:Series", "--input", "x=5x6x10", "--train")
    assert row["macs"] == 2 * 5 * 4 * 18 * 10
    first, second = rows(capsys, "compare", "resnet18", "resnet34", "--input", "1x3x64x64", "--with", "params,macs")
    assert first["macs"] == api.count("resnet18", 64).macs < second["macs"]


def test_types_decide_bytes(capsys):
    (wide,) = rows(capsys, "flops", "nets.py:Clip", "--input", "1x3x4x8x8", "--no-check")
    (half,) = rows(capsys, "flops", "nets.py:Clip", "--input", "1x3x4x8x8", "--no-check", "--dtype", "float16")
    assert half["macs"] == wide["macs"]
    assert half["peak_bytes"] == pytest.approx(wide["peak_bytes"] / 2, rel=0.01)
    assert half["bytes"] < 0.6 * wide["bytes"]


def test_the_python_interface_takes_them():
    inputs = {"tokens": "int64:2x7", "image": (1, 3, 8, 8)}
    assert api.count("nets.py:Pair", inputs=inputs).macs == PAIR_MACS
    assert api.count("nets.py:Pair", inputs=["int64:2x7", "1x3x8x8"]).macs == PAIR_MACS
    module = nn.Conv3d(3, 4, 3, padding=1)
    assert api.count(module, inputs="1x3x4x8x8").macs == api.count(module, inputs=(1, 3, 4, 8, 8)).macs == CLIP_MACS
    frame = api.compare("nets.py:Clip", module, inputs=(1, 3, 4, 8, 8), metrics=["params", "macs"])
    assert list(frame["macs"]) == [CLIP_MACS, CLIP_MACS]
    first, second = api.latency("nets.py:Clip", module, inputs=(1, 3, 4, 8, 8), pairs=3, min_seconds=0)
    assert len(first.samples) == len(second.samples) == 3


def test_torchvisions_clips_and_pairs_of_images():
    pytest.importorskip("torchvision")
    counted = scsc_lab.count("torchvision:r3d_18", inputs=(1, 3, 16, 112, 112))
    assert (counted.params, round(counted.macs / 1e9, 2)) == (33_371_472, 40.7)  # as torchvision's page says
    flow = scsc_lab.count("torchvision:raft_small", inputs=[(1, 3, 128, 128), (1, 3, 128, 128)])
    assert flow.params == 990_162


def test_they_are_timed(capsys):
    for arguments in (PAIR, ("nets.py:Clip", "--input", "1x3x4x8x8"), ("nets.py:Series", "--input", "2x6x10")):
        (row,) = rows(capsys, "latency", *arguments, *QUICK)
        assert (row["status"], row["samples"], row["resolution"]) == ("complete", 3, [])


def test_other_runtimes_take_them_by_name(capsys):
    for name in ("onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(name)
    names = "torch,onnxruntime,openvino"
    for arguments in (PAIR, ("nets.py:Clip", "--input", "1x3x4x8x8")):
        timed = rows(capsys, "latency", *arguments, *QUICK, "--runtime", names)
        assert [row["status"] for row in timed] == ["complete"] * 3


def test_they_are_exported_and_counted_as_files(capsys):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    for arguments, macs in ((PAIR, PAIR_MACS), (("nets.py:Clip", "--input", "1x3x4x8x8"), CLIP_MACS)):
        assert main(["export", *arguments, "-o", "net.onnx"]) == 0
        capsys.readouterr()
        (row,) = rows(capsys, "flops", "net.onnx")
        assert row["macs"] == macs
        assert main(["latency", "net.onnx", "--runtime", "onnxruntime", *QUICK]) == 0
        capsys.readouterr()


def test_open_sides_of_a_file_are_given(capsys, tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    node = helper.make_node("MatMul", ["a", "b"], ["y"])
    sides = (helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in (("a", "nk"), ("b", "km")))
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, "nm")
    onnx.save(helper.make_model(helper.make_graph([node], "g", list(sides), [output])), tmp_path / "two.onnx")
    (row,) = rows(capsys, "flops", "two.onnx", "--input", "b=5x7", "--input", "a=3x5")
    assert row["macs"] == 3 * 5 * 7
    (row,) = rows(capsys, "flops", "two.onnx", "--input", "3x5", "--input", "5x7")
    assert row["macs"] == 3 * 5 * 7
    for arguments, told in (
        ((), "give its sizes, e.g. --input a=1x77"),
        (("--input", "c=3x5"), "two.onnx takes a (?x?), b (?x?)"),
        (("--input", "a=int64:3x5", "--input", "b=5x7"), "a is float32"),
        (("--input", "a=3x5x1", "--input", "b=5x7"), "a has 2 sides, not 3"),
    ):
        assert main(["flops", "two.onnx", *arguments]) == 2
        assert told in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("flops", *PAIR, "--batch", "4"), "--input names the whole input, with its batch"),
        (("flops", *PAIR, "--resolution", "64"), "leave --resolution and --channels out"),
        (("flops", "nets.py:Pair", "--input", "tokens=int64:2x7", "--input", "picture=1x3x8x8"), "picture: forward"),
        (("flops", "nets.py:Pair", "--input", "tokens=int64:2x7"), "missing a required argument: 'image'"),
        (("flops", *PAIR, "--input", "tokens=1x2"), "--input tokens is given twice"),
        (("flops", *PAIR, "--by", "stage"), "counted, timed and exported, and nothing else"),
        (("flops", *PAIR, "--mixer", "scsc"), "counted, timed and exported, and nothing else"),
        (("flops", "torchvision:r3d_18"), "takes clips of frames: give --input 1x3x16x112x112"),
        (("erf", "nets.py:Clip", "--input", "1x3x4x8x8"), "option of flops, latency, compare, ablate, sweep, export"),
        (("train", "nets.py:Clip", "--input", "1x3x4x8x8"), "(it is an option of flops"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(arguments, told, capsys):
    if "torchvision" in arguments[1]:
        pytest.importorskip("torchvision")
    assert main(list(arguments)) == 2
    lines = [line for line in capsys.readouterr().err.strip().splitlines() if line.startswith("scsc-lab:")]
    assert len(lines) == 1
    assert told in lines[0]
