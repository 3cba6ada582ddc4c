"""Any mixer in place of the spatial operators of any network, on a copy: shapes, strides and shortcuts stay."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scsc_lab.architectures.specs import SpatialOperator, TransplantSpec
from scsc_lab.counting.count import count
from scsc_lab.errors import InputError
from scsc_lab.models import calibrate, spatial
from scsc_lab.models.deploy import copied
from scsc_lab.models.match import NEAR_ENOUGH, nearest_width
from scsc_lab.models.replacement import Decision, Mixer, decide, holder, put
from scsc_lab.models.spatial import Candidate


@dataclass(frozen=True)
class Change:
    """What became of one spatial operator.

    Attributes:
        name: its qualified name.
        kind: what it is: ``depthwise``, ``conv3x3`` or ``attention``.
        was: what it was, in words.
        replaced: whether the mixer stands there now.
        reason: why not, if not; else the mixer in words.
    """

    name: str
    kind: SpatialOperator
    was: str
    replaced: bool
    reason: str


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
    there to mix: see :func:`scsc_lab.models.spatial.find`. New weights are random, from torch's global generator; their
    scale is that of the operators' (:mod:`scsc_lab.models.calibrate`).

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
            raise InputError(f"{next(iter(rules))!r} is given beside a TransplantSpec: write it into that")
        spec, make = mixer, None
    elif isinstance(mixer, str):
        spec, make = TransplantSpec(mixer, **rules), None
    else:
        spec, make = TransplantSpec(**rules), mixer
        if spec.settings:
            raise InputError(f"{spec.settings[0][0]!r} is a setting of SCSC: give your own mixer's where you make it")
    grafted = copied(model).eval()
    like = next((one for one in grafted.parameters() if one.is_floating_point()), torch.zeros(()))
    x = torch.zeros(*input_shape, device=like.device, dtype=like.dtype)
    candidates, shape = spatial.find(grafted, x, spec)
    note = ""
    if spec.match:
        spec, note = _matched(grafted, candidates, x, spec, make)
    decided = [decide(candidate, x.shape, spec, make) for candidate in candidates]
    decided = [(candidate, placed, f"{reason}{note}" if placed else reason) for candidate, placed, reason in decided]
    if not any(placed for _, placed, _ in decided):
        why = f": {decided[0][0].name} stays: {decided[0][2]}" if decided else ""
        raise InputError(f"the transplant finds nothing to replace in {type(model).__name__}{why}")
    before = _scales(grafted, x, decided)
    for candidate, placed, _ in decided:
        if placed is not None:
            put(grafted, candidate, placed, spec)
    failure = _failure(grafted, x, shape)
    if failure:
        grafted, decided = _one_by_one(copy.deepcopy(model).eval(), decided, x, shape, spec)
        if not any(placed for _, placed, _ in decided):
            raise InputError(f"the transplant finds nothing to replace in {type(model).__name__}: {failure}")
    if before is not None:
        _calibrate(grafted, x, decided, before)
    return grafted, [Change(c.name, c.kind, c.was, placed is not None, reason) for c, placed, reason in decided]


def _matched(
    model: nn.Module, candidates: list[Candidate], x: Tensor, spec: TransplantSpec, make: Mixer | None
) -> tuple[TransplantSpec, str]:
    """Return the rules with the width that keeps the network's MACs or parameters, and how near it comes, in words."""
    places = {(c.maps, c.stride, c.kind): c for c in candidates if c.maps is not None and not c.stays}
    times = Counter((c.maps, c.stride, c.kind) for c in candidates if c.maps is not None and not c.stays)
    parts = {part.name: part for part in count(model, x.shape, dtype=x.dtype).by_module()}

    def cost(width: float) -> float:
        """Return what the network costs with mixers of a width, as a share of what it costs now."""
        wanted = dataclasses.replace(spec, width=width, match="")
        total = getattr(parts[""], spec.match)
        for place, candidate in places.items():
            mixer = decide(candidate, x.shape, wanted, make, device="meta")[1]
            if mixer is None or candidate.maps is None:
                continue
            old = sum(getattr(parts[c.name], spec.match) for c in candidates if (c.maps, c.stride, c.kind) == place)
            new = getattr(count(mixer, candidate.maps.given, dtype=x.dtype), spec.match)
            total += times[place] * new - old
        return float(total / getattr(parts[""], spec.match))

    width, share = nearest_width(cost)
    near = f", {100 * (share - 1):+.1f} % {spec.match}"
    missed = "" if abs(share - 1) <= NEAR_ENOUGH else " (no width comes nearer)"
    return dataclasses.replace(spec, width=width, match=""), near + missed


def _one_by_one(
    grafted: nn.Module, decided: list[Decision], x: Tensor, shape: torch.Size, spec: TransplantSpec
) -> tuple[nn.Module, list[Decision]]:
    """Replace again, trying the network after each module, so that one it cannot do without stays."""
    kept: list[Decision] = []
    for candidate, placed, reason in decided:
        if placed is None:
            kept.append((candidate, placed, reason))
            continue
        old = holder(grafted, candidate)
        before = dict(old.__dict__), dict(old._modules)
        put(grafted, candidate, placed, spec)
        failure = _failure(grafted, x, shape)
        if failure:
            old.__dict__.clear()
            old.__dict__.update(before[0])
            old._modules.clear()
            old._modules.update(before[1])
        kept.append((candidate, None, failure) if failure else (candidate, placed, reason))
    return grafted, kept


def _scales(model: nn.Module, x: Tensor, decided: list[Decision]) -> calibrate.Scales | None:
    """Return the scales of the maps before the operators go; nothing on the meta device."""
    if x.device.type == "meta":
        return None
    going = {candidate.name: candidate.module for candidate, placed, _ in decided if placed is not None}
    try:
        return calibrate.scales(model, x, going)
    except InputError:
        return None  # it takes as many images as it was given and no more: the mixers' scale stays their own


def _calibrate(model: nn.Module, x: Tensor, decided: list[Decision], before: calibrate.Scales) -> None:
    placed = {
        candidate.name: mixer
        for candidate, mixer, _ in decided
        if mixer is not None and math.isfinite(before.trained.get(candidate.name, math.nan))
    }
    if placed:
        calibrate.calibrate(model, x, placed, before)


def _failure(model: nn.Module, x: Tensor, shape: torch.Size) -> str:
    """Return why a network no longer gives an output of the same shape, in one line; nothing if it does."""
    try:
        with torch.no_grad():
            out = model(x)
    except Exception as error:  # the network's own code, which may look into the module that is gone
        return f"the network cannot do without it ({type(error).__name__}: {str(error).splitlines()[0]})"
    return "" if spatial.shape_of(out) == shape else "the network's output changes its shape"
