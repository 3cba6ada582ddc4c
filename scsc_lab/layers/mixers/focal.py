"""Focal modulation, arXiv 2203.11926: contexts in series, gates at every position. Maps are ``(N, C, H, W)``."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from scsc_lab.layers.depthwise import DepthwiseConv2d
from scsc_lab.layers.pointwise import GELU, at_stride, gelu, zero_biases
from scsc_lab.layers.tracing import operator
from scsc_lab.networks.specs import check_kernels


class Focal(nn.Module):
    """A query at every position, modulated by contexts that widen level by level and are summed by gates.

    Args:
        in_channels: channels of the input, the query and the contexts.
        out_channels: channels of the output.
        stride: stride of the first context; query and gates are read at its positions.
        levels: depthwise convolutions in series; the global mean is one level more.
        window: side of the first kernel, odd; each later one is 2 larger.

    Source: FocalNet, arXiv 2203.11926; timm's ``FocalModulation``.
    """

    tail: ClassVar[tuple[str, ...]] = ("project",)
    modulation: ClassVar[tuple[str, ...]] = ("modulate",)

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, *, levels: int = 2, window: int = 3
    ) -> None:
        super().__init__()
        check_kernels("window", (window,))
        self.stride = stride
        self.splits = (in_channels, in_channels, levels + 1)
        self.embed = nn.Conv2d(in_channels, sum(self.splits), 1)
        self.contexts = nn.ModuleList(
            nn.Sequential(DepthwiseConv2d(in_channels, window + 2 * level, stride if level == 0 else 1), GELU())
            for level in range(levels)
        )
        self.modulate = nn.Conv2d(in_channels, in_channels, 1)
        self.project = nn.Conv2d(in_channels, out_channels, 1)
        zero_biases(self)
        nn.init.ones_(self.modulate.bias)  # type: ignore[arg-type]  # it starts close to linear: a query times about 1

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, ceil(H / stride), ceil(W / stride))``."""
        query, context, gates = self.embed(x).split(self.splits, dim=1)
        query, gates = at_stride(query, self.stride), at_stride(gates, self.stride)
        if not self.contexts:
            context = at_stride(context, self.stride)
        # Hierarchical contexts, each from the one before, and their gated sum.
        total = torch.zeros_like(query)
        for level, widen in enumerate(self.contexts):
            context = widen(context)
            total = gated_add(total, context, gates[:, level : level + 1])
        everywhere = gelu(context.mean(dim=(2, 3), keepdim=True))
        total = gated_add(total, everywhere, gates[:, -1:])
        # Modulation of the query.
        y: Tensor = self.project(query * self.modulate(total))
        return y


@operator(macs=lambda total, context, gate: total.numel())
def gated_add(total: Tensor, context: Tensor, gate: Tensor) -> Tensor:
    """Return ``total + context · gate``, one multiply-accumulate an element of ``total``: SCSC's gated sum, in parts.

    Args:
        total: ``(N, C, H, W)``.
        context: the same, or ``(N, C, 1, 1)``.
        gate: ``(N, 1, H, W)``.
    """
    return torch.addcmul(total, context, gate)
