"""The networks that a command measures: named by its arguments, made when torch is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scsc_lab.architectures import overrides as spec_changes
from scsc_lab.architectures.specs import TransplantSpec
from scsc_lab.cli import options

if TYPE_CHECKING:
    from scsc_lab.models.subject import Subject

_MOST_CHANNELS = 4096


@dataclass(frozen=True)
class Named:
    """Networks as they were named, checked as far as that goes without torch.

    Attributes:
        names: names, as given.
        changes: changes to their specs, or arguments of their factories.
        weights: checkpoint files, as given.
        channels: input channels of networks that have none of their own.
        rules: rules of the transplant, if each is wanted with SCSC too.
        deploy: whether each is wanted in its deploy form too.
    """

    names: Sequence[str]
    changes: Mapping[str, object]
    weights: Sequence[str]
    channels: int | None
    rules: TransplantSpec | None
    deploy: bool = False

    def subjects(self, resolution: tuple[int, int] | None) -> list[Subject]:
        """Return the networks in all forms wanted; ``resolution`` is the input's, for the transplant.

        Raises:
            InputError: if a name, a change or a file is wrong, or a form does not exist.
        """
        from scsc_lab.models.subject import subjects, transplanted, with_deploy_forms

        found = subjects(self.names, self.changes, self.weights, self.channels)
        if self.rules:
            found = [form for one in found for form in (one, transplanted(one, self.rules, resolution))]
        return with_deploy_forms(found) if self.deploy else found


def read(
    models: list[str] | None,
    more: list[str] | None,
    changes: list[str] | None,
    weights: list[str] | None,
    channels: str | None,
    transplant: bool,
    rules: list[str] | None,
    deploy: bool = False,
) -> Named:
    """Return the networks that the options of a command name.

    Raises:
        InputError: if none is named, or an option is wrong.
    """
    return Named(
        options.names(models, more),
        spec_changes.parse(changes or []),
        weights or [],
        None if channels is None else options.whole("--channels", channels, _MOST_CHANNELS),
        options.rules(transplant, rules),
        deploy,
    )
