"""Stages of networks that say them and of those that do not: one meaning, whatever the network is made of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scsc_lab import InputError, build, count
from scsc_lab.models.stages import stage_maps, stages, stride_maps


class Block(nn.Module):
    """A residual block of two layers, as people write it."""

    def __init__(self, width, out=None, stride=1):
        super().__init__()
        out = out or width
        self.reduce = nn.Conv2d(width, out, 1)
        self.conv = nn.Conv2d(out, out, 3, stride, 1)
        self.shortcut = nn.Conv2d(width, out, 1, stride)

    def forward(self, x):
        return self.conv(self.reduce(x).relu()) + self.shortcut(x)


class ListOfStages(nn.Module):
    """As ConvNeXt's authors have it: lists of downsampling layers and of stages, in turn."""

    def __init__(self, width=8, depth=2):
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, width, 4, 4), nn.BatchNorm2d(width))
        self.downsample_layers = nn.ModuleList([stem])
        for i in range(2):
            self.downsample_layers.append(nn.Conv2d(width << i, width << i + 1, 2, 2))
        self.stages = nn.ModuleList(nn.Sequential(*(Block(width << i) for _ in range(depth))) for i in range(3))
        self.norm = nn.BatchNorm2d(4 * width)
        self.head = nn.Linear(4 * width, 10)

    def forward(self, x):
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))
        return self.head(self.norm(x).mean((2, 3)))


class UNet(nn.Module):
    """Down and up again, in an encoder and a decoder of their own."""

    def __init__(self):
        super().__init__()
        self.enter = Block(3, 4)
        self.down = nn.ModuleList([Block(4, 4, 2), Block(4, 4, 2)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(4, 4, 2, 2), nn.ConvTranspose2d(4, 4, 2, 2)])
        self.out = nn.Conv2d(4, 1, 1)

    def forward(self, x):
        x = self.enter(x)
        for module in (*self.down, *self.up):
            x = module(x)
        return self.out(x)


class Merging(nn.Module):
    """A stage as in Swin: blocks of tokens, then a layer that merges them."""

    def __init__(self, side, width):
        super().__init__()
        self.side = side
        self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(width, 1, width, batch_first=True)])
        self.reduction = nn.Linear(4 * width, width)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        x = x.unflatten(1, (self.side // 2, 2, self.side // 2, 2)).permute(0, 1, 3, 2, 4, 5)
        return self.reduction(x.flatten(3).flatten(1, 2))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.layers = nn.ModuleList([Merging(16, 8), Merging(8, 8)])
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(1))


class Wrapped(nn.Module):
    """A backbone of somebody else's with a head."""

    def __init__(self, backbone, width):
        super().__init__()
        self.backbone, self.fc = backbone, nn.Linear(width, 2)

    def forward(self, x):
        return self.fc(self.backbone(x))


def test_networks_of_the_catalog_say_their_stages():
    assert list(stages(build("resnet18"))) == ["stem", "stage1", "stage2", "stage3", "stage4", "head"]
    assert stage_maps(build("resnet18")) == {f"stage{i}": f"layer{i}" for i in range(1, 5)}
    assert stage_maps(build("swin", embed_dim=24))["stage4"] == "layers.3.blocks"


def test_a_list_of_stages_is_opened():
    model = ListOfStages()
    assert stages(model, (3, 64, 64)) == {
        "stem": ("downsample_layers.0",),
        "stage1": ("stages.0",),
        "stage2": ("downsample_layers.1", "stages.1"),
        "stage3": ("downsample_layers.2", "stages.2"),
        "head": ("norm", "head"),
    }
    assert stage_maps(model, (3, 64, 64)) == {f"stage{i}": f"stages.{i - 1}" for i in (1, 2, 3)}
    parts = count(model, input_shape=(1, 3, 64, 64)).by_stage(stages(model, (3, 64, 64)))
    assert [part.name for part in parts if part.macs] == ["stem", "stage1", "stage2", "stage3", "head"]


def test_networks_found_are_divided_as_those_that_say_it():
    model = build("resnet18")
    told = dict(stages(model))
    found = stages(Wrapped(model, 1000))
    assert {stage: tuple(f"backbone.{name}" for name in names) for stage, names in told.items()} == {
        **found,
        "head": found["head"][:-1],
    }
    assert found["head"][-1] == "fc"


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_plain_row_of_layers_has_stages_from_the_first(device):
    layers = [nn.Conv2d(3, 4, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, 1, 1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).to(device)
    assert stages(model, (3, 32, 32)) == {"stage1": ("0", "1"), "stage2": ("2", "3", "4"), "head": ("5", "6", "7")}
    assert stage_maps(model, (1, 3, 32, 32)) == {"stage1": "1", "stage2": "4"}


def test_up_again_is_another_stage():
    assert stages(UNet(), (3, 32, 32)) == {
        "stage1": ("enter",),
        "stage2": ("down.0",),
        "stage3": ("down.1",),
        "stage4": ("up.0",),
        "stage5": ("up.1", "out"),
    }


def test_tokens_and_merging_layers():
    assert stages(Tokens(), (3, 64, 64)) == {
        "stem": ("patch_embed",),
        "stage1": ("layers.0.blocks.0",),
        "stage2": ("layers.0.reduction", "layers.1.blocks.0"),
        "stage3": ("layers.1.reduction",),
        "head": ("head",),
    }


def test_maps_without_padding_are_maps():
    layers = [nn.Conv2d(3, 4, 5), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3)]
    assert list(stage_maps(nn.Sequential(*layers), (3, 99, 99)).values()) == ["0", "2", "4"]


def test_the_size_that_a_network_declares_is_taken():
    class Fixed(nn.Module):
        input_size = (1, 28, 28)

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3, 2, 1)
            self.fc = nn.Linear(4 * 14 * 14, 2)

        def forward(self, x):
            return self.fc(self.conv(x).flatten(1))

    assert stages(Fixed()) == {"stage1": ("conv",), "head": ("fc",)}


def test_nothing_to_divide():
    perceptron = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4), nn.Linear(4, 2))
    assert stages(perceptron, (3, 8, 8)) == {"0": ("0",), "1": ("1",), "2": ("2",)}
    assert stage_maps(perceptron, (3, 8, 8)) == {}
    with pytest.raises(InputError, match="fails on an input of 3×224×224"):
        stage_maps(nn.Linear(1, 1))


def test_strides_by_name():
    maps = stride_maps(ListOfStages(), (3, 64, 64))
    assert maps == {"stride4": "stages.0", "stride8": "stages.1", "stride16": "norm"}


def test_the_network_is_left_as_it_is():
    model = ListOfStages().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    stages(model, (3, 64, 64))
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("resnet18", ["layer1", "layer2", "layer3", "layer4"]),
        ("densenet121", [*(f"features.denseblock{i}" for i in (1, 2, 3)), "features.norm5"]),
        ("efficientnet_b0", ["blocks.0", "blocks.1", "blocks.2", "blocks.4", "blocks.6"]),
        ("hrnet_w18_small", ["incre_modules.0", "downsamp_modules.0.2", "downsamp_modules.1.2", "final_layer"]),
        ("vit_tiny_patch16_224", ["blocks.11"]),
        ("ghostnet_100", ["blocks.0", "blocks.2", "blocks.4", "blocks.6", "blocks.9"]),
    ],
)
def test_networks_of_timm(name, maps):
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        model = timm.create_model(name)
    assert list(stage_maps(model).values()) == maps
    modules = {part for parts in stages(model).values() for part in parts}
    assert not [(a, b) for a in modules for b in modules if a.startswith(f"{b}.")]
