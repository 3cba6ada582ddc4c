"""A network with its facts and how to make it, for measurements that are told no network as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from scsc_lab.architectures.catalog import Entry
from scsc_lab.architectures.network import Network
from scsc_lab.architectures.specs import TransplantSpec
from scsc_lab.errors import InputError
from scsc_lab.models import build, names


@dataclass(frozen=True)
class Subject:
    """One network to be measured.

    Attributes:
        label: its name, with what was changed.
        resolution: native input height and width, in pixels.
        make: returns the network with its weights, or random ones from torch's global generator, in evaluation mode.
        make_empty: returns the network with no weights on a device, for counting.
        channels: input channels.
        mean, std: input normalisation of each channel, for pixels from 0 to 1.
        smallest_side: smallest input side, in pixels, that it takes.
        weights: the checkpoint it loads, or ``None`` for random weights.
        entry: its catalog entry, if it has one.
        form: ``ordinary``, or ``deploy`` for the fused form.
        network: the network as data.
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
    entry: Entry | None = None
    form: str = "ordinary"
    network: Network | None = None

    @property
    def random(self) -> bool:
        """Whether its weights are random."""
        return self.weights_kind == "random"

    @property
    def weights_kind(self) -> str:
        """Whose weights it has, in a word."""
        return build.whose_weights(self.network) if self.network else "random"

    def check_resolution(self, resolution: tuple[int, int]) -> None:
        """Raise InputError if the network does not take an input of this height and width."""
        if min(resolution) < self.smallest_side:
            raise InputError(
                f"resolution {min(resolution)}: {self.label} takes sides from {self.smallest_side} pixels up"
            )


def of(network: Network) -> Subject:
    """Return a network with its facts."""
    known = build.facts(network)
    return Subject(
        label=str(network),
        resolution=known.resolution,
        make=lambda: build.build(network),
        make_empty=lambda device: build.empty(network, device),
        channels=known.channels,
        mean=known.mean,
        std=known.std,
        smallest_side=known.smallest_side,
        weights=Path(network.weights) if network.weights else None,
        entry=network.entry,
        form=network.form,
        network=network,
    )


def subjects(
    given: Sequence[str],
    changes: Mapping[str, object] | None = None,
    weights: Sequence[str] = (),
    channels: int | None = None,
) -> list[Subject]:
    """Return the networks of several names; see :func:`scsc_lab.models.names.networks`."""
    return [of(network) for network in names.networks(given, changes, weights, channels=channels)]


def transplanted(subject: Subject, rules: TransplantSpec, resolution: tuple[int, int] | None = None) -> Subject:
    """Return a network with SCSC in place of its spatial operators."""
    assert subject.network is not None
    return of(subject.network.with_transplant(rules))


def deployed(subject: Subject) -> Subject:
    """Return a network in its deploy form."""
    assert subject.network is not None
    build.empty(subject.network.deployed())
    return of(subject.network.deployed())
