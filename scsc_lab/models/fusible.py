"""Modules that are fused as wholes for inference, and blocks of other people's code that merge their own branches."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from scsc_lab.errors import InputError, located
from scsc_lab.layers.depthwise import DepthwiseConv2d
from scsc_lab.layers.fused import FusedPointwise, FusedSCSC, affine
from scsc_lab.layers.mixers.dilated_reparam import DilatedReparam
from scsc_lab.layers.pointwise import GELU, DropPath
from scsc_lab.layers.scsc import SCSC, PlainSum, SpatialCrossScaleEncoder, SpatialEmbed, SqueezeExcitation
from scsc_lab.models.declared import hooks_of
from scsc_lab.models.swin import MLP, SCSCSwinBlock

_EVERY = "*"
_CONV, _NORM, _LINEAR = (nn.Conv2d,), (nn.BatchNorm2d,), (nn.Linear,)

_PARTS: Mapping[type[nn.Module], Mapping[str, tuple[type[nn.Module], ...]]] = {
    SCSCSwinBlock: {"scsc": (SCSC,), "drop_path": (DropPath, nn.Identity), "bn": _NORM, "mlp": (MLP,)},
    MLP: {"fc1": _LINEAR, "fc2": _LINEAR},
    SCSC: {
        "reduce": _CONV,
        "reduce_norm": _NORM,
        "encoder": (SpatialCrossScaleEncoder,),
        "encoder_norm": _NORM,
        "embed": (SpatialEmbed, PlainSum),
        "recover": _CONV,
        "recover_norm": _NORM,
        "activation": (GELU, nn.Identity),
        "se": (SqueezeExcitation, nn.Identity),
    },
    SpatialCrossScaleEncoder: {_EVERY: (DepthwiseConv2d,)},
    SpatialEmbed: {"gates": _CONV},
    SqueezeExcitation: {"squeeze": _LINEAR, "excite": _LINEAR},
    DilatedReparam: {"convs": (nn.ModuleList,), "norms": (nn.ModuleList,), "project": (nn.Conv2d, nn.Identity)},
    nn.ModuleList: {_EVERY: (DepthwiseConv2d, nn.Conv2d, nn.BatchNorm2d)},
}
"""The children of each class that is fused, and of its parts: exact types, since a subclass may compute more."""


def is_plain(module: nn.Module) -> bool:
    """Return whether a module runs its class's own code and nothing besides: no hooks, no methods of its own."""
    replaced = any(key in ("weight", "bias") or callable(getattr(type(module), key, None)) for key in vars(module))
    return not replaced and not hooks_of(module)


def has_statistics(norm: nn.Module) -> bool:
    """Return whether a BatchNorm has running statistics, without which it cannot be folded."""
    return all(isinstance(norm._buffers.get(name), Tensor) for name in ("running_mean", "running_var"))


def is_fusible(module: nn.Module) -> bool:
    """Return whether a module is fused as a whole: of one of three classes, and in all its parts as it was built."""
    if type(module) not in (SCSC, SCSCSwinBlock, DilatedReparam) or not _is_as_built(module):
        return False
    if isinstance(module, SCSCSwinBlock):
        return is_fusible(module.scsc) and None not in (module.mlp.fc1.bias, module.mlp.fc2.bias)
    if isinstance(module, SCSC):
        scales = [scale.bias is None for scale in module.encoder if isinstance(scale, nn.Conv2d)]
        return _is_pointwise(module.reduce) and _is_pointwise(module.recover) and all(scales)
    assert isinstance(module, DilatedReparam)
    return all(isinstance(conv, nn.Conv2d) and _is_centred(conv, module.convs[0]) for conv in module.convs)


def fused(module: nn.Module) -> nn.Module:
    """Return what a module that :func:`is_fusible` becomes; it is not changed."""
    if isinstance(module, SCSCSwinBlock):
        return FusedSCSCSwinBlock(module)
    if isinstance(module, SCSC):
        return FusedSCSC(module)
    assert isinstance(module, DilatedReparam)
    return module.merged()


class FusedSCSCSwinBlock(nn.Module):
    """An SCSC-Swin block for inference: SCSC's scaling joins the sum, BatchNorm and GELU the MLP's first layer."""

    def __init__(self, block: SCSCSwinBlock) -> None:
        super().__init__()
        self.scsc = FusedSCSC(block.scsc)
        expand = _as_convolution(block.mlp.fc1)
        _fold_before(expand, block.bn)
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


def _is_as_built(module: nn.Module) -> bool:
    """Return whether a module and its parts are plain and of the types that the class is built of."""
    if not is_plain(module) or (isinstance(module, nn.BatchNorm2d) and not has_statistics(module)):
        return False
    parts = _PARTS.get(type(module))
    if parts is None:  # a layer; what hangs below it is none of its class's
        return not module._modules
    if _EVERY not in parts and module._modules.keys() != parts.keys():
        return False
    return all(
        child is not None and type(child) in parts.get(name, parts.get(_EVERY, ())) and _is_as_built(child)
        for name, child in module._modules.items()
    )


def _is_pointwise(conv: nn.Conv2d) -> bool:
    return conv.kernel_size == conv.stride == (1, 1) and conv.padding == (0, 0) and conv.groups == 1


def _is_centred(conv: nn.Conv2d, large: nn.Module) -> bool:
    """Return whether a branch's taps lie in the middle of the large kernel's."""
    assert isinstance(large, nn.Conv2d)
    margins = tuple(step * (side // 2) for step, side in zip(conv.dilation, conv.kernel_size, strict=True))
    fits = margins[0] == margins[1] <= large.kernel_size[0] // 2 and conv.kernel_size[0] % 2 == 1
    zeros = conv.padding == margins and conv.padding_mode == "zeros"
    return fits and zeros and (conv.stride, conv.groups) == (large.stride, large.groups)


def _as_convolution(linear: nn.Linear) -> nn.Conv2d:
    """Return the 1×1 convolution that a linear layer over the channels is."""
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1, device=linear.weight.device)
    conv.weight = nn.Parameter(linear.weight.detach()[:, :, None, None].clone(memory_format=torch.channels_last))
    conv.bias = nn.Parameter(linear.bias.detach().clone())
    return conv


@torch.no_grad()
def _fold_before(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Fold a BatchNorm into the 1×1 convolution with a bias behind it, in place."""
    assert conv.bias is not None
    scale, shift = affine(norm)
    conv.bias.add_(conv.weight.flatten(1) @ shift)
    conv.weight.mul_(scale[:, None, None])


METHODS = (
    "fuse",
    "reparameterize",
    "switch_to_deploy",
    "merge_kernel",
    "merge_dilated_branches",
    "fuse_repvgg_block",
    "fuse_convs",
)
"""Names of such methods: timm's, in its order; RepVGG's, RepLKNet's, UniRepLKNet's, YOLO's."""


def merging_method(module: nn.Module) -> str:
    """Return the name of a module's method that merges its branches and takes no argument; empty if it has none."""
    for name in METHODS:
        method = getattr(module, name, None)
        if inspect.ismethod(method):
            required = (p for p in inspect.signature(method).parameters.values() if p.default is p.empty)
            if all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in required):
                return name
    return ""


def holds_branches(model: nn.Module, name: str) -> bool:
    """Return whether a module, or the one around a list of modules, merges branches: by a method, or as our mixers."""
    parts = name.split(".") if name else []
    while True:
        module = model.get_submodule(".".join(parts))
        if merging_method(module) or type(module).__module__.startswith("scsc_lab.layers."):
            return True
        if not parts or not isinstance(module, (nn.ModuleList, nn.ModuleDict, nn.Sequential)):
            return False
        parts.pop()


def merge(module: nn.Module, name: str) -> nn.Module:
    """Call a module's own method, and return the module that replaces it: the method's result, or the module itself.

    Raises:
        InputError: if the method fails.
    """
    method = merging_method(module)
    try:
        merged = getattr(module, method)()
    except NotImplementedError:  # a base class's
        return module
    except Exception as error:  # whatever the network's own code raises
        raise InputError(f"{name or type(module).__name__}.{method}() fails: {located(error)}") from error
    return merged if isinstance(merged, nn.Module) else module
