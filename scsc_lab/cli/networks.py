"""The networks that a command measures: named by its arguments, found when torch is wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import typer

from scsc_lab.architectures import overrides
from scsc_lab.architectures.network import Network
from scsc_lab.architectures.specs import TransplantSpec
from scsc_lab.cli import options
from scsc_lab.errors import InputError
from scsc_lab.metrics import accuracy
from scsc_lab.training.plan import SEEDS

_MOST_CHANNELS = 4096


@dataclass(frozen=True)
class Named:
    """Networks as they were named, checked as far as that goes without torch.

    Attributes:
        names: names, as given.
        changes: changes to their specs, or arguments of their factories.
        weights: checkpoint files, as given.
        channels: input channels of networks that have none of their own.
        resolution: input height and width, in pixels; their own if ``None``.
        transplants: what each is wanted with too, in the place of its spatial operators.
        deploy: whether each is wanted in its deploy form too.
        labels: what the user calls them.
        notes: what became of networks that a transplant does not fit; filled by :meth:`networks`.
    """

    names: Sequence[str]
    changes: dict[str, str]
    weights: Sequence[str]
    channels: int | None
    resolution: tuple[int, int] | None
    transplants: Sequence[TransplantSpec] = ()
    deploy: bool = False
    labels: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)

    def networks(self) -> list[Network]:
        """Return the networks in all forms wanted.

        Raises:
            InputError: if a name, a change or a file is wrong, or a form does not exist.
        """
        from scsc_lab.models import names

        found = names.networks(
            self.names,
            self.changes,
            self.weights,
            channels=self.channels,
            resolution=self.resolution,
            labels=self.labels,
        )
        if self.transplants:
            found, notes = names.with_transplants(found, self.transplants)
            self.notes.extend(notes)
        return names.with_deploy_forms(found) if self.deploy else found


def read(context: typer.Context) -> Named:
    """Return the networks that the options of a command name; an option that the command has not is as if not given.

    Raises:
        InputError: if none is named, or an option is wrong.
    """
    given = context.params
    more = given.get("model") or []
    channels = given.get("channels")
    return Named(
        options.names(given.get("models"), [more] if isinstance(more, str) else more),
        overrides.parse(given.get("set_") or []),
        given.get("weights") or [],
        None if channels is None else options.whole("--channels", channels, _MOST_CHANNELS),
        options.resolution(given.get("resolution")),
        transplants(bool(given.get("transplant")), given.get("mixer"), given.get("rule")),
        bool(given.get("deploy")),
        given.get("label") or [],
    )


def transplants(transplant: bool, mixers: Sequence[str] | None, rules: Sequence[str] | None) -> list[TransplantSpec]:
    """Return what is to be put in: SCSC with ``--transplant``, each ``--mixer``, all by the same rules.

    Raises:
        InputError: if a rule or a mixer is wrong, or there are rules for no transplant.
    """
    wanted = list(dict.fromkeys(mixers or (["scsc"] if transplant else [])))
    if rules and not wanted:
        raise InputError("--rule goes with --transplant or --mixer NAME")
    return overrides.transplants(wanted, overrides.parse(rules or [], "--rule")) if wanted else []


def baseline(name: str | None, networks: Sequence[Network]) -> int:
    """Return which of the networks is the baseline: the first unless one is named.

    Raises:
        InputError: if it is none of them.
    """
    if name is None:
        return 0
    from scsc_lab.models import names

    return names.index_of(name, networks, "--baseline")


def warn_of_few_seeds(tables: Iterable[Sequence[Network]], words: Sequence[str], seeds: int | None) -> None:
    """Print, before anything is trained, that networks cannot be told apart with so few seeds.

    Args:
        tables: networks of one table, those of each baseline behind it.
        words: what they are compared by; without accuracy, nothing is trained.
        seeds: runs of each network. Default: those of training.
    """
    for line in accuracy.shortage(tables, seeds or SEEDS) if "accuracy" in words else []:
        typer.echo(line, err=True)
