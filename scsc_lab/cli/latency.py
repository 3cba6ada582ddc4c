"""``scsc-lab latency``: how long networks take, and how they compare, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from scsc_lab import runtimes, units
from scsc_lab.architectures.network import Network
from scsc_lab.cli import latency_notes, options, progress
from scsc_lab.cli.networks import Baseline, Networks, position
from scsc_lab.cli.parameters import command
from scsc_lab.errors import InputError
from scsc_lab.metrics import latency as latency_metric
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import render as formats
from scsc_lab.report import tables
from scsc_lab.report.figures import style
from scsc_lab.report.latency import (
    BATCH,
    COMPARED,
    IQR,
    LAYOUT,
    MEASURED,
    MEDIAN,
    OWN_FORM,
    RUNTIME,
    SETUP,
    STATUS,
    TO_TORCH,
)
from scsc_lab.report.latency import title as shared
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings import Budget, Execution, Plan

_AGAIN = " (again)"
_SMALL = 0.005
"""Share of the time below which operators are shown together."""

_DEFAULT = Plan()


@command(example="scsc-lab latency swin_tiny scsc_swin_tiny")
def latency(
    networks: Networks,
    batch_sizes: options.BatchSizes = "1",
    baseline: Baseline = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    memory_format: options.MemoryFormat = "auto",
    threads: options.Threads = "1",
    runtime: options.Runtime = runtimes.USUAL,
    compile: options.Compile = False,
    train: options.Train = False,
    pairs: options.Pairs = str(_DEFAULT.budget.pairs),
    min_time: options.MinTime = None,
    max_time: options.MaxTime = None,
    delta: options.Delta = f"{100 * _DEFAULT.delta:g}",
    seed: options.Seed = "0",
    self_test: options.SelfTest = False,
    by: Annotated[
        str | None, typer.Option("--by", metavar="WHAT", help=f"Break down: {', '.join(latency_metric.BY)}.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the samples (.png, .pdf, .svg).")
    ] = None,
    width: options.Width = None,
    no_titles: options.NoTitles = False,
    format: options.Format = None,
    output: options.Output = None,
) -> int:
    """Time networks side by side, in pairs of random order, and compare them with 95 % intervals.

    Ctrl-C ends the measurement and prints what there is. A network that runs out of memory says so in its row.
    """
    budget = _budget(pairs, min_time, max_time)
    plan = Plan(
        execution=Execution(
            device=options.device(device),
            dtype=dtype,
            memory_format=memory_format,
            threads=options.whole("--threads", threads, 4096),
            train=train,
        ),
        budget=budget,
        batches=options.batch_sizes(batch_sizes),
        seed=options.seed(seed),
        delta=options.number("--delta", delta, 99.0) / 100,
        warm_up_seconds=min(_DEFAULT.warm_up_seconds, budget.max_seconds),
        runtimes=options.runtime_names(runtime, compile),
    )
    runtimes.check(plan.runtimes, plan.execution)
    formats.choose(format, output)
    drawing = options.figures(width, no_titles)
    if (width or no_titles) and plot is None:
        raise InputError("--width and --no-titles go with --plot FILE")
    options.choice("--by", by, latency_metric.BY)
    _check_together(plan, deploy=networks.deploy, self_test=self_test, by=by, baseline=baseline, plot=plot)
    found, network_notes = networks.build()
    index = position(baseline, found)
    if by:
        rows = _parts(found, plan, by)
        table = _breakdown(rows, plan)
    else:
        rows = _timings(found, plan, index, self_test)
        table = _totals(rows, plan, self_test)
    formats.emit(table.noted(network_notes), run_info(rows[0]["device"], plan.seed), format, output)
    if plot is not None:
        from scsc_lab.report.figures import latency as figure

        style.save(figure.draw(rows, drawing), plot)
        typer.echo(f"figure: {plot}", err=True)
    return 130 if any(row["status"] == "cut short" for row in rows) else 0


def _timings(found: Sequence[Network], plan: Plan, baseline: int, self_test: bool) -> list[Row]:
    with progress.timed() as tell:
        if not self_test:
            return [timing.row() for timing in latency_metric.timings(found, plan, baseline=baseline, progress=tell)]
        rows: list[Row] = []
        for network in found:
            twice = (network, replace(network, label=str(network) + _AGAIN))
            try:
                timings = latency_metric.timings(twice, plan, progress=tell)
            except KeyboardInterrupt:
                if not rows:
                    raise
                break
            rows += [{**timing.row(), "self_test": True} for timing in timings]
            if any(row["status"] == "cut short" for row in rows):
                break
        return rows


def _parts(found: Sequence[Network], plan: Plan, by: str) -> list[Row]:
    with progress.timed() as tell:
        broken_down = latency_metric.breakdowns(found, plan, by, progress=tell)
        return [row for breakdown in broken_down for row in breakdown.rows()]


def _totals(rows: Sequence[Row], plan: Plan, self_test: bool) -> Table:
    """Return what was measured and, where several are compared, a second table: MACs beside time."""
    batches = [BATCH] if len(plan.batches) > 1 else []
    wrong = [STATUS] if any(row["status"] != "complete" for row in rows) else []
    compared = any(row["baseline"] for row in rows)
    several = [RUNTIME] if len(plan.runtimes) > 1 else []
    elsewhere = plan.runtimes != (runtimes.USUAL,)
    layout = [LAYOUT] if plan.execution.memory_format == "auto" or elsewhere else []
    columns = (
        tables.MODEL,
        *several,
        *batches,
        *layout,
        *MEASURED,
        *([SETUP] if elsewhere else []),
        *([] if compared else [replace(tables.MACS, optional=True)]),
        *wrong,
    )
    columns = tables.filled(columns, rows) if elsewhere else columns
    notes = latency_notes.notes(rows, plan, self_test=self_test)
    to_torch = tuple(row for row in rows if row["torch_ratio"] is not None)
    held = [Table((tables.MODEL, *several, *batches, *TO_TORCH), to_torch, "Against the same in torch")]
    if not compared:
        table = Table(columns, tuple(rows), shared(rows))
        return replace(table, details=tuple(held) if to_torch else (), records=tuple(rows)).noted(notes)
    against = next(row["baseline"] for row in rows if row["baseline"])
    title = "Against itself" if self_test else f"Against {against}"
    own_forms = any(row["ordinary"] != row["baseline"] for row in rows if row["ordinary"])
    columns_ = (tables.MODEL, *several, *batches, *COMPARED, *(OWN_FORM if own_forms else ()))
    comparison = Table(columns_, tuple(rows), f"{title}, in the same runtime" if several else title)
    details = (comparison, *(held if to_torch else ()))
    return Table(columns, tuple(rows), shared(rows), details=details, records=tuple(rows)).noted(notes)


def _breakdown(rows: Sequence[Row], plan: Plan) -> Table:
    several = len({row["model"] for row in rows}) > 1
    elsewhere = len(plan.runtimes) > 1
    counted = any(row["macs_share"] is not None for row in rows)
    wrong = [STATUS] if any(row["status"] != "complete" for row in rows) else []
    columns = (
        *([tables.MODEL] if several else []),
        *([RUNTIME] if elsewhere else []),
        *([BATCH] if len(plan.batches) > 1 else []),
        Column("name", rows[0]["by"], number=False),
        MEDIAN,
        IQR,
        Column("time_share", "share", units.share),
        *([tables.MACS, Column("macs_share", "share", units.share)] if counted else []),
        *wrong,
    )
    notes = latency_notes.notes(rows, plan, parts=True)
    shown = _together(rows) if rows[0]["by"] == "operator" else tuple(rows)
    return Table(columns, shown, shared(rows), notes, records=tuple(rows))


def _together(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows of operators with those that take next to nothing, of each network, as one."""
    found: list[Row] = []
    for row in rows:
        if row["time_share"] is None or row["time_share"] >= _SMALL or row["name"] in ("unexplained", "total"):
            found.append(row)
            continue
        whole = found[-1] if found and found[-1].get("operators") else None
        if whole is None:
            found.append({**row, "operators": 1, "iqr_seconds": None})
        else:
            sums = {key: whole[key] + row[key] for key in ("median_seconds", "time_share")}
            number = whole["operators"] + 1
            found[-1] = {**whole, **sums, "operators": number, "name": f"{number} others"}
    return tuple(found)


def _budget(pairs: str, min_time: str | None, max_time: str | None) -> Budget:
    """Return the budget; of the two times, the one that is not given makes way for the one that is."""
    number = options.whole("--pairs", pairs, 1_000_000)
    least = None if min_time is None else options.number("--min-time", min_time)
    most = None if max_time is None else options.number("--max-time", max_time)
    if least is not None and most is not None and least > most:
        raise InputError(f"--min-time {least:g} is more than --max-time {most:g}")
    usual = _DEFAULT.budget
    return Budget(
        number,
        min(usual.min_seconds, most if most is not None else usual.min_seconds) if least is None else least,
        max(usual.max_seconds, least or 0.0) if most is None else most,
    )


def _check_together(
    plan: Plan, *, deploy: bool, self_test: bool, by: str | None, baseline: str | None, plot: Path | None
) -> None:
    """Raise InputError if options do not go together, or the figure cannot be written, before anything is measured."""
    if deploy and plan.execution.train:
        raise InputError("--deploy is for inference: it does not go with --train")
    if self_test and baseline is not None:
        raise InputError("--self-test compares each network with itself: it takes no --baseline")
    if by and (self_test or plot is not None or baseline is not None):
        raise InputError("--by breaks networks down one by one: it does not go with --self-test, --baseline or --plot")
    if by and plan.execution.train:
        raise InputError("--by breaks down the forward pass as written: it does not go with --train")
    if by and by != "operator" and plan.runtimes != (runtimes.USUAL,):
        raise InputError(f"--by {by} breaks down what torch runs; --by operator, what any runtime does")
    if plot is not None:
        style.check(plot)
