"""The one rule of what a sum of products is: every spelling costs the same, and what is elementwise costs nothing."""

from __future__ import annotations

import functools
import operator as python

import pytest
import torch
from functions import Function
from torch import nn
from torch.nn import functional as F

from scsc_lab.counting.count import count
from scsc_lab.layers.scsc import gated_sum

N, M, C, H = 2, 3, 4, 5
"""Images, slices, channels and side of a map, throughout."""


def halves(x):
    """Return two tensors that both come from the input, ``(N, 2·M·C, H, H)``."""
    return x.unflatten(1, (2, M, C)).unbind(1)


def counted(function, real=False):
    network = Function(lambda net, x: function(*halves(x)), real, anchor=nn.Parameter(torch.ones(1)))
    result = count(network, (N, 2 * M * C, H, H))
    assert result.status == "complete"
    assert result.device == ("cpu" if real else "meta")
    return result


def each(s, g):
    return [s[:, j] * g[:, j] for j in range(M)]


def in_place(s, g):
    total = torch.zeros_like(s[:, 0])
    for j in range(M):
        total += s[:, j] * g[:, j]
    return total


def in_place_on_a_constant(s, g):
    total = torch.zeros(N, C, H, H)
    for j in range(M):
        total += s[:, j].cpu() * g[:, j].cpu()
    return total


def in_slices(s, g):
    products = torch.empty_like(s)
    for j in range(M):
        products[:, j] = s[:, j] * g[:, j]
    return products.sum(1)


def addcmul(s, g):
    total = s[:, 0] * g[:, 0]
    for j in range(1, M):
        total = torch.addcmul(total, s[:, j], g[:, j])
    return total


def after_a_view(s, g):
    return (s.flatten(2) * g.flatten(2)).unflatten(2, (C, H, H)).transpose(1, 2).sum(2)


GATES = {
    "one operator": gated_sum,
    "multiply and sum": lambda s, g: (s * g).sum(1),
    "method": lambda s, g: s.mul(g).sum(dim=1),
    "in place": lambda s, g: s.clone().mul_(g).sum(1),
    "mean": lambda s, g: (s * g).mean(1),
    "a scale between": lambda s, g: ((s * g) * 0.3).sum(1),
    "divided": lambda s, g: (s * g / 3).sum(1),
    "negative": lambda s, g: -(-(s * g)).sum(1),
    "a scale of more dimensions": lambda s, g: ((s * g) * s.new_ones(1, 1, 1, 1, 1, 1)).squeeze(0).sum(1),
    "written over": lambda s, g: torch.zeros(1, *s.shape, device=s.device).copy_(s * g)[0].sum(1),
    "another type": lambda s, g: (s * g).double().sum(1),
    "sum of that type": lambda s, g: torch.sum(s * g, 1, dtype=torch.float64),
    "stack": lambda s, g: torch.stack(each(s, g)).sum(0),
    "cat": lambda s, g: torch.cat(each(s, g), 1).unflatten(1, (M, C)).sum(1),
    "plus": lambda s, g: each(s, g)[0] + each(s, g)[1] + each(s, g)[2],
    "sum()": lambda s, g: sum(each(s, g)),
    "reduce": lambda s, g: functools.reduce(python.add, each(s, g)),
    "minus": lambda s, g: each(s, -g)[0] - each(s, g)[1] - each(s, g)[2],
    "pairs": lambda s, g: each(s, g)[0] + (each(s, g)[1] + each(s, g)[2]),
    "on top of something": lambda s, g: s[:, 0] + each(s, g)[0] + each(s, g)[1] + each(s, g)[2],
    "addcmul": addcmul,
    "addcmul on something": lambda s, g: (
        s[:, 2].addcmul(s[:, 0], g[:, 0]).addcmul(*each_pair(s, g)[1]).addcmul(*each_pair(s, g)[2])
    ),
    "+=": in_place,
    "+= on a constant": in_place_on_a_constant,
    "in slices": in_slices,
    "after views": after_a_view,
    "sums of parts": lambda s, g: (s[:, :2] * g[:, :2]).sum(1) + s[:, 2] * g[:, 2],
    "cumulative": lambda s, g: (s * g).cumsum(1)[:, -1],
    "a mask between": lambda s, g: (s * g).masked_fill(g > 0, 0.0).sum(1),
    "padded": lambda s, g: F.pad(s * g, (0, 0)).sum(1),
    "pooled": lambda s, g: F.avg_pool1d((s * g).permute(0, 2, 3, 4, 1).flatten(0, 2), M),
    "einsum": lambda s, g: torch.einsum("nmchw,nmchw->nchw", s, g),
    "matmul": lambda s, g: s.movedim(1, -1).unsqueeze(-2) @ g.movedim(1, -1).unsqueeze(-1),
    "vmap": lambda s, g: torch.vmap(lambda a, b: (a * b).sum(0))(s, g),
    "one operator under vmap": lambda s, g: torch.vmap(gated_sum)(s.unsqueeze(1), g.unsqueeze(1)),
    "einsum under vmap": lambda s, g: torch.vmap(lambda a, b: torch.einsum("mchw,mchw->chw", a, b))(s, g),
}


def each_pair(s, g):
    return [(s[:, j], g[:, j]) for j in range(M)]


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("spelling", GATES)
@pytest.mark.parametrize("real", [False, True])
def test_a_gate_costs_the_same_however_it_is_spelled(spelling, real):
    result = counted(GATES[spelling], real)
    assert result.macs == N * M * C * H * H
    if not real and "part" not in spelling and spelling != "cumulative":
        assert result.activations == N * C * H * H


ELEMENTWISE = {
    "a product alone": lambda s, g: s * g,
    "a gate on a stream": lambda s, g: s + g * s.sigmoid(),
    "layer scale": lambda s, g: s[:, 0] + g[0, 0, :, :1, :1] * s[:, 1],
    "addcmul": lambda s, g: torch.addcmul(s, g, s),
    "a number": lambda s, g: (s * 2).sum(1) + (s + s).sum(1),
    "one element": lambda s, g: (s * s[0, 0, 0, 0, 0]).sum(1),
    "a square": lambda s, g: (s * s).sum(1) + s.square().mean(1) + (s**2).sum(1),
    "an activation": lambda s, g: (s * s.sigmoid()).mean(1) + (s * F.relu6(s + 3) / 6).sum(1),
    "RMSNorm by hand": lambda s, g: s * (s * s).mean(2, keepdim=True).rsqrt(),
    "variance by hand": lambda s, g: (lambda d: (d * d).mean(1))(s - s.mean(1, keepdim=True)),
    "ReLU between": lambda s, g: (s * g).relu().sum(1),
    "ReLU in place between": lambda s, g: (s * g).relu_().sum(1),
    "softmax between": lambda s, g: (s * g).softmax(1).sum(1),
    "a maximum": lambda s, g: (s * g).amax(1),
    "over one element": lambda s, g: (s * g)[:, :1].sum(1),
    "a gate of channels, pooled": lambda s, g: (s[:, 0] * g[:, 0, :, :1, :1]).mean((2, 3)),
    "a gate of channels, adaptively pooled": lambda s, g: F.adaptive_avg_pool2d(s[:, 0] * g[:, 0, :, :1, :1], 2),
    "a gated stream, flattened and pooled": lambda s, g: (s[:, 1] + s[:, 0] * g[:, 0, :, :1, :1]).flatten(2).mean(-1),
    "tokens, scaled and pooled": lambda s, g: (s[:, 0] * g[:, 0, :, :1, :1]).flatten(2).transpose(1, 2).mean(1),
}


@pytest.mark.parametrize("what", ELEMENTWISE)
@pytest.mark.parametrize("real", [False, True])
def test_what_is_elementwise_is_free(what, real):
    assert counted(ELEMENTWISE[what], real).macs == 0


def test_a_residual_stream_is_no_sum_of_products():
    """Every block reads the stream before it adds one product to it; ``x0 + Σ γ·y`` is not one long sum."""

    def blocks(s, g):
        x, scale = s[:, 0], g[0, 0, :, :1, :1]
        for norm in (torch.relu, torch.sigmoid, lambda y: F.layer_norm(y, y.shape[1:])):
            x = x + scale * norm(x)
            x = scale * norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) + x
            x = x + scale * (F.avg_pool2d(x, 3, 1, 1) - x)
        return F.adaptive_avg_pool2d(x, 1)

    assert counted(blocks).macs == 0


def test_products_that_several_sums_use_count_in_each():
    def twice(s, g):
        p = each(s, g)
        return p[0] + p[1], p[0] + p[2]

    assert counted(twice).macs == 4 * N * C * H * H


def test_products_of_products():
    n = N * M * C * H * H
    assert counted(lambda s, g: ((s * g).sum(1) * s[:, 0]).sum(1)).macs == n + n // M
    assert counted(lambda s, g: (s * g * s.flip(1)).sum(1)).macs == n
    assert counted(lambda s, g: torch.einsum("nmchw,nmchw,nmchw->nchw", s, g, s.flip(1))).macs == n
    assert counted(lambda s, g: (s * g).sum((1, 2))).macs == n
    assert counted(lambda s, g: (s * g).sum()).macs == n


def test_rotary_embeddings_are_sums_of_two_products():
    def rotated(s, g):
        a, b = s.chunk(2, dim=2)
        return s * g.cos() + torch.cat([-b, a], 2) * g.sin()

    assert counted(rotated).macs == 2 * N * M * C * H * H
