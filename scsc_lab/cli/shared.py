"""Parts that commands share: options that no settings class declares, selections of settings, the runner.

A command opens its output, builds its networks, has an experiment measured and shows the table of its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scsc_lab import metrics
from scsc_lab.cli import progress
from scsc_lab.cli.networks import Built
from scsc_lab.cli.parameters import Only, Reworded, option
from scsc_lab.errors import InputError
from scsc_lab.execution.pools import HERE, Parallel
from scsc_lab.files import check_writable
from scsc_lab.metrics import accuracy
from scsc_lab.metrics.training import configure
from scsc_lab.networks.network import Network
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import render
from scsc_lab.report.tables import Table
from scsc_lab.settings import Execution, Fields, Output, Schedule, Settings, Timing, Training, texts
from scsc_lab.store import Store
from scsc_lab.training.plan import SEEDS

if TYPE_CHECKING:
    from scsc_lab.experiments.experiment import Experiment
    from scsc_lab.experiments.runner import Measured
    from scsc_lab.experiments.train import Trained as TrainedRuns

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


def opened(output: Output) -> Store:
    """Return the store of a command, once it is known that its rows and its table can be written.

    Raises:
        InputError: if a file cannot be written, or is no store, or the format is unknown.
    """
    render.choose(output)
    if output.store is not None:
        check_writable(output.store)
    return Store(output.store)


def measure(
    experiments: Sequence[Experiment], store: Store, parallel: Parallel = HERE, *, status: bool = False
) -> Measured:
    """Measure what a store lacks of experiments, with a progress bar.

    Args:
        experiments: what to measure.
        store: where rows are kept as they are measured.
        parallel: where tasks run that may run anywhere.
        status: whether to print how many measurements a store in a file has.

    Raises:
        InputError: if a network does not fit; rows measured before are kept.
        KeyboardInterrupt: if nothing was measured before an interrupt.
    """
    from scsc_lab.experiments import runner

    if status and store.path:
        typer.echo(runner.status(experiments, store), err=True)
    with parallel.pool() as pool, progress.stepwise() as report:
        measured = runner.run(experiments, store, pool, report)
    if measured.interrupted:
        _tell_kept(store)
    return measured


def train(
    experiment: Experiment,
    schedule: Schedule,
    store: Store,
    *,
    parallel: Parallel = HERE,
    status: bool = False,
) -> TrainedRuns:
    """Measure an experiment like :func:`measure`, its networks tuned and trained as a schedule says."""
    from scsc_lab.experiments import runner
    from scsc_lab.experiments import train as training

    if status and store.path and schedule.tune is None:
        typer.echo(runner.status(training.scheduled(experiment, schedule)[0], store), err=True)
    with resumable(store), parallel.pool() as pool, progress.stepwise() as report:
        trained = training.run(experiment, schedule, store, pool, report)
    if trained.interrupted:
        _tell_kept(store)
    return trained


def check_schedule(schedule: Schedule, column_names: Sequence[str], settings: Settings) -> None:
    """Raise InputError if budgets or a tuning do nothing, or do not fit the recipe."""
    if schedule == Schedule():
        return
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


@contextmanager
def resumable(store: Store) -> Iterator[None]:
    """On Ctrl-C, print how much a store in a file keeps."""
    try:
        yield
    except KeyboardInterrupt:
        _tell_kept(store)
        raise


def _tell_kept(store: Store) -> None:
    if store.path:
        typer.echo(f"{store.path} keeps {len(store.keys())} measurements; the same command resumes", err=True)


def show(
    table: Table, output: Output, built: Built | None = None, *, device: str = "cpu", seed: int = 0, cut: bool = False
) -> int:
    """Print or write a table; return the exit code: 130 after an interrupt, 1 if a network could not be measured.

    Args:
        table: the table.
        output: where it goes, and in which format.
        built: the networks that were named, with the notes on them and the failures among them.
        device: where was measured, for the record of the run.
        seed: seed of the measurement, for the record of the run.
        cut: whether an interrupt ended the measurement.
    """
    if built is not None:
        table = table.noted(built.notes).with_failures(built.failures)
    render.emit(table, run_info(device, seed), output)
    statuses = {row.get(key) for row in table.raw for key in ("status", "latency_status")}
    return 130 if cut else int(metrics.FAILED in statuses)


def device_of(rows: Iterable[Row]) -> str:
    """Return the device that rows were measured on; ``cpu`` for counts, which have none."""
    return next((str(row["device"]) for row in rows if row.get("device")), "cpu")


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
