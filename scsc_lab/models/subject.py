"""What is measured: a network under the name the user gave it, and how to make it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from scsc_lab.architectures import catalog
from scsc_lab.architectures import overrides as spec_changes
from scsc_lab.architectures.specs import TransplantSpec
from scsc_lab.errors import InputError
from scsc_lab.models import build, checkpoints, external
from scsc_lab.models.deploy import deploy
from scsc_lab.models.transplant import transplant

_USUAL_RESOLUTION = (224, 224)


@dataclass(frozen=True)
class Subject:
    """One network to be measured.

    Attributes:
        label: its name, with what was changed.
        resolution: native input height and width, in pixels.
        make: returns the network with its weights, or random ones from torch's global generator, in evaluation mode.
        make_empty: returns the network with no weights on a device, for counting: on ``meta`` without memory,
            elsewhere zeros.
        channels: input channels.
        mean, std: input normalisation of each channel, for pixels from 0 to 1.
        smallest_side: smallest input side, in pixels, that it takes.
        weights: the checkpoint it loads, or ``None`` for random weights.
        entry: its catalog entry, if it has one.
        form: ``ordinary``, or ``deploy`` for the fused form.
    """

    label: str
    resolution: tuple[int, int]
    make: Callable[[], nn.Module]
    make_empty: Callable[[str], nn.Module]
    channels: int = 3
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    smallest_side: int = 1
    weights: Path | None = None
    entry: catalog.Entry | None = None
    form: str = "ordinary"

    @property
    def random(self) -> bool:
        """Whether its weights are random, as far as is known: no checkpoint was given."""
        return self.weights is None

    @property
    def weights_kind(self) -> str:
        """What its weights are, in a word: ``random`` or ``trained``."""
        return "random" if self.random else "trained"

    def check_resolution(self, resolution: tuple[int, int]) -> None:
        """Raise InputError if the network does not take an input of this height and width."""
        if min(resolution) < self.smallest_side:
            raise InputError(
                f"resolution {min(resolution)}: {self.label} takes sides from {self.smallest_side} pixels up"
            )


def transplanted(subject: Subject, rules: TransplantSpec, resolution: tuple[int, int] | None = None) -> Subject:
    """Return a network with SCSC in place of its spatial operators; see :mod:`scsc_lab.models.transplant`."""
    shape = (1, subject.channels, *(resolution or subject.resolution))

    def grafted(model: nn.Module) -> nn.Module:
        try:
            return transplant(model, rules, input_shape=shape)[0]
        except InputError as error:
            raise InputError(f"{subject.label}: {error}") from None

    return replace(
        subject,
        label=f"{subject.label} + SCSC",
        make=lambda: grafted(subject.make()),
        make_empty=lambda device: grafted(subject.make_empty(device)),
    )


def deployed(subject: Subject) -> Subject:
    """Return a network in its deploy form; see :mod:`scsc_lab.models.deploy`.

    Raises:
        InputError: if it has none: nothing in it can be fused.
    """
    try:
        deploy(subject.make_empty("meta"))
    except InputError as error:
        raise InputError(f"{subject.label}: {error}") from None
    return replace(
        subject,
        label=f"{subject.label} (deploy)",
        make=lambda: deploy(subject.make()),
        make_empty=lambda device: deploy(subject.make_empty(device)),
        form="deploy",
    )


def with_deploy_forms(subjects: Sequence[Subject]) -> list[Subject]:
    """Return the networks, each with its deploy form behind it if it has one.

    Raises:
        InputError: if none has.
    """
    found: list[Subject] = []
    refusals = []
    for subject in subjects:
        found.append(subject)
        try:
            found.append(deployed(subject))
        except InputError as error:
            refusals.append(error)
    if len(refusals) == len(subjects):
        raise refusals[0]
    return found


def subjects(
    names: Sequence[str],
    changes: Mapping[str, object] | None = None,
    weights: Sequence[str] = (),
    channels: int | None = None,
) -> list[Subject]:
    """Return the networks of several names, with changes made and weights given.

    Args:
        names: names and aliases of the catalog, networks from elsewhere (see :mod:`scsc_lab.models.external`), each
            also as ``name[key=value …]``.
        changes: changes to the specs, or arguments of the factories; each goes to every network that has its key.
        weights: checkpoint files: ``FILE`` if there is one network, else ``NAME=FILE``.
        channels: input channels of the networks that have none of their own.

    Raises:
        InputError: if a name, a change or a file is wrong.
    """
    changes = changes or {}
    found = [_Found.of(name) for name in names]
    fitting = [changes if len(found) == 1 else network.fitting(changes) for network in found]
    for key in changes:
        if found and not any(key in own for own in fitting):
            found[0].subject({key: changes[key]}, None, channels)
    files = dict(_assigned(text, found) for text in weights)
    return [
        network.subject(own, files.get(index), channels)
        for index, (network, own) in enumerate(zip(found, fitting, strict=True))
    ]


@dataclass(frozen=True)
class _Found:
    """A network that a name stands for, before changes are made."""

    given: str
    name: str
    own_changes: Mapping[str, object]
    external: external.External | None

    @classmethod
    def of(cls, given: str) -> _Found:
        name, own_changes = catalog.split(given)
        if catalog.is_external(given):
            return cls(given, name, own_changes, external.find(name))
        return cls(given, catalog.find(name).name, own_changes, None)

    def fitting(self, changes: Mapping[str, object]) -> Mapping[str, object]:
        """Return the changes whose keys this network has."""
        if self.external is not None:
            return {key: value for key, value in changes.items() if self.external.accepts(key, value)}
        return spec_changes.applicable(catalog.resolve(self.given).spec, changes)

    def subject(self, changes: Mapping[str, object], weights: Path | None, channels: int | None) -> Subject:
        if self.external is not None:
            return _from_elsewhere(self.external, {**self.own_changes, **changes}, weights, channels)
        if channels not in (None, 3):
            raise InputError(f"--channels {channels}: {self.name} takes 3 channels")
        return _from_catalog(catalog.resolve(self.given, changes), weights)


def of(network: catalog.Network) -> Subject:
    """Return a network of the catalog, with changes made to its spec, at random weights."""
    return _from_catalog(network, None)


def _from_catalog(network: catalog.Network, weights: Path | None) -> Subject:
    entry = network.entry
    return Subject(
        label=network.label,
        resolution=entry.resolution,
        make=lambda: build.from_spec(network.spec, weights),
        make_empty=lambda device: build.empty(network.spec, device),
        mean=entry.mean,
        std=entry.std,
        smallest_side=catalog.SMALLEST_SIDE,
        weights=weights,
        entry=entry,
    )


def _from_elsewhere(
    network: external.External, changes: Mapping[str, object], weights: Path | None, channels: int | None
) -> Subject:
    arguments = {key: network.value(key, value) for key, value in changes.items()}
    if channels is not None and network.channels not in (None, channels):
        arguments.setdefault("in_chans", channels)  # timm's word; only its networks tell their own channels

    def make() -> nn.Module:
        model = network.make(arguments)
        if weights is not None:
            checkpoints.load(model, weights)
        return model

    count = channels or network.channels or 3
    return Subject(
        label=spec_changes.label(network.name, changes),
        resolution=network.resolution or _USUAL_RESOLUTION,
        make=make,
        make_empty=lambda device: network.make_empty(arguments, device),
        channels=count,
        mean=_per_channel(network.mean, Subject.mean, count),
        std=_per_channel(network.std, Subject.std, count),
        weights=weights,
    )


def _per_channel(own: tuple[float, ...] | None, usual: tuple[float, ...], channels: int) -> tuple[float, ...]:
    values = own or usual
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def _assigned(text: str, found: Sequence[_Found]) -> tuple[int, Path]:
    """Return which network a ``--weights`` text belongs to, and the file."""
    for index, network in enumerate(found):
        for name in (network.given, network.name):
            if text.startswith(f"{name}="):
                return index, _existing(text.removeprefix(f"{name}="))
    if len(found) == 1:
        return 0, _existing(text)
    raise InputError(f"--weights {text}: with several models write NAME=FILE, e.g. {found[0].given}=weights.pth")


def _existing(file: str) -> Path:
    path = Path(file)
    if not path.is_file():
        raise InputError(f"no weights file {file!r}")
    return path
