"""Parts that mixers share: projections between widths, strides, biases that start at 0. Maps are ``(N, C, H, W)``."""

from __future__ import annotations

from torch import Tensor, nn


def pointwise(in_channels: int, out_channels: int) -> nn.Module:
    """Return a 1×1 convolution without bias between two widths, or the identity where they are the same."""
    return nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1, bias=False)


def at_stride(x: Tensor, stride: int) -> Tensor:
    """Return every ``stride``-th position of a map: ``(N, C, ceil(H / stride), ceil(W / stride))``."""
    return x if stride == 1 else x[:, :, ::stride, ::stride]


def zero_biases(module: nn.Module) -> None:
    """Start the biases of all convolutions at 0: where a network's maps are small, random ones would drown them."""
    for conv in module.modules():
        if isinstance(conv, nn.Conv2d) and conv.bias is not None:
            nn.init.zeros_(conv.bias)
