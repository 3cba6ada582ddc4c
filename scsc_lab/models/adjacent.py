"""Layers that feed one BatchNorm and nothing else, and modules that are used as wholes, from forward passes."""

from __future__ import annotations

import gc
import os.path
import weakref
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from scsc_lab.execution.agreement import GradMode
from scsc_lab.layers.depthwise import DepthwiseConv2d
from scsc_lab.models.fusible import has_statistics, is_plain

_AXES: Mapping[type[nn.Module], int] = {
    nn.Linear: 2,
    nn.Conv1d: 3,
    nn.ConvTranspose1d: 3,
    nn.Conv2d: 4,
    nn.ConvTranspose2d: 4,
    DepthwiseConv2d: 4,
    nn.Conv3d: 5,
    nn.ConvTranspose3d: 5,
}
"""Axes of the output of each kind of layer whose second axis is that of its output channels."""

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

_WITH_ACTIVATION = "timm.layers.norm_act.BatchNormAct2d"
"""timm's BatchNorm with an activation behind it, by its name: timm need not be installed."""


def is_norm(module: nn.Module) -> bool:
    """Return whether a module is a BatchNorm that may be folded, exactly of a known class."""
    return type(module) in _NORMS or has_activation(module)


def has_activation(norm: nn.Module) -> bool:
    """Return whether a BatchNorm is timm's, with a drop layer and an activation behind it."""
    return f"{type(norm).__module__}.{type(norm).__qualname__}" == _WITH_ACTIVATION


class Uses(TorchDispatchMode):
    """Uses of a network's modules in one pass, observed where torch's operators read their tensors.

    Attributes:
        calls: how often each of the modules was called.
        source: the layer whose output a BatchNorm took, as it was.
        spoilt: modules whose tensors something else read, in which a part trains or was exchanged in the pass; layers
            whose output something else read, or which is still alive after the pass.
        called: all modules that the pass called.
    """

    def __init__(self, watched: Collection[nn.Module]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.calls: Counter[nn.Module] = Counter()
        self.source: dict[nn.Module, nn.Module] = {}
        self.spoilt: set[nn.Module] = set()
        self.called: set[nn.Module] = set()
        self._watched = list(watched)
        self._tensors = {module: _tensors_of(module) for module in watched}  # kept, so that identities stay theirs
        self._parts = {module: set(module.modules()) for module in watched}
        self._owners: dict[int, list[nn.Module]] = {}
        for module, tensors in self._tensors.items():
            for tensor in tensors:
                self._owners.setdefault(id(tensor), []).append(module)
        self._outputs: dict[int, tuple[weakref.ref[Tensor], nn.Module]] = {}
        self._running: list[nn.Module] = []
        self._decides = False

    def watch(self, model: nn.Module, x: Tensor, mode: GradMode = torch.no_grad) -> None:
        """Run a pass of the network that the modules are part of, whose weights need no gradients."""
        for module in self._watched:
            vars(module)["forward"] = self._forward_of(module)
        hook = nn.modules.module.register_module_forward_pre_hook(lambda module, _: self.called.add(module))
        try:
            with mode(), self:
                returned = model(x)
        finally:
            hook.remove()
            for module in self._watched:
                del vars(module)["forward"]
        alive = {key for key, (output, _) in self._outputs.items() if output() is not None}
        if alive - {id(leaf) for leaf in _pytree.tree_leaves(returned)}:  # only a cycle may hold it, which is no use
            gc.collect()
        self.spoilt.update(self._alive())
        self.spoilt.update(filter(self._is_exchanged, self._watched))
        del returned  # until here: what is returned is used

    def is_single(self, module: nn.Module) -> bool:
        """Return whether a module was called once, and nothing else saw its tensors or its output."""
        return self.calls[module] == 1 and module not in self.spoilt

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for value in _pytree.tree_leaves((args, kwargs or {})):
            if isinstance(value, Tensor):
                self._see(value)
        if torch.Tag.data_dependent_output in func.tags:  # from here on, what is called may depend on values
            self._decides = True
            self.spoilt.update(self._alive())
        return func(*args, **(kwargs or {}))

    def _forward_of(self, module: nn.Module) -> Any:
        original = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            self._enter(module, *args, **kwargs)
            try:
                returned = original(*args, **kwargs)
            finally:
                self._running.pop()
            if type(module) in _AXES:
                self._outputs[id(returned)] = (weakref.ref(returned), module)
            return returned

        return forward

    def _enter(self, module: nn.Module, *args: Any, **kwargs: Any) -> None:
        self._running.append(module)
        self.called.add(module)
        self.calls[module] += 1
        is_single = type(module) in _AXES or is_norm(module)
        if self._is_exchanged(module) or (is_single and self._decides) or any(p.training for p in self._parts[module]):
            self.spoilt.add(module)
        if is_norm(module):
            x = next(iter((*args, *kwargs.values())))
            layer = self._made_by(x)
            if layer is not None and x.dim() == _AXES[type(layer)] and layer not in self.source.values():
                self.source[module] = layer
            elif layer is not None:
                self.spoilt.add(layer)

    def _see(self, tensor: Tensor) -> None:
        """Note that an operator reads a tensor."""
        layer = self._made_by(tensor)
        if layer is not None and not (self._running and self.source.get(self._running[-1]) is layer):
            self.spoilt.add(layer)
        owners = self._owners.get(id(tensor), ())
        outermost = next((module for module in self._running if module in owners), None)
        for owner in owners:
            if owner not in self._running and (outermost is None or outermost in self._parts[owner]):
                self.spoilt.add(owner)

    def _made_by(self, tensor: Tensor) -> nn.Module | None:
        output, layer = self._outputs.get(id(tensor), (lambda: None, None))
        return layer if output() is tensor else None

    def _is_exchanged(self, module: nn.Module) -> bool:
        """Return whether a module has other tensors than before the pass."""
        return list(map(id, _tensors_of(module))) != list(map(id, self._tensors[module]))

    def _alive(self) -> list[nn.Module]:
        """Return the layers whose output something still holds."""
        return [layer for output, layer in self._outputs.values() if output() is not None]


def candidates(model: nn.Module) -> list[nn.Module]:
    """Return the layers that may take in a BatchNorm, and the BatchNorms that may be folded, by themselves."""
    return [
        module
        for module in model.modules()
        if is_plain(module) and (type(module) in _AXES or (is_norm(module) and has_statistics(module)))
    ]


def pairs(model: nn.Module, passes: Sequence[Uses]) -> list[tuple[nn.Module, nn.Module]]:
    """Return the layers whose output goes into one BatchNorm and nowhere else, each with that BatchNorm.

    In every pass each is called once, and nothing else reads its weights or statistics; none is tied to another module;
    and within the smallest module that holds both, no layer or BatchNorm of as many channels was left out of a pass,
    since it could take the place of one of them.

    Args:
        model: the network, in evaluation mode.
        passes: its passes.
    """
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    tied = Counter(id(tensor) for module in names for tensor in _tensors_of(module, recurse=False))
    chosen = []
    for norm, layer in passes[0].source.items():
        clean = all(
            uses.source.get(norm) is layer and uses.is_single(norm) and uses.is_single(layer) for uses in passes
        )
        single = all(tied[id(tensor)] == 1 for module in (norm, layer) for tensor in _tensors_of(module))
        both, width = names[layer] + names[norm], getattr(norm, "num_features", None)
        if clean and single and not any(_has_alternative(model, both, width, uses) for uses in passes):
            chosen.append((layer, norm))
    return chosen


def _has_alternative(model: nn.Module, names: Iterable[str], width: object, uses: Uses) -> bool:
    """Return whether a pass left out a layer or BatchNorm of a width that the code which calls some modules holds."""
    common = os.path.commonprefix([name.split(".") for name in names])  # noqa: RUF071 - no paths
    near = model.get_submodule(".".join(common))
    for name, module in near.named_modules():
        widths = (getattr(module, "num_features", None), getattr(module, "out_channels", None))
        if module not in uses.called and width in widths:
            parts = name.split(".")[:-1]
            while parts and near.get_submodule(".".join(parts)) not in uses.called:
                parts.pop()
            if not parts:
                return True
    return False


def _tensors_of(module: nn.Module, *, recurse: bool = True) -> list[Any]:
    return [*module.parameters(recurse), *module.buffers(recurse)]
