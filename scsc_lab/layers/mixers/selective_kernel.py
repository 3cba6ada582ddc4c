"""Selective kernel convolution, arXiv 1903.06586: gates from global pooling. Maps are ``(N, C, H, W)``."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scsc_lab.layers.scsc import gated_sum
from scsc_lab.networks.specs import check_kernels


class SelectiveKernel(nn.Module):
    """Parallel convolutions of the same map, weighted channel by channel by a softmax over the branches, and summed.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the convolutions.
        kernels: sides of the branches, odd; beyond 3 a dilated 3×3, as the paper has it.
        groups: groups of the convolutions; the largest common divisor with both widths is taken.
        reduction: output channels over those of the gates' hidden layer, which has 32 or more.

    Source: SKNet, arXiv 1903.06586; timm's ``SelectiveKernel`` with ``split_input=False``.
    """

    tail: ClassVar[tuple[str, ...]] = ("norms",)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        kernels: tuple[int, ...] = (3, 5),
        groups: int = 32,
        reduction: int = 16,
    ) -> None:
        super().__init__()
        check_kernels("kernels", kernels, least=3)
        groups = math.gcd(groups, in_channels, out_channels)
        dilations = [(kernel - 1) // 2 for kernel in kernels]
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels, 3, stride, dilation, dilation, groups, bias=False)
            for dilation in dilations
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(out_channels) for _ in kernels)
        hidden = max(out_channels // reduction, 32)
        self.squeeze = nn.Conv2d(out_channels, hidden, 1, bias=False)
        self.squeeze_norm = nn.BatchNorm2d(hidden)
        self.select = nn.Conv2d(hidden, out_channels * len(kernels), 1, bias=False)
        nn.init.zeros_(self.select.weight)  # it starts with even gates, whatever the scale of its input

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, ceil(H / stride), ceil(W / stride))``."""
        # Split: every branch sees the whole map.
        branches = [F.relu(norm(conv(x))) for conv, norm in zip(self.convs, self.norms, strict=True)]
        slices = torch.stack(branches, dim=1)
        # Fuse: one global description of all branches.
        pooled = slices.sum(dim=1).mean(dim=(2, 3), keepdim=True)
        hidden = F.relu(self.squeeze_norm(self.squeeze(pooled)))
        # Select: a softmax over the branches for every channel.
        gates = self.select(hidden).unflatten(1, (len(branches), -1)).softmax(dim=1)
        return gated_sum(slices, gates)
