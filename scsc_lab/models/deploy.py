"""The deploy form of a network: the same function for inference, with everything folded that can be."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from scsc_lab.errors import InputError, last_line
from scsc_lab.execution.agreement import TOLERANCE, DisagreementError, GradMode, agreement, outputs
from scsc_lab.execution.passes import alone
from scsc_lab.layers.fused import folded
from scsc_lab.models.adjacent import Uses, candidates, has_activation, pairs
from scsc_lab.models.declared import copied, require_module
from scsc_lab.models.fusible import fused, has_statistics, is_fusible, merge, merging_method

_SIDES = (224, 64, 32, 8)
"""Sides of the inputs that are tried, in pixels, where none is given."""

_LARGEST_DOUBLED = 256  # sides up to which a network is also run at twice the size, in pixels

_OTHER_MODES: tuple[GradMode, ...] = (torch.enable_grad, torch.inference_mode)  # which code may ask for

_TOLERANCE = {torch.float64: 1e-9}  # largest difference that is rounding, over the largest output


@dataclass(frozen=True)
class Step:
    """One change of a network on the way to its deploy form.

    Attributes:
        name: the module that is fused, or the layer that takes in a BatchNorm.
        norm: the BatchNorm, which becomes the identity; ``None`` where a module is fused.
        method: the module's own method that merges its branches; empty where it is not used.
    """

    name: str
    norm: str | None = None
    method: str = ""

    def __str__(self) -> str:
        if self.method:
            return f"{self.name or 'it'}.{self.method}() is called"
        return f"{self.name or 'it'} is fused" if self.norm is None else f"{self.norm} is folded into {self.name}"

    def replacements(self, model: nn.Module) -> dict[nn.Module, nn.Module]:
        """Return what replaces which modules of a network; a module's own method changes the module."""
        module = model.get_submodule(self.name)
        if self.method:
            return {module: merge(module, self.name)}
        if self.norm is None:
            return {module: fused(module)}
        norm: Any = model.get_submodule(self.norm)
        behind = nn.Sequential(norm.drop, norm.act) if has_activation(norm) else nn.Identity()
        return {module: folded(module, norm), norm: behind}


def deploy(model: nn.Module, input_shape: Sequence[int] | None = None) -> nn.Module:
    """Return an equivalent network for inference; it cannot be turned back, and has a ``state_dict`` of its own.

    Modules with a method of their own for it, as timm's ``reparameterize`` and ``fuse`` or RepVGG's
    ``switch_to_deploy``, have it called. Every SCSC module and SCSC-Swin block
    is fused (see :mod:`scsc_lab.layers.fused`) and the branches of every dilated reparametrised convolution are merged
    into one. A BatchNorm is folded where passes of several sizes show that it follows one layer (see
    :mod:`scsc_lab.models.adjacent`). Both forms are then run at these sizes, with the weights as they are, and in
    float64 with random statistics in every BatchNorm.

    Args:
        model: any network; it is not changed.
        input_shape: an input it takes, ``(N, C, H, W)``. Default: the first of usual sizes that it takes.

    Raises:
        InputError: if there is nothing to fuse, the network cannot be copied, takes no such input, is random by itself
            or keeps a state, or the deploy form computes something else.
    """
    return deploy_form(model, input_shape, checked=True)


@alone()
def deploy_form(model: nn.Module, input_shape: Sequence[int] | None = None, *, checked: bool) -> nn.Module:
    """Return the deploy form as :func:`deploy` does; unchecked for a network whose weights mean nothing."""
    require_module(model)
    original = copied(model).eval()
    if any(is_lazy(tensor) for tensor in (*original.parameters(), *original.buffers())):
        raise InputError(f"{type(model).__name__} has lazy modules without weights: run it once before")
    with torch.random.fork_rng(devices=[]):
        inputs = _inputs(original, input_shape)
        calls = _method_calls(original)
        steps = [*calls, *_steps(_applied(copied(original), calls), inputs)]
        if not steps:
            raise InputError(
                f"{type(model).__name__} has no deploy form: no SCSC module, no BatchNorm that follows one layer, no "
                "block that merges its branches"
            )
        if checked:
            _check(original, steps, inputs)
    return _applied(original, steps)


def _inputs(model: nn.Module, input_shape: Sequence[int] | None) -> list[Tensor]:
    """Return random inputs that a network takes: of the first size, and of those others that it takes too.

    Code may do something else where an image is smaller, larger, of odd sides, not square or laid out channels last.

    Raises:
        InputError: if it takes none that is tried.
    """
    conv = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    channels = conv.in_channels if conv else 3
    tried = [tuple(input_shape)] if input_shape else [(1, channels, side, side) for side in _SIDES]
    first, error = _first_taken(model, tried)
    if first is None:
        raise InputError(f"{type(model).__name__} does not take {'×'.join(map(str, tried[-1]))}: {error}")
    images, channels, *sides = first.shape
    groups = [
        [(images + 1, channels, *(side // 2 for side in sides)), (images + 1, channels, *sides)],
        [(images + 2, channels, *(side * (3 + axis) // 4 | 1 for axis, side in enumerate(sides)))],
        [(images, channels, *(2 * side for side in sides))] if all(side <= _LARGEST_DOUBLED for side in sides) else [],
    ]
    further = (_first_taken(model, shapes)[0] for shapes in groups)
    turned = [first.contiguous(memory_format=torch.channels_last)] if first.dim() == 4 else []
    return [first, *turned, *(x for x in further if x is not None)]


def _first_taken(model: nn.Module, shapes: Sequence[Sequence[int]]) -> tuple[Tensor | None, str]:
    """Return a random input of the first shape that a network takes; or none, and why."""
    like = next((tensor for tensor in model.parameters() if tensor.is_floating_point()), torch.zeros(()))
    draws, reason = torch.Generator().manual_seed(0), ""
    for shape in shapes:
        x = torch.randn(*shape, generator=draws).to(like) if like.device.type != "meta" else like.new_empty(shape)
        try:
            with torch.no_grad():
                copied(model)(x.clone())
        except Exception as error:  # whatever its own code says to this size
            reason = reason or last_line(error)
        else:
            return x, ""
    return None, reason


def _method_calls(model: nn.Module) -> list[Step]:
    """Return the calls of modules' own methods that change a network, outer modules first."""
    trial = copied(model)
    calls = []
    waiting = [""]
    while waiting:
        name = waiting.pop(0)
        module = trial.get_submodule(name)
        if method := merging_method(module):
            before = _contents(module)
            merged = merge(module, name)
            trial = _exchanged(trial, {module: merged})
            if _contents(merged) != before:
                calls.append(Step(name, method=method))
            module = merged
        waiting += [f"{name}.{child}" if name else child for child, _ in module.named_children()]
    return calls


def _contents(module: nn.Module) -> list[int]:
    """Return the identities of a module, its parts and their tensors."""
    return [*map(id, module.modules()), *map(id, module.parameters()), *map(id, module.buffers())]


def _steps(model: nn.Module, inputs: Sequence[Tensor]) -> list[Step]:
    """Return the changes that passes show to keep the network's function."""
    trial = copied(model).requires_grad_(False)
    names = {module: name for name, module in reversed(list(trial.named_modules(remove_duplicate=False)))}
    fusible = [module for module in names if is_fusible(module)]
    passes = []
    for x, mode in [*((x, torch.no_grad) for x in inputs), (inputs[0], torch.enable_grad)]:
        passes.append(Uses({*fusible, *candidates(trial)}))
        passes[-1].watch(trial, x.clone(), mode)
    fusible = [module for module in fusible if not any(module in uses.spoilt for uses in passes)]
    inner = {part for module in fusible for part in module.modules() if part is not module}
    inside = inner | set(fusible)
    steps = [Step(names[module]) for module in fusible if module not in inner]
    steps += [
        Step(names[layer], names[norm])
        for layer, norm in pairs(trial, passes)
        if layer not in inside and norm not in inside
    ]
    return _without_other_callers(trial, steps, inputs)


def _without_other_callers(trial: nn.Module, steps: Sequence[Step], inputs: Sequence[Tensor]) -> list[Step]:
    """Return the steps whose modules no pass calls once they are replaced, as it does those in a plain list.

    The network is changed.
    """
    replaced = [step.replacements(trial) for step in steps]
    trial = _exchanged(trial, {old: new for replacements in replaced for old, new in replacements.items()})
    called: set[nn.Module] = set()
    for x in inputs:
        uses = Uses([old for replacements in replaced for old in replacements])
        try:
            uses.watch(trial, x.clone())
        except Exception:  # what is read of a module that is replaced: the check names it
            continue
        called |= set(uses.calls)
    return [step for step, replacements in zip(steps, replaced, strict=True) if called.isdisjoint(replacements)]


def _applied(model: nn.Module, steps: Sequence[Step]) -> nn.Module:
    """Return the network after some changes, which are made in place, in their order."""
    for step in steps:
        model = _exchanged(model, step.replacements(model))
    return model.eval() if any(step.method for step in steps) else model


def _exchanged(model: nn.Module, new: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Put modules in the place of others, under each of the names that these have, and return the network."""
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child is not None and child in new:
                parent._modules[name] = new[child]
    return new.get(model, model)


def _check(original: nn.Module, steps: Sequence[Step], inputs: Sequence[Tensor]) -> None:
    """Raise InputError if the deploy form computes something else; it names the place."""
    passes = [*((x, torch.no_grad) for x in inputs), *((inputs[0], mode) for mode in _OTHER_MODES)]
    for network, (x, mode) in itertools.product(_networks(original, steps, inputs[0]), passes):
        reason = _difference(network, steps, x, mode)
        if not reason:
            continue
        fine, wrong = 0, len(steps)  # so many steps change nothing, so many do
        while wrong - fine > 1:
            middle = (fine + wrong) // 2
            changed = _difference(network, steps[:middle], x, mode)
            fine, wrong, reason = (fine, middle, changed) if changed else (middle, wrong, reason)
        raise InputError(f"{type(original).__name__} cannot be fused: {reason}, as {steps[wrong - 1]}")


def _networks(original: nn.Module, steps: Sequence[Step], x: Tensor) -> Iterator[nn.Module]:
    """Yield the network as it is, then a copy with random statistics and weights in every BatchNorm, in float64."""
    yield copied(original).requires_grad_(False)
    wide = copied(original).double().requires_grad_(False)
    try:
        outputs(copied(wide), [x.double()])
        _applied(copied(wide), steps)
    except Exception:  # its own code, or a method that merges branches, wants another type
        wide = copied(original).requires_grad_(False)
    draws = torch.Generator().manual_seed(0)
    for norm in wide.modules():
        if isinstance(norm, _BatchNorm):
            _randomise(norm, draws)
    yield wide


@torch.no_grad()
def _randomise(norm: _BatchNorm, draws: torch.Generator) -> None:
    """Change a BatchNorm's statistics and weights at random, in place, in proportion to what they are."""

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return torch.empty(like.shape, dtype=torch.float64).uniform_(low, high, generator=draws).to(like)

    if has_statistics(norm):
        mean, var = norm.running_mean, norm.running_var
        assert mean is not None
        assert var is not None
        mean.add_(uniform(mean, -0.5, 0.5) * var.sqrt())
        var.mul_(uniform(var, 0.5, 2.0))
    if norm.affine:
        norm.weight.mul_(uniform(norm.weight, 0.5, 1.5)).add_(uniform(norm.weight, -0.1, 0.1))
        norm.bias.add_(uniform(norm.bias, -0.2, 0.2))


def _difference(network: nn.Module, steps: Sequence[Step], x: Tensor, mode: GradMode) -> str:
    """Return how the outputs differ after some steps; empty if they do not."""
    like = next((tensor for tensor in network.parameters() if tensor.is_floating_point()), x)
    try:
        form = _applied(copied(network), steps).to(like.dtype)
        run = partial(outputs, form, mode=mode)
        exact = not any(step.method for step in steps)  # some methods make their layers in float32
        tolerance = _TOLERANCE.get(like.dtype, TOLERANCE) if exact else TOLERANCE
        reference = copied(network) if mode is torch.inference_mode else network  # which may keep its results
        agreement(run, reference, [[x.to(like)]], "its deploy form", "the network", tolerance, mode)
    except DisagreementError as error:
        return str(error)
    return ""
