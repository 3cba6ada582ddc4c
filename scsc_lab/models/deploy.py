"""The deploy form of a network: the same function for inference, with everything folded that can be."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

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
    if not _fuse(deployed, {}) + folded:
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
        folded: list[dict[nn.Module, nn.Module]] = []
        for first, second in found:
            conv, norm = model.get_submodule(first), model.get_submodule(second)
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            folded.append({conv: fuse_conv_bn_eval(conv, norm), norm: nn.Identity()})
            _put(model, folded[-1])
        still = _called(model, x, [old for pair in folded for old in pair])
        kept = [pair for pair in folded if still.isdisjoint(pair)]
        for pair in folded:
            if pair not in kept:
                _put(model, {new: old for old, new in pair.items()})
        return len(kept)
    return 0


def _put(model: nn.Module, new: Mapping[nn.Module, nn.Module]) -> None:
    """Put modules in the place of others, under each of the names that these have."""
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module in new:
            model.set_submodule(name, new[module])


def _called(model: nn.Module, x: Tensor, modules: Sequence[nn.Module]) -> set[nn.Module]:
    """Return which of some modules a pass calls: those that were replaced, but are in a plain list too, say."""
    found: set[nn.Module] = set()
    hooks = [module.register_forward_pre_hook(lambda module, _: found.add(module)) for module in modules]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return found


class FusedSCSCSwinBlock(nn.Module):
    """An SCSC-Swin block for inference: SCSC's scaling joins the sum, BatchNorm and GELU the MLP's first layer."""

    def __init__(self, block: SCSCSwinBlock) -> None:
        super().__init__()
        self.scsc = FusedSCSC(block.scsc)
        expand = _as_convolution(block.mlp.fc1)
        _fold_into(expand, block.bn)
        self.expand = FusedPointwise(expand, activation=True)
        self.contract = FusedPointwise(_as_convolution(block.mlp.fc2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the output map, ``(N, H, W, C)`` to the same."""
        maps = x.permute(0, 3, 1, 2)
        y, scale = self.scsc.before_scaling(maps)
        maps = maps + y if scale is None else torch.addcmul(maps, y, scale)
        maps = maps + self.contract(self.expand(maps))
        x = maps.permute(0, 2, 3, 1)
        return x


def _fuse(module: nn.Module, known: dict[nn.Module, nn.Module | None]) -> int:
    """Fuse what is inside a module, in place; return how many things were.

    Args:
        module: the module.
        known: what was made of each module so far: one that is used in several places stays one.
    """
    found = 0
    for name, child in list(module._modules.items()):
        if child is None:
            continue
        if child not in known:
            known[child] = _fused(child)
        whole = known[child]
        if whole is None:
            found += _fuse(child, known)
        else:
            setattr(module, name, whole)
            found += 1
    return found


def _fused(module: nn.Module) -> nn.Module | None:
    """Return what is made of a module that is fused as a whole, ``None`` for any other; it is not changed."""
    if isinstance(module, SCSCSwinBlock):
        return FusedSCSCSwinBlock(module)
    if isinstance(module, SCSC):
        return FusedSCSC(module)
    return module.merged() if isinstance(module, DilatedReparam) else None


def _as_convolution(linear: nn.Linear) -> nn.Conv2d:
    """Return the 1×1 convolution that a linear layer over the channels is."""
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1, device=linear.weight.device)
    conv.weight = nn.Parameter(linear.weight.detach()[:, :, None, None].clone(memory_format=torch.channels_last))
    conv.bias = nn.Parameter(linear.bias.detach().clone())
    return conv


@torch.no_grad()
def _fold_into(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Fold a BatchNorm into the 1×1 convolution with a bias behind it, in place."""
    assert conv.bias is not None
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * scale
    conv.bias.add_(conv.weight.flatten(1) @ shift)
    conv.weight.mul_(scale[:, None, None])
