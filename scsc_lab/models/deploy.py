"""The deploy form of a network: the same function for inference, with everything folded that can be."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from scsc_lab.errors import InputError, last_line
from scsc_lab.layers.fused import FusedSCSC
from scsc_lab.layers.fused_pointwise import FusedPointwise
from scsc_lab.layers.mixers.dilated_reparam import DilatedReparam
from scsc_lab.layers.scsc import SCSC
from scsc_lab.models import adjacent
from scsc_lab.models.external import check_ends
from scsc_lab.models.swin import SCSCSwinBlock


def deploy(model: nn.Module, input_shape: Sequence[int] | None = None) -> nn.Module:
    """Return an equivalent network for inference; it cannot be turned back, and has a ``state_dict`` of its own.

    Every SCSC module is fused (see :mod:`scsc_lab.layers.fused`), the branches of every dilated reparametrised
    convolution are merged into one, and every BatchNorm is folded that a forward pass shows to follow one convolution
    (see :mod:`scsc_lab.models.adjacent`), or that stands before an SCSC-Swin block's MLP.

    Args:
        model: any network; it is not changed.
        input_shape: an input it takes, ``(N, C, H, W)``. Default: found by trying usual sizes.

    Raises:
        InputError: if there is nothing to fuse, or the network cannot be copied.
    """
    deployed = copied(model).eval()
    if isinstance(deployed, SCSC):
        return FusedSCSC(deployed)
    if isinstance(deployed, DilatedReparam):
        return deployed.merged()
    folded = _fold(deployed, input_shape)
    if not _fuse(deployed) + folded:
        raise InputError(
            f"{type(model).__name__} has no deploy form: no SCSC module, no BatchNorm behind a convolution"
        )
    return deployed


def copied(model: nn.Module) -> nn.Module:
    """Return a copy of a network.

    Raises:
        InputError: if it cannot be copied, as with the hooks of the old ``weight_norm`` and ``spectral_norm``.
    """
    try:
        check_ends(model)
        return copy.deepcopy(model)
    except Exception as error:  # whatever the network holds
        if any(isinstance(getattr(one, "weight_g", None), nn.Parameter) for one in model.modules()):
            raise InputError(
                f"{type(model).__name__} cannot be copied: it has the old weight_norm; "
                "use torch.nn.utils.parametrizations.weight_norm"
            ) from None
        raise InputError(f"{type(model).__name__} cannot be copied: {last_line(error)}") from error


def _fold(model: nn.Module, input_shape: Sequence[int] | None) -> int:
    """Fold, in place, every BatchNorm that a pass shows to follow one convolution; return how many there were."""
    wholes = (SCSC, SCSCSwinBlock, DilatedReparam)  # they are fused as wholes
    fused = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, wholes))
    for x in adjacent.example(model, input_shape):
        try:
            found = adjacent.pairs(model, x)
        except Exception:  # it does not take this input: another size is tried
            continue
        found = [pair for pair in found if not pair[0].startswith(fused)]
        for first, second in found:
            conv, norm = model.get_submodule(first), model.get_submodule(second)
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            model.set_submodule(first, fuse_conv_bn_eval(conv, norm))
            model.set_submodule(second, nn.Identity())
        return len(found)
    return 0


class FusedSCSCSwinBlock(nn.Module):
    """An SCSC-Swin block for inference: SCSC's scaling joins the sum, BatchNorm and GELU the MLP's first layer."""

    def __init__(self, block: SCSCSwinBlock) -> None:
        super().__init__()
        self.scsc = FusedSCSC(block.scsc)
        with torch.no_grad():
            _fold_into_linear(block.bn, block.mlp.fc1)
            self.expand = FusedPointwise(_as_convolution(block.mlp.fc1), activation=True)
            self.contract = FusedPointwise(_as_convolution(block.mlp.fc2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the output map, ``(N, H, W, C)`` to the same."""
        maps = x.permute(0, 3, 1, 2)
        y, scale = self.scsc.before_scaling(maps)
        maps = maps + y if scale is None else torch.addcmul(maps, y, scale)
        maps = maps + self.contract(self.expand(maps))
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
        elif isinstance(child, DilatedReparam):
            setattr(module, name, child.merged())
        else:
            found += _fuse(child)
            continue
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
