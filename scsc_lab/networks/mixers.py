"""The registry of mixers, without torch, and the rules of a transplant: which operators a mixer takes the place of."""

from __future__ import annotations

import ast
import contextlib
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from scsc_lab.errors import InputError, first_line, nearest
from scsc_lab.networks.specs import RELEASED_KERNELS, SCSCSpec
from scsc_lab.networks.values import typed

FOLDER = Path(__file__).parents[1] / "layers" / "mixers"
"""Package of the mixers, one file each."""

_LARGEST = 4096
_PLACED = 3
"""Parameters that say where a mixer stands: input and output channels, and the stride."""


@dataclass(frozen=True)
class Setting:
    """One setting of a mixer: its type, for :func:`scsc_lab.networks.values.typed`, and its default."""

    kind: Any
    default: object


def names() -> list[str]:
    """Return the names of the mixers of the registry, SCSC first."""
    stems = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))
    return sorted(stems, key=lambda name: name != "scsc")


def find(name: str) -> str:
    """Return the canonical name of a mixer: one of the registry in any case, or ``FILE.py:CLASS``, ``MODULE:CLASS``.

    Raises:
        InputError: if there is no such mixer; the message has the nearest names.
    """
    if ":" in name:
        return name
    canonical = name.strip().lower().replace("-", "_")
    if canonical not in names():
        hint = f"; a class of your own is named with its file, {name}:Block" if name.endswith(".py") else ""
        raise InputError(
            f"unknown mixer {name!r}{hint or nearest(canonical, names())} "
            f"(mixers: {', '.join(names())}; or FILE.py:CLASS of your own)"
        )
    return canonical


def prefix(mixer: str) -> str:
    """Return the word that goes before a setting that is meant for one mixer alone: ``mixconv.kernels=3,5``."""
    return mixer.rpartition(":")[2]


def label(mixer: str) -> str:
    """Return a mixer's name as people write it: ``SCSC``, ``mixconv``, ``my_block.py:Block``."""
    return "SCSC" if mixer == "scsc" else mixer


def path_and_class(mixer: str) -> tuple[Path, str]:
    """Return the file of a mixer, and its class there; in the registry the class is named after the file.

    Raises:
        InputError: if the file does not exist.
    """
    source, _, name = mixer.rpartition(":")
    if source:
        path = Path(source)
        if not path.is_file():
            raise InputError(f"no file {source!r}")
        return path, name
    path = FOLDER / f"{mixer}.py"
    spelled = mixer.replace("_", "")
    return path, next(name for name in _definitions(path) if name.lower() == spelled)


def settings(mixer: str) -> dict[str, Setting] | None:
    """Return the settings of a mixer, by name; ``None`` where its file does not tell: it imports the class, say.

    Raises:
        InputError: if its file does not exist or cannot be read.
    """
    if ":" in mixer and not mixer.rpartition(":")[0].endswith(".py"):
        return None
    path, name = path_and_class(mixer)
    try:
        definitions = _definitions(path)
    except (SyntaxError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from None
    definition = definitions.get(name)
    if isinstance(definition, ast.ClassDef):
        constructors = (
            item for item in definition.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"
        )
        definition = next(constructors, None)
        leading = _PLACED + 1  # and self
    else:
        leading = _PLACED
    return None if definition is None else _parameters(definition, leading)


@functools.lru_cache(maxsize=256)
def _definitions_at(path: Path, changed: int) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


def _definitions(path: Path) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    return _definitions_at(path, path.stat().st_mtime_ns)


def _parameters(function: ast.FunctionDef, leading: int) -> dict[str, Setting] | None:
    """Return the parameters behind the first few, or ``None`` if any name goes."""
    arguments = function.args
    if arguments.kwarg is not None:
        return None
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs = [*zip(positional, [*defaults, *arguments.defaults], strict=True)][leading:]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return {argument.arg: _setting(argument.annotation, default) for argument, default in pairs}


def _setting(annotation: ast.expr | None, default: ast.expr | None) -> Setting:
    try:
        value = ast.literal_eval(default) if default is not None else None
    except ValueError:
        value = None
    written = ast.unparse(annotation) if annotation is not None else type(value).__name__
    if written.startswith("Literal["):
        with contextlib.suppress(ValueError):  # it may name its choices
            return Setting(Literal[ast.literal_eval(f"({written[8:-1]},)")], value)
    return Setting(_KINDS.get(written, object), value)


_KINDS: dict[str, Any] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    **dict.fromkeys(("tuple[int, ...]", "Sequence[int]"), tuple[int, ...]),
    **dict.fromkeys(("tuple[float, ...]", "Sequence[float]"), tuple[float, ...]),
}


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
        mixer = find(mixer)
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
    """Return the settings of a mixer that differ from its defaults, typed, in the order of their declaration.

    Raises:
        InputError: if a setting does not exist, which may have been meant as a rule, or a value has the wrong type.
    """
    declared = settings(mixer)
    if declared is None:
        return tuple(sorted((key, typed(key, value, object)) for key, value in assignments.items()))
    for key in assignments:
        if key not in declared:
            listed = ", ".join((*RULES, "mixer", *declared))
            raise InputError(f"unknown key {key!r}{nearest(key, [*RULES, *declared])} (keys: {listed})")
    made = {key: typed(key, assignments[key], declared[key].kind) for key in declared if key in assignments}
    for key, value in made.items():
        if ":" not in mixer and declared[key].kind is int and not 1 <= value <= _LARGEST:
            raise InputError(f"{key}={value}: a whole number from 1 to {_LARGEST}")
    changed = tuple((key, value) for key, value in made.items() if value != declared[key].default)
    if mixer == "scsc":
        scsc_of(changed, stage=1)
    return changed


def scsc_of(settings: Iterable[tuple[str, object]], stage: int) -> SCSCSpec:
    """Return the SCSC module of a transplant's settings in a stage; unless set, kernels as released."""
    released = RELEASED_KERNELS[min(max(stage, 1), len(RELEASED_KERNELS)) - 1]
    made: dict[str, Any] = {"kernels": released, **dict(settings)}
    return SCSCSpec(**made)
