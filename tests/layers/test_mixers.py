"""Every mixer: shapes, closed forms of its size, gradients, and the same layer elsewhere with the same weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scsc_lab import InputError, SCSCSpec
from scsc_lab.counting.count import count
from scsc_lab.layers.mixers import dilated_reparam, load
from scsc_lab.networks import mixers

SK_PARTS = {"conv": "convs", "bn": "norms"}
GIVEN, HEIGHT, WIDTH = 48, 13, 9


def closed_form(name: str, c: int, out: int, inside: int, outside: int) -> tuple[int, int]:
    """Return parameters and MACs of a mixer at its defaults, from its definition."""
    project = c * out if out != c else 0
    mixed = {
        "identity": (0, 0),
        "pooling": (0, 0),
        "depthwise": (49 * c + c, 49 * c),
        "mixconv": ((9 + 25 + 49) * c // 3, (9 + 25 + 49) * c // 3),
        "inception": ((9 + 11 + 11 + 3) * (c // 8), (9 + 11 + 11) * (c // 8)),
        "dilated_reparam": ((169 + 25 + 49 + 27 + 12) * c, (169 + 25 + 49 + 27) * c),
        "large_kernel_attention": ((25 + 49 + 3) * c + c * c, (25 + 49) * c + c * c),
    }
    if name in mixed:
        params, macs = mixed[name]
        return params + project, (macs + project) * outside
    if name == "scsc":
        m, g, r, d = 3, 4, SCSCSpec().reduced_channels(c), max(out // 16, 32)
        params = c * r + 2 * r + 83 * r + 2 * m * r + r * m * g + r * out + 2 * out + 2 * out * d
        return params, c * r * inside + (83 * r + r * m * g + m * r + r * out) * outside + 2 * out * d
    if name == "focal":
        embedded = 2 * c + 3
        params = (c + 1) * embedded + (9 + 25) * c + (c + 1) * c + (c + 1) * out
        return params, c * embedded * inside + ((9 + 25) * c + 3 * c + c * c + c * out) * outside
    assert name == "selective_kernel"
    groups, hidden = math.gcd(32, c, out), max(out // 16, 32)
    convs = 2 * 9 * c * out // groups
    params = convs + 2 * 2 * out + out * hidden + 2 * hidden + hidden * 2 * out
    return params, convs * outside + 3 * out * hidden + 2 * out * outside


def randomised(module: nn.Module) -> nn.Module:
    """Give every weight and statistic a random value."""
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.3)
    return module.eval()


@pytest.mark.parametrize("out", [GIVEN, 64])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("name", mixers.names())
def test_shape_and_closed_form(name, stride, out):
    module = load(name)(GIVEN, out, stride)
    high, wide = -(-HEIGHT // stride), -(-WIDTH // stride)
    assert module(torch.randn(2, GIVEN, HEIGHT, WIDTH)).shape == (2, out, high, wide)
    counted = count(module, (2, GIVEN, HEIGHT, WIDTH))
    params, macs = closed_form(name, GIVEN, out, HEIGHT * WIDTH, high * wide)
    assert (counted.params, counted.macs, counted.status) == (params, 2 * macs, "complete")


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", mixers.names())
def test_gradients(name, stride):
    module = randomised(load(name)(12, 13, stride)).double()
    x = torch.randn(2, 12, 3, 5, dtype=torch.float64, requires_grad=True)
    weights = tuple(module.parameters())

    def forward(x, *weights):
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x,))

    names = [key for key, _ in module.named_parameters()]
    assert torch.autograd.gradcheck(forward, (x, *weights), fast_mode=True)
    module.train()(x).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in weights)


@pytest.mark.parametrize("name", mixers.names())
def test_memory_formats_and_half_precision_agree(name):
    module = randomised(load(name)(GIVEN, 64, 2))
    x = torch.randn(2, GIVEN, HEIGHT, WIDTH)
    with torch.no_grad():
        expected = module(x)
        out = module(x.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
        low = module.bfloat16()(x.bfloat16()).float()
    assert (low - expected).norm() < 0.05 * expected.norm()


RENAMED = {
    "depthwise": {"conv_dw.": "conv."},
    "mixconv": {"": "convs."},
    "inception": {"dwconv_hw.": "square.", "dwconv_w.": "flat.", "dwconv_h.": "tall."},
    "focal": {"f.": "embed.", "h.": "modulate.", "proj.": "project.", "focal_layers.": "contexts."},
    "pooling": {},
    "selective_kernel": {f"paths.{i}.{part}.": f"{whole}.{i}." for i in (0, 1) for part, whole in SK_PARTS.items()}
    | {"attn.fc_reduce.": "squeeze.", "attn.bn.": "squeeze_norm.", "attn.fc_select.": "select."},
}
"""How timm's keys begin, and ours."""


def of_timm(name: str, channels: int, stride: int) -> nn.Module:
    """Return timm's layer; the depthwise convolution of ConvNeXt stands in a block there."""
    from timm.layers import MixedConv2d, SelectiveKernel
    from timm.models import convnext, focalnet, inception_next, metaformer

    if name == "depthwise":
        return nn.ModuleDict({"conv_dw": convnext.ConvNeXtBlock(channels, stride=stride).conv_dw})
    if name == "mixconv":
        return MixedConv2d(channels, channels, [3, 5, 7], stride=stride, depthwise=True)
    if name == "selective_kernel":
        made = {"groups": 32, "split_input": False, "rd_channels": 32}
        return SelectiveKernel(channels, channels, [3, 5], stride, **made)
    return {
        "inception": inception_next.InceptionDWConv2d,
        "focal": lambda dim: focalnet.FocalModulation(dim, focal_window=3, focal_level=2),
        "pooling": lambda dim: metaformer.Pooling(),
    }[name](channels)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", RENAMED)
def test_equals_timms_layer_with_the_same_weights(name, stride):
    pytest.importorskip("timm")
    if stride == 2 and name in ("inception", "focal", "pooling"):
        pytest.skip("timm's has no stride")
    theirs = randomised(of_timm(name, 64, stride))
    ours = load(name)(64, 64, stride).eval()
    weights = {}
    for key, value in theirs.state_dict().items():
        old, new = next(pair for pair in RENAMED[name].items() if key.startswith(pair[0]))
        weights[key.replace(old, new, 1) if old else new + key] = value
    ours.load_state_dict(weights)
    x = torch.randn(2, 64, HEIGHT, WIDTH)
    with torch.no_grad():
        expected = theirs["conv_dw"](x) if isinstance(theirs, nn.ModuleDict) and name == "depthwise" else theirs(x)
        torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_large_kernel_attention_is_vans():
    module = randomised(load("large_kernel_attention")(8, 8))
    x = torch.randn(1, 8, 30, 31)
    with torch.no_grad():
        attention = F.conv2d(x, module.local.weight, module.local.bias, padding=2, groups=8)
        attention = F.conv2d(attention, module.wide.weight, module.wide.bias, padding=9, dilation=3, groups=8)
        expected = x * F.conv2d(attention, module.mix.weight, module.mix.bias)
        torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", sorted(dilated_reparam.BRANCHES))
def test_the_branches_of_dilated_reparam_merge_into_one_convolution(kernel, stride):
    module = randomised(load("dilated_reparam")(6, 6, stride, kernel=kernel))
    merged = module.merged()
    assert isinstance(merged, nn.Conv2d)
    assert merged.kernel_size == (kernel, kernel)
    for x in (torch.randn(2, 6, 19, 23), torch.randn(1, 6, 3, 2)):
        with torch.no_grad():
            torch.testing.assert_close(merged(x), module(x), rtol=1e-4, atol=1e-4)


def test_inception_and_identity_keep_channels_as_they_are():
    x = torch.randn(1, 16, 5, 6)
    assert torch.equal(load("identity")(16, 16)(x), x)
    assert torch.equal(load("inception")(16, 16, 2)(x)[:, :10], x[:, :10, ::2, ::2])


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("mixconv", {"kernels": (3, 4)}, "kernels has 4: a kernel size is an odd number"),
        ("mixconv", {"kernels": ()}, "kernels is empty"),
        ("mixconv", {"kernels": (3,) * 13}, "12 channels for 13 kernels"),
        ("depthwise", {"kernel": 4}, "kernel has 4"),
        ("inception", {"ratio": 0.5}, "three branches cannot take 6 of 12 channels each"),
        ("selective_kernel", {"kernels": (1, 3)}, "kernels has 1: a kernel size is an odd number from 3"),
        ("dilated_reparam", {"kernel": 12}, "kernel=12: one of 5, 7, 9, 11, 13, 15, 17"),
        ("pooling", {"kernel": 2}, "kernel=2: an odd number from 3 up"),
        ("scsc", {"kernels": (3,), "groups": 13}, "groups=13 cannot divide"),
    ],
)
def test_mistakes(name, settings, message):
    with pytest.raises(InputError, match=message):
        load(name)(12, 12, **settings)
