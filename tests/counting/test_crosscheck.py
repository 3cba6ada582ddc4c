"""fvcore's second opinion: its own totals, and every difference explained."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from conftest import expected
from functions import Function
from torch import nn
from torch.nn import functional as F

from scsc_lab import build
from scsc_lab.counting.count import count
from scsc_lab.counting.crosscheck import cross_check, spelled_out_attention
from scsc_lab.models import construct
from scsc_lab.networks import catalog

NAMES = "resnet18 resnet50 swin_tiny faceresnet scsc_swin_pico scsc_resnet_pico scsc_faceresnet_pico".split()
SMALL = [row for row in expected() if row["model"] in NAMES]


@pytest.mark.parametrize("row", SMALL, ids=lambda row: f"{row['model']}@{row['resolution']}")
def test_every_difference_is_explained(row):
    spec, side = catalog.find(row["model"]).spec, int(row["resolution"])
    shape = (1, 3, side, side)
    check = cross_check(construct.empty(spec, "cpu"), shape, count(construct.empty(spec), shape))
    assert check.verdict == "explained"
    assert sum(operator.macs for operator in check.operators) == int(row["macs"])
    if row["fvcore_flops"] and not row["model"].startswith("scsc"):
        assert check.flops == int(row["fvcore_flops"])


def test_fvcore_activations_are_ours():
    from fvcore.nn.activation_count import ActivationCountAnalysis

    for name in ("resnet18", "swin_tiny"):
        model = build(name)
        analysis = ActivationCountAnalysis(model, torch.zeros(1, 3, 224, 224))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        with spelled_out_attention():
            total = analysis.total()
        assert total == count(model, (1, 3, 224, 224)).activations


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.InstanceNorm2d(8, affine=True), nn.GroupNorm(2, 8))
        self.fast = nn.MultiheadAttention(8, 2, batch_first=True)
        self.slow = nn.MultiheadAttention(8, 2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.norm = nn.LayerNorm(8, elementwise_affine=False)
        self.batch_norm = nn.BatchNorm2d(8, affine=False)

    def forward(self, x):
        maps = self.batch_norm(F.interpolate(F.interpolate(self.stem(x), scale_factor=2), size=6, mode="bilinear"))
        tokens = maps.flatten(2).transpose(1, 2)
        tokens = (
            tokens + self.fast(tokens, tokens, tokens, need_weights=False)[0] + self.slow(tokens, tokens, tokens)[0]
        )
        tokens = self.norm(self.layer(tokens))
        heads = tokens.unflatten(2, (2, 4)).transpose(1, 2)
        tokens = F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)
        weighted = (tokens * tokens.softmax(1)).sum(1)
        return torch.einsum("nc,nd->ncd", weighted, weighted) + F.adaptive_avg_pool2d(maps, 1).flatten(2)


def test_operators_that_fvcore_misses_or_adds_are_explained():
    model = Mixed()
    shape = (2, 3, 6, 6)
    check = cross_check(model, shape, count(model, shape))
    assert check.verdict == "explained", [row for row in check.operators if not row.explained]
    rows = {row.operator: row for row in check.operators}
    assert rows["bmm"].macs == rows["bmm"].counted == (3 + 1) * 2 * 2 * 36 * 36 * 8  # attention's products, spelled out
    assert (rows["einsum"].macs, rows["einsum"].counted) == (0, 2 * 8 * 8 // 2)
    assert rows["multiply-sum"].reason.startswith("fvcore has no rule")
    for name in (
        "batch_norm",
        "layer_norm",
        "group_norm",
        "instance_norm",
        "upsample_nearest2d",
        "upsample_bilinear2d",
    ):
        assert rows[name].counted == rows[name].predicted > 0 == rows[name].macs


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_networks_of_any_type_and_in_inference_mode_are_explained(dtype):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dtype=dtype)
    forward = torch.inference_mode()(lambda net, x: torch.linalg.matmul(net.layer(x), x.mT))
    network = Function(forward, layer=layer)
    counted = count(network, (2, 5, 8))
    assert counted.macs == 2 * 5 * (4 * 64 + 2 * 128) + 3 * 2 * 25 * 8
    assert cross_check(network, (2, 5, 8), counted).verdict == "explained"


@pytest.mark.parametrize("equation", ["bnc,bmc->bnm", "bnc,bnd->bcd", "bnc,bdc->bdn", "bnc,bnc->bn", "bnc,bnc,bnd->bd"])
def test_einsum_is_explained_in_every_form(equation):
    network = Function(lambda net, x: torch.einsum(equation, *[x] * (equation.count(",") + 1)))
    shape = (3, 37, 41) if "bnc,bnc" in equation or "bdc" in equation else (3, 37, 37)
    counted = count(network, shape)
    assert counted.macs > 0
    assert cross_check(network, shape, counted).verdict == "explained"


def test_weight_standardisation_and_padding_by_name_are_explained():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.same = nn.Conv2d(3, 8, 3, padding="same")
            self.plain = nn.Conv2d(8, 8, 3)
            self.gain = nn.Parameter(torch.ones(8))

        def forward(self, x):
            y = self.plain(self.same(x))
            flat = self.plain.weight.reshape(1, 8, -1)
            for gain in (None, self.gain):
                weight = F.batch_norm(flat, None, None, weight=gain, training=True).reshape_as(self.plain.weight)
                y = F.conv2d(y, weight, padding=1)
            return y

    shape = (1, 3, 9, 9)
    check = cross_check(Network(), shape, count(Network(), shape))
    assert check.verdict == "explained", check.operators
    rows = {row.operator: row for row in check.operators}
    assert rows["batch_norm"].counted == (4 + 5) * 8 * 8 * 9
    assert (rows["conv with padding='same' or 'valid'"].macs, rows["conv"].macs) == (81 * 27 * 8, 3 * 49 * 72 * 8)


def attend(q, k, v, **options):
    return F.scaled_dot_product_attention(q, k, v, **options)


@pytest.mark.parametrize(
    ("function", "batch"),
    [
        (lambda q: attend(q, q, q), (2 * 3, 2 * 3)),
        (lambda q: attend(q[:1], q, q), (2 * 3, 2 * 3)),
        (lambda q: attend(q, q[:, :1], q[:1, :1]), (2 * 3, 2 * 3)),
        (lambda q: attend(q[:1, :1], q[:1, :1], q), (1, 2 * 3)),
        (lambda q: attend(q, q[:, :1], q[:, :1], enable_gqa=True), (2 * 3, 2 * 3)),
        (lambda q: attend(q, q, q, is_causal=True, scale=1.0), (2 * 3, 2 * 3)),
        (lambda q: attend(q, q, q, attn_mask=torch.zeros(6, 6, device=q.device) > 0), (2 * 3, 2 * 3)),
        (lambda q: torch.vmap(attend)(q, q, q), (2 * 3, 2 * 3)),
        (lambda q: torch.nn.functional.scaled_dot_product_attention(q[0], q[0], q[0]), (3, 3)),
    ],
)
@pytest.mark.parametrize("real", [False, True])
def test_attention_counts_what_is_broadcast_and_fvcore_agrees(function, batch, real):
    network = Function(lambda net, x: function(x), real, anchor=nn.Linear(1, 1))
    shape = (2, 3, 6, 8)
    counted = count(network, shape)
    assert counted.device == ("cpu" if real else "meta")
    assert counted.macs == sum(batch) * 6 * 6 * 8
    assert counted.activations == batch[0] * 6 * 6 + batch[1] * 6 * 8
    check = cross_check(network, shape, counted)
    if check.verdict == "impossible":  # vmap and a graph do not go together
        assert check.failure == "RuntimeError: Unsupported value kind: Tensor"
        return
    assert check.verdict == "explained", check.operators
    assert check.flops == counted.macs
    wrong = dataclasses.replace(counted.cells[-1], macs=1, fvcore=1, fvcore_operator="bmm")
    assert cross_check(network, shape, dataclasses.replace(counted, cells=(wrong,))).verdict == "unexplained"


def test_matrix_products_that_broadcast_are_explained():
    network = Function(lambda net, x: x[:1] @ x.mT + torch.matmul(x, x[:, :1].mT))
    counted = count(network, (2, 3, 6, 8))
    assert counted.macs == 2 * 2 * 3 * 6 * 6 * 8
    assert cross_check(network, (2, 3, 6, 8), counted).verdict == "explained"


class Squared(torch.autograd.Function):
    """A product that no graph shows."""

    @staticmethod
    def forward(ctx, x):
        return x @ x.transpose(-1, -2) + torch.einsum("bnc,bmc->bnm", x, x) + F.linear(x, x[0])

    @staticmethod
    def backward(ctx, gradient):
        return gradient


@pytest.mark.parametrize(
    ("function", "shape", "macs", "flops"),
    [
        (lambda x: F.interpolate(x, size=4, mode="area"), (1, 3, 6), 0, 0),
        (lambda x: F.interpolate(x, (4, 3), mode="area"), (1, 3, 6, 6), 0, 108),
        (lambda x: F.interpolate(x, None, 0.4, "area"), (1, 3, 6, 6), 0, 108),
        (lambda x: F.interpolate(x, size=4, mode="area"), (1, 3, 6, 6, 6), 0, 0),
        (lambda x: Squared.apply(x) + x @ x, (2, 3, 3), 4 * 54, 54),
        (lambda x: F.grid_sample(x, torch.zeros(1, 2, 2, 2, 3), align_corners=False), (1, 3, 4, 4, 4), 0, 96),
        (lambda x: (x.to(torch.cfloat) @ x.to(torch.cfloat)).abs(), (3, 3), 81, 27),
    ],
)
def test_what_the_graph_hides_or_names_otherwise_is_explained(function, shape, macs, flops):
    network = Function(lambda net, x: function(x))
    counted = count(network, shape)
    check = cross_check(network, shape, counted)
    assert (counted.macs, check.flops) == (macs, flops)
    assert check.verdict == "explained", check.operators


def test_a_wrong_count_is_found():
    model, shape = nn.Conv2d(3, 8, 3), (1, 3, 6, 6)
    right = count(model, shape)
    cell = dataclasses.replace(right.cells[0], macs=right.cells[0].macs + 1, fvcore=right.cells[0].fvcore + 1)
    check = cross_check(model, shape, dataclasses.replace(right, cells=(cell,)))
    assert check.verdict == "unexplained"
    assert check.operators[0].reason.startswith("unexplained: fvcore's rules give")


def test_what_fvcore_cannot_trace_is_said():
    check = cross_check(Function(lambda net, x: {1: x}), (1, 3), count(nn.Identity(), (1, 3)))
    assert check.verdict == "impossible"
    assert "RuntimeError" in check.failure


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout()).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    cross_check(model, (2, 3, 8, 8), count(model, (2, 3, 8, 8)))
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.backends.mha.get_fastpath_enabled()
