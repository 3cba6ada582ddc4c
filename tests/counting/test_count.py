"""Counts: one-layer closed forms, what popular counters miss, and the network left as it was."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
import torch
from functions import Function
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import scsc_lab
from scsc_lab import Count, InputError, build
from scsc_lab import count as count_api
from scsc_lab.counting.count import count
from scsc_lab.layers.tracing import operator
from scsc_lab.layers.window_attention import WindowAttention
from scsc_lab.models.resnet import Bottleneck
from scsc_lab.networks import catalog


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_convolutions(data):
    dims = data.draw(st.integers(1, 3))
    groups = data.draw(st.integers(1, 3))
    transposed = data.draw(st.booleans())
    in_channels, out_channels = (groups * data.draw(st.integers(1, 4)) for _ in range(2))
    kernel, stride, dilation = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))
    bias, batch, side = data.draw(st.booleans()), data.draw(st.integers(1, 3)), data.draw(st.integers(5, 8))
    kinds = {
        False: (nn.Conv1d, nn.Conv2d, nn.Conv3d),
        True: (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    }
    layer = kinds[transposed][dims - 1](
        in_channels, out_channels, kernel, stride, groups=groups, dilation=dilation, bias=bias
    )
    shape = (batch, in_channels, *(side,) * dims)
    out = layer(torch.zeros(shape))
    positions = side**dims if transposed else out[0, 0].numel()
    counted = count(layer, shape)
    assert counted.macs == batch * positions * kernel**dims * in_channels * out_channels // groups
    assert counted.activations == out.numel()
    assert counted.params == sum(parameter.numel() for parameter in layer.parameters())
    assert counted.bytes == 4 * (torch.Size(shape).numel() + counted.params + out.numel())
    assert counted.status == "complete"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 6), st.integers(1, 6), st.booleans())
def test_linear(outer, inputs, outputs, bias):
    counted = count(nn.Linear(inputs, outputs, bias), (*outer, inputs))
    rows = torch.Size(outer).numel()
    assert (counted.macs, counted.activations) == (rows * inputs * outputs, rows * outputs)
    assert [part.name for part in counted.by_operator()] == ["linear"]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(3, 9), st.integers(3, 9), st.booleans())
def test_swin_window(batch, heads, per_head, height, width, shifted):
    window, channels = 3, heads * per_head
    layer = WindowAttention(channels, heads, window, shift=1 if shifted else 0)
    rows, columns = -(-height // window), -(-width // window)
    tokens = batch * rows * columns * window**2
    macs = tokens * channels * 3 * channels + 2 * tokens * window**2 * channels + tokens * channels * channels
    counted = count(layer, (batch, height, width, channels))
    assert counted.macs == macs
    assert counted.params == 4 * channels * channels + 4 * channels + (2 * window - 1) ** 2 * heads


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8), st.integers(1, 2), st.integers(1, 9))
def test_bottleneck(in_channels, width, middle, stride, side):
    block = Bottleneck(in_channels, width, middle, stride)
    out = -(-side // stride)
    macs = side**2 * in_channels * middle + out**2 * (9 * middle * middle + middle * width)
    if stride > 1 or in_channels != width:
        macs += out**2 * in_channels * width
    assert count(block, (1, in_channels, side, side)).macs == macs


def attention_forms():
    return {
        "sdpa": lambda net, x: F.scaled_dot_product_attention(x, x, x),
        "causal": lambda net, x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
        "masked": lambda net, x: F.scaled_dot_product_attention(x, x, x, attn_mask=torch.zeros(6, 6).to(x.device)),
        "products": lambda net, x: ((x @ x.transpose(-2, -1)) / 2).softmax(-1) @ x,
        "einsum": lambda net, x: torch.einsum("nhlk,nhkd->nhld", torch.einsum("nhld,nhkd->nhlk", x, x), x),
    }


@pytest.mark.parametrize("form", attention_forms())
@pytest.mark.parametrize("on_meta", [True, False])
def test_attention_counts_in_every_form_on_every_device(form, on_meta):
    function = attention_forms()[form]
    if not on_meta:  # reading a value keeps it off the meta device
        network = Function(lambda net, x: function(net, x) if float(x.sum()) < 1e9 else x, anchor=nn.Linear(1, 1))
    else:
        network = Function(function, anchor=nn.Linear(1, 1))
    counted = count(network, (2, 3, 6, 8))
    assert counted.device == ("meta" if on_meta else "cpu")
    assert bool(counted.remark) != on_meta
    assert counted.macs == 2 * (2 * 3 * 6 * 6 * 8)
    assert counted.activations == 2 * 3 * 6 * 6 + 2 * 3 * 6 * 8


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_multi_head_attention(need_weights, training):
    layer = nn.MultiheadAttention(8, 2, batch_first=True).train(training)
    counted = count(Function(lambda net, x: net.layer(x, x, x, need_weights=need_weights)[0], layer=layer), (2, 5, 8))
    assert counted.macs == 2 * (4 * 5 * 8 * 8) + 2 * (2 * 5 * 5 * 8)
    assert {part.name for part in counted.by_operator() if part.macs} == {"linear", "scaled_dot_product_attention"}


def scripted(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x @ x.transpose(1, 2))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_scripted_parts_count():
    function = torch.jit.script(scripted)
    module = torch.jit.script(nn.Sequential(nn.Linear(4, 8), nn.ReLU()))
    assert count(Function(lambda net, x: function(x), anchor=nn.Linear(1, 1)), (2, 5, 4)).macs == 2 * 5 * 5 * 4
    assert count(Function(lambda net, x: net.module(x), module=module), (2, 5, 4)).macs == 2 * 5 * 4 * 8


@pytest.mark.parametrize(
    ("name", "function", "members", "macs"),
    [
        ("parameter product", lambda net, x: x @ net.p, {"p": nn.Parameter(torch.zeros(4, 6))}, 2 * 5 * 4 * 6),
        ("einsum", lambda net, x: torch.einsum("bnc,dc->bnd", x, net.m.weight), {"m": nn.Linear(4, 6)}, 2 * 5 * 4 * 6),
        (
            "computed weights",
            lambda net, x: F.conv1d(x, net.m(x.mean((0, 1)))[:, None, None].expand(6, 5, 1)),
            {"m": nn.Linear(4, 6)},
            4 * 6 + 2 * 4 * 5 * 6,
        ),
        (
            "sum of products",
            lambda net, x: (x[:, :, None] * net.m.weight).sum(-1),
            {"m": nn.Linear(4, 6)},
            2 * 5 * 6 * 4,
        ),
        ("checkpointed", lambda net, x: checkpoint(net.m, x, use_reentrant=False), {"m": nn.Linear(4, 6)}, 240),
        ("twice", lambda net, x: net.m(net.m(x)), {"m": nn.Linear(4, 4)}, 2 * 2 * 5 * 4 * 4),
    ],
)
def test_what_popular_counters_miss(name, function, members, macs):
    counted = count(Function(function, **members), (2, 5, 4))
    assert (counted.macs, counted.status) == (macs, "complete")


def test_a_mask_summed_without_a_product_is_no_contraction():
    assert count(Function(lambda net, x: (x * 2).sum(-1) + (x + x).sum(-1)), (2, 5, 4)).macs == 0


def test_arithmetic_without_a_rule_is_partial_and_named():
    counted = count(Function(lambda net, x: torch.linalg.svdvals(x)), (2, 4, 8, 8))
    assert counted.status == "partial"
    assert dict(counted.unknown) == {"_linalg_svd": 1}


@pytest.mark.parametrize(
    "layer",
    [
        nn.ReLU(inplace=True),
        nn.PReLU(),
        nn.Dropout(),
        nn.BatchNorm2d(4),
        nn.GroupNorm(2, 4),
        nn.AdaptiveAvgPool2d(3),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Upsample(scale_factor=2, mode="bicubic"),
        nn.PixelShuffle(2),
        nn.ReflectionPad2d(1),
        nn.Softmax(dim=1),
        nn.Unfold(3),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_without_products_are_quiet(layer):
    counted = count(layer, (2, 4, 8, 8))
    assert (counted.macs, counted.status) == (0, "complete")


def test_an_operator_that_knows_its_own_cost():
    @operator(macs=lambda a, b: 7 * a.shape[0])
    def odd(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a.unsqueeze(1) @ b.unsqueeze(2)).flatten()

    counted = count(Function(lambda net, x: odd(x, x) + odd(x, b=x)), (5, 4))
    assert {part.name: (part.calls, part.macs) for part in counted.by_operator() if part.macs} == {"odd": (2, 70)}


def test_parts_sum_to_the_whole():
    model = build("scsc_swin_tiny", depths=(1, 2, 1, 1))
    counted = count(model, (2, 3, 64, 64))
    for parts in (counted.by_operator(), counted.by_stage(model.stages)):
        for key in ("macs", "activations", "bytes", "calls"):
            assert sum(getattr(part, key) for part in parts) == sum(getattr(cell, key) for cell in counted.cells)
    stages = counted.by_stage(model.stages)
    assert [part.name for part in stages] == [*model.stages, "other"]  # the pooling that no module owns
    assert sum(part.params for part in stages) == counted.params
    modules = {part.name: part for part in counted.by_module()}
    assert modules[""].macs == counted.macs
    assert modules[""].params == counted.params
    assert modules["layers.1"].macs == sum(modules[f"layers.1.{child}"].macs for child in ("blocks", "downsample"))
    assert [part.name for part in counted.by_module(depth=1)] == ["", "patch_embed", "layers", "norm", "head"]


def test_shared_parameters_count_once():
    layer = nn.Linear(4, 4)
    network = nn.Sequential(layer, layer, nn.Linear(4, 4))
    network[2].weight = layer.weight
    counted = count(network, (1, 4))
    assert (counted.params, counted.macs) == (24, 48)


def snapshot(model: nn.Module):
    return (
        {key: value.clone() for key, value in model.state_dict().items()},
        [module.training for module in model.modules()],
        [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()],
        [sorted(vars(module)) for module in model.modules()],
        torch.get_rng_state(),
    )


@pytest.mark.parametrize("on_meta", [True, False])
def test_the_model_is_left_as_it_was(on_meta):
    inner = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(), nn.ReLU())
    function = (lambda net, x: net.inner(x)) if on_meta else (lambda net, x: net.inner(x) * float(x.sum() > 0))
    model = Function(function, inner=inner).train()
    inner[1].eval()
    before = snapshot(model)
    assert count(model, (2, 3, 8, 8)).device == ("meta" if on_meta else "cpu")
    after = snapshot(model)
    assert all(torch.equal(before[0][key], after[0][key]) for key in before[0])
    assert before[0].keys() == after[0].keys()
    assert before[1:4] == after[1:4]
    assert torch.equal(before[4], after[4])


def test_constants_on_the_wrong_device_do_not_matter():
    network = Function(
        lambda net, x: net.m(x)[:, : int(torch.arange(9).max())] + torch.linspace(0, 1, 8) + torch.ones(8).to(x.device),
        m=nn.Linear(4, 16),
    )
    counted = count(network, (2, 4))
    assert (counted.macs, counted.device, counted.remark) == (128, "meta", "")


def test_a_failing_network_says_where():
    with pytest.raises(InputError, match=r"fails on an input of 1×4×8×8: RuntimeError: .*channels"):
        count(nn.Conv2d(3, 8, 3), (1, 4, 8, 8))
    with pytest.raises(InputError, match="fails on an input of 1×3×2×2"):
        count(nn.Conv2d(3, 8, 3).to("meta"), (1, 3, 2, 2))


def test_counting_is_the_same_every_time_and_at_every_resolution_grows():
    counts = [count_api("swin_tiny", resolution=(224, 320)) for _ in range(2)]
    assert counts[0] == counts[1]
    assert isinstance(counts[0], Count)
    assert count_api("swin_tiny").macs < counts[0].macs
    assert count_api("resnet18", batch=3).macs == 3 * count_api("resnet18").macs


def test_a_count_shows_itself():
    counted = count(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), (1, 3, 8, 8))
    assert repr(counted) == f"Count(params=224, macs=7,776, activations=288, bytes={counted.bytes:,}, complete)"
    partial = Count(**{**vars(counted), "unknown": (("<script>::op", 1),)})
    page = partial._repr_html_()
    assert "<td>conv2d</td><td>1</td><td>0.000007776</td>" in page
    assert "relu" not in page
    assert "&lt;script&gt;::op (1 calls)" in page


def test_counts_become_frames():
    model = build("resnet18")
    counted = Count(**vars(count(model, (1, 3, 64, 64))))
    for frame in (counted.frame(), counted.frame("stage", stages=model.stages)):
        assert (frame["macs"].sum(), frame["bytes"].sum()) == (counted.macs, counted.bytes)
    modules = counted.frame("module", depth=1).set_index("name")
    assert modules.loc["", "params"] == counted.params
    with pytest.raises(InputError, match="needs stages"):
        counted.frame("stage")
    with pytest.raises(InputError, match="operator, module or stage"):
        counted.frame("layer")


def test_a_count_finds_the_stages_of_its_network(tmp_path):
    named, module = scsc_lab.count("resnet18", 64), scsc_lab.count(build("resnet18"), input_shape=(1, 3, 64, 64))
    for counted in (named, module):
        frame = counted.frame("stage").set_index("name")
        assert list(frame.index) == ["stem", "stage1", "stage2", "stage3", "stage4", "head"]
        assert frame["macs"].sum() == counted.macs
    assert pickle.loads(pickle.dumps(named)).macs == named.macs


def test_python_interface():
    assert count_api("scsc_swin_tiny", kernels=(3, 5)).params < count_api("scsc_swin_tiny").params + 10**6
    assert count_api(nn.Conv2d(3, 8, 3), input_shape=(1, 3, 8, 8)).macs == 27 * 8 * 36
    assert count_api(nn.Conv2d(3, 8, 3), resolution=8).macs == 27 * 8 * 36
    assert count_api(nn.Linear(3, 4), inputs=torch.ones(5, 3)).macs == 60
    assert count_api(nn.Linear(3, 4), inputs={"input": (5, 3)}, train=True).macs == 120
    assert count_api("resnet18", train=True).macs > 2 * count_api("resnet18").macs
    with pytest.raises(InputError, match="are for modules"):
        count_api("resnet18", input_shape=(1, 3, 64, 64))
    assert count_api("resnet18", inputs=(1, 3, 64, 64)).macs == count_api("resnet18", 64).macs
    with pytest.raises(InputError, match="needs input_shape"):
        count_api(nn.Conv2d(3, 8, 3))
    with pytest.raises(InputError, match="changes a named network"):
        count_api(nn.Conv2d(3, 8, 3), resolution=8, kernels=(3,))
    with pytest.raises(InputError, match="takes sides from 32"):
        count_api("swin", resolution=31)


@pytest.mark.skipif(torch.__version__ < (2, 9), reason="torch imports SymPy itself")
def test_counting_needs_none_of_the_slow_imports_and_fvcore_in_a_cross_check_alone(tmp_path):
    name = "scsc_swin_tiny"
    code = (
        "import sys, torch, scsc_lab\n"
        "before = set(sys.modules)\n"
        f"assert scsc_lab.count({name!r}).macs > 0\n"
        "slow = {'sympy', 'torch._dynamo', 'pandas', 'matplotlib'}\n"
        "assert 'fvcore' not in sys.modules\n"
        "from scsc_lab.cli import main\n"
        f"main(['flops', {name!r}, '-o', sys.argv[1]])\n"
        "assert 'fvcore' in sys.modules\n"
        "print(sorted(slow & (set(sys.modules) - before)), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "count.json")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr.splitlines()[-1] == "[]"


def test_every_catalog_network_counts_at_an_odd_size():
    for name in catalog.CATALOG:
        assert count_api(name, resolution=(65, 97)).status == "complete"
