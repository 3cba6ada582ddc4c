"""Depthwise convolution that keeps clear of the slow corners of CPU libraries. Maps are ``(N, C, H, W)``."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from scsc_lab.layers.tracing import is_exporting, is_transformed


class DepthwiseConv2d(nn.Conv2d):
    """A ``k × k`` convolution of every channel with itself, padded by ``k // 2``.

    Args:
        channels: channels of input and output.
        kernel: side ``k`` of the kernel, odd.
        stride: its stride.
        bias: whether it has a bias.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1, *, bias: bool = False) -> None:
        super().__init__(channels, channels, kernel, stride, padding=kernel // 2, groups=channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, C, ceil(H / stride), ceil(W / stride))``."""
        if self.training and self.bias is None and _has_slow_weight_gradient(x, self.weight, self.stride[0]):
            y = self._convolve(x, self.weight.detach())
            attached: Tensor = _WeightGradient.apply(y, x.detach(), self.weight, self.stride[0])  # type: ignore[no-untyped-call]
            return attached
        return self._convolve(x, self.weight)

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        if _is_slow_in_onednn(x, self.kernel_size[0], self.stride[0]):
            margin = (_FAST_KERNEL - self.kernel_size[0]) // 2
            weight = F.pad(weight, (margin,) * 4)
            return F.conv2d(x, weight, self.bias, padding=_FAST_KERNEL // 2, groups=x.shape[1])
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, groups=self.groups)


class _WeightGradient(torch.autograd.Function):
    """The identity on a convolution's output, whose backward gives the weight its gradient, as a convolution itself.

    The convolution before it gives the input its gradient and knows nothing of the weight's, so that whoever counts or
    traces the forward pass sees that one convolution.
    """

    @staticmethod
    def forward(y: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        return y.view_as(y)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int], output: Tensor) -> None:
        _, x, weight, ctx.stride = inputs
        ctx.save_for_backward(x)
        ctx.kernel = weight.shape[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor, None]:
        return gradient, None, weight_gradient(ctx.saved_tensors[0], gradient, ctx.kernel, ctx.stride), None


def weight_gradient(x: Tensor, gradient: Tensor, kernel: int, stride: int) -> Tensor:
    """Return the weight's gradient of a depthwise convolution that is padded by half its kernel, as convolutions.

    Each channel of each image is convolved with the gradient of its own output. A stride ``s`` splits the input, and
    with it the kernel, into ``s²`` interleaved parts that each have stride 1.

    Args:
        x: the input, ``(N, C, H, W)``.
        gradient: the loss's gradient at the output, ``(N, C, ceil(H / s), ceil(W / s))``.
        kernel: side of the kernel, odd.
        stride: the stride ``s``.

    Returns:
        ``(C, 1, kernel, kernel)``.
    """
    if stride == 1:
        return _correlation(x, gradient, kernel // 2)
    x = F.pad(x, (kernel // 2,) * 4)
    weight = x.new_empty(x.shape[1], 1, kernel, kernel)
    for row in range(stride):
        for column in range(stride):
            part = weight[:, :, row::stride, column::stride]
            height, width = (side + extent - 1 for side, extent in zip(gradient.shape[2:], part.shape[2:], strict=True))
            part.copy_(_correlation(x[:, :, row::stride, column::stride][:, :, :height, :width], gradient, 0))
    return weight


def _correlation(x: Tensor, gradient: Tensor, padding: int) -> Tensor:
    """Return ``Σ_n`` of every channel's correlation with its gradient: images are folded into groups for it."""
    images, channels = x.shape[:2]
    folded = x.reshape(1, images * channels, *x.shape[2:]).contiguous(memory_format=torch.channels_last)
    kernels = gradient.reshape(images * channels, 1, *gradient.shape[2:])
    y = F.conv2d(folded, kernels, padding=padding, groups=images * channels)
    return y.view(images, channels, *y.shape[2:]).sum(0).unsqueeze(1)


def _has_slow_weight_gradient(x: Tensor, weight: Tensor, stride: int) -> bool:
    """Return whether :func:`weight_gradient` is faster than what oneDNN has.

    Its fast kernel for it stops at width 3 (torch 2.13, AVX-512, one thread): measured on 4×4 to 112×112 maps of 8 to
    96 channels, the convolution is 1.2 to 1.9 times as fast for 5×5 at stride 1 and 1.8 to 7 times from 7×7 up; at
    stride 2 it is 1.1 to 2.4 times as fast from 9×9 up and slower below.
    """
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and weight.shape[-1] >= {1: 5, 2: 9}.get(stride, sys.maxsize)
        and weight.requires_grad
        and torch.is_grad_enabled()
        and not is_transformed(x, weight)
        and not torch.is_autocast_enabled("cpu")
    )


_SLOW_KERNEL = 13
_FAST_KERNEL = 15


def _is_slow_in_onednn(x: Tensor, kernel: int, stride: int) -> bool:
    """Return whether oneDNN takes a slow path that a margin of zeros around the kernel avoids.

    Seen with torch 2.13 on AVX-512, channels-last, stride 1, whole vectors of 16 channels: 13×13 runs at a third of the
    speed of 15×15 (32 channels of 56×56, batch 4, one thread: 6.5 ms against 2.2 ms).
    """
    return (
        kernel == _SLOW_KERNEL
        and stride == 1
        and x.device.type == "cpu"
        and x.shape[1] % 16 == 0
        and min(x.shape[2:]) >= _FAST_KERNEL
        and x.is_contiguous(memory_format=torch.channels_last)
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and not is_exporting()
    )
