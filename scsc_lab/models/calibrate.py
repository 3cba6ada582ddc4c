"""The scale of a transplant: each mixer starts with the deviation of the operator that it stands in for.

A mixer ends in weights of its own, so its output's scale has nothing to do with the operator's: where the network adds
it to something, or keeps statistics of it, the scales of all layers multiply. As in layer-sequential unit-variance
initialisation (arXiv 1511.06422), a forward pass sets them in the order in which the mixers run, here to what the
operators' were.

A BatchNorm that never ran passes maps on in evaluation as they come, at scales that training never sees. There a second
pass sets running statistics, so that every such BatchNorm gets maps of the mean and the deviation that it got before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from scsc_lab.models import spatial
from scsc_lab.models.scales import (
    IMAGES_IN_EVALUATION,
    Scales,
    batch_norms,
    moments,
    noise,
    normalising_by_the_batch,
)

_ROUNDS = 4
_NEAR = 0.02
_TINY = 1e-6
_LINEAR = 1.0  # the most that a modulating factor varies, of its bias
_QUIET = 10.0  # variances over what a mixer's BatchNorm is given: its activations and gates stay close to linear


def calibrate(model: nn.Module, x: Tensor, mixers: Mapping[str, nn.Module], before: Scales) -> None:
    """Set the scale of every mixer by its tail, and the running statistics that no data set.

    A mixer that is called several times is set once, by the maps that the operator is given in all its calls.

    Args:
        model: the network, in evaluation mode; outside of the mixers no weight changes, and no statistics but those of
            BatchNorms that never ran.
        x: an input it takes, as in :func:`scales`.
        mixers: the mixers in it, by the names of the operators that they stand in for.
        before: the scales of the network as it was.

    Raises:
        InputError: if the network fails on this input.
    """
    once = dict(mixers)
    for name, mixer in mixers.items():
        trained = before.trained[name].inputs
        if trained is None:
            continue
        evaluated = before.evaluated[name].inputs if before.evaluated else None
        _calibrate(mixer, (trained, evaluated), {name: once.pop(name)}, replace(before, norms={}))
    settled = {norm for name in mixers.keys() - once.keys() for norm in batch_norms(mixers[name])}
    _calibrate(model, (noise(x), noise(x, IMAGES_IN_EVALUATION)), once, before, settled)


def _calibrate(
    model: nn.Module,
    images: tuple[Tensor, Tensor | None],
    mixers: Mapping[str, nn.Module],
    before: Scales,
    settled: Set[nn.Module] = frozenset(),
) -> None:
    """Calibrate mixers in a pass through a network, or through one mixer alone.

    Args:
        model: the network, or the mixer.
        images: its inputs with BatchNorms normalising by the batch, and in evaluation.
        mixers: the mixers to calibrate, by name.
        before: the scales of the network as it was.
        settled: BatchNorms that stay as they are.
    """
    mixers_norms = {norm for mixer in mixers.values() for norm in batch_norms(mixer)}
    with normalising_by_the_batch(model, keeping=mixers_norms, settled=settled):
        by_tail = [
            (mixer, _to_deviation(before.trained[name].deviation, _scale_tail)) for name, mixer in mixers.items()
        ]
        spatial.watch(model, images[0], by_tail)
    if not before.evaluated or images[1] is None:
        # Variances of the batch, and means that leave no constant behind.
        spatial.watch(model, images[0], dict.fromkeys(mixers_norms, _centre).items())
        return
    untrained = [
        (module, name) for name, module in model.named_modules() if name in before.norms and module not in mixers_norms
    ]
    modulating = {part for mixer in mixers.values() for part in _parts(mixer, "modulation")}
    by_statistics = [
        (mixer, _to_deviation(before.evaluated[name].deviation, _scale_statistics)) for name, mixer in mixers.items()
    ]
    hooks = {
        **dict.fromkeys(mixers_norms, _once(_normalise)),
        **dict.fromkeys(modulating, _once(_close_to_linear)),
        **dict(by_statistics),
        **{norm: _to_moments(*before.norms[name]) for norm, name in untrained},
    }
    spatial.watch(model, images[1], hooks.items())


def _centre(norm: nn.Module, args: tuple[Any, ...], out: Any) -> Any:
    assert isinstance(norm, _BatchNorm)
    if norm.running_mean is not None:
        norm.running_mean.copy_(args[0].float().mean(dim=(0, *range(2, args[0].dim()))))
    return norm.forward(*args)


def _normalise(norm: nn.Module, args: tuple[Any, ...], out: Any) -> Any:
    """Set means to those of what a BatchNorm is given, and variances by their mean over channels.

    A few positions of a few images tell the mean variance of many channels well, and that of one badly.
    """
    assert isinstance(norm, _BatchNorm)
    if norm.running_var is not None:
        variances = args[0].float().var(dim=(0, *range(2, args[0].dim())), unbiased=False)
        norm.running_var.fill_(_QUIET * float(variances.mean()) or 1.0)
    return _centre(norm, args, out)


def _close_to_linear(part: nn.Module, args: tuple[Any, ...], out: Any) -> Any:
    """Keep what multiplies a map near its bias, so that maps of any scale are not raised to a power."""
    assert isinstance(part, nn.Conv2d)
    assert part.bias is not None
    varying = (out - part.bias[:, None, None]).float().abs().max()
    most = _LINEAR * part.bias.float().abs().mean()
    if not varying <= most:
        part.weight.mul_(most / varying)
    return part.forward(*args)


def _to_moments(mean: float, deviation: float) -> Callable[..., Any]:
    """Return a hook that lets a BatchNorm without statistics see maps of this mean and deviation."""

    def correct(norm: nn.Module, args: tuple[Any, ...], out: Any) -> Any:
        assert isinstance(norm, _BatchNorm)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        current, spread = moments(args[0])
        factor = spread / deviation if deviation > 0 else 0.0
        if not _TINY < factor < 1 / _TINY or (abs(factor - 1) < _TINY and abs(current - mean) < _TINY * deviation):
            return out
        norm.running_mean.fill_(current - mean * factor)
        norm.running_var.fill_(max((1 + norm.eps) * factor**2 - norm.eps, 0.0))
        return norm.forward(*args)

    return _once(correct)


def _to_deviation(target: float, scale: Callable[[nn.Module, float], bool]) -> Callable[..., Any]:
    """Return a hook that scales what a mixer gives until it has this deviation."""

    def correct(mixer: nn.Module, args: tuple[Any, ...], out: Any) -> Any:
        for _ in range(_ROUNDS):
            deviation = _deviation(out)
            factor = target / deviation if deviation > 0 else 0.0
            if not _TINY < factor < 1 / _TINY or abs(factor - 1) < _NEAR or not scale(mixer, factor):
                break
            out = mixer.forward(*args)
        return out

    return _once(correct)


def _once(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Return a hook for the first use of each module: one that is used twice is set by that."""
    done: set[nn.Module] = set()

    def first(module: nn.Module, args: tuple[Any, ...], out: Any) -> Any:
        if module in done:
            return out
        done.add(module)
        return hook(module, args, out)

    return first


def _scale_tail(mixer: nn.Module, factor: float) -> bool:
    """Multiply the weights and biases by which a mixer's output scales; false if it does not say which."""
    tail = [parameter.data for part in _parts(mixer, "tail") for parameter in part.parameters()]
    for weight in tail:
        weight.mul_(factor)
    return bool(tail)


def _scale_statistics(mixer: nn.Module, factor: float) -> bool:
    """Multiply what the BatchNorms give that a mixer's output scales by, in evaluation alone; false if it has none."""
    norms = [norm for part in _parts(mixer, "tail") for norm in batch_norms(part) if norm.running_var is not None]
    for norm in norms:
        assert norm.running_var is not None
        norm.running_var.add_(norm.eps).div_(factor**2).sub_(norm.eps).clamp_(min=0.0)
    return bool(norms)


def _parts(mixer: nn.Module, attribute: str) -> list[nn.Module]:
    """Return the parts that an attribute of a mixer's class names; none if it does not say."""
    return [mixer.get_submodule(name) for name in getattr(mixer, attribute, ())]


def _deviation(out: Any) -> float:
    return float(out.detach().float().std()) if isinstance(out, Tensor) else 0.0
