"""Any mixer in place of the spatial operators of any network, on a copy: shapes, strides and shortcuts stay."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scsc_lab.counting.count import count
from scsc_lab.errors import InputError, first_line
from scsc_lab.execution.passes import alone
from scsc_lab.models import calibrate, declared, operators, spatial
from scsc_lab.models.declared import copied, require_module
from scsc_lab.models.operators import Kind
from scsc_lab.models.replacement import Decision, Mixer, UsersMixer, decide, give_copies, holders, install, users_own
from scsc_lab.models.scales import Scales, scales
from scsc_lab.models.spatial import Candidate
from scsc_lab.networks import overrides
from scsc_lab.networks.mixers import TransplantSpec
from scsc_lab.networks.values import as_text


@dataclass(frozen=True)
class Change:
    """Outcome for one spatial operator.

    Attributes:
        name: its qualified name.
        kind: ``depthwise``, ``conv3x3``, ``attention`` or ``module``.
        was: description of the replaced operator.
        replaced: whether the mixer stands there now.
        reason: why not, if not; else the mixer in words.
    """

    name: str
    kind: Kind
    was: str
    replaced: bool
    reason: str


@alone()
def transplant(
    model: nn.Module,
    mixer: TransplantSpec | str | Mixer = "scsc",
    *,
    input_shape: Sequence[int] = (1, 3, 224, 224),
    **rules: Any,
) -> tuple[nn.Module, list[Change]]:
    """Return a copy of a network with a mixer in place of its spatial operators, and what became of each of them.

    Nothing but the chosen modules changes, and the running statistics of BatchNorms that never ran. A module is left
    alone, with the reason, where a mixer could not keep its shape, stride, dilation and channels, and where it is not
    there to mix: see :func:`scsc_lab.models.spatial.find`. One that is held in several places is replaced in all of
    them, by one mixer. With ``match`` the reason of a replaced one ends in how much more or less the network costs.

    New weights are random, drawn from the state of torch's generators, which stay as they were; their scale is that of
    the operators' (:mod:`scsc_lab.models.calibrate`). Hooks of an operator go on with the mixer, and what is compiled
    stays compiled; where a mixer cannot carry a hook, the operator stays.

    Args:
        model: any network; it is not changed.
        mixer: a name of the registry, ``FILE.py:CLASS``, or what makes a mixer, ``lambda c_in, c_out, stride: …``; or
            all rules as one :class:`TransplantSpec`.
        input_shape: an input it takes, ``(N, C, H, W)``: one forward pass tells the maps' sizes.
        rules: which operators, and the mixer's settings, as :class:`TransplantSpec` takes them.

    Raises:
        InputError: if no operator fits the rules, the network does not take this input, or a mixer gives another shape
            than ``(N, C', ceil(H / s), ceil(W / s))``.
    """
    if isinstance(mixer, TransplantSpec):
        if rules:
            raise InputError(f"{next(iter(rules))!r} is given as well as a TransplantSpec: set it in the spec")
        spec, make = mixer, None
    elif isinstance(mixer, str):
        spec, make = TransplantSpec(mixer, **rules), None
    else:
        spec, make = TransplantSpec(**rules), mixer
        if spec.settings:
            raise InputError(f"{spec.settings[0][0]!r} is a setting of SCSC: give your own mixer's where you make it")
    require_module(model)
    plain = model
    wrappers: dict[str, Any] = {}
    if any(map(declared.is_wrapper, model.modules())):
        plain, wrappers = declared.unwrap(copied(model))
    devices = sorted({tensor.device.index for tensor in model.parameters() if tensor.is_cuda})
    with torch.random.fork_rng(devices=devices):
        grafted, decided = _transplanted(plain, spec, users_own(spec, make), input_shape, {})
    _restore_modes(grafted, {name: module.training for name, module in plain.named_modules()})
    changes = [Change(c.name, c.kind, c.was, replacement is not None, reason) for c, replacement, reason in decided]
    return declared.wrap(grafted, wrappers), changes


def _restore_modes(grafted: nn.Module, modes: Mapping[str, bool]) -> None:
    """Put modules into the modes, training or not, that a network had; a mixer's parts into that of its place."""
    for name, module in grafted.named_modules():
        while name not in modes:
            name = name.rpartition(".")[0]
        module.training = modes[name]


def _transplanted(
    model: nn.Module,
    rules: TransplantSpec,
    users_mixer: UsersMixer | None,
    input_shape: Sequence[int],
    refused: Mapping[str, str],
) -> tuple[nn.Module, list[Decision]]:
    """Return the network with mixers in it, and what became of each operator; some are known to stay, and why."""
    grafted = copied(model).eval()
    like = next((candidate for candidate in grafted.parameters() if candidate.is_floating_point()), torch.zeros(()))
    x = torch.zeros(*input_shape, device=like.device, dtype=like.dtype)
    chosen, shape = spatial.find(grafted, x, rules)
    candidates = [
        dataclasses.replace(candidate, stays=refused.get(candidate.name, candidate.stays)) for candidate in chosen
    ]
    original = count(grafted, x.shape, dtype=x.dtype) if rules.match else None
    spec = calibrate.matched(original, candidates, x, rules, users_mixer) if original is not None else rules
    decided = [decide(candidate, x.shape, spec, users_mixer) for candidate in candidates]
    _check_any(model, decided, rules)
    before = _scales(grafted, x, decided)
    for candidate, mixer, _ in decided:
        if mixer is not None:
            install(grafted, candidate, mixer, spec)
    if _failure(grafted, x, shape, [mixer for _, mixer, _ in decided if mixer is not None]):
        first_decisions, grafted = decided, copied(model).eval()
        decided = _one_by_one(grafted, first_decisions, x, shape, spec)
        _check_any(model, decided, rules)
        refusals = {
            c.name: why
            for (c, mixer, why), (_, was, _) in zip(decided, first_decisions, strict=True)
            if was and not mixer
        }
        if refusals and rules.match:  # the match assumed that they were replaced
            return _transplanted(model, rules, users_mixer, input_shape, {**refused, **refusals})
    give_copies(grafted, x, [mixer for _, mixer, _ in decided if mixer is not None])
    if before is not None:
        _calibrate(grafted, x, decided, before)
    if original is not None:
        note = calibrate.share(original, count(grafted, x.shape, dtype=x.dtype), rules.match)
        decided = [(c, mixer, f"{why}{note}" if mixer else why) for c, mixer, why in decided]
    return grafted, decided


def _check_any(model: nn.Module, decided: list[Decision], rules: TransplantSpec) -> None:
    """Raise InputError if nothing is replaced, with the number of operators of each reason and the rule against it."""
    if any(mixer is not None for _, mixer, _ in decided):
        return
    counts = Counter(reason for *_, reason in decided)
    example = {reason: candidate for candidate, _, reason in reversed(decided)}
    reasons = [f"{number} × {reason} ({_override(example[reason], reason)})" for reason, number in counts.most_common()]
    if not reasons:
        reasons = [_nothing_chosen(model, rules)]
    raise InputError(f"the transplant finds nothing to replace in {type(model).__name__}: {', '.join(reasons)}")


def _override(candidate: Candidate, reason: str) -> str:
    """Return which rule has an operator replaced that stays."""
    if candidate.unless_named:
        return f"names={candidate.name} replaces it"
    if candidate.stays or reason.startswith(_NETWORKS):
        return f"{candidate.name}; no rule: a mixer could not stand in for it"
    return f"{candidate.name}; change the mixer's settings"


def _nothing_chosen(model: nn.Module, rules: TransplantSpec) -> str:
    """Return why the rules choose no operator at all."""
    present = [operator.name for operator in operators.operators(model)]
    classes = dict.fromkeys(type(module).__name__ for module in model.modules() if not operators.is_torchs(module))
    if rules.modules:
        return f"modules={','.join(rules.modules)} matches none of its classes {_few([*classes])}"
    if not present:
        return f"it has no spatial operators; modules=CLASS replaces modules, of {_few([*classes])}"
    chosen = [f"{key}={as_text(value)}" for key, value in overrides.rules(rules).items() if key in _CHOOSING]
    return f"{' and '.join(chosen) or 'replace'} matches none of its operators {_few(present)}"


_NETWORKS = "the network"
"""Start of a reason that concerns the network, not the operator or the mixer."""

_CHOOSING = ("replace", "names", "stages")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f", … ({len(names)} in all)" if len(names) > _SHOWN else "")


_SHOWN = 4


def _one_by_one(
    grafted: nn.Module, decided: list[Decision], x: Tensor, shape: torch.Size, spec: TransplantSpec
) -> list[Decision]:
    """Replace again, trying the network after each module, so that one it cannot do without stays."""
    decisions: list[Decision] = []
    for candidate, mixer, reason in decided:
        if mixer is None:
            decisions.append((candidate, mixer, reason))
            continue
        before = [(holder, dict(holder.__dict__), dict(holder._modules)) for holder, _ in holders(grafted, candidate)]
        install(grafted, candidate, mixer, spec)
        failure = _failure(grafted, x, shape, [mixer])
        for holder, attributes, modules in before if failure else ():
            holder.__dict__.clear()
            holder.__dict__.update(attributes)
            holder._modules.clear()
            holder._modules.update(modules)
        decisions.append((candidate, None, failure) if failure else (candidate, mixer, reason))
    return decisions


def _scales(model: nn.Module, x: Tensor, decided: list[Decision]) -> Scales | None:
    """Return the scales of the maps before the operators go; nothing on the meta device."""
    if x.device.type == "meta":
        return None
    try:
        return scales(model, x, [candidate for candidate, mixer, _ in decided if mixer is not None])
    except InputError:
        return None  # it takes as many images as it was given and no more: the mixers' scale stays their own


def _calibrate(model: nn.Module, x: Tensor, decided: list[Decision], before: Scales) -> None:
    mixers = {
        candidate.name: mixer
        for candidate, mixer, _ in decided
        if mixer is not None
        and candidate.name in before.trained
        and math.isfinite(before.trained[candidate.name].deviation)
    }
    if mixers:
        calibrate.calibrate(model, x, mixers, before)


def _failure(model: nn.Module, x: Tensor, shape: torch.Size, mixers: list[nn.Module]) -> str:
    """Return why a network does not work with mixers placed in it, in one line; nothing if it does.

    It gives an output of another shape, fails, or still uses the operators that they replace.
    """
    ran: set[nn.Module] = set()
    handles = [mixer.register_forward_pre_hook(lambda module, _: ran.add(module)) for mixer in mixers]
    try:
        with torch.no_grad():
            out = model(x)
    except Exception as error:  # the network's own code, which may look into the module that is gone
        return f"the network cannot do without it ({first_line(error)})"
    finally:
        for handle in handles:
            handle.remove()
    if not ran.issuperset(mixers):
        return "the network holds it where it cannot be replaced"
    return "" if spatial.shape_of(out) == shape else "the network's output changes its shape"
