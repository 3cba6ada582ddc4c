"""The rules of a transplant as frozen data: which operators of any network a mixer takes the place of, and how."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from scsc_lab.errors import InputError, nearest
from scsc_lab.networks import mixers
from scsc_lab.networks.specs import RELEASED_KERNELS, SCSCSpec
from scsc_lab.networks.values import typed

_WIDEST = 64  # times the input, which a mixer is inside

SpatialOperator: TypeAlias = Literal["depthwise", "conv3x3", "attention"]
Match: TypeAlias = Literal["", "macs", "params"]


@dataclass(frozen=True, init=False)
class TransplantSpec:
    """Rules of a transplant: the spatial operators that a mixer replaces, and how.

    ``TransplantSpec("mixconv", stages=(1, 2), kernels=(3, 5, 7))``: what is not a rule is a setting of the mixer. Texts
    are parsed (``kernels="3,5,7"``), and one value does for a tuple of one.

    Attributes:
        mixer: a name of the registry (:mod:`scsc_lab.networks.mixers`), or ``FILE.py:CLASS`` of the user's own.
        replace: kinds of operators: ``depthwise`` and ``conv3x3`` (any other square convolution of 3×3 or more), both
            with stride 1 or 2, and ``attention`` inside windows.
        names: patterns of qualified module names, as a shell matches files: ``layer1.*``; empty for all.
        modules: patterns of class names, ``TwinAxis`` or ``package.blocks.Twin*``: modules of these classes are
            replaced in place of operators; empty for operators.
        stages: stages by the stride of their maps: 1 for 4, 2 for 8, 3 for 16, 4 for 32; empty for all.
        shortcut: add an identity shortcut around each mixer that keeps its input's shape. The shortcuts that a network
            has around its operators always stay.
        width: channels that the mixer works on, over those it is given: it then stands between two 1×1 convolutions.
            For SCSC, which has these, a factor of its reduced width. 0: the mixer as it is defined.
        match: choose ``width``, one for all places, so that the network's ``macs`` or ``params`` are the original's.
        settings: the mixer's own settings that are not its defaults.

    Raises:
        InputError: if a rule or a setting does not exist, or its value is wrong.
    """

    mixer: str
    replace: tuple[SpatialOperator, ...]
    names: tuple[str, ...]
    modules: tuple[str, ...]
    stages: tuple[int, ...]
    shortcut: bool
    width: float
    match: Match
    settings: tuple[tuple[str, object], ...]

    def __init__(
        self,
        mixer: str = "scsc",
        *,
        replace: str | Sequence[str] = ("depthwise", "conv3x3", "attention"),
        names: str | Sequence[str] = (),
        modules: str | Sequence[str] = (),
        stages: int | str | Sequence[int] = (),
        shortcut: bool = False,
        width: float = 0.0,
        match: str = "",
        settings: Iterable[tuple[str, object]] = (),
        **mixer_settings: object,
    ) -> None:
        mixer = mixers.find(mixer)
        rules: dict[str, object] = {"replace": replace, "names": names, "modules": modules, "stages": stages}
        rules |= {"shortcut": shortcut, "width": width, "match": match}
        made = {key: typed(key, value, RULES[key]) for key, value in rules.items()}
        made |= {"mixer": mixer, "settings": _settings(mixer, {**dict(settings), **mixer_settings})}
        for key, value in made.items():
            object.__setattr__(self, key, value)
        if not self.replace:
            raise InputError("replace is empty: give depthwise, conv3x3, attention, or several of them")
        if any(stage < 1 for stage in self.stages):
            raise InputError(f"stages={','.join(map(str, self.stages))}: numbers from 1 up")
        if not 0 <= self.width <= _WIDEST:
            raise InputError(f"width={self.width:g}: a number from 0 (the mixer as it is defined) to {_WIDEST}")
        if self.match and self.width:
            raise InputError(f"width={self.width:g} and match={self.match}: match chooses the width; give one of them")


RULES: Mapping[str, Any] = {
    "replace": tuple[SpatialOperator, ...],
    "names": tuple[str, ...],
    "modules": tuple[str, ...],
    "stages": tuple[int, ...],
    "shortcut": bool,
    "width": float,
    "match": Match,
}
"""The type of every rule of a transplant that is not a setting of its mixer."""


def _settings(mixer: str, assignments: dict[str, object]) -> tuple[tuple[str, object], ...]:
    """Return a mixer's settings, typed; an unknown one may have been meant as a rule."""
    declared = mixers.settings(mixer)
    for key in assignments:
        if declared is not None and key not in declared:
            listed = ", ".join((*RULES, "mixer", *declared))
            raise InputError(f"unknown key {key!r}{nearest(key, [*RULES, *declared])} (keys: {listed})")
    made = mixers.checked(mixer, assignments)
    if mixer == "scsc":
        scsc_of(made, stage=1)
    return made


def scsc_of(settings: Iterable[tuple[str, object]], stage: int) -> SCSCSpec:
    """Return the SCSC module of a transplant's settings in a stage; unless set, kernels as released."""
    released = RELEASED_KERNELS[min(max(stage, 1), len(RELEASED_KERNELS)) - 1]
    made: dict[str, Any] = {"kernels": released, **dict(settings)}
    return SCSCSpec(**made)
