"""The mixer in the place of one operator: made, checked, and set there."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from scsc_lab import units
from scsc_lab.errors import InputError, located
from scsc_lab.execution.passes import check_ends
from scsc_lab.layers.mixers import load
from scsc_lab.models import construct, declared, external, spatial
from scsc_lab.models.operators import HOSTS
from scsc_lab.models.spatial import Candidate
from scsc_lab.networks import mixers
from scsc_lab.networks.mixers import TransplantSpec, scsc_of
from scsc_lab.networks.values import as_text

Mixer: TypeAlias = Callable[..., nn.Module]
"""Factory of a mixer: called with input channels, output channels and the stride, and its settings by name."""

Decision: TypeAlias = tuple[Candidate, nn.Module | None, str]
"""An operator, the mixer in its place or none, and the mixer in words or why there is none."""


class UsersMixer(NamedTuple):
    """A mixer of the user's own: its factory and its name."""

    make: Mixer
    description: str


def users_own(spec: TransplantSpec, factory: Mixer | None) -> UsersMixer | None:
    """Return the mixer of the user's own that is given, or that the rules name; ``None`` if it is of the registry.

    Raises:
        InputError: if it does not import, or cannot be called as a mixer is.
    """
    if factory is not None:
        name = getattr(factory, "__name__", type(factory).__name__)
        if not callable(factory) or isinstance(factory, nn.Module):
            raise InputError(f"{name} does not make mixers: give a name, FILE.py:CLASS, a class or a function")
        _check_call(factory, name, {})
        return UsersMixer(factory, name)
    if ":" not in spec.mixer:
        return None
    external_factory, settings = external.find(spec.mixer), dict(spec.settings)
    _check_call(external_factory.factory, spec.mixer, settings)
    return UsersMixer(functools.partial(external_factory.call, **settings), _in_words(spec))


def _check_call(make: Mixer, name: str, settings: dict[str, object]) -> None:
    """Raise InputError if what makes a mixer cannot be called as it will be."""
    try:
        inspect.signature(make).bind(8, 8, 1, **settings)
    except TypeError as error:
        raise InputError(f"{name} does not take input channels, output channels and the stride: {error}") from None
    except ValueError:
        pass  # it has no signature, written in C say: calling it will tell


def decide(
    candidate: Candidate,
    image: torch.Size,
    spec: TransplantSpec,
    users_mixer: UsersMixer | None,
    device: str | None = None,
) -> Decision:
    """Return the mixer for one operator, on the operator's device unless another is given."""
    if candidate.stays:
        return candidate, None, candidate.stays
    assert candidate.maps is not None
    in_shape, out = candidate.maps
    try:
        if users_mixer:
            make, description = users_mixer
        elif spec.mixer == "scsc":
            make, description = _scsc(spec, spatial.stage(out, image), in_shape[1])
        else:
            make, description = functools.partial(load(spec.mixer), **dict(spec.settings)), _in_words(spec)
    except _TooFewError as error:
        return candidate, None, str(error)
    if spec.width and (users_mixer or spec.mixer != "scsc"):
        make, description = _between(make, spec.width), f"{description} width {spec.width:g}"
    reference = candidate.like
    where = torch.device(device) if device else reference.device
    try:
        mixer = _made(make, in_shape[1], out[1], candidate.stride, where)
        if isinstance(mixer, nn.Module):
            check_ends(mixer)
    except InputError as error:
        if users_mixer:
            raise
        return candidate, None, str(error)
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        raise InputError(
            f"{description}({in_shape[1]}, {out[1]}, {candidate.stride}) cannot be built: {located(error)}"
        ) from error
    if not isinstance(mixer, nn.Module):
        raise InputError(f"{description} returned {type(mixer).__name__}, not an nn.Module")
    mixer = mixer.to(device=where, dtype=reference.dtype).eval()
    if users_mixer and not device:
        _check_shape(mixer, description, candidate)
    return candidate, mixer, description


def _in_words(spec: TransplantSpec) -> str:
    return " ".join([mixers.label(spec.mixer), *(f"{key} {as_text(value)}" for key, value in spec.settings)])


class _TooFewError(Exception):
    """There are too few channels for the mixer."""


def _scsc(spec: TransplantSpec, stage: int, channels: int) -> tuple[Mixer, str]:
    """Return what makes the SCSC module of a stage: with fewer groups where there are not the channels for them."""
    scsc = scsc_of(spec.settings, stage)
    scales = len(scsc.kernels)
    if channels < scales:
        raise _TooFewError(f"{channels} channels for {scales} kernels")
    settings = dataclasses.asdict(scsc) | {"groups": min(scsc.groups, channels // scales)}
    description = f"SCSC {','.join(map(str, scsc.kernels))} groups {settings['groups']}"
    if spec.width:
        settings["reduction"] = spec.width * (scsc.reduction or 1 / scales)
        description += f" width {spec.width:g}"
    return functools.partial(load("scsc"), **settings), description


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
        with torch.device(device), construct.NoInitialisation():
            return make(in_channels, out_channels, stride)
    except InputError:
        raise
    except (Exception, SystemExit):  # its constructor reads values
        return make(in_channels, out_channels, stride)


def _check_shape(mixer: nn.Module, description: str, candidate: Candidate) -> None:
    """Raise InputError unless a mixer gives the map that the operator gave."""
    assert candidate.maps is not None
    in_shape, due = candidate.maps
    reference = candidate.like
    try:
        with torch.no_grad():
            out = mixer(torch.zeros(in_shape, device=reference.device, dtype=reference.dtype))
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        raise InputError(f"{description} fails on a map of {units.size(in_shape)}: {located(error)}") from error
    gives, expected = units.size(out.shape) if isinstance(out, Tensor) else type(out).__name__, units.size(due)
    if isinstance(out, Tensor) and out.dtype != reference.dtype:
        gives, expected = f"{gives} of {out.dtype}", f"{expected} of {reference.dtype}"
    if gives != expected:
        raise InputError(
            f"{description} gives {gives} from {units.size(in_shape)} in place of {candidate.name}: {expected} is due"
        )


def holders(model: nn.Module, candidate: Candidate) -> list[tuple[nn.Module, str]]:
    """Return the modules that an operator is a member of, with its name in each: one that is shared has several."""
    try:
        module = model.get_submodule(candidate.name)
    except AttributeError:  # it was inside another one, which is gone
        return []
    return _places(model, module)


def _places(model: nn.Module, module: nn.Module) -> list[tuple[nn.Module, str]]:
    return [(holder, name) for holder in model.modules() for name, child in holder._modules.items() if child is module]


def install(model: nn.Module, candidate: Candidate, mixer: nn.Module, spec: TransplantSpec) -> None:
    """Set a mixer in the place of an operator, wherever the network holds it."""
    assert candidate.maps is not None
    places = holders(model, candidate)
    if not places:
        return
    shortcut = spec.shortcut and candidate.maps.input == candidate.maps.output
    plain = not candidate.channels_last and not shortcut and not declared.hooks_of(candidate.module)
    in_place = mixer if plain else PlacedMixer(mixer, channels_last=candidate.channels_last, shortcut=shortcut)
    if not plain:
        declared.carry_hooks(candidate.module, onto=in_place)
    for parent, name in places:
        setattr(parent, name, in_place)
        if type(parent).__name__ in HOSTS and candidate.kind == "attention":
            setattr(parent, HOSTS[type(parent).__name__][0], types.MethodType(_whole_map, parent))


def _whole_map(host: Any, x: Tensor) -> Any:
    """Stand in for a method that cuts a map into windows: a mixer takes the map as it is."""
    return host.attn(x)


def give_copies(model: nn.Module, x: Tensor, mixers: Sequence[nn.Module]) -> None:
    """Let mixers give copies of their inputs where they give these on and the network changes them in place later."""
    passed_on: list[tuple[nn.Module, Tensor, int]] = []

    def note(mixer: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        if isinstance(out, Tensor) and out.untyped_storage()._cdata == args[0].untyped_storage()._cdata:
            passed_on.append((mixer, args[0], args[0]._version))

    spatial.watch(model, x.clone(), [(mixer, note) for mixer in mixers])
    for changed in {mixer for mixer, first_input, version in passed_on if first_input._version != version}:
        for parent, name in _places(model, changed):
            if isinstance(parent, PlacedMixer):
                parent.copies = True
            else:
                parent._modules[name] = PlacedMixer(changed, copies=True)


class PlacedMixer(nn.Module):
    """A mixer with channels last, an identity shortcut, an operator's hooks, or a copy of its output."""

    def __init__(
        self, mixer: nn.Module, *, channels_last: bool = False, shortcut: bool = False, copies: bool = False
    ) -> None:
        super().__init__()
        self.mixer = mixer
        self.channels_last = channels_last
        self.shortcut = shortcut
        self.copies = copies

    def forward(self, x: Tensor) -> Tensor:
        """Return the output map, channels where they were."""
        maps = spatial.channels_first(x, self.channels_last)
        y: Tensor = self.mixer(maps)
        y = maps + y if self.shortcut else y.clone() if self.copies else y
        return y.permute(0, 2, 3, 1) if self.channels_last else y
