"""ResNet (arXiv 1512.03385), FaceResNet and SCSC-ResNet. Maps are ``(N, C, H, W)``; keys as torchvision's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from scsc_lab.layers.scsc import SCSC
from scsc_lab.networks.specs import ResNetSpec, SCSCSpec


class ResNet(nn.Module):
    """The network a :class:`ResNetSpec` describes: images ``(N, 3, H, W)`` to ``(N, outputs)``.

    Attributes:
        stages: names of the modules that make up each stage.
        stage_maps: the module whose output is the feature map of each stage.
    """

    def __init__(self, spec: ResNetSpec) -> None:
        super().__init__()
        self.spec = spec
        pooled = spec.stem == "conv7_pool"
        kernel = 7 if pooled else 3
        self.conv1 = nn.Conv2d(3, spec.stem_width, kernel, stride=2, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(spec.stem_width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if pooled else nn.Identity()
        in_channels = spec.stem_width
        for stage, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True), start=1):
            self.add_module(f"layer{stage}", nn.Sequential(*_blocks(spec, stage, depth, in_channels)))
            in_channels = width
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(in_channels, spec.outputs, bias=spec.head_bias)

    @property
    def stages(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the modules that make up each stage."""
        numbered = {f"stage{i}": (f"layer{i}",) for i in range(1, len(self.spec.depths) + 1)}
        return {"stem": ("conv1", "bn1", "relu", "maxpool"), **numbered, "head": ("avgpool", "fc")}

    @property
    def stage_maps(self) -> Mapping[str, str]:
        """The module whose output, ``(N, C, H, W)``, is the feature map of each stage."""
        return {f"stage{i}": f"layer{i}" for i in range(1, len(self.spec.depths) + 1)}

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of the head."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(1, len(self.spec.depths) + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        x = self.fc(self.avgpool(x).flatten(1))
        return x


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = projection(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output map."""
        y: Tensor = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y = self.relu(y + self.downsample(x))
        return y

    def zero_init_last(self) -> None:
        """Let the block start as its shortcut; timm's blocks have a method of this name too."""
        nn.init.zeros_(self.bn2.weight)


class Bottleneck(nn.Module):
    """1×1, 3×3 (with the stride), 1×1 convolutions and a shortcut."""

    def __init__(self, in_channels: int, width: int, bottleneck_width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, bottleneck_width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(bottleneck_width)
        self.conv2 = nn.Conv2d(bottleneck_width, bottleneck_width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(bottleneck_width)
        self.conv3 = nn.Conv2d(bottleneck_width, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output map."""
        y: Tensor = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y = self.relu(y + self.downsample(x))
        return y

    def zero_init_last(self) -> None:
        """Let the block start as its shortcut; timm's blocks have a method of this name too."""
        nn.init.zeros_(self.bn3.weight)


class SCSCBlock(nn.Module):
    """``SCSC(x) + shortcut(x)``, nothing after the sum.

    With ``opening`` channels, SCSC stands only for a bottleneck's 3×3 and closing 1×1: the opening 1×1 convolution
    stays before it, at the input's resolution.
    """

    def __init__(self, in_channels: int, width: int, stride: int, scsc: SCSCSpec, opening: int | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, opening, 1, bias=False) if opening else None
        self.bn1 = nn.BatchNorm2d(opening) if opening else None
        self.scsc = SCSC.from_spec(scsc, opening or in_channels, width, stride)
        self.downsample = projection(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output map."""
        y: Tensor = x
        if self.conv1 is not None and self.bn1 is not None:
            y = F.relu(self.bn1(self.conv1(x)))
        y = self.scsc(y) + self.downsample(x)
        return y

    def zero_init_last(self) -> None:
        """Let the block start as its shortcut; timm's blocks have a method of this name too."""
        nn.init.zeros_(self.scsc.recover_norm.weight)


def projection(in_channels: int, width: int, stride: int) -> nn.Module:
    """Return the shortcut: a strided 1×1 convolution with BatchNorm where the shape changes, else the identity."""
    if stride == 1 and in_channels == width:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(in_channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))


def _blocks(spec: ResNetSpec, stage: int, depth: int, in_channels: int) -> Iterator[nn.Module]:
    width, bottleneck_width = spec.widths[stage - 1], spec.bottleneck_widths[stage - 1]
    for index in range(depth):
        stride = spec.strides[stage - 1] if index == 0 else 1
        if stage in spec.scsc_stages:
            opening = bottleneck_width if spec.scsc_replaces == "spatial" else None
            yield SCSCBlock(in_channels, width, stride, spec.scsc[stage - 1], opening)
        elif spec.block == "basic":
            yield BasicBlock(in_channels, width, stride)
        else:
            yield Bottleneck(in_channels, width, bottleneck_width, stride)
        in_channels = width
