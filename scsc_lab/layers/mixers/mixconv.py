"""Mixed depthwise convolution, arXiv 1907.09595: many scales without embedding. Maps are ``(N, C, H, W)``."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from scsc_lab.errors import InputError
from scsc_lab.layers.depthwise import DepthwiseConv2d
from scsc_lab.layers.pointwise import pointwise
from scsc_lab.networks.specs import check_kernels


class MixConv(nn.Module):
    """Channels split over depthwise convolutions of several kernels, put side by side again; no gates.

    Args:
        in_channels: channels of the input; the first kernel takes those that are left over.
        out_channels: channels of the output; a 1×1 convolution where they differ from the input's.
        stride: stride of the convolutions.
        kernels: their sides, odd.

    Source: MixConv, arXiv 1907.09595; timm's ``MixedConv2d``.
    """

    tail: ClassVar[tuple[str, ...]] = ("convs",)

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, *, kernels: tuple[int, ...] = (3, 5, 7)
    ) -> None:
        super().__init__()
        check_kernels("kernels", kernels)
        if in_channels < len(kernels):
            raise InputError(f"{in_channels} channels for {len(kernels)} kernels")
        share, rest = divmod(in_channels, len(kernels))
        self.splits = [share + rest] + [share] * (len(kernels) - 1)
        self.convs = nn.ModuleList(
            DepthwiseConv2d(channels, kernel, stride) for channels, kernel in zip(self.splits, kernels, strict=True)
        )
        self.project = pointwise(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, ceil(H / stride), ceil(W / stride))``."""
        parts = x.split(self.splits, dim=1)
        mixed = torch.cat([conv(part) for conv, part in zip(self.convs, parts, strict=True)], dim=1)
        y: Tensor = self.project(mixed)
        return y
