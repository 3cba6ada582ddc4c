"""FLOPs by the convention of two per multiply-accumulate, with elementwise operations and norms: closed forms."""

from __future__ import annotations

import json

import pytest
import torch
from functions import Function
from torch import nn
from torch.nn import functional as F

from scsc_lab.cli import main
from scsc_lab.counting.count import count

N = 2 * 8 * 6 * 6
"""Elements of the input."""


@pytest.mark.parametrize(
    ("module", "macs", "elementwise", "norms"),
    [
        (nn.ReLU(), 0, N, 0),
        (nn.ReLU(inplace=True), 0, N, 0),
        (nn.GELU(), 0, N, 0),
        (nn.BatchNorm2d(8), 0, 0, 2 * N),
        (nn.BatchNorm2d(8, affine=False), 0, 0, N),
        (nn.InstanceNorm2d(8), 0, 0, 4 * N),
        (nn.GroupNorm(2, 8), 0, 0, 5 * N),
        (nn.LayerNorm(6), 0, 0, 5 * N),
        (nn.LayerNorm(6, elementwise_affine=False), 0, 0, 4 * N),
        (nn.RMSNorm(6), 0, 0, 4 * N),
        (nn.RMSNorm(6, elementwise_affine=False), 0, 0, 3 * N),
        (nn.Softmax(-1), 0, 0, 5 * N),
        (nn.Hardswish(), 0, N, 0),
        (nn.Hardswish(inplace=True), 0, N, 0),
        (nn.PReLU(), 0, N, 0),
        (nn.RReLU(), 0, N, 0),
        (nn.LogSigmoid(), 0, N, 0),
        (nn.GLU(1), 0, N // 2, 0),
        (Function(lambda net, x: (x * F.hardswish(x)).sum(1)), 0, 2 * N, 0),  # a function of one element
        (nn.Conv2d(8, 4, 1), N * 4, 0, 0),
        (nn.MaxPool2d(2), 0, 0, 0),
        (nn.Flatten(), 0, 0, 0),
        (nn.Dropout(), 0, 0, 0),
        (Function(lambda net, x: x + x), 0, N, 0),
        (Function(lambda net, x: (x * x.sigmoid()) + 1), 0, 3 * N, 0),
        (Function(lambda net, x: torch.where(x > 0, x, -x)), 0, 2 * N, 0),
        (Function(lambda net, x: (x * x.flip(1)).sum(1)), N, 0, 0),  # each product is in a MAC
        (Function(lambda net, x: F.scaled_dot_product_attention(x, x, x)), 2 * N * 6, 0, 5 * N),
    ],
)
def test_closed_forms(module, macs, elementwise, norms):
    counted = count(module, (2, 8, 6, 6))
    assert (counted.macs, counted.elementwise, counted.norms) == (macs, elementwise, norms)
    assert counted.flops == 2 * macs + elementwise + norms
    assert sum(part.flops for part in counted.by_operator()) == counted.total.flops == counted.flops


def test_values_that_are_read_change_nothing():
    def reads(net, x):
        return torch.softmax(x, -1).relu() + float(x.mean())

    counted = count(Function(reads), (2, 8, 6, 6))
    assert counted.device == "cpu"
    assert (counted.elementwise, counted.norms) == (2 * N, 5 * N)


def test_on_the_command_line(capsys):
    assert main(["flops", "resnet18", "resnet34", "--convention", "flops", "--no-check"]) == 0
    out = capsys.readouterr().out
    assert "2 × MACs (G)" in out
    assert "FLOPs (G)" in out
    assert "FLOPs: 2 × MACs, one operation per element" in " ".join(out.split())
    assert main(["flops", "resnet18", "--convention", "flops", "--no-check", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["flops"] == 2 * row["macs"] + row["elementwise"] + row["norms"]
    assert main(["flops", "resnet18", "--convention", "flops", "--train"]) == 2
    assert "leave --train out" in capsys.readouterr().err


def test_modules_say_what_they_return(capsys):
    assert main(["flops", "resnet18", "--by", "module", "--depth", "1", "--no-check", "--format", "json"]) == 0
    shapes = {row["name"]: row["output"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert shapes["conv1"] == [[1, 64, 112, 112]]
    assert shapes["total"] == [[1, 1000]]
