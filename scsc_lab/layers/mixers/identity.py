"""No mixing at all: the floor that any mixer has to beat. Maps are ``(N, C, H, W)``."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from scsc_lab.layers.pointwise import at_stride, pointwise


class Identity(nn.Module):
    """Give the map on as it is, every ``stride``-th position of it; a 1×1 convolution where the width changes.

    Source: "IdentityFormer", arXiv 2210.13452; timm's ``nn.Identity`` token mixer.
    """

    tail: ClassVar[tuple[str, ...]] = ("project",)

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.project = pointwise(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, ceil(H / stride), ceil(W / stride))``."""
        y: Tensor = self.project(at_stride(x, self.stride))
        return y
