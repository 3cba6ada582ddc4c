"""The one noun for what is measured: a network as data, with one text form that reads back."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from scsc_lab.errors import InputError
from scsc_lab.networks import catalog, mixers, overrides, source, values
from scsc_lab.networks.catalog import Entry
from scsc_lab.networks.mixers import RULES, TransplantSpec
from scsc_lab.networks.specs import NetworkSpec
from scsc_lab.networks.values import InputTensor, check_names

Form = Literal["ordinary", "deploy"]


@dataclass(frozen=True, repr=False)
class Network:
    """A network to measure: its source, changes, transplant, form and weights.

    The same data give the same network: it can be hashed, pickled, written as :attr:`text` and read back, so whatever
    has a name can be counted, timed, drawn, ablated, stored, resumed and sent to another process.

    Attributes:
        name: a name of the catalog, ``timm:NAME``, ``torchvision:NAME``, ``FILE.py:FACTORY``,
            ``PACKAGE.MODULE:FACTORY``, ``FILE.onnx``, or the class of a module or the name of a factory in hand.
        overrides: changes to the catalog's spec, or arguments of the factory, as text by key, in order.
        transplant: rules of the mixer that replaces its spatial operators, if any.
        form: ``ordinary``, or ``deploy`` for the fused form of inference.
        weights: the checkpoint file it loads; empty: its own code's, or random ones.
        resize_weights: whether weights of another input size, window or head are made to fit.
        channels: input channels, where they are not its own.
        resolution: input height and width, in pixels, that it is measured at, where they are not its own.
        inputs: the tensors that it is measured with, where they are not one image.
        label: what the user calls it; two networks that differ in this alone are equal.
        module: a module in hand; it has no text form that reads back.
        factory: a function or class in hand that makes the module; it has no text form that reads back.
    """

    name: str
    overrides: tuple[tuple[str, str], ...] = ()
    transplant: TransplantSpec | None = None
    form: Form = "ordinary"
    weights: str = ""
    resize_weights: bool = False
    channels: int | None = None
    resolution: tuple[int, int] | None = None
    inputs: tuple[InputTensor, ...] = ()
    label: str = field(default="", compare=False)
    module: object = field(default=None, repr=False)
    factory: Callable[..., object] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.in_catalog and self.channels not in (None, 3):
            raise InputError(f"--channels {self.channels}: {self.name} takes 3 channels")
        if self.inputs:
            if self.resolution is not None or self.channels is not None:
                raise InputError("--input says the whole input: leave --resolution and --channels out")
            check_names(self.inputs)

    @classmethod
    def of(cls, name: str, changes: Mapping[str, object] | None = None) -> Network:
        """Return the network of a name of the catalog or from elsewhere, with changes made and checked.

        Args:
            name: a name, or a whole text form.
            changes: changes to its spec, or arguments of its factory; those of a text form come first.

        Raises:
            InputError: if a name of the catalog or a change to its spec is wrong; what is elsewhere is not looked for.
        """
        network = cls.read(name)
        return network.changed(changes) if changes else network

    @classmethod
    def read(cls, text: str) -> Network:
        """Return the network of a text form, such as ``swin_tiny[window=8] + SCSC[kernels=3,5] (deploy)``.

        Raises:
            InputError: if it is not one, or a name of the catalog or a change to its spec is wrong.
        """
        rest, _, weights = text.strip().partition(" @ ")
        unsized = rest.removesuffix(" (resized)")
        undeployed = unsized.removesuffix(" (deploy)")
        bare, mixer, rules = _split_transplant(undeployed)
        name, changes = _split_brackets(bare)
        if not catalog.is_external(name):
            name = catalog.find(name).name
        network = cls(
            name,
            transplant=overrides.transplant({"mixer": mixer, **rules}) if mixer else None,
            form="deploy" if undeployed != unsized else "ordinary",
            weights=weights,
            resize_weights=unsized != rest,
        )
        return network.changed(changes)

    @property
    def is_named(self) -> bool:
        """Whether its text form reads back, so that it can be kept and sent to other processes."""
        return self.module is None and self.factory is None

    @property
    def in_catalog(self) -> bool:
        """Whether it is a network of the catalog, with a spec."""
        return self.is_named and not catalog.is_external(self.name)

    @property
    def is_onnx(self) -> bool:
        """Whether it is an ONNX file: a graph with weights that other runtimes run, and no module of torch."""
        return self.is_named and catalog.is_onnx(self.name)

    @property
    def entry(self) -> Entry | None:
        """Its entry in the catalog, if it has one."""
        return catalog.find(self.name) if self.in_catalog else None

    @functools.cached_property
    def spec(self) -> NetworkSpec | None:
        """Its spec with the changes made, if it is of the catalog."""
        if self.entry is None:
            return None
        return overrides.apply(self.entry.spec, dict(self.overrides)) if self.overrides else self.entry.spec

    @property
    def text(self) -> str:
        """Everything that makes it, as one text; :meth:`read` reads it back."""
        text = self.base
        if self.transplant is not None:
            text += f" + {transplant_text(self.transplant)}"
        if self.form == "deploy":
            text += " (deploy)"
        if self.resize_weights:
            text += " (resized)"
        return f"{text} @ {self.weights}" if self.weights else text

    @property
    def base(self) -> str:
        """Its name and its changes, as text, without transplant and form."""
        changes = " ".join(f"{key}={_written(value)}" for key, value in self.overrides)
        return f"{self.name}[{changes}]" if changes else self.name

    def __repr__(self) -> str:
        """Return the text form, and the attributes that it leaves out."""
        attributes: dict[str, object] = {"label": self.label, "channels": self.channels, "resolution": self.resolution}
        attributes["inputs"] = " ".join(map(str, self.inputs))
        suffix = "".join(f", {key}={value!r}" for key, value in attributes.items() if value)
        return f"Network({self.text!r}{suffix})"

    def __str__(self) -> str:
        """Return what tables call it: the user's label, or its text without the weights' file."""
        return self.label or replace(self, weights="").text

    def changed(self, changes: Mapping[str, object]) -> Network:
        """Return the network with further changes to its spec, or arguments of its factory.

        Raises:
            InputError: if it is of the catalog and a key or value is wrong.
        """
        if self.module is not None and changes:
            raise InputError(f"{next(iter(changes))!r} changes a named network; a module is measured as it is")
        added = {key: self._as_text(value) for key, value in changes.items()}
        network = replace(self, overrides=tuple({**dict(self.overrides), **added}.items()))
        _ = network.spec  # a wrong key or value is found here
        return network

    def _as_text(self, value: object) -> str:
        """Return a value as it is written behind ``key=``, so that the same text comes back from :attr:`text`."""
        if isinstance(value, str):
            return value.strip()
        nested = isinstance(value, (list, tuple)) and any(isinstance(item, (list, tuple, str)) for item in value)
        return repr(value) if nested or isinstance(value, dict) else values.as_text(value)

    def with_transplant(self, transplant: TransplantSpec) -> Network:
        """Return the network with something in place of its spatial operators."""
        return replace(
            self, transplant=transplant, label=self.label and f"{self.label} + {transplant_text(transplant)}"
        )

    def deployed(self) -> Network:
        """Return the network in its deploy form."""
        return replace(self, form="deploy", label=self.label and f"{self.label} (deploy)")

    def identity(self) -> dict[str, object]:
        """Return what decides every number measured of it, as plain data: spec or source, files' contents, form.

        Two names of one network have one identity.

        Raises:
            InputError: if it is a module in hand, or a file is not there.
        """
        if not self.is_named:
            raise InputError(f"{self.name} is a module: only a named network can be stored or sent to another process")
        content: dict[str, object] = {
            "form": self.form,
            "transplant": dataclasses.asdict(self.transplant) if self.transplant else None,
            "mixer": source.of_network(self.transplant.mixer) if self.transplant else "",
            "weights": source.digest(Path(self.weights)) if self.weights else "",
            "channels": self.channels,
            "resolution": self.resolution,
        }
        if self.resize_weights:
            content["resize_weights"] = True
        if self.inputs:
            content["inputs"] = [str(tensor) for tensor in self.inputs]
        if self.spec is not None and self.entry is not None:
            resolution = self.resolution or self.entry.resolution
            return {
                "spec": [type(self.spec).__name__, dataclasses.asdict(self.spec)],
                **content,
                "resolution": resolution,
            }
        return {"name": self.name, "overrides": self.overrides, "source": source.of_network(self.name), **content}


def transplant_text(transplant: TransplantSpec) -> str:
    """Return a transplant as text: the mixer, and the rules that are not the usual ones."""
    declared: Mapping[str, mixers.Setting] = {}
    with contextlib.suppress(InputError):  # its file may be gone
        declared = mixers.settings(transplant.mixer) or {}
    kinds = {**RULES, **{key: setting.kind for key, setting in declared.items()}}
    rules = {
        key: _written(values.written(key, value, kinds.get(key, object)))
        for key, value in overrides.rules(transplant).items()
    }
    plain = re.fullmatch(_MIXER, transplant.mixer) is not None and " @ " not in transplant.mixer
    name = mixers.label(transplant.mixer) if plain else _quoted(transplant.mixer)
    return f"{name}[{' '.join(f'{key}={value}' for key, value in rules.items())}]" if rules else name


_MIXER = r"[^\s\[\]'\"]+"
"""A mixer's name that is written as it is, in a text form; any other one is in quotes."""


def _quoted(value: str) -> str:
    return repr(value).replace("@", r"\x40")


def _split_transplant(text: str) -> tuple[str, str, dict[str, object]]:
    """Return what stands before `` + MIXER[rules]``, the mixer and its rules; both empty without."""
    quoted = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
    match = re.fullmatch(rf"(?P<bare>.+) \+ (?P<mixer>{_MIXER}|{quoted})(?:\[(?P<rules>.*)\])?", text, re.DOTALL)
    if match is None:
        return text, "", {}
    rules = _assignments(match["rules"] or "", "--rule")
    mixer = ast.literal_eval(match["mixer"]) if match["mixer"][0] in "'\"" else match["mixer"]
    return match["bare"], mixers.find(mixer), rules


def _split_brackets(text: str) -> tuple[str, dict[str, object]]:
    match = re.fullmatch(r"(?P<name>[^\[\]]+)\[(?P<changes>.*)\]", text.strip(), re.DOTALL)
    if match is not None:
        return match["name"], _assignments(match["changes"], "--set")
    if text.count("[") != text.count("]"):
        raise InputError(f"{text.strip()!r} has a bracket without its partner: write NAME[key=value ...]")
    return text.strip(), {}


def _assignments(text: str, option: str) -> dict[str, object]:
    """Return the values that stand in brackets, by key."""
    assignments = values.space_separated(text)
    for assignment in assignments:
        if match := _KEY_AFTER_COMMA.match(assignment):
            raise InputError(
                f"{text!r}: blanks separate keys, not commas: write {match[1]} {assignment[match.end(1) + 1 :]}"
            )
    return {key: _unwritten(value) for key, value in overrides.parse(assignments, option).items()}


_KEY_AFTER_COMMA = re.compile(r"""([\w.]+=[^'"\[({]*?),\s*[A-Za-z_][\w.]*=""")


def _written(value: str) -> str:
    """Return a value in quotes where spaces or brackets in it would end it when it is read."""
    is_readable = values.space_separated(value) == ([value] if value else []) and values.space_separated(f"{value} x")[
        -1:
    ] == ["x"]
    is_readable = is_readable and not _KEY_AFTER_COMMA.match(f"key={value}")
    return value if is_readable and " @ " not in value and _unwritten(value) == value else _quoted(value)


def _unwritten(value: str) -> str:
    """Return the value of what :func:`_written` wrote; quotes that it did not write belong to the value."""
    if value[:1] in ("'", '"'):
        with contextlib.suppress(ValueError, SyntaxError):
            inner = ast.literal_eval(value)
            if isinstance(inner, str) and _written(inner) != inner:
                return inner
    return value
