"""``scsc-lab latency``: how long networks take; ``scsc-lab roofline``: why fewer MACs need not be less time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from scsc_lab import runtimes
from scsc_lab.cli import running, shared
from scsc_lab.cli.networks import Baselines, Networks, Pairs
from scsc_lab.cli.parameters import Only, Without, command, option, output_file
from scsc_lab.errors import InputError
from scsc_lab.experiments.compare import comparison
from scsc_lab.experiments.experiment import Kind, Measure
from scsc_lab.metrics import latency_notes
from scsc_lab.metrics.latency import Detailed, configure
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.report import latency as blocks
from scsc_lab.report import tables
from scsc_lab.report.figures import style
from scsc_lab.report.latency import BATCH, RUNTIME, STATUS
from scsc_lab.report.parts import draw_roofline, roofline_table, time_columns
from scsc_lab.report.tables import Table
from scsc_lab.settings import Drawing, Execution, Output, Settings, Timing
from scsc_lab.settings.measuring import LOOKS, LOOKS_FOR_VERDICT

_AGAIN = " (again)"
_SMALL = 0.005
"""Share of the time below which operators are shown together."""

By = Literal["module", "stage", "operator"]
"""Parts of a network's time."""


@command(first="--resolution --by --runtime --pairs --plot")
def latency(
    context: typer.Context,
    networks: Networks,
    timing: Timing,
    execution: Annotated[Execution, Without("batch")],
    drawing: Annotated[Drawing, Without("panels")],
    output: Output,
    baseline: Baselines = (),
    pair: Pairs = (),
    by: Annotated[By | None, option("Break each network's time down.", "--by")] = None,
    self_test: Annotated[
        bool, option("Time each network against itself: the noise of this machine.", "--self-test")
    ] = False,
    compile: Annotated[
        bool, option("Time networks compiled by torch, as --runtime compile does.", "--compile", panel="Measurement")
    ] = False,
    plot: Annotated[Path | None, output_file("Draw the samples to this file: .png, .pdf or .svg.", "--plot")] = None,
) -> int:
    """Time networks side by side, in pairs of random order, and compare them with 95 % intervals.

    Ctrl-C ends the measurement and prints the rows so far. A network that fails or runs out of memory has a row that
    says so.
    """
    if compile and timing.runtimes not in ((runtimes.USUAL,), ("compile",)):
        raise InputError("--compile stands for --runtime compile: add compile to --runtime instead")
    timing = replace(timing, runtimes=("compile",)) if compile else timing
    runtimes.check(timing.runtimes, execution)
    if drawing != Drawing() and plot is None:
        raise InputError("--width and --no-titles go with --plot FILE")
    compared = bool(baseline or pair)
    _check_together(execution, timing, deploy=networks.deploy, self_test=self_test, by=by, compared=compared, plot=plot)
    store = running.opened(output)
    built = networks.build()
    roles = built.roles(baseline, pair)
    if by:
        roles = [(at, None) for at, _ in roles]
    if self_test:
        if timing.pairs is None and timing.precision is None:
            timing = replace(timing, pairs=LOOKS[LOOKS_FOR_VERDICT - 1])
        built = replace(built, networks=[form for network in built.networks for form in _twice(network)])
        roles = [(at, at - 1 if at % 2 else None) for at in range(len(built.networks))]
    if by or (len(roles) == 1 and len(timing.runtimes) == 1):
        shared.require_without(context, ("delta", "resamples", "precision"), "no times are compared")
    settings = Detailed(**vars(configure(Settings(execution, timing))), by=by or "")
    kind: Kind = "noise" if self_test else "comparison"
    experiment = comparison(
        built.networks, ["latency"], [Measure("latency", settings)], roles=roles, batch=settings.batches[0], kind=kind
    )
    measured = running.measure([experiment], store)
    rows = _timings(measured.results[0].rows, in_order=not by)
    rows = [{**row, "self_test": True} for row in rows] if self_test else rows
    notes = latency_notes.detailed_notes(rows, settings, self_test=self_test, parts=bool(by))
    table = _breakdown(rows, settings, notes) if by else blocks.table(rows, notes)
    code = running.show(table, output, built, seed=execution.seed, cut=measured.interrupted)
    if plot is not None:
        from scsc_lab.report.figures import latency as figure

        running.save_figure(figure.draw(rows, drawing), plot)
    return code


def _twice(network: Network) -> tuple[Network, Network]:
    return network, replace(network, label=str(network) + _AGAIN)


def _timings(rows: Sequence[Row], *, in_order: bool) -> list[Row]:
    """Return the timings of networks; in order: by batch size, then runtime, then network."""
    timings: list[Row] = []
    for row in rows:
        baseline = row["baseline"] if row["baseline"] != row["model"] else ""
        names = {key: row[key] for key in ("model", "resolution", "inputs") if key in row} | {"baseline": baseline}
        for timing in row.get("timings", ()):
            ordinary = row["model"].removesuffix(" (deploy)") if timing["ordinary_ratio"] is not None else ""
            timings.append({**names, **timing, "ordinary": ordinary})
    if not in_order:
        return timings
    order = [list(dict.fromkeys(timing[key] for timing in timings)) for key in ("batch", "runtime")]
    return sorted(timings, key=lambda timing: (order[0].index(timing["batch"]), order[1].index(timing["runtime"])))


def _breakdown(rows: Sequence[Row], settings: Settings, notes: Sequence[str]) -> Table:
    has_models = len({row["model"] for row in rows}) > 1
    elsewhere = len(settings.timing.runtimes) > 1
    wrong = [STATUS] if any(row["status"] != "complete" for row in rows) else []
    columns = (
        *([tables.MODEL] if has_models else []),
        *([RUNTIME] if elsewhere else []),
        *([BATCH] if len(settings.batches) > 1 else []),
        *time_columns(rows[0]["by"]),
        *wrong,
    )
    table_rows = _together(rows) if rows[0]["by"] == "operator" else tuple(rows)
    parts = [row for row in table_rows if row["name"] != "total"]
    filled = tables.filled(columns, parts or table_rows)
    return Table(filled, table_rows, blocks.title(rows), tuple(notes), records=tuple(rows))


def _together(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows of operators with those that take next to nothing, of each network, as one."""
    shown_rows: list[Row] = []
    for row in rows:
        if row["time_share"] is None or row["time_share"] >= _SMALL or row["name"] in ("unexplained", "total"):
            shown_rows.append(row)
            continue
        joined = shown_rows[-1] if shown_rows and shown_rows[-1].get("operators") else None
        if joined is None:
            shown_rows.append({**row, "operators": 1, "iqr_seconds": None})
        else:
            sums = {key: joined[key] + row[key] for key in ("median_seconds", "time_share")}
            number = joined["operators"] + 1
            shown_rows[-1] = {**joined, **sums, "operators": number, "name": f"{number} others"}
    return tuple(shown_rows)


def _check_together(
    execution: Execution,
    timing: Timing,
    *,
    deploy: bool,
    self_test: bool,
    by: str | None,
    compared: bool,
    plot: Path | None,
) -> None:
    """Raise InputError if options do not go together, or the figure cannot be written, before anything is measured."""
    if deploy and execution.train:
        raise InputError("--deploy is for inference: leave --train out")
    if self_test and compared:
        raise InputError("--self-test compares each network with itself: it takes no --baseline")
    if by and (self_test or plot is not None or compared):
        raise InputError("--by breaks networks down one by one: it does not go with --self-test, --baseline or --plot")
    if by and execution.streams > 1:
        raise InputError("--by breaks down one pass: it does not go with --streams")
    if by and execution.train:
        raise InputError("--by breaks down the forward pass as written: it does not go with --train")
    if by and by != "operator" and timing.runtimes != (runtimes.USUAL,):
        raise InputError(f"--by {by} breaks down what torch runs; --by operator, what any runtime does")
    if plot is not None:
        style.check(plot)


@command(first="--resolution --batch --threads --plot --output")
def roofline(
    context: typer.Context,
    networks: Annotated[Networks, Without("deploy", "input")],
    timing: Annotated[Timing, Only("pairs", "max_seconds", "min_seconds", "warm_up_seconds")],
    execution: Annotated[Execution, Without("streams", "train")],
    drawing: Annotated[Drawing, Without("panels")],
    output: Output,
    plot: Annotated[Path | None, output_file("Draw the roofline to this file.", "--plot")] = None,
) -> int:
    """Compare each kind of module with the roofs of this machine: peak MACs and memory bandwidth."""
    if plot is None:
        shared.require_without(context, ("width", "titles"), "nothing is drawn without --plot FILE")
    else:
        style.check(plot)
    settings = Settings(execution, timing)
    store = running.opened(output)

    from scsc_lab.experiments import compare

    built = networks.build()
    experiment = compare.experiment(built.networks, ["roof"], settings)
    measured = running.measure([experiment], store)
    (result,) = measured.results
    table = roofline_table(result.rows, result.notes)
    code = running.show(table, output, built, seed=execution.seed, cut=measured.interrupted)
    if plot is not None:
        running.save_figure(draw_roofline(result.rows, drawing), plot)
    return code
