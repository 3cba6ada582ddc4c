"""The deploy form of a network: the same function for inference, with everything folded that can be."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from scsc_lab.errors import InputError
from scsc_lab.layers.fused import FusedSCSC
from scsc_lab.layers.gelu import gelu
from scsc_lab.layers.scsc import SCSC
from scsc_lab.models import resnet
from scsc_lab.models.swin import SCSCSwinBlock


def deploy(model: nn.Module) -> nn.Module:
    """Return an equivalent network for inference; it cannot be turned back, and has a ``state_dict`` of its own.

    Every SCSC module is fused (see :mod:`scsc_lab.layers.fused`), and every BatchNorm behind a convolution, or before
    an SCSC-Swin block's MLP, is folded into it. MACs stay those of the definition.

    Args:
        model: any network; it is not changed.

    Raises:
        InputError: if there is nothing to fuse.
    """
    deployed = copy.deepcopy(model).eval()
    found = _fuse(deployed)
    if isinstance(deployed, SCSC):
        return FusedSCSC(deployed)
    if not found:
        raise InputError(
            f"{type(model).__name__} has no deploy form: no SCSC module, no BatchNorm behind a convolution"
        )
    return deployed


class FusedSCSCSwinBlock(nn.Module):
    """An SCSC-Swin block for inference: SCSC's scaling joins the sum, the BatchNorm the MLP's first layer.

    The MLP's layers are 1×1 convolutions: with several threads a CPU is about twice as fast at those as at the same
    product of a linear layer (torch 2.13).
    """

    def __init__(self, block: SCSCSwinBlock) -> None:
        super().__init__()
        self.scsc = FusedSCSC(block.scsc)
        with torch.no_grad():
            _fold_into_linear(block.bn, block.mlp.fc1)
            self.expand, self.contract = _as_convolution(block.mlp.fc1), _as_convolution(block.mlp.fc2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output map, ``(N, H, W, C)`` to the same."""
        maps = x.permute(0, 3, 1, 2)
        y, scale = self.scsc.before_scaling(maps)
        maps = maps + y if scale is None else torch.addcmul(maps, y, scale)
        maps = maps + self.contract(gelu(self.expand(maps)))
        x = maps.permute(0, 2, 3, 1)
        return x


def _fuse(module: nn.Module) -> int:
    """Fuse what is inside a module, in place; return how many things were."""
    found = 0
    for name, child in module.named_children():
        if isinstance(child, SCSCSwinBlock):
            setattr(module, name, FusedSCSCSwinBlock(child))
        elif isinstance(child, SCSC):
            setattr(module, name, FusedSCSC(child))
        else:
            found += _fuse(child)
            continue
        found += 1
    return found + _fold_neighbours(module)


def _fold_neighbours(module: nn.Module) -> int:
    """Fold every BatchNorm into the convolution it follows, where it is certain that it does.

    Neighbours are the items of a Sequential, and in this package's ResNets members named ``conv1``, ``bn1`` and so on.
    A subclass of BatchNorm may do more than normalise, and one without running statistics normalises by the batch's:
    both stay as they are.
    """
    children = dict(module.named_children())
    if isinstance(module, nn.Sequential):
        pairs = list(itertools.pairwise(children))
    elif type(module).__module__ == resnet.__name__:
        pairs = [(name, name.replace("conv", "bn")) for name in children if name.startswith("conv")]
    else:
        return 0
    found = 0
    for first, second in pairs:
        conv, norm = children.get(first), children.get(second)
        if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.running_var is not None:
            setattr(module, first, fuse_conv_bn_eval(conv, norm))
            setattr(module, second, nn.Identity())
            found += 1
    return found


def _as_convolution(linear: nn.Linear) -> nn.Conv2d:
    """Return the 1×1 convolution that a linear layer over the channels is."""
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1, device=linear.weight.device)
    conv.weight = nn.Parameter(linear.weight.detach()[:, :, None, None].clone(memory_format=torch.channels_last))
    conv.bias = nn.Parameter(linear.bias.detach().clone())
    return conv


def _fold_into_linear(norm: nn.BatchNorm2d, linear: nn.Linear) -> None:
    """Fold a BatchNorm into the linear layer behind it, in place."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * scale
    linear.bias.add_(linear.weight @ shift)
    linear.weight.mul_(scale)
