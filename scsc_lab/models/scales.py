"""The scales of a network's maps before a transplant: outputs of operators, inputs of BatchNorms that never ran."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from scsc_lab.models import spatial
from scsc_lab.models.spatial import Candidate, Hook

_IMAGES = 4
IMAGES_IN_EVALUATION = 16
"""Nothing normalises in evaluation: what few images do not show would add up from layer to layer."""


@dataclass(frozen=True)
class Calls:
    """Outputs of an operator in all its calls of a pass.

    Attributes:
        deviation: the deviation of its outputs, every call with the same weight.
        inputs: the maps of all calls as one batch, ``(N, C, H, W)``, if there are several calls; else ``None``.
    """

    deviation: float
    inputs: Tensor | None = None


@dataclass(frozen=True)
class Scales:
    """The scales of a network's maps before a transplant.

    Attributes:
        trained: the calls of each operator, by name, with BatchNorms normalising by the batch.
        evaluated: the same in evaluation; empty if all BatchNorms ran.
        norms: mean and deviation of the first input of each BatchNorm that never ran, in evaluation, by name.
    """

    trained: Mapping[str, Calls]
    evaluated: Mapping[str, Calls]
    norms: Mapping[str, tuple[float, float]]


def noise(x: Tensor, images: int = _IMAGES) -> Tensor:
    """Return images of white noise, the same ones every time, at least as many as ``x`` has."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(max(len(x), images), *x.shape[1:], generator=generator).to(x)


def scales(model: nn.Module, x: Tensor, operators: Sequence[Candidate]) -> Scales:
    """Return the scales of the maps of a network in evaluation mode, on white noise.

    Args:
        model: the network.
        x: an input it takes.
        operators: its operators.

    Raises:
        InputError: if the network fails on this input.
    """
    norms: dict[str, tuple[float, float]] = {}

    def record(name: str) -> Hook:
        def note(norm: nn.Module, args: tuple[Any, ...], out: Any) -> None:
            norms.setdefault(name, moments(args[0]))

        return note

    with normalising_by_the_batch(model):
        trained = _calls(model, noise(x), operators)
    untrained = [(module, record(name)) for name, module in model.named_modules() if _never_ran(module)]
    evaluated = _calls(model, noise(x, IMAGES_IN_EVALUATION), operators, untrained) if untrained else {}
    return Scales(trained, evaluated, norms)


def _calls(
    model: nn.Module, images: Tensor, operators: Sequence[Candidate], watchers: Sequence[tuple[nn.Module, Hook]] = ()
) -> dict[str, Calls]:
    """Return the calls of each operator in a pass, by name; further hooks watch the same pass."""
    outputs: dict[str, list[tuple[float, float]]] = {}
    inputs: dict[str, list[Tensor]] = {}

    def record(operator: Candidate) -> Hook:
        def note(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
            outputs.setdefault(operator.name, []).append(moments(out) if isinstance(out, Tensor) else (0.0, 0.0))
            if len(operator.calls) > 1 and isinstance(args[0], Tensor):
                inputs.setdefault(operator.name, []).append(_as_map(args[0], operator).clone())

        return note

    spatial.watch(model, images, [*watchers, *((operator.module, record(operator)) for operator in operators)])
    joint = {name: _one_batch(maps) for name, maps in inputs.items()}
    return {name: Calls(_joint_deviation(calls), joint.get(name)) for name, calls in outputs.items()}


def _as_map(x: Tensor, operator: Candidate) -> Tensor:
    """Return what an operator takes, a map or the tokens of windows, as ``(N, C, H, W)``."""
    if x.dim() == 3:
        side = math.isqrt(x.shape[1])
        x = x.unflatten(1, (side, side) if side**2 == x.shape[1] else (x.shape[1], 1))
    return spatial.channels_first(x, operator.channels_last)


def _one_batch(maps: Sequence[Tensor]) -> Tensor:
    """Return maps of several sizes as one batch of the largest: the smaller ones are repeated to it."""
    sides = [max(image.shape[axis] for image in maps) for axis in (2, 3)]
    rows, columns = (torch.arange(side, device=maps[0].device) for side in sides)
    return torch.cat([image[:, :, rows % image.shape[2]][..., columns % image.shape[3]] for image in maps])


def _joint_deviation(calls: Sequence[tuple[float, float]]) -> float:
    means, deviations = zip(*calls, strict=True)
    return math.sqrt(statistics.pvariance(means) + statistics.fmean(deviation**2 for deviation in deviations))


@contextlib.contextmanager
def normalising_by_the_batch(
    model: nn.Module, keeping: Set[nn.Module] = frozenset(), settled: Set[nn.Module] = frozenset()
) -> Iterator[None]:
    """Let every BatchNorm that is not settled normalise by the batch; at the end only those to keep have changed."""
    norms = [(norm, norm.training, norm.momentum, _saved(norm)) for norm in batch_norms(model) if norm not in settled]
    for norm, *_ in norms:
        norm.training, norm.momentum = True, 1.0
    try:
        yield
    finally:
        for norm, training, momentum, saved in norms:
            norm.training, norm.momentum = training, momentum
            if norm not in keeping:
                for buffer, value in zip(norm.buffers(recurse=False), saved, strict=True):
                    buffer.copy_(value)
            elif norm.num_batches_tracked is not None:
                norm.num_batches_tracked.zero_()


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """Return the BatchNorms inside a module."""
    return [part for part in module.modules() if isinstance(part, _BatchNorm)]


def _never_ran(module: nn.Module) -> bool:
    """Return whether it is a BatchNorm with the statistics it was made with."""
    if not isinstance(module, _BatchNorm) or module.running_mean is None or module.running_var is None:
        return False
    return not module.running_mean.any() and bool((module.running_var == 1).all())


def _saved(norm: _BatchNorm) -> list[Tensor]:
    return [buffer.clone() for buffer in norm.buffers(recurse=False)]


def moments(x: Tensor) -> tuple[float, float]:
    """Return mean and deviation of a map."""
    return float(x.float().mean()), float(x.float().std())
