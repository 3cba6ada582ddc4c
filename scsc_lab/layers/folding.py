"""BatchNorm folded into the layer before it: the same function in evaluation mode, to rounding."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

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
