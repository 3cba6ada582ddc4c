"""Options that would do nothing are refused."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import typer

from scsc_lab import metrics
from scsc_lab.errors import InputError
from scsc_lab.settings import Settings
from scsc_lab.settings.declaration import settings_of

_GROUPS = ("execution", "timing", "fields", "training")


def require_used(
    context: typer.Context, columns: Sequence[str], settings: Settings, acting: Collection[str] = ()
) -> None:
    """Raise InputError if an option changes nothing of what is measured.

    Args:
        context: the command's.
        columns: columns that networks are measured for.
        settings: the settings that the options make.
        acting: parameters that change something else.
    """
    for name, option in explicit(context).items():
        with_default = _with_default(settings, name)
        if name in acting or with_default == settings or _differing(metrics.chosen(columns), settings, with_default):
            continue
        acting = _differing(metrics.registry().values(), settings, with_default)
        raise InputError(f"{option} changes nothing of {', '.join(columns)}: it goes with {' or '.join(acting)}")


def explicit(context: typer.Context) -> dict[str, str]:
    """Return the parameters that the command line names, each with the longest word for it."""
    options = {}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            longest = "the models" if parameter.param_type_name == "argument" else max(parameter.opts, key=len)
            options[str(parameter.name)] = longest
    return options


def require_only(context: typer.Context, allowed: Collection[str], reason: str) -> None:
    """Raise InputError if the command line names a parameter that does nothing here.

    Args:
        context: the command's.
        allowed: names of the parameters that act.
        reason: how the complaint begins, ``--from measures nothing`` say.
    """
    require_without(context, explicit(context).keys() - set(allowed), reason)


def require_without(context: typer.Context, idle: Collection[str], reason: str) -> None:
    """Raise InputError if the command line names one of the parameters that do nothing here."""
    for name, option in explicit(context).items():
        if name in idle:
            raise InputError(f"{reason}: leave {option} out")


def _with_default(settings: Settings, name: str) -> Settings:
    """Return settings with the default of one of them, in every class that declares it."""
    for group in _GROUPS:
        owner = getattr(settings, group)
        changes = {setting.name: setting.default for setting in settings_of(owner.__class__) if setting.name == name}
        settings = replace(settings, **{group: replace(owner, **changes)})
    return settings


def _differing(chosen: Collection[metrics.Metric], settings: Settings, default: Settings) -> list[str]:
    """Return the first words of the metrics that two settings have measure in different ways."""
    return [
        metric.columns[0].word
        for metric in chosen
        if metric.columns and metric.configure(settings) != metric.configure(default)
    ]
