"""One depthwise convolution, as ConvNeXt has it, arXiv 2201.03545: the control. Maps are ``(N, C, H, W)``."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from scsc_lab.layers.depthwise import DepthwiseConv2d
from scsc_lab.layers.pointwise import pointwise, zero_biases
from scsc_lab.networks.specs import check_kernels


class Depthwise(nn.Module):
    """A ``kernel × kernel`` convolution of every channel with itself; a 1×1 convolution where the width changes.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the convolution.
        kernel: its side, odd.
        bias: whether it has a bias.

    Source: ConvNeXt, arXiv 2201.03545; timm's ``conv_dw`` in ``convnext.py``.
    """

    tail: ClassVar[tuple[str, ...]] = ("conv",)

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, *, kernel: int = 7, bias: bool = True
    ) -> None:
        super().__init__()
        check_kernels("kernel", (kernel,))
        self.conv = DepthwiseConv2d(in_channels, kernel, stride, bias=bias)
        self.project = pointwise(in_channels, out_channels)
        zero_biases(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, ceil(H / stride), ceil(W / stride))``."""
        y: Tensor = self.project(self.conv(x))
        return y
