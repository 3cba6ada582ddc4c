"""PoolFormer's pooling, arXiv 2111.11418. Maps are ``(N, C, H, W)``."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from scsc_lab.errors import InputError
from scsc_lab.layers.pointwise import at_stride, pointwise


class Pooling(nn.Module):
    """The mean over ``kernel × kernel`` positions less the position itself; a 1×1 convolution where the width changes.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the pooling.
        kernel: its side, odd.

    Source: PoolFormer, arXiv 2111.11418; timm's ``Pooling`` in ``metaformer.py``.
    """

    tail: ClassVar[tuple[str, ...]] = ("project",)

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, kernel: int = 3) -> None:
        super().__init__()
        if kernel < 3 or kernel % 2 == 0:
            raise InputError(f"kernel={kernel}: an odd number from 3 up")
        self.stride = stride
        self.pool = nn.AvgPool2d(kernel, stride, padding=kernel // 2, count_include_pad=False)
        self.project = pointwise(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, ceil(H / stride), ceil(W / stride))``."""
        y: Tensor = self.project(self.pool(x) - at_stride(x, self.stride))
        return y
