"""Theoretical fields and true centres against closed forms."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scsc_lab import SCSC, erf
from scsc_lab.layers.window_attention import WindowAttention
from scsc_lab.receptive_field.feature_maps import survey, units
from scsc_lab.receptive_field.stand_in import Alignment, stand_in
from scsc_lab.receptive_field.theoretical import receptive_fields


def field(model, layer, side=64, channels=3):
    seen = survey(model, [layer], (channels, side, side), None, torch.device("cpu"))
    return receptive_fields(model, seen, (channels, side, side))[0]


def convolutions(number, kernel, **options):
    layers = []
    for _ in range(number):
        layers += [
            nn.Conv2d(3, 3, kernel, padding=options.get("dilation", 1) * (kernel // 2), **options),
            nn.BatchNorm2d(3),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("side", [64, 65])
@pytest.mark.parametrize(("number", "kernel"), [(1, 1), (3, 3), (10, 3), (4, 7), (2, 13)])
def test_uniform_stacks(number, kernel, side):
    found = field(convolutions(number, kernel), str(3 * number - 1), side)
    assert found.sides == (1 + number * (kernel - 1),) * 2
    assert found.centre == (32, 32)
    assert found.stride == (1, 1)
    assert not found.reaches_border
    places = abs(np.arange(side) - 32) <= number * (kernel // 2)
    assert np.array_equal(found.support, places[:, None] & places)


@pytest.mark.parametrize("dilation", [2, 3])
def test_dilations(dilation):
    found = field(convolutions(3, 3, dilation=dilation), "8")
    assert found.sides == (1 + 3 * 2 * dilation,) * 2
    assert np.count_nonzero(found.support) == 7**2  # only every second or third pixel
    assert found.centre == (32, 32)


def test_strides_add_up():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 7, 2, 3), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.GELU(), nn.Conv2d(4, 4, 5, 1, 2)
    )
    found = field(model, "4", 128)
    assert found.sides == (7 + 2 * 2 + 2 * 4 + 4 * 8,) * 2
    assert found.stride == (8, 8)
    assert found.centre == (64, 64)  # padded strides: unit 8 of 16 stands at pixel 64, not at 67.5


def test_patchify_stands_between_pixels():
    found = field(nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 2, 2)), "1")
    assert found.sides == (8, 8)
    assert found.stride == (8, 8)
    assert found.centre == (4 * 8 + 3.5, 4 * 8 + 3.5)


class Branches(nn.Module):
    """A residual sum, a concatenation of kernels, and a product."""

    def __init__(self):
        super().__init__()
        self.small, self.large = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 9, padding=4)
        self.gate = nn.Conv2d(3, 6, 1)
        self.out = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([self.small(x), F.relu(self.large(x))], dim=1)
        return x + self.out(y * torch.sigmoid(self.gate(x)))


def test_branches_and_residuals():
    model = nn.Sequential(Branches(), nn.LayerNorm([3, 65, 65]), Branches())
    found = field(model, "2", 65)
    assert found.sides == (1 + 2 * (8 + 2),) * 2
    assert found.centre == (32, 32)


def test_scsc_is_its_largest_kernel_and_everything_with_se():
    plain = SCSC(3, 3, kernels=(3, 5, 7), groups=1, se=False)
    assert field(nn.Sequential(plain), "0").sides == (7, 7)
    assert field(nn.Sequential(SCSC(3, 3, kernels=(3, 5, 7), groups=1)), "0").sides == (64, 64)
    strided = field(nn.Sequential(SCSC(3, 4, kernels=(3, 13), groups=1, stride=2, se=False)), "0")
    assert (strided.sides, strided.centre, strided.stride) == ((13, 13), (32, 32), (2, 2))


class Windows(nn.Module):
    def __init__(self, shift):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, 4)
        self.attention = WindowAttention(8, 2, 4, shift)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).permute(0, 2, 3, 1)
        return x + self.attention(x)


@pytest.mark.parametrize(("shift", "first"), [(0, 32), (2, 24)])
def test_windows_are_seen_whole_and_masked_tokens_not_at_all(shift, first):
    found = field(Windows(shift), "attention")
    rows = np.nonzero(found.support.any(axis=1))[0]
    assert (rows[0], rows[-1]) == (first, first + 15)
    assert found.centre == (33.5, 33.5)


def test_units_in_the_middle():
    odd, place = units((7, 7), (32.0, 32.0), None)
    assert [(unit.row, unit.column, unit.weight) for unit in odd] == [(3, 3, 1.0)]
    assert place == (3, 3)
    even, place = units((8, 7), (4.0, 4.0), None)
    assert [(unit.row, unit.column, unit.weight, unit.shift) for unit in even] == [
        (3, 3, 0.5, (2, 0)),
        (4, 3, 0.5, (-2, 0)),
    ]
    assert place == (3.5, 3)


@pytest.mark.parametrize(("size", "stride", "period"), [(14, 16, 112), (7, 32, 112), (56, 4, 28), (8, 8, 64)])
def test_one_whole_period_of_windows(size, stride, period):
    found, _ = units((size, size), (stride, stride), (period, period))
    assert sum(unit.weight for unit in found) == pytest.approx(1.0)
    assert sum(unit.weight * unit.shift[0] for unit in found) == pytest.approx(0.0)
    heaviest = max(unit.weight for unit in found)
    assert 1 / heaviest == pytest.approx((period / stride) ** 2)


def _log_softmax(x: Tensor) -> Tensor:
    return F.log_softmax(x, 1)


def _attend(x: Tensor) -> Tensor:
    """Let every token attend to itself alone."""
    token = x.flatten(2).mT[:, :, None]
    return F.scaled_dot_product_attention(token, token, token)[:, :, 0].mT.view_as(x)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class ChannelNorm(nn.Module):
    """A LayerNorm over channels, as ConvNeXt writes it by hand."""

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean(1, keepdim=True)
        return x / torch.sqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)


class Mixed(nn.Module):
    """A residual block with a gate that sees everything and a pooled shortcut."""

    def __init__(self, stride):
        super().__init__()
        self.conv, self.gate, self.pool = (
            nn.Conv2d(4, 4, 3, stride, 1),
            nn.Conv2d(4, 4, 1),
            nn.AvgPool2d(stride, ceil_mode=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.conv(x))
        return self.pool(x) + y * torch.sigmoid(self.gate(y))


BETWEEN = {
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "hardsigmoid": nn.Hardsigmoid,
    "hardtanh": nn.Hardtanh,
    "hardswish": nn.Hardswish,
    "relu6": nn.ReLU6,
    "softsign": nn.Softsign,
    "tanhshrink": nn.Tanhshrink,
    "softshrink": lambda: nn.Softshrink(0.01),
    "logsigmoid": nn.LogSigmoid,
    "softmax2d": nn.Softmax2d,
    "softmax": lambda: nn.Softmax(1),
    "softmin": lambda: nn.Softmin(1),
    "log_softmax": lambda: Function(_log_softmax),
    "method": lambda: Function(lambda x: x.softmax(dim=1).tanh().sigmoid()),
    "clamp": lambda: Function(lambda x: x.clamp(0, 1)),
    "by hand": lambda: Function(lambda x: F.relu6(x + 3) / 6),
    "expit": lambda: Function(torch.special.expit),
    "erf": lambda: Function(torch.erf),
    "atan": lambda: Function(torch.atan),
    "glu": lambda: Function(lambda x: F.glu(torch.cat([x, x], 1), 1)),
    "channel norm": ChannelNorm,
    "layer norm": lambda: Function(lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2)),
    "l2": lambda: Function(lambda x: F.normalize(x, dim=1)),
    "batch norm": lambda: nn.BatchNorm2d(4),
    "two-pass norm": lambda: Function(lambda x: (x - x.mean(1, True)) * torch.rsqrt(x.var(1, keepdim=True) + 1e-6)),
    "larger and smaller": lambda: Function(lambda x: torch.max(torch.min(x, torch.ones_like(x)), x.new_tensor(-1.0))),
    "own token": lambda: Function(_attend),
}


def assert_centred(model: nn.Module, side: int) -> None:
    """Check that the measured centre is that of the theoretical field, and that no square is larger than that."""
    measured = erf(model, side, layer=str(len(model) - 1), samples=2, seeds=1)[0]
    setting, found = measured.setting, field(model, measured.setting.layer, side)
    assert measured.support is not None
    assert not setting.theoretical_reaches_border
    places = [np.flatnonzero(measured.support.any(axis=axis)) for axis in (1, 0)]
    for place, centre, stride in zip(places, setting.centre, found.stride, strict=True):
        assert abs((place[0] + place[-1]) / 2 - centre) <= stride / 2
    assert setting.theoretical == tuple(place[-1] - place[0] + 1 for place in places)
    largest = max(setting.theoretical) ** 2 / side**2
    assert all(measured.figures()[f"r{share}"] <= largest + 1e-9 for share in (20, 30, 50, 95, 99))


@pytest.mark.parametrize("between", BETWEEN)
def test_the_centre_behind_any_activation(between):
    """Four padded strides put unit 3 of 7 at pixel 48 of 112, not at 55.5."""
    layers = [nn.Conv2d(3, 4, 3, 2, 1)]
    for _ in range(3):
        layers += [BETWEEN[between](), nn.Conv2d(4, 4, 3, 2, 1)]
    found = field(nn.Sequential(*layers), "6", 112)
    assert (found.centre, found.stride, found.sides) == ((48, 48), (16, 16), (31, 31))
    assert_centred(nn.Sequential(*layers), 112)


SELECTED = {
    "max of a gate": lambda x: x * x.flatten(2).max(-1)[0][..., None, None],
    "max of all": lambda x: x * x.max(),
    "topk": lambda x: x + x.flatten(2).topk(3, -1)[0].mean(-1)[..., None, None],
    "sort": lambda x: x + x.flatten(2).sort(dim=-1)[0][..., -1:, None],
    "median": lambda x: x + x.flatten(2).median(-1, keepdim=True)[0][..., None],
    "adaptive pooling": lambda x: x + F.adaptive_max_pool2d(x, 1, return_indices=True)[0],
}


@pytest.mark.parametrize("name", SELECTED)
def test_what_is_selected_by_value_may_be_anywhere(name):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Function(SELECTED[name]), nn.Conv2d(4, 4, 3, padding=1))
    found = field(model, "2", 24)
    assert found.sides == (24, 24)
    assert found.centre == pytest.approx((12, 12), abs=0.5)
    assert erf(model, 24, layer="2", samples=2, seeds=1)[0].setting.theoretical == (24, 24)


WINDOWS = {
    "indices": lambda x: F.max_pool2d(x, 3, 1, 1, return_indices=True)[0],
    "1-D": lambda x: F.max_pool1d(x.flatten(0, 2)[:, None], 3, 1, 1).view_as(x),
    "3-D": lambda x: F.max_pool3d(x.contiguous(), (1, 3, 3), 1, (0, 1, 1)),
    "unfolded": lambda x: F.unfold(x, 3, padding=1).view(*x.shape[:2], 9, *x.shape[2:]).max(2)[0],
    "unpooled": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_pooling_in_any_spelling_is_centred(name):
    assert_centred(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Function(WINDOWS[name]), nn.Conv2d(4, 4, 3)), 26)


MORE = {
    "mixed": lambda: Mixed(2),
    "max": lambda: nn.MaxPool2d(3, 2, 1),
    "mean": lambda: nn.AvgPool2d(2),
    "shifted": lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, 1)),
}


def test_a_norm_by_hand_leaves_more_than_rounding():
    """Even weights cancel against their mean over channels: what is left is rounding, in a few pixels."""
    layers = [nn.Conv2d(3, 4, 2, dilation=2), ChannelNorm(), nn.Conv2d(4, 4, 5, padding="same", dilation=2)]
    assert_centred(nn.Sequential(*layers, ChannelNorm()), 48)


def test_a_field_with_gaps_is_cut_off_where_its_next_pixel_is_outside():
    layers = [nn.Conv2d(3, 4, 5, 2, 1, 2), nn.Conv2d(4, 4, 4, 1, 3, 2), nn.Conv2d(4, 4, 4, 1, 3, 2)]
    cut_off = field(nn.Sequential(*layers), "2", 33)  # unit 7 sees pixels 1, 3, … 33
    assert (cut_off.reaches_border, cut_off.centre) == (True, (17, 17))


@pytest.mark.parametrize("seed", range(40))
def test_the_centre_of_any_stack(seed):
    draws, layers = random.Random(seed), []
    for depth in range(draws.randint(1, 4)):
        kernel = draws.randint(1, 5)
        conv = nn.Conv2d(4 if depth else 3, 4, kernel, draws.randint(1, 2), draws.randint(0, (kernel - 1) // 2))
        layers += [conv, draws.choice([*BETWEEN.values(), *[*MORE.values()] * 4])()]
    layers.append(nn.Conv2d(4, 4, 1))
    found = field(nn.Sequential(*layers), str(len(layers) - 1), 96)
    assert found.support is not None
    if not found.reaches_border:
        assert_centred(nn.Sequential(*layers), 96)


UPSAMPLED = {
    **{
        f"transposed {numbers}": lambda numbers=numbers: nn.ConvTranspose2d(4, 4, *numbers)
        for numbers in ((1, 2), (2, 2), (2, 2, 1), (3, 2, 1, 1), (4, 2, 1), (4, 2, 2), (5, 2, 2, 1))
    },
    **{mode: lambda mode=mode: nn.Upsample(scale_factor=2, mode=mode) for mode in ("nearest", "bilinear", "bicubic")},
    "aligned corners": lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    "by a half": lambda: nn.Upsample(scale_factor=1.5),
    "shuffled": lambda: nn.Sequential(nn.Conv2d(4, 16, 1), nn.PixelShuffle(2)),
    "flipped": lambda: Function(lambda x: x.flip(3)),
    "turned": lambda: Function(lambda x: torch.rot90(x, 1, (2, 3))),
    "absolute": lambda: Function(lambda x: torch.maximum(x, -x)),
}


@pytest.mark.parametrize("last", [1, 2])
@pytest.mark.parametrize("name", UPSAMPLED)
def test_units_that_do_not_see_the_same_are_centred_each(name, last):
    torch.manual_seed(0)
    assert_centred(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), UPSAMPLED[name](), nn.Conv2d(4, 4, 3, last, 1)), 48)


def test_deep_and_cut_off_fields_are_aligned_too():
    layers = [nn.Conv2d(3, 4, 3, 2, 1), nn.Tanh()]
    for _ in range(40):
        layers += [nn.Conv2d(4, 4, 3, 1, 1), nn.Tanh()]
    found = field(nn.Sequential(*layers), str(len(layers) - 1), 64)
    assert found.reaches_border
    assert (found.centre, found.stride) == ((32, 32), (2, 2))


@pytest.mark.parametrize("kernel", [1, 3, 4, (3, 6)])
@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 3, 1), (1, 2, 2), (1, "same", 1)])
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_kernels_of_middle_taps_are_cut_to_them(kernel, stride, padding, dilation):
    model = stand_in(nn.Conv2d(4, 6, kernel, stride, padding, dilation, groups=2), centre_taps=True)
    x = torch.randn(2, 4, 17, 18, dtype=torch.float64)
    with Alignment():
        cut = model(x)
    assert torch.allclose(cut, model(x), atol=1e-12)
