"""A 1×1 convolution and its GELU as one product: the same values either way, and in no graph that runs elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import profile

from scsc_lab.layers.fused import FusedPointwise, FusedSCSC, in_order
from scsc_lab.layers.scsc import SCSC

OPERATOR = "mkldnn::_linear_pointwise"


def conv(bias=True, width=24, out=40):
    return nn.Conv2d(width, out, 1, bias=bias)


def operators(run):
    with profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        run()
    return {event.key for event in seen.key_averages()}


@pytest.mark.parametrize("shape", [(1, 24, 5, 7), (3, 24, 5, 7), (2, 24, 70, 75)])  # the last is oneDNN's
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("activation", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_it_is_the_convolution_and_its_gelu(bias, activation, order, shape):
    torch.manual_seed(0)
    layer = conv(bias)
    x = torch.randn(shape).contiguous(memory_format=order)
    fused = FusedPointwise(layer, activation=activation)
    expected = layer(x)
    expected = F.gelu(expected) if activation else expected
    torch.testing.assert_close(fused(x), expected)
    with torch.inference_mode():
        torch.testing.assert_close(fused(x), expected, rtol=1e-5, atol=1e-5)
    assert fused.state_dict().keys() == layer.state_dict().keys()


def test_under_vmap():
    fused, x = FusedPointwise(conv()), torch.randn(2, 1, 24, 140, 75)
    with torch.no_grad():
        torch.testing.assert_close(torch.func.vmap(fused)(x), torch.stack([fused(image) for image in x]))


def test_a_large_pass_without_gradients_takes_onednn():
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch is built without oneDNN")
    fused, x = FusedPointwise(conv()), torch.randn(2, 24, 70, 75)
    with torch.no_grad():
        assert OPERATOR in operators(lambda: fused(x))
        assert OPERATOR not in operators(lambda: fused(x[:, :, :20]))  # what a call costs is more than it saves
    assert OPERATOR not in operators(lambda: fused(x))  # it has no gradients
    fused(x).sum().backward()
    assert fused.weight.grad is not None
    with torch.no_grad():
        assert OPERATOR not in operators(lambda: fused.double()(x.double()))
        with torch.autocast("cpu"):
            assert OPERATOR not in operators(lambda: fused.float()(x))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_no_graph_for_elsewhere_holds_it():
    module = FusedSCSC(SCSC(24, 24, (3, 5))).eval()
    x = torch.randn(2, 24, 128, 128).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        traced = torch.jit.trace(module, x)
        program = torch.export.export(module, (x,), strict=False)
        expected = module(x)
        for graph in (traced.inlined_graph, program.graph):
            assert "mkldnn" not in str(graph)
        torch.testing.assert_close(traced(x), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(program.module()(x), expected, rtol=1e-4, atol=1e-5)


def test_wide_maps_have_their_positions_innermost():
    wide, small = (torch.randn(2, 8, side, side).contiguous(memory_format=torch.channels_last) for side in (28, 14))
    assert in_order(wide).is_contiguous()
    assert torch.equal(in_order(wide), wide)
    assert in_order(small) is small
    assert in_order(wide.to("meta")).is_contiguous(memory_format=torch.channels_last)
