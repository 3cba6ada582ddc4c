"""Inception depthwise convolution, arXiv 2303.16900. Maps are ``(N, C, H, W)``."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from scsc_lab.errors import InputError
from scsc_lab.layers.pointwise import at_stride, pointwise, zero_biases
from scsc_lab.networks.specs import check_kernels


class Inception(nn.Module):
    """Some channels through a small square, some through a flat, some through a tall kernel; the rest as they are.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; a 1×1 convolution where they differ from the input's.
        stride: stride of the convolutions.
        square: side of the square kernel, odd.
        band: long side of the flat and of the tall kernel, odd.
        ratio: share of the channels that each of the three takes.

    Source: InceptionNeXt, arXiv 2303.16900; timm's ``InceptionDWConv2d``.
    """

    tail: ClassVar[tuple[str, ...]] = ("project",)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        square: int = 3,
        band: int = 11,
        ratio: float = 0.125,
    ) -> None:
        super().__init__()
        check_kernels("square and band", (square, band))
        share = max(int(in_channels * ratio), 1)
        if not 0 < ratio <= 1 / 3 or 3 * share > in_channels:
            raise InputError(f"ratio={ratio:g}: three branches cannot take {share} of {in_channels} channels each")
        self.stride = stride
        self.splits = (in_channels - 3 * share, share, share, share)
        self.square, self.flat, self.tall = (
            nn.Conv2d(share, share, sides, stride, (sides[0] // 2, sides[1] // 2), groups=share)
            for sides in ((square, square), (1, band), (band, 1))
        )
        self.project = pointwise(in_channels, out_channels)
        zero_biases(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, ceil(H / stride), ceil(W / stride))``."""
        remaining, square, flat, tall = x.split(self.splits, dim=1)
        remaining = at_stride(remaining, self.stride)
        y: Tensor = self.project(torch.cat((remaining, self.square(square), self.flat(flat), self.tall(tall)), dim=1))
        return y
