"""``scsc-lab export``: one file, run in its runtime and compared with torch, or none."""

from __future__ import annotations

import json

import pytest
import torch

import scsc_lab
from scsc_lab.cli import main
from scsc_lab.execution.agreement import TOLERANCE
from scsc_lab.exporting import onnx_graph

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, looks=False, size=8):
        super().__init__()
        self.conv = nn.Conv2d(3, size, 3, padding=1)
        self.norm = nn.BatchNorm2d(size)
        self.body = nn.Conv2d(size, size, 3, padding=1)
        self.looks = looks

    def forward(self, x):
        x = self.body(self.norm(self.conv(x)).relu())
        if self.looks and x.mean() > 0:
            x = -x
        return x.mean((2, 3))
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_s_factory_with_a_transplant_in_its_deploy_form(net, capsys):
    words = "export net.py:Net --resolution 12x20 --transplant --deploy --dynamic-batch -o net.onnx --format json"
    assert main(words.split()) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["model"] == "net.py:Net + SCSC (deploy)"
    assert row["batch"] is None
    assert row["bytes"] == (net / "net.onnx").stat().st_size
    assert 0 < row["difference"] <= max(TOLERANCE, 4 * (row["float32_rounding"] or 0))
    assert row["outputs_depend_on_input"]


def test_a_program_of_torch_export_round_trips(net, capsys):
    assert main("export net.py:Net --resolution 12x20 --dynamic-batch -o folder/net.pt2 --format json".split()) == 0
    onnx_graph = torch.export.load(net / "folder" / "net.pt2").module()
    assert onnx_graph(torch.randn(5, 3, 12, 20)).shape == (5, 8)


def test_what_cannot_be_exported_names_module_and_reason_and_leaves_no_file(net, capsys):
    assert main("export net.py:Net --set looks=true --resolution 8 -o net.onnx".split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot trace it" in line
    assert "module Net" in line
    assert sorted(path.name for path in net.iterdir() if path.is_file()) == ["net.py"]


def test_a_runtime_that_computes_something_else_is_an_error(net, monkeypatch):
    right = onnx_graph.in_onnxruntime
    monkeypatch.setattr(onnx_graph, "in_onnxruntime", lambda data: lambda x: [y + 1e-3 for y in right(data)(x)])
    with pytest.raises(scsc_lab.InputError, match=r"differs from torch by .* more than 1e-05"):
        scsc_lab.export("net.py:Net", "net.onnx", resolution=8)
    assert not (net / "net.onnx").exists()
