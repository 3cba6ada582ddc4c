"""Large-kernel attention, arXiv 2202.09741. Maps are ``(N, C, H, W)``."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from scsc_lab.layers.depthwise import DepthwiseConv2d
from scsc_lab.layers.pointwise import at_stride, pointwise, zero_biases
from scsc_lab.networks.specs import check_kernels


class LargeKernelAttention(nn.Module):
    """``x ⊙ 1×1(dilated depthwise(depthwise(x)))``: a large kernel, taken apart, weights the map.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; a 1×1 convolution where they differ from the input's.
        stride: stride of the first convolution; ``x`` is read at its positions.
        kernel: side of the first kernel, odd.
        dilated: side of the dilated kernel, odd.
        dilation: its dilation.

    Source: VAN, arXiv 2202.09741 (21×21 as 5×5, then 7×7 with dilation 3, then 1×1), with VAN's biases.
    """

    tail: ClassVar[tuple[str, ...]] = ("mix",)
    modulation: ClassVar[tuple[str, ...]] = ("mix",)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        kernel: int = 5,
        dilated: int = 7,
        dilation: int = 3,
    ) -> None:
        super().__init__()
        check_kernels("kernel and dilated", (kernel, dilated))
        self.stride = stride
        self.local = DepthwiseConv2d(in_channels, kernel, stride, bias=True)
        reach = dilation * (dilated // 2)
        self.wide = nn.Conv2d(in_channels, in_channels, dilated, 1, reach, dilation, groups=in_channels)
        self.mix = nn.Conv2d(in_channels, in_channels, 1)
        self.project = pointwise(in_channels, out_channels)
        zero_biases(self)
        nn.init.ones_(self.mix.bias)  # type: ignore[arg-type]  # it starts close to linear: the map times about 1

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, ceil(H / stride), ceil(W / stride))``."""
        attention = self.mix(self.wide(self.local(x)))
        y: Tensor = self.project(at_stride(x, self.stride) * attention)
        return y
