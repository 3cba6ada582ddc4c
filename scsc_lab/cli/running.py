"""How every command runs: it opens its output, has experiments measured under a progress bar, and shows a table.

Progress is on stderr: a bar on a terminal, a plain line every ten seconds elsewhere. Both are drawn when progress is
reported, never by a thread of their own, which would take time from what is measured.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from scsc_lab.cli.networks import Built
from scsc_lab.files import check_writable
from scsc_lab.metrics import FAILED
from scsc_lab.provenance import run_info
from scsc_lab.records import PARTIAL
from scsc_lab.report import render
from scsc_lab.report.tables import Table
from scsc_lab.settings import Output, Schedule
from scsc_lab.store import Store

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from matplotlib.figure import Figure

    from scsc_lab.execution.pools import Parallel
    from scsc_lab.experiments.experiment import Experiment
    from scsc_lab.experiments.runner import Measured
    from scsc_lab.experiments.train import Trained as TrainedRuns

_REDRAW_SECONDS = 0.25
LINE_SECONDS = 10.0
"""Least time between two plain lines."""
LONG_SECONDS = 60.0
"""A run that takes longer than this says so at its first estimate."""

_Draw = Callable[[str, str, float, float | None, float | None], None]
"""Called with a description, a count (may be empty), what is done, the total and the seconds left (None: unknown)."""


def opened(output: Output) -> Store:
    """Return the store of a command, once it is known that its rows and its table can be written.

    Raises:
        InputError: if a file cannot be written, or is no store, or the format is unknown.
    """
    render.choose(output)
    if output.store is not None:
        check_writable(output.store)
    return Store(output.store)


def measure(experiments: Sequence[Experiment], store: Store, parallel: Parallel | None = None) -> Measured:
    """Measure what a store lacks of experiments, with a progress bar.

    Args:
        experiments: what to measure.
        store: where rows are kept as they are measured.
        parallel: where tasks run that may run anywhere; this process without one.

    Raises:
        InputError: if a network does not fit; rows measured before are kept.
        KeyboardInterrupt: if nothing was measured before an interrupt.
    """
    from scsc_lab.experiments import runner

    with working(store, parallel) as (pool, report):
        measured = runner.run(experiments, store, pool, report)
    if measured.interrupted:
        _tell_kept(store)
    return measured


def train(
    experiment: Experiment,
    schedule: Schedule,
    store: Store,
    *,
    parallel: Parallel | None = None,
    status: bool = False,
) -> TrainedRuns:
    """Measure an experiment like :func:`measure`, its networks tuned and trained as a schedule says."""
    from scsc_lab.experiments import runner
    from scsc_lab.experiments import train as training

    if status and store.path and schedule.tune is None:
        typer.echo(runner.status(training.scheduled(experiment, schedule)[0], store), err=True)
    with working(store, parallel) as (pool, report):
        trained = training.run(experiment, schedule, store, pool, report)
    if trained.interrupted:
        _tell_kept(store)
    return trained


@contextlib.contextmanager
def working(
    store: Store, parallel: Parallel | None = None
) -> Iterator[tuple[Executor | None, Callable[[str, float, int], None]]]:
    """Yield an executor, or None for this process, and a progress report; on Ctrl-C, print what a store keeps."""
    try:
        with parallel.pool() if parallel else contextlib.nullcontext() as pool, stepwise() as report:
            yield pool, report
    except KeyboardInterrupt:
        _tell_kept(store)
        raise


def _tell_kept(store: Store) -> None:
    if store.path:
        typer.echo(f"{store.path} keeps {len(store.keys())} measurements; the same command resumes", err=True)


def show(
    table: Table, output: Output, built: Built | None = None, *, device: str = "", seed: int = 0, cut: bool = False
) -> int:
    """Print or write a table; return the exit code: 130 after an interrupt, 1 if a network could not be measured.

    Args:
        table: the table.
        output: where it goes, and in which format.
        built: the networks that were named, with the notes on them and the failures among them.
        device: where was measured, for the record of the run. Default: the rows'; ``cpu`` for counts, which have none.
        seed: seed of the measurement, for the record of the run.
        cut: whether an interrupt ended the measurement.
    """
    if built is not None:
        table = table.noted(built.notes).with_failures(built.failures)
    devices = (str(row["device"]) for row in table.raw if row.get("device"))
    render.emit(table, run_info(device or next(devices, "cpu"), seed), output)
    statuses = {row.get(key) for row in table.raw for key in ("status", "latency_status")}
    return 130 if cut else int(not statuses.isdisjoint((FAILED, PARTIAL)))


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure, and print where it is."""
    from scsc_lab.report.figures import style

    style.save(figure, path)
    typer.echo(f"figure: {path}", err=True)


@contextlib.contextmanager
def stepwise() -> Iterator[Callable[[str, float, int], None]]:
    """Show which of several long steps is under way, and how long is left.

    Yields:
        A function to call with a description, the steps done (a fraction is allowed) and the steps in total.
    """
    with _display() as draw:
        begun_at = begun_with = last = 0.0
        current = ""

        def report(description: str, done: float, of: int) -> None:
            nonlocal begun_at, begun_with, last, current
            now = time.monotonic()
            if description != current and last == begun_with:  # building and warming up are no progress
                begun_at, begun_with = now, done
            last, current = done, description
            gained = done - begun_with
            left = (now - begun_at) * (of - done) / gained if gained > 0 else None
            draw(description, f"{int(done)}/{of}", done, of, left)

        yield report


@contextlib.contextmanager
def _display() -> Iterator[_Draw]:
    if not sys.stderr.isatty():
        yield _line_writer()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = [
        TextColumn(f"{{task.{name}}}", markup=False) for name in ("fields[count]", "fields[left]", "description")
    ]
    console = Console(stderr=True)
    with Progress(BarColumn(10), *columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("", total=None, left="", count="")
        last_drawn = 0.0

        def draw(description: str, count: str, done: float, total: float | None, left: float | None) -> None:
            nonlocal last_drawn
            remaining = "" if left is None else f"{_clock(left)} left"
            bar.update(task, description=description, completed=done, total=total, left=remaining, count=count)
            if done == total or left is None or time.monotonic() - last_drawn > _REDRAW_SECONDS:
                bar.refresh()
                last_drawn = time.monotonic()

        yield draw


def _line_writer() -> _Draw:
    """Return a function that writes a line when a long run has an estimate, and one every ten seconds."""
    started = last_written = time.monotonic()
    is_announced = False

    def write(description: str, count: str, done: float, total: float | None, left: float | None) -> None:
        nonlocal last_written, is_announced
        now = time.monotonic()
        is_settled = now - started > LINE_SECONDS / 2  # first estimates are those of warm-ups
        announces = is_settled and not is_announced and left is not None and left > LONG_SECONDS
        if not announces and now - last_written < LINE_SECONDS:
            return
        last_written = now
        is_announced = is_announced or announces
        remaining = "" if left is None else f"{_clock(left)} left"
        print(", ".join(filter(None, (description, count, remaining))), file=sys.stderr, flush=True)

    return write


def _clock(seconds: float) -> str:
    """Return a time as ``2:05`` minutes or ``1:02:05`` hours."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
