"""Depthwise convolution that keeps clear of the slow corners of CPU libraries. Maps are ``(N, C, H, W)``."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DepthwiseConv2d(nn.Conv2d):
    """A ``k × k`` convolution of every channel with itself, padded by ``k // 2``.

    Args:
        channels: channels of input and output.
        kernel: side ``k`` of the kernel, odd.
        stride: its stride.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride, padding=kernel // 2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, C, ceil(H / stride), ceil(W / stride))``."""
        if _is_slow_in_onednn(x, self.kernel_size[0], self.stride[0]):
            margin = (_FAST_KERNEL - self.kernel_size[0]) // 2
            weight = F.pad(self.weight, (margin,) * 4)
            return F.conv2d(x, weight, self.bias, padding=_FAST_KERNEL // 2, groups=x.shape[1])
        return super().forward(x)


_SLOW_KERNEL = 13
_FAST_KERNEL = 15


def _is_slow_in_onednn(x: Tensor, kernel: int, stride: int) -> bool:
    """Return whether oneDNN takes a slow path that a margin of zeros around the kernel avoids.

    Seen with torch 2.13 on AVX-512, channels-last, stride 1, whole vectors of 16 channels: 13×13 runs at a third of the
    speed of 15×15 (32 channels of 56×56, batch 4, one thread: 6.5 ms against 2.2 ms). On the meta device and in a trace
    the kernel stays as it is defined.
    """
    return (
        kernel == _SLOW_KERNEL
        and stride == 1
        and x.device.type == "cpu"
        and x.shape[1] % 16 == 0
        and min(x.shape[2:]) >= _FAST_KERNEL
        and x.is_contiguous(memory_format=torch.channels_last)
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    )
