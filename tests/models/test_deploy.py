"""The deploy form computes what the network computes, with everything folded, and is counted as it is defined."""

from __future__ import annotations

import functools

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
from scsc_lab.models.swin import SCSCSwinBlock
from scsc_lab.networks.specs import SCSCSpec


def with_statistics(model: nn.Module) -> nn.Module:
    """Give every BatchNorm random statistics and weights, as training would."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.25, 4.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.5)
    return model


@settings(max_examples=15, deadline=None)
@given(modules(), st.integers(0, 1000))
def test_any_module(drawn, seed):
    torch.manual_seed(seed)
    spec, in_channels, out_channels, stride = drawn
    module = randomised(SCSC.from_spec(spec, in_channels, out_channels, stride))
    x = torch.randn(2, in_channels, 7, 9)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    fused = deploy(module, x.shape)
    for training in (True, False):
        with torch.set_grad_enabled(training):
            expected, out = module(x), fused(x)
        largest = max(1.0, float(expected.detach().abs().max()))
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4 * largest)
    assert isinstance(fused, FusedSCSC)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert count(fused, x.shape).macs == count(module, x.shape).macs


@pytest.mark.parametrize(
    ("name", "changes"),
    [*((name, changes) for name, changes in SMALL.items() if name != "swin_pico"), ("scsc_swin_pico", {})],
)
def test_any_network(name, changes):
    model = with_statistics(build(name, **changes))
    x = torch.randn(2, 3, 32, 64)
    deployed = deploy(model, x.shape)
    with torch.no_grad():
        expected, out = model(x), deployed(x)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert count(deployed, x.shape).macs == count(model, x.shape).macs
    assert not any(isinstance(module, nn.BatchNorm2d) for module in deployed.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_a_deployed_network_has_weights_and_gradients_of_its_own(tmp_path):
    deployed, other = (deploy(with_statistics(small("scsc_swin_pico")), (1, 3, 32, 32)) for _ in range(2))
    torch.save(deployed.state_dict(), tmp_path / "deploy.pth")
    other.load_state_dict(torch.load(tmp_path / "deploy.pth", weights_only=True))
    x = torch.randn(1, 3, 32, 32, requires_grad=True)
    with torch.no_grad():
        assert torch.equal(deployed(x), other(x))
    deployed(x).sum().backward()  # what it scales in place is no leaf
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_nothing_to_fuse_is_said():
    with pytest.raises(InputError, match="Swin has no deploy form"):
        deploy(small("swin_pico"), (1, 3, 32, 32))


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


class Pair(nn.Module):
    """A convolution and a BatchNorm, used in some way that names and order do not tell."""

    def __init__(self, forward):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


class Backwards(nn.Sequential):
    """A Sequential with a forward of its own."""

    def forward(self, x):
        return self[0](self[1](x))


def shared_relu():
    relu = nn.ReLU()
    return nn.Sequential(relu, nn.Conv2d(3, 3, 3), relu, nn.BatchNorm2d(3))


def one_by_one():
    items = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))
    pair = Pair(lambda self, x: self.items[1](self.items[0](x).relu()))
    pair.items = items
    return pair


def hooked():
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))
    model[0].register_forward_hook(lambda module, args, out: out.relu())
    return model


def hooked_before():
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))
    model[1].register_forward_pre_hook(lambda module, args: (args[0].relu(),))
    return model


def tied():
    model = Pair(lambda self, x: self.bn1(self.conv1(x)) + self.other(x))
    model.other = nn.Conv2d(3, 3, 3, padding=1)
    model.other.weight = model.conv1.weight
    return model


def two_norms():
    model = Pair(lambda self, x: self.bn1(y := self.conv1(x)) + self.bn2(y))
    model.bn2 = nn.BatchNorm2d(3)
    return model


LEFT_ALONE = {
    "a norm that does more": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), NormThenRelu(4)),
    "a norm before": lambda: Pair(lambda self, x: self.conv1(self.bn1(x))),
    "no statistics": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
    "a shared ReLU between": shared_relu,
    "a forward of its own": lambda: Backwards(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)),
    "items used one by one": one_by_one,
    "a hook on the convolution": hooked,
    "a hook before the norm": hooked_before,
    "tied weights": tied,
    "two norms of one map": two_norms,
    "its output goes elsewhere too": lambda: Pair(lambda self, x: self.bn1(y := self.conv1(x)) + y),
    "its output changed in place": lambda: Pair(lambda self, x: self.bn1(self.conv1(x).relu_())),
    "its output is returned too": lambda: Pair(lambda self, x: (y := self.conv1(x), self.bn1(y))),
    "used twice": lambda: Pair(lambda self, x: self.bn1(self.conv1(self.bn1(self.conv1(x))))),
    "the convolution used again": lambda: Pair(lambda self, x: self.bn1(self.conv1(x)) + self.conv1(x.relu())),
    "the norm used again": lambda: Pair(lambda self, x: self.bn1(self.conv1(x)) + self.bn1(x)),
    "its weights read": lambda: Pair(lambda self, x: self.bn1(self.conv1(x)) * self.conv1.weight.sum()),
    "its statistics read": lambda: Pair(lambda self, x: self.bn1(self.conv1(x)) * self.bn1.running_mean.sum()),
}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_what_cannot_be_folded_with_certainty_is_left_alone(case):
    plain = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))  # something that can be folded
    model = with_statistics_of_any(nn.Sequential(plain, LEFT_ALONE[case]()).eval())
    x = torch.randn(2, 3, 9, 9)
    deployed = deploy(model, x.shape)
    for out, expected in zip(as_tuple(deployed(x)), as_tuple(model(x)), strict=True):
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    assert isinstance(deployed[0][1], nn.Identity)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in deployed[1].modules()) > 0


def as_tuple(out):
    return out if isinstance(out, tuple) else (out,)


def with_statistics_of_any(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_()
            module.running_var.uniform_(0.25, 4.0)
    return model


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: self.bn1(self.conv1(x)),
        lambda self, x: self.bn1(self.conv1(x)) + x,
        lambda self, x: self.bn1(self.conv1(x.relu_())).relu_() if x.shape[2] > 0 else x,
    ],
)
def test_what_a_pass_shows_is_folded_whatever_its_names(forward):
    model = with_statistics_of_any(Pair(forward).eval())
    x = torch.rand(2, 3, 9, 9)
    deployed = deploy(model, (1, 3, 9, 9))
    assert isinstance(deployed.bn1, nn.Identity)
    torch.testing.assert_close(deployed(x.clone()), model(x.clone()), rtol=1e-4, atol=1e-4)


class Blocks(nn.Module):
    """Blocks of SCSC-Swin one after the other, in token maps."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        for part in self.parts:
            x = part(x)
        return x


def block():
    return SCSCSwinBlock(8, 16, SCSCSpec((3, 5), 2), 0.0)


def sharing(name):
    first, second = block(), block()
    setattr(second, name, getattr(first, name))
    return Blocks(first, second)


def tying():
    first, second = block(), block()
    second.mlp.fc1.weight = first.mlp.fc1.weight
    return Blocks(first, second)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Blocks(*[block()] * 2),
        lambda: (lambda one: Blocks(nn.Sequential(one), nn.Sequential(one)))(block()),
        *(functools.partial(sharing, name) for name in ("mlp", "bn", "scsc")),
        tying,
    ],
)
def test_blocks_that_share_something_are_fused_each_by_itself(make):
    model = with_statistics(make().eval())
    x = torch.randn(2, 8, 5, 7)
    deployed = deploy(model, x.shape)
    torch.testing.assert_close(deployed(x), model(x), rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in deployed.modules())


def with_a_second_name(held):
    model = Pair(lambda self, x: self.bn1(self.held[0](x)))
    model.held = held([model.conv1, model.bn1])
    return model


def with_a_second_name_of_the_norm(held):
    model = Pair(lambda self, x: self.held[1](self.conv1(x)))
    model.held = held([model.conv1, model.bn1])
    return model


@pytest.mark.parametrize("make", [with_a_second_name, with_a_second_name_of_the_norm])
@pytest.mark.parametrize("held", [nn.ModuleList, list])
def test_what_is_called_by_another_name_than_its_first_is_folded_whole_or_not_at_all(make, held):
    plain = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))  # something that can be folded
    model = with_statistics_of_any(nn.Sequential(plain, make(held)).eval())
    x = torch.randn(2, 3, 9, 9)
    deployed = deploy(model, x.shape)
    torch.testing.assert_close(deployed(x), model(x), rtol=1e-4, atol=1e-4)
    assert isinstance(deployed[1].bn1, nn.Identity if held is nn.ModuleList else nn.BatchNorm2d)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_norms_of_old_that_cannot_be_copied_are_one_line():
    model = nn.Sequential(torch.nn.utils.weight_norm(nn.Conv2d(3, 3, 3)), nn.BatchNorm2d(3))
    with pytest.raises(InputError, match="Sequential cannot be copied: it has the old weight_norm; use torch"):
        deploy(model)
    model = nn.Sequential(torch.nn.utils.spectral_norm(nn.Conv2d(3, 3, 3)), nn.BatchNorm2d(3))
    model(torch.randn(1, 3, 9, 9))
    with pytest.raises(InputError, match=r"Sequential cannot be copied|no deploy form"):
        deploy(model)


def test_norms_of_today_are_left_alone():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 3)), nn.BatchNorm2d(3))
    with pytest.raises(InputError, match="no deploy form"):
        deploy(model)


def test_a_fused_module_leaves_its_source_alone():
    source = SCSC(8, 8, (3, 5)).train()
    fused = FusedSCSC(source)
    assert source.training
    assert fused.embed is not source.embed
