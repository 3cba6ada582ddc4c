"""The scale of a transplant: each mixer starts with the deviation of the operator that it stands in for.

A mixer ends in weights of its own, so its output's scale has nothing to do with the operator's: where the network adds
it to something, or keeps statistics of it, the scales of all layers multiply. As in layer-sequential unit-variance
initialisation (arXiv 1511.06422), a forward pass sets them in the order in which the mixers run, here to what the
operators' were.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from scsc_lab.models import spatial

_IMAGES = 4
_ROUNDS = 4
_NEAR = 0.02
_TINY = 1e-6


def noise(shape: torch.Size, like: Tensor) -> Tensor:
    """Return images of white noise, the same ones every time, of a few more than ``shape`` has."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(max(shape[0], _IMAGES), *shape[1:], generator=generator).to(like)


def deviations(model: nn.Module, x: Tensor, operators: Mapping[str, nn.Module]) -> dict[str, float]:
    """Return the deviation of each operator's output, by name, with BatchNorms normalising by these images.

    Raises:
        InputError: if the network fails on this input.
    """
    found: dict[str, float] = {}

    def record(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, out: Any) -> None:
            found.setdefault(name, _deviation(out))

        return hook

    with _normalising_by_the_batch(model):
        spatial.watch(model, x, {module: record(name) for name, module in operators.items()})
    return found


def calibrate(model: nn.Module, x: Tensor, wanted: Mapping[nn.Module, float]) -> None:
    """Set the scale of every mixer by its tail, and the statistics of its BatchNorms.

    Args:
        model: the network; all else in it stays as it is.
        x: the images of :func:`deviations`.
        wanted: the deviation wanted of the output of each mixer in it.

    Raises:
        InputError: if the network fails on this input.
    """
    own = {norm for mixer in wanted for norm in _norms(mixer)}
    with _normalising_by_the_batch(model, keeping=own):
        spatial.watch(model, x, {mixer: _scaler(deviation) for mixer, deviation in wanted.items()})
    # In evaluation a network whose own BatchNorms never ran gives maps of another scale. Variances of one batch and
    # means of the other keep a mixer's gain and leave no constant behind, whatever that scale is.
    spatial.watch(model, x, dict.fromkeys(own, _centre))


def _centre(norm: nn.Module, args: tuple[Any, ...], out: Any) -> Any:
    assert isinstance(norm, _BatchNorm)
    if norm.running_mean is not None:
        norm.running_mean.copy_(args[0].float().mean(dim=(0, *range(2, args[0].dim()))))
    return norm.forward(*args)


def _scaler(wanted: float) -> Callable[..., Any]:
    done: list[bool] = []  # a mixer that is used twice is set by its first use

    def scale(mixer: nn.Module, args: tuple[Any, ...], out: Any) -> Any:
        if done:
            return out
        done.append(True)
        tail = _tail(mixer)
        for _ in range(_ROUNDS if tail else 0):
            deviation = _deviation(out)
            factor = wanted / deviation if deviation > 0 else 0.0
            if not _TINY < factor < 1 / _TINY or abs(factor - 1) < _NEAR:
                break
            for weight in tail:
                weight.mul_(factor)
            out = mixer.forward(*args)
        return out

    return scale


@contextlib.contextmanager
def _normalising_by_the_batch(model: nn.Module, keeping: Set[nn.Module] = frozenset()) -> Iterator[None]:
    """Let every BatchNorm take its statistics from the batch; afterwards all are as they were but those to keep."""
    norms = [(norm, norm.training, norm.momentum, _statistics(norm)) for norm in _norms(model)]
    for norm, *_ in norms:
        norm.training, norm.momentum = True, 1.0
    try:
        yield
    finally:
        for norm, training, momentum, statistics in norms:
            norm.training, norm.momentum = training, momentum
            if norm not in keeping:
                for buffer, value in zip(norm.buffers(recurse=False), statistics, strict=True):
                    buffer.copy_(value)
            elif norm.num_batches_tracked is not None:
                norm.num_batches_tracked.zero_()


def _norms(module: nn.Module) -> list[_BatchNorm]:
    return [one for one in module.modules() if isinstance(one, _BatchNorm)]


def _statistics(norm: _BatchNorm) -> list[Tensor]:
    return [buffer.clone() for buffer in norm.buffers(recurse=False)]


def _tail(mixer: nn.Module) -> list[Tensor]:
    """Return the weights and biases by which a mixer's output scales; none if it does not say."""
    parts = [mixer.get_submodule(name) for name in getattr(mixer, "tail", ())]
    return [parameter.data for part in parts for parameter in part.parameters()]


def _deviation(out: Any) -> float:
    return float(out.detach().float().std()) if isinstance(out, Tensor) else 0.0
