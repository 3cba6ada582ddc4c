"""A small network in the manner of ConvNeXt, as a user of scsc-lab might write one: patches, four stages, a head."""

import torch
from torch import nn


class Block(nn.Module):
    """A depthwise convolution over space, then two linear layers over channels, beside the way past both."""

    def __init__(self, width: int, kernel: int = 7) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.BatchNorm2d(width)
        self.wider = nn.Conv2d(width, 4 * width, 1)
        self.narrower = nn.Conv2d(4 * width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.narrower(nn.functional.gelu(self.wider(self.norm(self.spatial(x)))))


class Net(nn.Module):
    """``depth`` blocks in each of four stages; every stage begins with half the pixels and twice the channels."""

    input_size = (3, 128, 128)

    def __init__(self, width: int = 32, depth: int = 4, classes: int = 100) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        self.stages = nn.ModuleList()
        for stage in range(4):
            halve = [nn.Conv2d(width // 2, width, 2, stride=2)] if stage else []
            self.stages.append(nn.Sequential(*halve, *(Block(width) for _ in range(depth))))
            width *= 2
        self.head = nn.Linear(width // 2, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x)
        for stage in self.stages:
            x = stage(x)
        return self.head(x.mean((2, 3)))
