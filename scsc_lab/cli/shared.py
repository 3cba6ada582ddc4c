"""Options that commands share, and the refusal of those that would do nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from scsc_lab import metrics, runtimes
from scsc_lab.cli.parameters import Only, Reworded, option
from scsc_lab.errors import InputError
from scsc_lab.metrics import accuracy
from scsc_lab.metrics.latency import with_runtimes
from scsc_lab.metrics.training import configure
from scsc_lab.networks.network import Network
from scsc_lab.settings import Execution, Fields, Schedule, Settings, Timing, Training, texts
from scsc_lab.settings.declaration import settings_of
from scsc_lab.training.plan import SEEDS

Columns = Annotated[
    tuple[str, ...],
    option(
        "Columns to measure, comma-separated.",
        "--with",
        metavar="COLUMNS",
        choices=tuple(metrics.column_names()),
        parse=texts.some_of(metrics.column_names, metrics.meant),
    ),
]
Probe = Annotated[
    Path | None,
    option(
        "Show these rows of trained pico networks beside the claims about accuracy.",
        "--probe",
        metavar="FILE",
        panel="Output",
    ),
]
MeasuredIn = Annotated[Execution, Only("device", "threads", "batch", "seed")]
"""Settings of execution in a command that measures several columns."""

Timed = Annotated[Timing, Only("pairs", "max_seconds", "delta", "runtimes")]
"""Settings of timing in such a command."""

Drawn = Annotated[
    Fields,
    Only("stages", "samples", "seeds"),
    Reworded(seeds="Training runs per network (default: 10), initialisations per field (default: 3)."),
]
"""Settings of receptive fields in such a command."""

Trained = Annotated[Training, Only("data", "recipe", "recipe_set", "seeds")]
"""Settings of training in such a command."""

_GROUPS = ("execution", "timing", "fields", "training")


def checked_settings(
    context: typer.Context,
    columns: Sequence[str],
    settings: Settings,
    schedule: Schedule | None = None,
    acting: Collection[str] = (),
) -> Settings:
    """Return the settings of a command that measures columns, with the runtimes that columns name.

    Args:
        context: the command's.
        columns: what is measured.
        settings: what the options make.
        schedule: budgets and tuning of what is trained.
        acting: parameters that act whatever is measured.

    Raises:
        InputError: if an option changes nothing, a runtime is not there, or a schedule does not fit the recipe.
    """
    settings = with_runtimes(settings, columns)
    runtimes.check(settings.timing.runtimes, settings.execution)
    _require_used(context, columns, settings, acting)
    if schedule is not None and (schedule.budgets or schedule.tune):
        _check_schedule(schedule, columns, settings)
    return settings


def _check_schedule(schedule: Schedule, column_names: Sequence[str], settings: Settings) -> None:
    """Raise InputError if budgets or a tuning do nothing, or do not fit the recipe."""
    if "accuracy" not in column_names:
        raise InputError(f"--{'tune' if schedule.tune else 'budgets'} trains networks: add accuracy to --with")
    require_one_budget(schedule, settings.training)
    from scsc_lab.experiments import train

    train.check(schedule, configure(settings))


def require_one_budget(schedule: Schedule, training: Training) -> None:
    """Raise InputError if both budgets and the recipe say how many epochs networks are trained for."""
    if schedule.budgets and (training.epochs is not None or "epochs" in dict(training.recipe_set)):
        option = "--epochs" if training.epochs is not None else "--recipe-set epochs"
        raise InputError(f"--budgets and {option} both name epochs: leave {option} out")


def warn_of_few_seeds(
    tables: Iterable[Sequence[Network]], column_names: Sequence[str], seeds: int | None, budgets: Sequence[int] = ()
) -> None:
    """Print, before anything is trained, that networks cannot be told apart with so few seeds.

    Args:
        tables: networks of one table, those of each baseline behind it.
        column_names: what they are compared by; without accuracy, nothing is trained.
        seeds: runs of each network. Default: those of training.
        budgets: epochs after which they are compared, each time.
    """
    for line in accuracy.shortage(tables, seeds or SEEDS, len(budgets) or 1) if "accuracy" in column_names else []:
        typer.echo(line, err=True)


def _require_used(context: typer.Context, columns: Sequence[str], settings: Settings, acting: Collection[str]) -> None:
    """Raise InputError if an option changes nothing of what is measured, and is none of those that act anyway."""
    for name, spelling in explicit(context).items():
        with_default = _with_default(settings, name)
        if name in acting or with_default == settings or _differing(metrics.chosen(columns), settings, with_default):
            continue
        acting = _differing(metrics.registry().values(), settings, with_default)
        raise InputError(f"{spelling} changes nothing of {', '.join(columns)}: it goes with {' or '.join(acting)}")


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
    for name, spelling in explicit(context).items():
        if name in idle:
            raise InputError(f"{reason}: leave {spelling} out")


def _with_default(settings: Settings, name: str) -> Settings:
    """Return settings with the default of one of them, in every class that declares it."""
    for group in _GROUPS:
        owner = getattr(settings, group)
        changes = {setting.name: setting.default for setting in settings_of(owner.__class__) if setting.name == name}
        settings = replace(settings, **{group: replace(owner, **changes)}) if changes else settings
    return settings


def _differing(chosen: Collection[metrics.Metric], settings: Settings, default: Settings) -> list[str]:
    """Return the first words of the metrics that two settings have measure in different ways."""
    return [
        metric.columns[0].word
        for metric in chosen
        if metric.columns and metric.configure(settings) != metric.configure(default)
    ]
