"""SCSC inside other people's networks: shapes kept, gradients everywhere, the rest untouched."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from scsc_lab import SCSC, InputError, build, transplant
from scsc_lab.cli import main
from scsc_lab.counting.count import count
from scsc_lab.networks import overrides as changes
from scsc_lab.networks.mixers import TransplantSpec

timm = pytest.importorskip("timm")
torchvision_models = pytest.importorskip("torchvision.models")

FAMILIES = {
    "resnet18": (64, {"layers": (1, 1, 1, 1)}),
    "resnext26ts": (64, {}),
    "regnety_002": (64, {"depth": 7}),
    "convnext_atto": (64, {"depths": (1, 1, 2, 1)}),
    "mobilenetv3_small_050": (64, {}),
    "efficientnet_lite0": (64, {}),
    "densenet121": (64, {"block_config": (2, 2, 2, 2)}),
    "swin_tiny_patch4_window7_224": (224, {"depths": (2, 2, 2, 2), "embed_dim": 48}),
    "swinv2_cr_tiny_ns_224": (224, {"depths": (2, 2, 2, 2)}),
    "pvt_v2_b0": (64, {"depths": (1, 1, 1, 1)}),
    "twins_pcpvt_small": (224, {"depths": (1, 1, 1, 1)}),
    "maxvit_rmlp_pico_rw_256": (256, {"depths": (1, 1, 1, 1)}),
    "repvgg_a0": (64, {}),
    "hrnet_w18_small": (64, {}),
    "ghostnet_050": (64, {}),
    "edgenext_xx_small": (64, {}),
}
"""Input side in pixels, and fewer blocks than usual."""


@pytest.mark.parametrize("name", FAMILIES)
def test_families(name):
    side, options = FAMILIES[name]
    model = timm.create_model(name, **options)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    grafted, made = transplant(model, input_shape=(1, 3, side, side))
    replaced = [change.name for change in made if change.replaced]
    assert replaced
    assert all(change.reason for change in made)

    # nothing but the chosen modules changed, and the rest of the state_dict is identical but for statistics of no data
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    inside = tuple(f"{module}." for module in replaced)
    state = grafted.state_dict()
    for key, value in before.items():
        if not key.startswith(inside) and not key.endswith(("running_mean", "running_var")):
            assert torch.equal(state[key], value), key
    assert {key for key in state if not key.startswith(inside)} == {key for key in before if not key.startswith(inside)}

    # forward, backward: output shape kept, gradient reaches every new parameter
    x = torch.randn(2, 3, side, side)
    with torch.no_grad():
        expected = model.eval()(x)
    out = grafted.train()(x)
    assert out.shape == expected.shape
    out.square().sum().backward()
    for module in grafted.modules():
        if isinstance(module, SCSC):
            assert all(parameter.grad is not None for parameter in module.parameters())
    assert sum(isinstance(module, SCSC) for module in grafted.modules()) == len(replaced)


def test_differences_sum_to_the_total(capsys):
    assert main(["flops", "timm:resnet18", "--transplant", "--no-check", "--format", "json", "--resolution", "64"]) == 0
    original, grafted = json.loads(capsys.readouterr().out)["rows"]
    *changed, total = grafted["changes"]
    for key in ("params", "macs"):
        assert sum(row[f"{key}_difference"] for row in changed) == total[f"{key}_difference"]
        assert total[f"{key}_difference"] == grafted[key] - original[key]
    assert grafted["model"] == "timm:resnet18 + SCSC"
    assert changed[0] == {**changed[0], "name": "conv1", "replaced": False, "reason": "its input is the image"}


def test_the_list_is_shown(capsys):
    assert main(["flops", "timm:resnet18", "--transplant", "--rule", "names=layer4.*", "--no-check"]) == 0
    out = capsys.readouterr().out
    assert "timm:resnet18 + SCSC[names=layer4.*]: " in out
    assert out.count("SCSC 3,5 groups 4") == 4
    assert "total" in out


def test_rules():
    model = timm.create_model("mobilenetv3_small_050")
    shape = (1, 3, 64, 64)
    _, everything = transplant(model, input_shape=shape)
    _, stage = transplant(model, TransplantSpec(stages=(2,)), input_shape=shape)
    _, named = transplant(model, TransplantSpec(names=("blocks.3.*",)), input_shape=shape)
    _, kernels = transplant(model, TransplantSpec(kernels=(3, 7), groups=2), input_shape=shape)
    names = [change.name for change in everything]
    assert 0 < len(stage) < len(names)
    assert {change.name for change in named} == {name for name in names if name.startswith("blocks.3.")}
    assert {change.reason for change in kernels if change.replaced} == {"SCSC 3,7 groups 2"}
    only = TransplantSpec(replace=("conv3x3",))
    with pytest.raises(InputError, match=r"in MobileNetV3: 1 × its input is the image \(names=conv_stem"):
        transplant(model, only, input_shape=shape)
    with pytest.raises(InputError, match=r"in MobileNetV3: names=nothing.\* matches none"):
        transplant(model, TransplantSpec(names=("nothing.*",)), input_shape=shape)


def test_a_shortcut_of_its_own():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, padding=1))
    plain, _ = transplant(model, TransplantSpec(shuffle=False), input_shape=(1, 3, 16, 16))
    torch.manual_seed(0)
    with_shortcut, _ = transplant(model, TransplantSpec(shortcut=True), input_shape=(1, 3, 16, 16))
    assert type(plain[1]).__name__ == "SCSC"
    assert [type(module).__name__ for module in with_shortcut] == ["Conv2d", "PlacedMixer", "SCSC"]
    x = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        maps = with_shortcut[0](x)
        torch.testing.assert_close(with_shortcut[1](maps), maps + with_shortcut[1].mixer(maps))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv2d(8, 8, 3, padding=2, dilation=2), "dilation 2"),
        (nn.Conv2d(8, 8, 3, 3, padding=1), "stride 3"),
        (nn.Conv2d(8, 8, (3, 5), padding=(1, 2)), "not square"),
        (nn.Conv2d(8, 8, 3), "its padding gives 14×14 from 16×16"),
    ],
)
def test_what_cannot_be_kept_is_left_alone_with_the_reason(layer, reason):
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1), layer)
    grafted, made = transplant(model, input_shape=(1, 3, 16, 16))
    assert [(change.name, change.replaced) for change in made] == [("1", True), ("2", False)]
    assert made[1].reason == reason
    assert type(grafted[2]) is nn.Conv2d


def test_too_few_channels_and_modules_that_never_run():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 2, 1)
            self.narrow = nn.Conv2d(2, 9, 3, padding=1)
            self.used = nn.Conv2d(9, 9, 3, padding=1)
            self.idle = nn.Conv2d(9, 9, 3, padding=1)
            self.weighed = nn.Conv2d(9, 9, 3, padding=1)

        def forward(self, x):
            y = self.used(self.narrow(self.stem(x)))
            return self.weighed(y) * self.weighed.weight.sum()

    _, made = transplant(Network(), input_shape=(1, 3, 16, 16))
    reasons = {change.name: change.reason for change in made}
    assert reasons["narrow"] == "2 channels for 3 kernels"
    assert reasons["used"] == "SCSC 3,9,13 groups 3"
    assert reasons["idle"] == "the forward pass never gave it a map"
    assert reasons["weighed"].startswith("the network cannot do without it (AttributeError: 'SCSC' object has no")


def test_our_own_and_torchvisions_swin():
    for model in (build("swin_tiny", depths=(1, 1, 1, 1)), torchvision_models.swin_t(weights=None)):
        grafted, made = transplant(model, input_shape=(1, 3, 64, 64))
        attention = [change for change in made if change.kind == "attention"]
        assert attention
        assert all(change.replaced for change in attention)
        assert grafted(torch.randn(1, 3, 96, 64)).shape == (1, 1000)


def test_grid_attention_stays():
    model = timm.create_model("maxvit_rmlp_pico_rw_256", depths=(1, 1, 1, 1))
    _, made = transplant(model, TransplantSpec(replace=("attention",)), input_shape=(1, 3, 256, 256))
    assert {change.reason for change in made if not change.replaced} == {"grid attention is not local"}
    assert sum(change.replaced for change in made) == len(made) / 2


def test_on_the_meta_device_for_counting():
    with torch.device("meta"):
        model = timm.create_model("resnet18")
    grafted, _ = transplant(model, input_shape=(1, 3, 64, 64))
    assert count(grafted, (1, 3, 64, 64)).status == "complete"


def test_a_network_without_spatial_operators():
    with pytest.raises(
        InputError, match=r"nothing to replace in VisionTransformer: 1 × stride 16 \(patch_embed.proj; no rule"
    ):
        transplant(timm.create_model("vit_tiny_patch16_224"))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"kernel": "3"}, "unknown key 'kernel'; did you mean kernels"),
        ({"replace": "dense"}, "replace=dense: one of depthwise, conv3x3, attention"),
        ({"replace": ""}, "replace is empty"),
        ({"stages": "0"}, "stages=0: numbers from 1 up"),
        ({"kernels": "4"}, "kernels has 4: a kernel size is an odd number"),
        ({"groups": "0"}, "groups=0: a whole number from 1"),
    ],
)
def test_wrong_rules(rule, message):
    with pytest.raises(InputError, match=message):
        changes.transplant(rule)
