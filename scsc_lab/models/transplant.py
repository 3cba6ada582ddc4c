"""Any mixer in place of the spatial operators of any network, on a copy: shapes, strides and shortcuts stay."""

from __future__ import annotations

import copy
import dataclasses
import math
import types
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from scsc_lab.architectures import mixers
from scsc_lab.architectures.specs import SpatialOperator, TransplantSpec, scsc_of
from scsc_lab.counting.count import count
from scsc_lab.errors import InputError, located
from scsc_lab.layers.mixers import load
from scsc_lab.models import calibrate, construct, external, spatial
from scsc_lab.models.deploy import copied
from scsc_lab.models.match import NEAR_ENOUGH, nearest_width
from scsc_lab.models.spatial import Candidate

Mixer: TypeAlias = Callable[..., nn.Module]
"""What makes a mixer: called with input channels, output channels and the stride, and its settings by name."""


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

    Nothing but the chosen modules changes. A module is left alone, with the reason, where a mixer could not keep its
    shape, stride, dilation and channels, and where it is not there to mix: see :func:`scsc_lab.models.spatial.find`.
    New weights are random, from torch's global generator; their scale is that of the operators'
    (:mod:`scsc_lab.models.calibrate`).

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
    decided = [_decide(candidate, x.shape, spec, make) for candidate in candidates]
    decided = [(candidate, placed, f"{reason}{note}" if placed else reason) for candidate, placed, reason in decided]
    if not any(placed for _, placed, _ in decided):
        why = f": {decided[0][0].name} stays: {decided[0][2]}" if decided else ""
        raise InputError(f"the transplant finds nothing to replace in {type(model).__name__}{why}")
    deviations = _deviations(grafted, x, decided)
    for candidate, placed, _ in decided:
        if placed is not None:
            _put(grafted, candidate, placed, spec)
    failure = _failure(grafted, x, shape)
    if failure:
        grafted, decided = _one_by_one(copy.deepcopy(model).eval(), decided, x, shape, spec)
        if not any(placed for _, placed, _ in decided):
            raise InputError(f"the transplant finds nothing to replace in {type(model).__name__}: {failure}")
    _calibrate(grafted, x, decided, deviations)
    return grafted, [Change(c.name, c.kind, c.was, placed is not None, reason) for c, placed, reason in decided]


_Decision: TypeAlias = tuple[Candidate, nn.Module | None, str]
"""An operator, the mixer in its place or none, and the mixer in words or why there is none."""


def _decide(
    candidate: Candidate, image: torch.Size, spec: TransplantSpec, make: Mixer | None, device: str | None = None
) -> _Decision:
    """Return the mixer for one operator, on the operator's device unless another is given."""
    if candidate.stays:
        return candidate, None, candidate.stays
    assert candidate.maps is not None
    given, out = candidate.maps
    own = make is not None or ":" in spec.mixer
    try:
        if own:
            words = mixers.label(spec.mixer) if make is None else getattr(make, "__name__", type(make).__name__)
            make = make or _with_settings(external.find(spec.mixer).factory, spec)
        elif spec.mixer == "scsc":
            make, words = _scsc(spec, spatial.stage(out, image), given[1])
        else:
            make, words = _with_settings(load(spec.mixer), spec), spec.mixer
    except _TooFewError as error:
        return candidate, None, str(error)
    if spec.width and (own or spec.mixer != "scsc"):
        make, words = _between(make, spec.width), f"{words} width {spec.width:g}"
    reference = next(candidate.module.parameters())
    where = torch.device(device) if device else reference.device
    try:
        mixer = _made(make, given[1], out[1], candidate.stride, where)
    except InputError as error:
        if own:
            raise
        return candidate, None, str(error)
    except Exception as error:  # whatever the user's own code raises
        raise InputError(
            f"{words}({given[1]}, {out[1]}, {candidate.stride}) cannot be built: {located(error)}"
        ) from error
    if not isinstance(mixer, nn.Module):
        raise InputError(f"{words} returned {type(mixer).__name__}, not an nn.Module")
    mixer = mixer.to(device=where, dtype=reference.dtype).eval()
    if own and not device:
        _check_shape(mixer, words, candidate)
    return candidate, mixer, words


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
            mixer = _decide(candidate, x.shape, wanted, make, device="meta")[1]
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


class _TooFewError(Exception):
    """There are too few channels for the mixer."""


def _scsc(spec: TransplantSpec, stage: int, channels: int) -> tuple[Mixer, str]:
    """Return what makes the SCSC module of a stage: with fewer groups where there are not the channels for them."""
    scsc = scsc_of(spec.settings, stage)
    scales = len(scsc.kernels)
    if channels < scales:
        raise _TooFewError(f"{channels} channels for {scales} kernels")
    settings = dataclasses.asdict(scsc) | {"groups": min(scsc.groups, channels // scales)}
    words = f"SCSC {','.join(map(str, scsc.kernels))} groups {settings['groups']}"
    if spec.width:
        settings["reduction"] = spec.width * (scsc.reduction or 1 / scales)
        words += f" width {spec.width:g}"
    make = load("scsc")
    return lambda c_in, c_out, stride: make(c_in, c_out, stride, **settings), words


def _with_settings(make: Mixer, spec: TransplantSpec) -> Mixer:
    return lambda c_in, c_out, stride: make(c_in, c_out, stride, **dict(spec.settings))


class Between(nn.Module):
    """A mixer on another width, between two 1×1 convolutions."""

    tail: ClassVar[tuple[str, ...]] = ("recover",)

    def __init__(self, make: Mixer, in_channels: int, width: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(in_channels, width, 1, bias=False)
        self.mixer = make(width, width, stride)
        self.recover = nn.Conv2d(width, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, ceil(H / stride), ceil(W / stride))``."""
        y: Tensor = self.recover(self.mixer(self.embed(x)))
        return y


def _between(make: Mixer, width: float) -> Mixer:
    return lambda c_in, c_out, stride: Between(make, c_in, max(round(width * c_in), min(c_in, 8)), c_out, stride)


def _made(make: Mixer, in_channels: int, out_channels: int, stride: int, device: torch.device) -> nn.Module:
    """Return a mixer with random weights; on the meta device without, if its code can do without values."""
    if device.type != "meta":
        with torch.device(device):
            return make(in_channels, out_channels, stride)
    try:
        with torch.device(device), construct.uninitialised():
            return make(in_channels, out_channels, stride)
    except InputError:
        raise
    except Exception:  # its constructor reads values
        return make(in_channels, out_channels, stride)


def _check_shape(mixer: nn.Module, words: str, candidate: Candidate) -> None:
    """Raise InputError unless a mixer gives the map that the operator gave."""
    assert candidate.maps is not None
    given, due = candidate.maps
    reference = next(candidate.module.parameters())
    try:
        with torch.no_grad():
            out = mixer(torch.zeros(given, device=reference.device, dtype=reference.dtype))
    except Exception as error:  # whatever the user's own code raises
        size = "×".join(map(str, given))
        raise InputError(f"{words} fails on a map of {size}: {located(error)}") from error
    if not isinstance(out, Tensor) or out.shape != due:
        gives = "×".join(map(str, out.shape)) if isinstance(out, Tensor) else type(out).__name__
        sizes = ("×".join(map(str, shape)) for shape in (given, due))
        raise InputError(
            "{words} gives {gives} from {0} in place of {name}: {1} is due".format(
                *sizes, words=words, gives=gives, name=candidate.name
            )
        )


def _one_by_one(
    grafted: nn.Module, decided: list[_Decision], x: Tensor, shape: torch.Size, spec: TransplantSpec
) -> tuple[nn.Module, list[_Decision]]:
    """Replace again, trying the network after each module, so that one it cannot do without stays."""
    kept: list[_Decision] = []
    for candidate, placed, reason in decided:
        if placed is None:
            kept.append((candidate, placed, reason))
            continue
        old = _holder(grafted, candidate)
        before = dict(old.__dict__), dict(old._modules)
        _put(grafted, candidate, placed, spec)
        failure = _failure(grafted, x, shape)
        if failure:
            old.__dict__.clear()
            old.__dict__.update(before[0])
            old._modules.clear()
            old._modules.update(before[1])
        kept.append((candidate, None, failure) if failure else (candidate, placed, reason))
    return grafted, kept


def _holder(model: nn.Module, candidate: Candidate) -> nn.Module:
    return model.get_submodule(candidate.name.rpartition(".")[0])


def _put(model: nn.Module, candidate: Candidate, mixer: nn.Module, spec: TransplantSpec) -> None:
    """Set a mixer in the place of an operator."""
    assert candidate.maps is not None
    parent = _holder(model, candidate)
    method, channels_last = spatial.HOSTS.get(type(parent).__name__, ("", candidate.kind == "attention"))
    shortcut = spec.shortcut and candidate.maps.given == candidate.maps.out
    plain = candidate.kind != "attention" and not shortcut
    channels_last = channels_last and candidate.kind == "attention"
    name = candidate.name.rpartition(".")[2]
    setattr(parent, name, mixer if plain else Placed(mixer, channels_last=channels_last, shortcut=shortcut))
    if method and candidate.kind == "attention":
        setattr(parent, method, types.MethodType(_whole_map, parent))


def _whole_map(host: Any, x: Tensor) -> Any:
    """Stand in for a method that cuts a map into windows: a mixer takes the map as it is."""
    return host.attn(x)


class Placed(nn.Module):
    """A mixer on maps with their channels last, or with an identity shortcut around it."""

    def __init__(self, mixer: nn.Module, *, channels_last: bool, shortcut: bool) -> None:
        super().__init__()
        self.mixer = mixer
        self.channels_last = channels_last
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return the output map, channels where they were."""
        maps = spatial.channels_first(x, self.channels_last)
        y: Tensor = self.mixer(maps)
        y = maps + y if self.shortcut else y
        return y.permute(0, 2, 3, 1) if self.channels_last else y


def _deviations(model: nn.Module, x: Tensor, decided: list[_Decision]) -> dict[str, float]:
    """Return the deviation of what each operator that goes gives; nothing on the meta device."""
    if x.device.type == "meta":
        return {}
    going = {candidate.name: candidate.module for candidate, placed, _ in decided if placed is not None}
    try:
        return calibrate.deviations(model, calibrate.noise(x.shape, x), going)
    except InputError:
        return {}  # it takes as many images as it was given and no more: the mixers' scale stays their own


def _calibrate(model: nn.Module, x: Tensor, decided: list[_Decision], deviations: dict[str, float]) -> None:
    wanted = {
        placed: deviations[candidate.name]
        for candidate, placed, _ in decided
        if placed is not None and math.isfinite(deviations.get(candidate.name, math.nan))
    }
    if wanted:
        calibrate.calibrate(model, calibrate.noise(x.shape, x), wanted)


def _failure(model: nn.Module, x: Tensor, shape: torch.Size) -> str:
    """Return why a network no longer gives an output of the same shape, in one line; nothing if it does."""
    try:
        with torch.no_grad():
            out = model(x)
    except Exception as error:  # the network's own code, which may look into the module that is gone
        return f"the network cannot do without it ({type(error).__name__}: {str(error).splitlines()[0]})"
    return "" if spatial.shape_of(out) == shape else "the network's output changes its shape"
