"""Spatial Cross-scale Convolution (SCSC), arXiv 2308.07110: the module in its six steps. Maps are ``(N, C, H, W)``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scsc_lab.layers.depthwise import DepthwiseConv2d
from scsc_lab.layers.pointwise import GELU, gelu
from scsc_lab.layers.tracing import is_exporting, operator
from scsc_lab.networks.specs import SCSCSpec


class SCSC(nn.Module):
    """One SCSC module: parallel depthwise scales on one reduced feature, embedded back by position-wise gates.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernels: side of the depthwise kernel of each of the ``m`` scales; odd.
        groups: channel groups ``g`` with a gate of their own at every position.
        stride: stride of the scales and of the gates.
        shuffle: whether the channels are shuffled before the gates.
        gates: whether the slices are weighted by gates; without, they are summed as they are.
        se: whether squeeze-and-excitation ends the module.
        activation: whether GELU follows the recover convolution (the ResNet form).
        reduction: reduced width over ``in_channels``; 0, as released: ``1 / m``.

    Shapes:
        ``(N, in_channels, H, W)`` to ``(N, out_channels, ceil(H / stride), ceil(W / stride))``, any memory format.

    Raises:
        InputError: if a kernel is even, or there are more scales or groups than channels.

    Source: SCSC, arXiv 2308.07110, and its released code; the reduced width is rounded up to a multiple of the groups.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernels: Sequence[int] = (3, 5, 7),
        *,
        groups: int = 4,
        stride: int = 1,
        shuffle: bool = True,
        gates: bool = True,
        se: bool = True,
        activation: bool = False,
        reduction: float = 0.0,
    ) -> None:
        super().__init__()
        spec = SCSCSpec(tuple(kernels), groups, shuffle, gates, se, activation, reduction)
        scales, reduced = len(spec.kernels), spec.reduced_channels(in_channels)
        self.reduce = nn.Conv2d(in_channels, reduced, 1, bias=False)
        self.reduce_norm = nn.BatchNorm2d(reduced)
        self.encoder = SpatialCrossScaleEncoder(reduced, spec.kernels, stride)
        self.encoder_norm = nn.BatchNorm2d(scales * reduced)
        self.embed = SpatialEmbed(reduced, scales, groups, stride) if gates else PlainSum()
        self.recover = nn.Conv2d(reduced, out_channels, 1, bias=False)
        self.recover_norm = nn.BatchNorm2d(out_channels)
        self.activation = GELU() if activation else nn.Identity()
        self.se = SqueezeExcitation(out_channels) if se else nn.Identity()
        self.scales = scales
        self.shuffle = shuffle

    @classmethod
    def from_spec(cls, spec: SCSCSpec, in_channels: int, out_channels: int, stride: int = 1) -> SCSC:
        """Return the module that a spec describes, between two widths."""
        return cls(
            in_channels,
            out_channels,
            spec.kernels,
            groups=spec.groups,
            stride=stride,
            shuffle=spec.shuffle,
            gates=spec.gates,
            se=spec.se,
            activation=spec.activation,
            reduction=spec.reduction,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the output map; see the class for shapes."""
        # 1. Reduce: one feature r that all scales share.
        r = cpu_channels_last(gelu(self.reduce_norm(self.reduce(x))))
        # 2. Spatial cross-scale encoder: the same r at every kernel size, side by side.
        scales = self.encoder(r)
        # 3. Channel shuffle, BatchNorm, GELU. The last two act on each channel alone, so they come first here: the
        #    shuffle is then a view. Hence encoder_norm keeps its channels in the order of the encoder.
        slices = channel_slices(gelu(self.encoder_norm(scales)), self.scales, shuffle=self.shuffle)
        # 4. Spatial embed module: at each position, gates from r weight the slices and sum them.
        embedded = self.embed(slices, r)
        # 5. Recover the width.
        y: Tensor = self.activation(self.recover_norm(self.recover(embedded)))
        # 6. Squeeze-and-excitation.
        y = self.se(y)
        return y


def cpu_channels_last(x: Tensor) -> Tensor:
    """Return a map with its channels innermost in memory if it is on a CPU: depthwise convolutions want it so there."""
    if x.device.type != "cpu" or is_exporting():
        return x
    return x.contiguous(memory_format=torch.channels_last)


class SpatialCrossScaleEncoder(nn.ModuleList):
    """Step 2: a depthwise convolution of the same map for every kernel size, ``(N, c, H, W)`` to ``(N, m·c, …)``."""

    def __init__(self, channels: int, kernels: Sequence[int], stride: int = 1) -> None:
        super().__init__(DepthwiseConv2d(channels, kernel, stride) for kernel in kernels)

    def forward(self, r: Tensor) -> Tensor:
        """Return the scales, concatenated along the channels in the order of the kernels."""
        return torch.cat([scale(r) for scale in self], dim=1)


def channel_slices(x: Tensor, scales: int, *, shuffle: bool) -> Tensor:
    """Step 3: view the concatenated scales as the ``m`` slices that the gates sum; nothing is copied.

    The shuffle moves channel ``i`` to ``(i mod m)·c + i // m``: slice ``j`` holds channels ``j, j + m, j + 2m, …``, so
    that the gates sum ``m`` neighbouring channels. Without the shuffle slice ``j`` is scale ``j``.

    Args:
        x: ``(N, m·c, H, W)``.
        scales: ``m``.
        shuffle: whether to shuffle.

    Returns:
        ``(N, m, c, H, W)``.
    """
    slices: Tensor = x.unflatten(1, (-1, scales)).transpose(1, 2) if shuffle else x.unflatten(1, (scales, -1))
    return slices


class SpatialEmbed(nn.Module):
    """Step 4: gates ``sigmoid(1×1 convolution of r)``, one a position, slice and group, weight and sum the slices."""

    def __init__(self, channels: int, scales: int, groups: int, stride: int = 1) -> None:
        super().__init__()
        self.gates = nn.Conv2d(channels, scales * groups, 1, bias=False)
        self.scales = scales
        self.stride = stride

    def forward(self, slices: Tensor, r: Tensor) -> Tensor:
        """Return ``(N, c, H', W')`` from slices ``(N, m, c, H', W')`` and ``r``, ``(N, c, H, W)``."""
        # A strided view, not a strided convolution: oneDNN's backward of the latter overruns its memory with 8 channels
        # in channels-last order (torch 2.13, AVX-512).
        positions = r[:, :, :: self.stride, :: self.stride]
        gates = torch.sigmoid(self.gates(positions)).unflatten(1, (self.scales, -1))
        return gated_sum(slices, gates)


class PlainSum(nn.Module):
    """Step 4 without gates: the plain sum over the slices."""

    def forward(self, slices: Tensor, r: Tensor) -> Tensor:
        """Return ``(N, c, H', W')`` from slices ``(N, m, c, H', W')``; ``r`` is not used."""
        del r
        return slices.sum(dim=1)


@operator(macs=lambda slices, gates: slices.numel())
def gated_sum(slices: Tensor, gates: Tensor) -> Tensor:
    """Return ``Σ_j gate[j, q] · slice[j, q, p]`` at every position: one operator to whoever counts.

    Args:
        slices: ``(N, m, c, H, W)``; channel ``(q, p)`` is ``q·c/g + p``.
        gates: ``(N, m, g, H, W)``; ``g`` divides ``c``.

    Returns:
        ``(N, c, H, W)``. It costs ``m·c·H·W`` multiply-accumulates per image.
    """
    slices = slices.unflatten(2, (gates.shape[2], -1))
    gates = gates.unsqueeze(3)
    (first, *later_slices), (gate, *later_gates) = slices.unbind(1), gates.unbind(1)  # whose backward is one stack
    total = first * gate
    for slice_, gate in zip(later_slices, later_gates, strict=True):
        total.addcmul_(slice_, gate)
    return total.flatten(1, 2)


class SqueezeExcitation(nn.Module):
    """Step 6: scale each channel by a gate from the global average (squeeze-and-excitation, arXiv 1709.01507).

    The gate is Linear ``C → max(C // 16, 32)``, ReLU, Linear, sigmoid.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // 16, 32)
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.excite = nn.Linear(hidden, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with its channels scaled, same shape."""
        return x * self.scale(x)

    def scale(self, x: Tensor) -> Tensor:
        """Return the scale of each channel, ``(N, C, 1, 1)``."""
        return torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean(dim=(2, 3))))))[:, :, None, None]
