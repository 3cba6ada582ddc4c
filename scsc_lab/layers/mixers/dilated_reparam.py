"""UniRepLKNet's dilated reparametrised convolution, arXiv 2311.15599. Maps are ``(N, C, H, W)``."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from scsc_lab.errors import InputError
from scsc_lab.layers.depthwise import DepthwiseConv2d
from scsc_lab.layers.fused import folded
from scsc_lab.layers.pointwise import pointwise

BRANCHES: dict[int, tuple[tuple[int, int], ...]] = {
    17: ((5, 1), (9, 2), (3, 4), (3, 5), (3, 7)),
    15: ((5, 1), (7, 2), (3, 3), (3, 5), (3, 7)),
    13: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
    11: ((5, 1), (5, 2), (3, 3), (3, 4), (3, 5)),
    9: ((5, 1), (5, 2), (3, 3), (3, 4)),
    7: ((5, 1), (3, 2), (3, 3)),
    5: ((3, 1), (3, 2)),
}
"""Kernel and dilation of the branches beside a large kernel, by its side, as the released code has them."""


class DilatedReparam(nn.Module):
    """A large depthwise kernel and dilated small ones beside it, each with a BatchNorm, summed.

    For inference they are one convolution: :meth:`merged`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; a 1×1 convolution where they differ from the input's.
        stride: stride of the convolutions.
        kernel: side of the large kernel, a key of :data:`BRANCHES`.

    Source: UniRepLKNet, arXiv 2311.15599, and its released code.
    """

    tail: ClassVar[tuple[str, ...]] = ("norms",)

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, kernel: int = 13) -> None:
        super().__init__()
        if kernel not in BRANCHES:
            raise InputError(f"kernel={kernel}: one of {', '.join(map(str, sorted(BRANCHES)))}")
        branches = [
            nn.Conv2d(in_channels, in_channels, k, stride, d * (k // 2), d, groups=in_channels, bias=False)
            for k, d in BRANCHES[kernel]
        ]
        self.convs = nn.ModuleList([DepthwiseConv2d(in_channels, kernel, stride), *branches])
        self.norms = nn.ModuleList(nn.BatchNorm2d(in_channels) for _ in self.convs)
        self.project = pointwise(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, ceil(H / stride), ceil(W / stride))``."""
        total = self.norms[0](self.convs[0](x))
        for conv, norm in zip(list(self.convs)[1:], list(self.norms)[1:], strict=True):
            total = total + norm(conv(x))
        y: Tensor = self.project(total)
        return y

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Return the same function of evaluation mode as one depthwise convolution, and the 1×1 behind it if any.

        A kernel with dilation is the larger kernel with zeros between its taps, in the middle of the largest.
        """
        large = self.convs[0]
        assert isinstance(large, DepthwiseConv2d)
        merged = DepthwiseConv2d(large.in_channels, large.kernel_size[0], large.stride[0], bias=True).to(large.weight)
        assert merged.bias is not None
        merged.weight.zero_()
        merged.bias.zero_()
        for conv, norm in zip(self.convs, self.norms, strict=True):
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            fused = folded(conv, norm)
            assert fused.bias is not None
            step, margin = conv.dilation[0], large.kernel_size[0] // 2 - fused.dilation[0] * (fused.kernel_size[0] // 2)
            end = large.kernel_size[0] - margin
            merged.weight[:, :, margin:end:step, margin:end:step] += fused.weight
            merged.bias += fused.bias
        return nn.Sequential(merged, self.project) if isinstance(self.project, nn.Conv2d) else merged
