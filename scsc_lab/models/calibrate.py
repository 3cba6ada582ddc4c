"""How a transplant starts: at the scale of the operators that it replaces, and as wide as costs the same."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Set
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from scsc_lab.analysis.count import Count
from scsc_lab.counting.count import count
from scsc_lab.models import spatial
from scsc_lab.models.replacement import UsersMixer, decide
from scsc_lab.models.scales import (
    IMAGES_IN_EVALUATION,
    Scales,
    batch_norms,
    moments,
    noise,
    normalising_by_the_batch,
)
from scsc_lab.models.spatial import Candidate
from scsc_lab.networks.mixers import TransplantSpec

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


NEAR_ENOUGH = 0.01
"""Relative difference that counts as the same cost."""

_NARROWEST, _WIDEST = 1 / 64, 64.0
_STEPS = 16
_GOOD = 0.001


def nearest_width(cost: Callable[[float], float]) -> tuple[float, float]:
    """Return the width whose cost comes nearest to 1, and that cost.

    Args:
        cost: the network's cost at a width, over the original's; it does not fall as the width grows, and it may have
            steps, since channels are whole.
    """
    tried = {width: cost(width) for width in (_NARROWEST, 1.0)}
    low, high = (_NARROWEST, 1.0) if tried[1.0] > 1 else (1.0, _WIDEST)
    for _ in range(_STEPS):
        width = float(f"{math.sqrt(low * high):.4g}")
        if width in tried:
            break
        tried[width] = cost(width)
        if abs(tried[width] - 1) <= _GOOD:
            break
        low, high = (low, width) if tried[width] > 1 else (width, high)
    return min(tried.items(), key=lambda pair: abs(pair[1] - 1))


def matched(
    original: Count, candidates: list[Candidate], x: Tensor, spec: TransplantSpec, users_mixer: UsersMixer | None
) -> TransplantSpec:
    """Return the rules with the width that keeps the network's MACs or parameters."""
    parts = {part.name: getattr(part, spec.match) for part in original.by_module()}
    alike: dict[tuple[Hashable, ...], list[Candidate]] = {}
    for candidate in candidates:
        if not candidate.stays:
            alike.setdefault((candidate.maps, candidate.stride, candidate.kind, candidate.calls), []).append(candidate)
    places = [*alike.values()]

    def mixers(width: float) -> list[nn.Module | None]:
        """Return a mixer of a width for each place, without storage; ``None`` where there is none so narrow."""
        narrower = dataclasses.replace(spec, width=width, match="")
        return [decide(place[0], x.shape, narrower, users_mixer, device="meta")[1] for place in places]

    full_width = mixers(1.0)

    def cost(width: float) -> float:
        """Return the network's cost with mixers of a width, over its cost now."""
        total = parts[""]
        for place, mixer, least in zip(places, full_width if width == 1.0 else mixers(width), full_width, strict=True):
            if mixer is not None:
                total += len(place) * _cost(mixer, place[0], x, spec.match) - sum(
                    parts[candidate.name] for candidate in place
                )
            elif least is not None:
                return -math.inf
        return float(total / parts[""])

    return dataclasses.replace(spec, width=nearest_width(cost)[0], match="")


def _cost(mixer: nn.Module, candidate: Candidate, x: Tensor, match: str) -> int:
    """Return what a mixer costs in a place: parameters once, MACs in every call."""
    calls = Counter(candidate.calls) if match == "macs" else {candidate.calls[0]: 1}
    return sum(times * int(getattr(count(mixer, shape, dtype=x.dtype), match)) for shape, times in calls.items())


def share(before: Count, after: Count, match: str) -> str:
    """Return the change of a network's cost, in words."""
    share = getattr(after, match) / getattr(before, match) - 1
    return f", {100 * share:+.1f} % {match}{'' if abs(share) <= NEAR_ENOUGH else ' (no width comes nearer)'}"
