"""``scsc-lab latency``: how long networks take, and how they compare, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from scsc_lab import runtimes, units
from scsc_lab.cli import latency_notes, progress
from scsc_lab.cli.networks import Baseline, Networks, position
from scsc_lab.cli.parameters import Without, command, option
from scsc_lab.errors import InputError
from scsc_lab.metrics import latency as latency_metric
from scsc_lab.networks.network import Network
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import latency as blocks
from scsc_lab.report import render as formats
from scsc_lab.report import tables
from scsc_lab.report.figures import style
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings import Drawing, Execution, Output, Settings, Timing

_AGAIN = " (again)"
_SMALL = 0.005
"""Share of the time below which operators are shown together."""

By = Literal["module", "stage", "operator"]
"""What a network's time can be broken down by."""


@command(example="scsc-lab latency swin_tiny scsc_swin_tiny")
def latency(
    networks: Networks,
    timing: Timing,
    execution: Annotated[Execution, Without("batch")],
    drawing: Annotated[Drawing, Without("panels")],
    output: Output,
    baseline: Baseline = None,
    by: Annotated[By | None, option("Break each network's time down.", "--by")] = None,
    self_test: Annotated[
        bool, option("Time each network against itself: the noise of this machine.", "--self-test")
    ] = False,
    compile: Annotated[bool, option("The same as --runtime compile.", "--compile", panel="Measurement")] = False,
    plot: Annotated[
        Path | None,
        option("Draw the samples to this file: .png, .pdf or .svg.", "--plot", metavar="FILE", panel="Output"),
    ] = None,
) -> int:
    """Time networks side by side, in pairs of random order, and compare them with 95 % intervals.

    Ctrl-C ends the measurement and prints what was measured. A network that runs out of memory says so in its row.
    """
    if compile and timing.runtimes not in ((runtimes.USUAL,), ("compile",)):
        raise InputError("--compile is --runtime compile: name it there, beside the others")
    timing = replace(timing, runtimes=("compile",)) if compile else timing
    settings = Settings(execution, timing)
    runtimes.check(timing.runtimes, execution)
    formats.choose(output.format, output.output)
    if drawing != Drawing() and plot is None:
        raise InputError("--width and --no-titles go with --plot FILE")
    _check_together(settings, deploy=networks.deploy, self_test=self_test, by=by, baseline=baseline, plot=plot)
    measured, network_notes = networks.build()
    index = position(baseline, measured)
    if by:
        rows = _parts(measured, settings, by)
        table = _breakdown(rows, settings)
    else:
        rows = _timings(measured, settings, index, self_test)
        table = blocks.table(rows, latency_notes.notes(rows, settings, self_test=self_test))
    info = run_info(rows[0]["device"], execution.seed)
    formats.emit(table.noted(network_notes), info, output.format, output.output)
    if plot is not None:
        from scsc_lab.report.figures import latency as figure

        style.save(figure.draw(rows, drawing), plot)
        typer.echo(f"figure: {plot}", err=True)
    return 130 if any(row["status"] == "cut short" for row in rows) else 0


def _timings(found: Sequence[Network], settings: Settings, baseline: int, self_test: bool) -> list[Row]:
    with progress.timed() as tell:
        if not self_test:
            return [
                timing.row() for timing in latency_metric.timings(found, settings, baseline=baseline, progress=tell)
            ]
        rows: list[Row] = []
        for network in found:
            twice = (network, replace(network, label=str(network) + _AGAIN))
            try:
                timings = latency_metric.timings(twice, settings, progress=tell)
            except KeyboardInterrupt:
                if not rows:
                    raise
                break
            rows += [{**timing.row(), "self_test": True} for timing in timings]
            if any(row["status"] == "cut short" for row in rows):
                break
        return rows


def _parts(found: Sequence[Network], settings: Settings, by: str) -> list[Row]:
    with progress.timed() as tell:
        broken_down = latency_metric.breakdowns(found, settings, by, progress=tell)
        return [row for breakdown in broken_down for row in breakdown.rows()]


def _breakdown(rows: Sequence[Row], settings: Settings) -> Table:
    several = len({row["model"] for row in rows}) > 1
    elsewhere = len(settings.timing.runtimes) > 1
    counted = any(row["macs_share"] is not None for row in rows)
    wrong = [blocks.STATUS] if any(row["status"] != "complete" for row in rows) else []
    columns = (
        *([tables.MODEL] if several else []),
        *([blocks.RUNTIME] if elsewhere else []),
        *([blocks.BATCH] if len(settings.batches) > 1 else []),
        Column("name", rows[0]["by"], number=False),
        blocks.MEDIAN,
        blocks.IQR,
        Column("time_share", "share", units.share),
        *([tables.MACS, Column("macs_share", "share", units.share)] if counted else []),
        *wrong,
    )
    notes = latency_notes.notes(rows, settings, parts=True)
    shown = _together(rows) if rows[0]["by"] == "operator" else tuple(rows)
    return Table(columns, shown, blocks.title(rows), notes, records=tuple(rows))


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


def _check_together(
    settings: Settings, *, deploy: bool, self_test: bool, by: str | None, baseline: str | None, plot: Path | None
) -> None:
    """Raise InputError if options do not go together, or the figure cannot be written, before anything is measured."""
    if deploy and settings.execution.train:
        raise InputError("--deploy is for inference: it does not go with --train")
    if self_test and baseline is not None:
        raise InputError("--self-test compares each network with itself: it takes no --baseline")
    if by and (self_test or plot is not None or baseline is not None):
        raise InputError("--by breaks networks down one by one: it does not go with --self-test, --baseline or --plot")
    if by and settings.execution.train:
        raise InputError("--by breaks down the forward pass as written: it does not go with --train")
    if by and by != "operator" and settings.timing.runtimes != (runtimes.USUAL,):
        raise InputError(f"--by {by} breaks down what torch runs; --by operator, what any runtime does")
    if plot is not None:
        style.check(plot)
