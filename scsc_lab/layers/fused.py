"""The SCSC module for inference: BatchNorm folded into the convolutions, all of them channels-last on a CPU."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights

from scsc_lab.layers.gelu import gelu
from scsc_lab.layers.scsc import SCSC, SpatialCrossScaleEncoder, channel_slices, cpu_channels_last
from scsc_lab.layers.squeeze_excitation import SqueezeExcitation


class FusedSCSC(nn.Module):
    """What an SCSC module in evaluation mode computes, to rounding, with a ``state_dict`` of its own.

    The shuffle costs nothing: it is a view of the encoder's output, and the order of its BatchNorm is that of the
    encoder's weights.

    Args:
        scsc: the module to take weights and statistics from; it is not changed.
    """

    def __init__(self, scsc: SCSC) -> None:
        super().__init__()
        scsc = copy.deepcopy(scsc).eval()
        self.reduce = fuse_conv_bn_eval(scsc.reduce, scsc.reduce_norm)
        self.encoder = _fused_encoder(scsc.encoder, scsc.encoder_norm)
        self.embed = scsc.embed
        self.recover = fuse_conv_bn_eval(scsc.recover, scsc.recover_norm)
        self.activation = scsc.activation
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
        r = gelu(self.reduce(cpu_channels_last(x)))
        slices = channel_slices(gelu(self.encoder(r)), self.scales, shuffle=self.shuffle)
        y = self.activation(self.recover(self.embed(slices, r)))
        return y, self.se.scale(y) if isinstance(self.se, SqueezeExcitation) else None


def _fused_encoder(encoder: SpatialCrossScaleEncoder, norm: nn.BatchNorm2d) -> SpatialCrossScaleEncoder:
    """Return the encoder with the BatchNorm of its output, whose channels are in the encoder's order, folded in."""
    fused = copy.deepcopy(encoder)
    start = 0
    for scale in fused:
        assert isinstance(scale, nn.Conv2d)
        own = slice(start, start + scale.out_channels)
        start = own.stop
        statistics = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        mean, var, weight, bias = (value[own] for value in statistics if value is not None)
        scale.weight, scale.bias = fuse_conv_bn_weights(scale.weight, None, mean, var, norm.eps, weight, bias)
    return fused
