"""The deploy form computes what the network computes, with everything folded, and is counted as it is defined."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_networks import SMALL, small
from test_scsc import modules, randomised
from torch import nn

from scsc_lab import SCSC, InputError, build
from scsc_lab.counting.count import count
from scsc_lab.layers.depthwise import DepthwiseConv2d
from scsc_lab.layers.fused import FusedSCSC
from scsc_lab.models.deploy import deploy


def with_statistics(model: nn.Module) -> nn.Module:
    """Give every BatchNorm random statistics and weights, as training would."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.25, 4.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.5)
    return model


@settings(max_examples=40, deadline=None)
@given(modules(), st.integers(0, 1000))
def test_any_module(drawn, seed):
    torch.manual_seed(seed)
    spec, in_channels, out_channels, stride = drawn
    module = randomised(SCSC.from_spec(spec, in_channels, out_channels, stride))
    x = torch.randn(2, in_channels, 7, 9)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    fused = deploy(module)
    for training in (True, False):
        with torch.set_grad_enabled(training):
            expected, out = module(x), fused(x)
        largest = max(1.0, float(expected.detach().abs().max()))
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4 * largest)
    assert isinstance(fused, FusedSCSC)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert count(fused, x.shape).macs == count(module, x.shape).macs


@pytest.mark.parametrize("name", sorted(set(SMALL) - {"swin_tiny"}))
def test_any_network(name):
    model = with_statistics(small(name))
    deployed = deploy(model)
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected, out = model(x), deployed(x)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert count(deployed, x.shape).macs == count(model, x.shape).macs
    assert not any(isinstance(module, nn.BatchNorm2d) for module in deployed.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_the_full_network_over_random_statistics():
    model = with_statistics(build("scsc_swin_tiny"))
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected, out = model(x), deploy(model)(x)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_a_deployed_network_has_weights_of_its_own(tmp_path):
    deployed = deploy(with_statistics(small("scsc_swin_tiny")))
    other = deploy(with_statistics(small("scsc_swin_tiny")))
    torch.save(deployed.state_dict(), tmp_path / "deploy.pth")
    other.load_state_dict(torch.load(tmp_path / "deploy.pth", weights_only=True))
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(deployed(x), other(x))


def test_in_place_scaling_does_not_reach_gradients():
    deployed = deploy(small("scsc_swin_tiny"))
    x = torch.randn(1, 3, 64, 64, requires_grad=True)
    deployed(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_nothing_to_fuse_is_said():
    with pytest.raises(InputError, match="Swin has no deploy form"):
        deploy(small("swin_tiny"))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kernel", [3, 9, 11, 13, 15])
def test_depthwise_is_the_plain_convolution_whatever_path_it_takes(kernel, memory_format):
    layer = DepthwiseConv2d(32, kernel)
    x = torch.randn(2, 32, 17, 19).contiguous(memory_format=memory_format)
    plain = torch.nn.functional.conv2d(x, layer.weight, padding=kernel // 2, groups=32)
    torch.testing.assert_close(layer(x), plain, rtol=1e-4, atol=1e-5)
    assert count(layer, x.shape).macs == x.numel() * kernel**2


class NormThenRelu(nn.BatchNorm2d):
    """A BatchNorm that does more, as timm's does."""

    def forward(self, x):
        return super().forward(x).relu()


class PreActivation(nn.Module):
    """A BatchNorm named as if it followed the convolution that it precedes."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.conv1(self.bn1(x))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), NormThenRelu(4)),
        PreActivation,
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
    ],
)
def test_what_cannot_be_folded_with_certainty_is_left_alone(make):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))  # something that can be folded
    model = nn.Sequential(plain, make()).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_()
    x = torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(deploy(model)(x), model(x), rtol=1e-4, atol=1e-4)


def test_a_fused_module_leaves_its_source_alone():
    source = SCSC(8, 8, (3, 5)).train()
    fused = FusedSCSC(source)
    assert source.training
    assert fused.embed is not source.embed
