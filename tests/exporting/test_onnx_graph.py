"""Modules as ONNX files: what runs them gives what torch gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scsc_lab import InputError
from scsc_lab.execution.agreement import agreement
from scsc_lab.exporting import onnx_graph
from scsc_lab.exporting.onnx_graph import onnx_model
from scsc_lab.layers.scsc import SCSC
from scsc_lab.layers.window_attention import WindowAttention

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def run(data: bytes, x: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"input": x.numpy()})[0])


class Windows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = WindowAttention(8, 2, window=4, shift=2)
        nn.init.normal_(self.attend.relative_position_bias_table)

    def forward(self, x):
        return self.attend(x.permute(0, 2, 3, 1))


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("make", [lambda: SCSC(16, 24, (3, 13), groups=2, stride=1), Windows], ids=["scsc", "windows"])
def test_layers_export_without_an_operator_of_their_own(make, dynamic):
    model = make().eval()
    channels = 16 if isinstance(model, SCSC) else 8
    x = torch.randn(3 if dynamic else 1, channels, 18, 30)
    with torch.inference_mode():
        before = model(x)
    data = onnx_model(model, [x[:1]], dynamic_batch=dynamic)
    read = onnx.load_from_string(data)
    onnx.checker.check_model(read, full_check=True)
    assert {node.domain for node in read.graph.node} == {""}
    torch.testing.assert_close(run(data, x), before, rtol=1e-5, atol=1e-6)
    with torch.inference_mode():  # nothing that an export made is kept for later passes
        assert torch.equal(model(x), before)


def test_parameters_stay_parameters_under_their_names():
    model = SCSC(16, 24, (3, 5)).eval()
    graph = onnx.load_from_string(onnx_model(model, [torch.randn(1, 16, 9, 9)])).graph
    names = {tensor.name for tensor in graph.initializer}
    assert {name for name, _ in model.named_parameters()} <= names
    assert not [
        node for node in graph.node if node.op_type == "Conv" and len(node.input) > 2 and "bias" not in node.input[2]
    ]


def test_no_path_of_this_machine_is_written_down():
    data = onnx_model(nn.Conv2d(3, 4, 3), [torch.randn(1, 3, 9, 9)])
    assert b".py" not in data


class Undecided(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, x):
        return self.inner(x)


class Inner(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


def test_a_network_that_looks_at_values_is_named_with_its_module():
    with pytest.raises(InputError, match=r"cannot trace it.*module inner \(Inner\)"):
        onnx_model(Undecided(), [torch.randn(1, 3, 4, 4)])


class Attending(nn.Module):
    """Attention whose queries have any number of axes: windows of their own, or no heads."""

    def __init__(self, axes, mask=(), *, broadcast=False):
        super().__init__()
        self.qkv, self.axes, self.broadcast = nn.Linear(3, 36), axes, broadcast
        self.mask = nn.Parameter(torch.randn(mask)) if mask else None

    def forward(self, x):
        def parted(y):
            tokens, heads = x.shape[2] * x.shape[3], (3, 4)
            if self.axes == 3:
                return y
            if self.axes == 5:
                return y.reshape(-1, 4, tokens // 4, *heads).transpose(2, 3)
            return y.reshape(-1, 2, 2, tokens // 4, *heads).transpose(3, 4)

        query, key, value = map(parted, self.qkv(x.flatten(2).transpose(1, 2)).chunk(3, -1))
        if self.broadcast:  # keys and values of the first image alone
            key, value = key[:1], value[:1]
        return F.scaled_dot_product_attention(query, key, value, self.mask)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(
    ("axes", "mask"), [(3, ()), (5, ()), (6, ()), (5, (16, 16)), (5, (4, 1, 16, 16)), (3, (64, 64))]
)
def test_attention_over_other_than_four_axes_is_written_too(axes, mask, dynamic):
    model = Attending(axes, mask, broadcast=axes == 3)
    data = onnx_model(model, [torch.randn(1, 3, 8, 8)], dynamic_batch=dynamic)
    inputs = [[torch.randn(images, 3, 8, 8)] for images in ((1, 3) if dynamic else (1, 1))]
    assert agreement(onnx_graph.in_onnxruntime(data), model, inputs, "the file").depends_on_input
