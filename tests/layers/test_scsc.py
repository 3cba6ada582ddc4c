"""The SCSC module against the naive reference, the released code's vectors and its closed forms."""

from __future__ import annotations

import os
from pathlib import Path

import naive
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from scsc_lab import SCSC, InputError, SCSCSpec
from scsc_lab.counting.count import count
from scsc_lab.layers.scsc import channel_slices, gated_sum
from scsc_lab.models import checkpoints
from scsc_lab.models.resnet import SCSCBlock

GOLDEN = Path(os.environ.get("SCSC_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))


@st.composite
def modules(draw: st.DrawFn) -> tuple[SCSCSpec, int, int, int]:
    """Draw a spec, input and output channels and a stride that fit together."""
    scales = draw(st.integers(1, 4))
    kernels = tuple(draw(st.sampled_from([1, 3, 5, 7, 9])) for _ in range(scales))
    groups = draw(st.integers(1, 4))
    in_channels = draw(st.integers(scales * groups, scales * groups + 9))
    spec = SCSCSpec(kernels, groups, draw(st.booleans()), draw(st.booleans()), draw(st.booleans()), draw(st.booleans()))
    return spec, in_channels, draw(st.integers(1, 12)), draw(st.integers(1, 3))


def randomised(module: nn.Module) -> nn.Module:
    """Give every weight and statistic a random value, so that nothing hides behind zeros and ones."""
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0)
        elif tensor.is_floating_point():
            tensor.normal_()
    return module.eval()


def naive_weights(module: SCSC) -> dict[str, np.ndarray]:
    """Return the weights in float64, step 3's BatchNorm in the order after the shuffle."""
    weights = {key: value.double().numpy() for key, value in module.state_dict().items()}
    if module.shuffle:
        for key, value in weights.items():
            if key.startswith("encoder_norm.") and value.ndim:
                weights[key] = value.reshape(-1, module.scales).T.reshape(-1)
    return weights


@settings(max_examples=40, deadline=None)
@given(modules(), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.integers(0, 1000))
def test_equals_the_naive_reference(drawn, batch, height, width, seed):
    spec, in_channels, out_channels, stride = drawn
    torch.manual_seed(seed)
    module = randomised(SCSC.from_spec(spec, in_channels, out_channels, stride))
    x = torch.randn(batch, in_channels, height, width)
    reference = naive.scsc(
        x.numpy(),
        naive_weights(module),
        spec.kernels,
        spec.groups,
        stride,
        shuffle=spec.shuffle,
        gates=spec.gates,
        se=spec.se,
        activation=spec.activation,
    )
    with torch.no_grad():
        out = module(x)
        exact = module.double()(x.double())
    assert out.shape == reference.shape
    scale = max(1.0, float(np.abs(reference).max()))
    np.testing.assert_allclose(exact.numpy(), reference, rtol=0, atol=1e-10 * scale)
    np.testing.assert_allclose(out.numpy(), reference, rtol=0, atol=1e-5 * scale)


@settings(max_examples=60, deadline=None)
@given(modules(), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))
def test_counts_equal_the_closed_form(drawn, batch, height, width):
    spec, in_channels, out_channels, stride = drawn
    module = SCSC.from_spec(spec, in_channels, out_channels, stride)
    m, g, c = len(spec.kernels), spec.groups, spec.reduced_channels(in_channels)
    squares = sum(k * k for k in spec.kernels)
    hidden = max(out_channels // 16, 32)
    inside, outside = height * width, -(-height // stride) * -(-width // stride)
    macs = in_channels * c * inside + c * squares * outside + c * out_channels * outside
    params = in_channels * c + 2 * c + c * squares + 2 * m * c + c * out_channels + 2 * out_channels
    if spec.gates:
        macs += c * m * g * outside + c * m * outside
        params += c * m * g
    if spec.se:
        macs += 2 * out_channels * hidden
        params += 2 * out_channels * hidden
    counted = count(module, (batch, in_channels, height, width))
    assert (counted.params, counted.macs) == (params, batch * macs)
    assert counted.status == "complete"


def test_shuffle_moves_channels_as_the_paper_does():
    scales, reduced = 3, 4
    x = torch.arange(float(scales * reduced)).view(1, -1, 1, 1)
    slices = channel_slices(x, scales, shuffle=True).flatten(1, 2)
    for i in range(scales * reduced):
        assert slices[0, (i % scales) * reduced + i // scales] == i
    assert channel_slices(x, scales, shuffle=True).data_ptr() == x.data_ptr()


def test_reduced_width_is_rounded_up_to_the_groups():
    assert SCSCSpec((3, 5, 7), 4).reduced_channels(128) == 44
    assert SCSC(128, 128, (3, 5, 7))(torch.randn(1, 128, 4, 4)).shape == (1, 128, 4, 4)


def test_gradients_reach_every_parameter_and_agree_with_finite_differences():
    module = SCSC(8, 6, (3, 5), groups=2, stride=2).double().train()
    x = torch.randn(2, 8, 5, 5, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(module, (x,))
    module(x).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_gated_sum_has_gradients_for_slices_and_gates():
    slices = torch.randn(2, 3, 4, 2, 3, dtype=torch.double, requires_grad=True)
    gates = torch.randn(2, 3, 2, 2, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(gated_sum, (slices, gates))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_bfloat16_and_memory_formats(memory_format):
    module = SCSC(24, 24, (3, 5, 7), groups=4).eval()
    x = torch.randn(2, 24, 9, 9).contiguous(memory_format=memory_format)
    with torch.no_grad():
        full = module(x)
        half = module.bfloat16()(x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half.float() - full).abs().max() < 0.05 * full.abs().max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernels": (3, 4)}, "4: a kernel size is an odd number"),
        ({"kernels": (-3,)}, "-3: a kernel size"),
        ({"kernels": ()}, "kernels is empty"),
        ({"groups": 0}, "groups=0: at least 1"),
        ({"groups": 9, "kernels": (3, 5)}, "groups=9 cannot divide the 8 channels"),
        ({"kernels": (3,) * 17, "groups": 1}, "17 sizes, more than the 16 channels"),
    ],
)
def test_bad_specs_say_what_would_be_right(options, message):
    with pytest.raises(InputError, match=message):
        SCSC(16, 16, **options)


def golden_vectors() -> list[Path]:
    return sorted(GOLDEN.glob("*.npz"))


@pytest.mark.skipif(not golden_vectors(), reason="the released code's vectors are not beside the project")
@pytest.mark.parametrize("path", golden_vectors(), ids=lambda path: path.stem)
def test_equals_the_released_code(path):
    vector = np.load(path)
    kernels, groups = tuple(map(int, vector["meta/kernels"])), int(vector["meta/groups"])
    x, expected = torch.from_numpy(vector["input"]), torch.from_numpy(vector["output"])
    state = {key.removeprefix("weight/"): torch.from_numpy(vector[key]) for key in vector if key.startswith("weight/")}
    tokens = str(vector["meta/layout"]) == "NHWC"
    holder = nn.Module()
    if tokens:
        module: nn.Module = SCSC(x.shape[3], expected.shape[3], kernels, groups=groups)
        holder.layers = nn.ModuleList([nn.ModuleDict({"scsc": module})])
        prefix = "layers.0.attn2conv."
    else:
        spec = SCSCSpec(kernels, groups, activation=True)
        module = SCSCBlock(x.shape[1], expected.shape[1], int(vector["meta/stride"]), spec)
        holder.layer1 = nn.Sequential(module)
        prefix = "layer1.0."
    holder.load_state_dict(checkpoints.translate({prefix + key: value for key, value in state.items()}, holder))
    with torch.no_grad():
        out = module.eval()(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) if tokens else module.eval()(x)
    assert (out - expected).abs().max() < 1e-5
