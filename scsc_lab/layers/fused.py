"""The SCSC module for inference: BatchNorm and GELU folded into the convolutions, maps in the order that CPUs want."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from scsc_lab.layers.depthwise import DepthwiseConv2d
from scsc_lab.layers.folding import affine, folded, scaled
from scsc_lab.layers.fused_pointwise import FusedPointwise
from scsc_lab.layers.gelu import GELU, gelu
from scsc_lab.layers.scsc import SCSC, SpatialCrossScaleEncoder, channel_slices, cpu_channels_last
from scsc_lab.layers.squeeze_excitation import SqueezeExcitation
from scsc_lab.layers.tracing import is_traced

_WIDE = 400
"""Positions from which on a map is kept with its positions innermost: between 14×14 and 28×28."""


class FusedSCSC(nn.Module):
    """An SCSC module's function in evaluation mode, to rounding, with its own ``state_dict``.

    The shuffle costs nothing: it is a view of the encoder's output, and the order of its BatchNorm is that of the
    encoder's weights.

    Args:
        scsc: the module to take weights and statistics from; it is not changed.
    """

    def __init__(self, scsc: SCSC) -> None:
        super().__init__()
        scsc = copy.deepcopy(scsc).eval()
        self.reduce = FusedPointwise(folded(scsc.reduce, scsc.reduce_norm), activation=True)
        self.encoder = _fused_encoder(scsc.encoder, scsc.encoder_norm)
        self.embed = scsc.embed
        recover = folded(scsc.recover, scsc.recover_norm)
        self.recover = FusedPointwise(recover, activation=isinstance(scsc.activation, GELU))
        self.se = scsc.se
        self.scales = scsc.scales
        self.shuffle = scsc.shuffle

    def forward(self, x: Tensor) -> Tensor:
        """Return the output map; shapes as :class:`~scsc_lab.layers.scsc.SCSC`."""
        y, scale = self.before_scaling(x)
        if scale is None:
            return y
        return y * scale if torch.is_grad_enabled() else y.mul_(scale)

    def before_scaling(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the output before squeeze-and-excitation scales it, and the scale, ``(N, C, 1, 1)``, if it has one."""
        r = in_order(self.reduce(cpu_channels_last(x)))
        slices = channel_slices(gelu(self.encoder(r)), self.scales, shuffle=self.shuffle)
        y = self.recover(cpu_channels_last(self.embed(slices, r)))
        return y, self.se.scale(y) if isinstance(self.se, SqueezeExcitation) else None


def in_order(r: Tensor) -> Tensor:
    """Return a reduced feature in the order of memory that the depthwise convolutions and the gated sum are fastest in.

    The gated sum is fastest with positions innermost: the shuffle leaves the channels of a slice ``m`` apart, and all
    channels of a group share a gate. It is then 3 to 7 times as fast. The convolutions are 0.02 to 0.06 ms slower each
    (oneDNN reorders their maps), but for 11×11, which is faster, and 13×13, which is then in no need of a wider kernel.
    On small maps they lose more than the sum gains (torch 2.13, AVX-512).
    """
    if r.device.type != "cpu" or is_traced() or r.shape[2] * r.shape[3] < _WIDE:
        return r
    return r.contiguous()


def _fused_encoder(encoder: SpatialCrossScaleEncoder, norm: nn.BatchNorm2d) -> SpatialCrossScaleEncoder:
    """Return the encoder with the BatchNorm of its output, whose channels are in the encoder's order, folded in."""
    fused = copy.deepcopy(encoder)
    sizes = [len(scale.weight) for scale in encoder if isinstance(scale, DepthwiseConv2d)]
    scales_and_shifts = zip(*(values.split(sizes) for values in affine(norm)), strict=True)
    for index, (scale, shift) in enumerate(scales_and_shifts):
        fused[index] = scaled(encoder[index], scale, shift)
    return fused
