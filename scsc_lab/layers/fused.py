"""SCSC for inference: BatchNorm and GELU folded in, 1×1 convolutions by oneDNN. Maps are ``(N, C, H, W)``."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from scsc_lab.layers.depthwise import DepthwiseConv2d
from scsc_lab.layers.pointwise import GELU, gelu
from scsc_lab.layers.scsc import SCSC, SpatialCrossScaleEncoder, SqueezeExcitation, channel_slices, cpu_channels_last
from scsc_lab.layers.tracing import is_traced, is_transformed

# A call of oneDNN's product costs about 20 µs more than one of MKL's, whatever its size. One thread's products pay that
# back from 7 to 10 million MACs on, with GELU or without, for 8 to 768 channels and 1 to 56 positions a side.
_WORTH_ONEDNN = 8_000_000


class FusedPointwise(nn.Conv2d):
    """A 1×1 convolution's function, to rounding, with the same keys.

    torch gives float32 products to MKL; oneDNN, whose product torch has but calls only for lower precision, is up to
    1.2 times as fast on an AMD CPU, adds the bias without a pass of its own and applies GELU while the values are at
    hand: 1.14 to 1.20 times over an MLP of SCSC-Swin-T (torch 2.13, AVX-512, one thread). Small products stay a
    convolution, which costs less to call.

    Args:
        conv: the convolution to take weights from: 1×1, stride 1, one group. They are shared.
        activation: whether GELU follows.
    """

    def __init__(self, conv: nn.Conv2d, *, activation: bool = False) -> None:
        has_bias = conv.bias is not None
        super().__init__(conv.in_channels, conv.out_channels, 1, bias=has_bias, device="meta")
        self.weight, self.bias = conv.weight, conv.bias
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Return the map, ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``."""
        if not _onednn_takes(x, self.weight):
            y = super().forward(x)
            return gelu(y) if self.activation else y
        positions, weight = x.permute(0, 2, 3, 1), self.weight.flatten(1)
        post = "gelu" if self.activation else "none"
        product: Tensor = torch.ops.mkldnn._linear_pointwise(positions, weight, self.bias, post, [], "none")
        return product.permute(0, 3, 1, 2)


def _onednn_takes(x: Tensor, weight: Tensor) -> bool:
    """Return whether oneDNN's product, which has no gradients and runs nowhere else, can stand for it and pays."""
    return (
        not is_traced()  # sizes are no numbers then
        and x.numel() * weight.shape[0] >= _WORTH_ONEDNN
        and type(x) is Tensor
        and x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not is_transformed(x, weight)
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
    )


Layer = TypeVar("Layer", bound=nn.Module)


def affine(norm: Any) -> tuple[Tensor, Tensor]:
    """Return the scale and the shift of each channel that a BatchNorm with statistics is in evaluation mode."""
    scale = torch.rsqrt(norm.running_var + norm.eps)
    scale = scale if norm.weight is None else norm.weight * scale
    shift = -norm.running_mean * scale
    return scale, shift if norm.bias is None else norm.bias + shift


def folded(layer: Layer, norm: nn.Module) -> Layer:
    """Return a copy of a convolution (transposed too) or linear layer with the BatchNorm behind it folded in."""
    return scaled(layer, *affine(norm))


@torch.no_grad()
def scaled(layer: Layer, scale: Tensor, shift: Tensor) -> Layer:
    """Return a copy of a convolution or linear layer whose output channels are scaled and shifted."""
    copied: Any = copy.deepcopy(layer)
    weight, bias = copied.weight, copied.bias
    if isinstance(layer, _ConvTransposeNd):  # (in, out / groups, …): its groups lie along the inputs
        groups = layer.groups
        factor = scale.view(groups, 1, -1).expand(-1, weight.shape[0] // groups, -1).flatten(0, 1)
    else:
        factor = scale.unsqueeze(1)
    factor = factor[(...,) + (None,) * (weight.dim() - 2)]
    copied.weight = nn.Parameter((weight * factor).to(weight.dtype), weight.requires_grad)
    moved = shift if bias is None else bias * scale + shift
    copied.bias = nn.Parameter(moved.to(weight.dtype), weight.requires_grad)
    done: Layer = copied
    return done


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
