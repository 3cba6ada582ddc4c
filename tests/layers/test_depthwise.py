"""Depthwise convolutions: the same output and gradients whatever path is taken, and one convolution to who counts."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from scsc_lab.counting.count import count
from scsc_lab.layers import depthwise
from scsc_lab.layers.depthwise import DepthwiseConv2d, weight_gradient


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [3, 5, 9, 13])
@pytest.mark.parametrize("size", [(16, 16), (9, 14), (4, 5), (1, 8), (1, 1)])
def test_the_weight_gradient_is_autograds(kernel, stride, size):
    x = torch.randn(3, 4, *size, dtype=torch.float64)
    weight = torch.randn(4, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
    y = F.conv2d(x, weight, stride=stride, padding=kernel // 2, groups=4)
    gradient = torch.randn_like(y)
    (expected,) = torch.autograd.grad(y, weight, gradient)
    torch.testing.assert_close(weight_gradient(x, gradient, kernel, stride), expected)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (13, 1), (7, 2), (9, 2), (13, 2)])
def test_a_training_step_is_autograds(kernel, stride, memory_format):
    layer = DepthwiseConv2d(16, kernel, stride).train()
    x = torch.randn(2, 16, 16, 16).contiguous(memory_format=memory_format).requires_grad_()
    y = layer(x)
    expected = F.conv2d(x, layer.weight, stride=stride, padding=kernel // 2, groups=16)
    gradient = torch.randn_like(y)
    torch.testing.assert_close(y, expected)
    for own, autograds in zip(
        torch.autograd.grad(y, (x, layer.weight), gradient),
        torch.autograd.grad(expected, (x, layer.weight), gradient),
        strict=True,
    ):
        torch.testing.assert_close(own, autograds, rtol=1e-4, atol=1e-4)


def test_gradients_of_single_images_by_torchs_transforms():
    layer, images = DepthwiseConv2d(16, 7).train(), torch.randn(3, 16, 16, 16)

    def loss(weight: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, {"weight": weight}, image[None]).square().sum()

    weight = layer.weight.detach().requires_grad_()
    gradients = torch.func.vmap(torch.func.grad(loss), (None, 0))(weight, images)
    expected = [torch.autograd.grad(loss(weight, image), weight)[0] for image in images]
    torch.testing.assert_close(gradients, torch.stack(expected), rtol=1e-4, atol=1e-3)


def test_the_weight_gradient_is_taken_where_it_is_faster_and_nowhere_else(monkeypatch):
    taken = []
    monkeypatch.setattr(depthwise, "weight_gradient", lambda *args: taken.append(args[2:]) or weight_gradient(*args))
    for kernel, stride in [(3, 1), (5, 1), (13, 1), (7, 2), (9, 2), (13, 4)]:
        DepthwiseConv2d(8, kernel, stride).train()(torch.randn(1, 8, 16, 16)).sum().backward()
    assert taken == [(5, 1), (13, 1), (9, 2)]
    layer = DepthwiseConv2d(8, 13)
    layer.eval()(torch.randn(1, 8, 16, 16)).sum().backward()
    layer.train().weight.requires_grad_(False)
    layer(torch.randn(1, 8, 16, 16, requires_grad=True)).sum().backward()
    assert len(taken) == 3


def test_it_counts_as_one_depthwise_convolution():
    layer = DepthwiseConv2d(8, 13).train()
    counted = count(layer, (1, 8, 16, 16))
    assert (counted.macs, counted.status) == (8 * 13 * 13 * 16 * 16, "complete")
    with FlopCounterMode(display=False) as mode:  # an operation a multiplication and one an addition
        y = layer(torch.randn(1, 8, 16, 16, requires_grad=True))
        assert mode.get_total_flops() == 2 * counted.macs
        y.sum().backward()
    assert mode.get_total_flops() == 3 * 2 * counted.macs


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_a_trace_in_evaluation_mode_keeps_one_convolution():
    traced = torch.jit.trace(DepthwiseConv2d(8, 9).eval(), torch.randn(1, 8, 16, 16))
    assert str(traced.inlined_graph).count("aten::_convolution") == 1
    assert "PythonOp" not in str(traced.inlined_graph)
