"""A training step's multiply-accumulates: forward and backward, by closed forms and beside torch's own counter."""

from __future__ import annotations

import math

import pytest
import torch
from functions import Function
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from scsc_lab import InputError, build
from scsc_lab.counting.count import count
from scsc_lab.layers.scsc import gated_sum


class Attention(nn.Module):
    """Self-attention of four heads."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x):
        return F.scaled_dot_product_attention(*self.qkv(x).unflatten(2, (3, 4, 2)).permute(2, 0, 3, 1, 4).unbind(0))


def steps(model, shape, **options):
    return count(model, shape).macs, count(model, shape, backward=True, **options).macs


def test_each_convolution_costs_two_more_but_for_the_first():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, groups=2, stride=2))
    first, second = 2 * 27 * 4 * 36, 2 * 18 * 6 * 4
    assert steps(model, (2, 3, 8, 8)) == (first + second, 2 * first + 3 * second)
    parts = {part.name: part.macs for part in count(model, (2, 3, 8, 8), backward=True).by_operator() if part.macs}
    assert parts["conv2d"] + parts["conv2d grouped"] == first + second
    assert sum(macs for name, macs in parts.items() if name.endswith(" backward")) == first + 2 * second
    written = {part.name: part.activations for part in count(model, (2, 3, 8, 8), backward=True).by_operator()}
    assert written["conv2d backward"] == model[0].weight.numel()
    assert written["conv2d grouped backward"] == 2 * 4 * 36 + model[3].weight.numel()
    modules = {part.name: part.macs for part in count(model, (2, 3, 8, 8), backward=True).by_module()}
    assert (modules["0"], modules["3"]) == (2 * first, 3 * second)


def test_inputs_that_want_a_gradient_and_weights_that_want_none():
    layer = nn.Conv2d(3, 4, 3)
    cost = 27 * 4 * 36
    assert count(layer, inputs=torch.zeros(1, 3, 8, 8, requires_grad=True), backward=True).macs == 3 * cost
    layer.weight.requires_grad_(False)
    assert count(layer, inputs=torch.zeros(1, 3, 8, 8, requires_grad=True), backward=True).macs == 2 * cost
    assert count(layer, (1, 3, 8, 8), backward=True).macs == cost  # the bias alone: a sum
    layer.bias.requires_grad_(False)
    with pytest.raises(InputError, match="no parameter of the network requires a gradient"):
        count(layer, (1, 3, 8, 8), backward=True)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_convolutions_of_every_kind(data):
    dims, groups, transposed = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)), data.draw(st.booleans())
    kinds = (
        (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
        if transposed
        else (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    )
    inputs, outputs = (groups * data.draw(st.integers(1, 3)) for _ in range(2))
    kernel, stride, dilation = (data.draw(st.integers(1, 3)) for _ in range(3))
    options = {"output_padding": data.draw(st.integers(0, max(stride, dilation) - 1))} if transposed else {}
    layer = kinds[dims - 1](
        inputs,
        outputs,
        kernel,
        stride,
        padding=data.draw(st.integers(0, kernel // 2)),
        dilation=dilation,
        groups=groups,
        bias=data.draw(st.booleans()),
        **options,
    )
    shape = (data.draw(st.integers(1, 2)), inputs, *(data.draw(st.integers(5, 7)) for _ in range(dims)))
    out = layer(torch.zeros(shape))
    positions = math.prod(shape[2:] if transposed else out.shape[2:])
    macs = shape[0] * positions * inputs * outputs // groups * kernel**dims
    counted = count(layer, shape, backward=True)
    assert (counted.macs, counted.status, counted.remark) == (2 * macs, "complete", "")
    x = torch.zeros(shape, requires_grad=True)
    assert count(layer, inputs=x, backward=True).macs == 3 * macs


def test_masks_of_dropout_are_free():
    def dropped(drop):
        return Function(lambda net, x: drop(net.conv(x)).mean((2, 3)), conv=nn.Conv2d(3, 4, 1))

    def drop_path(x):
        return x * x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(0.9).div_(0.9)

    def old_drop_path(x):
        return x.div(0.9) * (0.9 + torch.rand(x.shape[0], 1, 1, 1, device=x.device)).floor_()

    cost = 2 * 3 * 4 * 25
    drops = (nn.Dropout(), nn.Dropout2d(0.3), nn.AlphaDropout(), nn.FeatureAlphaDropout(), drop_path, old_drop_path)
    for drop in (*drops, lambda x: F.dropout(x, 0.1), lambda x: F.dropout(x.unsqueeze(0), 0.1, inplace=True)[0]):
        assert count(dropped(drop), (2, 3, 5, 5), backward=True).macs == 2 * cost


def test_attention_and_linear():
    linear, products = 2 * 5 * 8 * 24, 2 * 2 * 4 * 5 * 5 * 2
    assert steps(Attention(), (2, 5, 8)) == (linear + products, 2 * linear + 3 * products)
    parts = {part.name: part.macs for part in count(Attention(), (2, 5, 8), backward=True).by_operator() if part.macs}
    assert parts == {
        "linear": linear,
        "linear backward": linear,
        "scaled_dot_product_attention": products,
        "scaled_dot_product_attention backward": 2 * products,
    }
    calls = {part.name: part.calls for part in count(Attention(), (2, 5, 8), backward=True).by_operator()}
    assert calls["scaled_dot_product_attention"] == 1


def test_a_gated_sum():
    network = Function(lambda net, x: gated_sum(x, net.gates), gates=nn.Parameter(torch.zeros(2, 3, 2, 5, 5)))
    cost = 2 * 3 * 4 * 25  # the gates' gradient sums products over the channels of a group, as many
    assert steps(network, (2, 3, 4, 5, 5)) == (cost, 2 * cost)


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny"])
def test_torch_counts_the_same(name):
    model = build(name).train()
    x = torch.zeros(1, 3, 64, 64)
    with FlopCounterMode(display=False) as counter:
        model.to("meta")(x.to("meta")).sum().backward()
    before = [parameter.grad for parameter in model.parameters()]
    counted = count(model, (1, 3, 64, 64), backward=True)
    own = sum(part.macs for part in counted.by_operator() if not part.name.startswith("multiply-sum"))
    assert counter.get_total_flops() == 2 * own
    assert counted.status == "complete"
    assert all(parameter.grad is grad for parameter, grad in zip(model.parameters(), before, strict=True))


def test_modules_keep_their_mode_and_their_gradients():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    count(model, (2, 3, 8, 8), backward=True)
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
