"""``scsc-lab sweep``: how cost and field grow with resolution, batch, width or any other setting."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scsc_lab import metrics, runtimes
from scsc_lab.cli import running, shared
from scsc_lab.cli.networks import Networks
from scsc_lab.cli.parameters import Only, Without, command, option
from scsc_lab.execution.pools import Parallel
from scsc_lab.files import check_writable
from scsc_lab.metrics.latency import with_runtimes
from scsc_lab.report import sweep as tables
from scsc_lab.settings import Drawing, Execution, Output, Settings


@command(first="--over --with --pairs --figures --store")
def sweep(
    context: typer.Context,
    networks: Networks,
    execution: Annotated[Execution, Only("device", "threads", "dtype", "batch", "seed")],
    timing: shared.Timed,
    fields: shared.Drawn,
    training: shared.Trained,
    drawing: Annotated[Drawing, Without("panels")],
    output: Output,
    parallel: Parallel,
    over: Annotated[
        str,
        option(
            "Setting and its values: resolution=128..512:64, batch=1,2,4, threads, dtype, width or depth (factors), or "
            "a key of --set.",
            "--over",
            metavar="KEY=VALUES",
        ),
    ] = "resolution=128..384:64",
    columns: shared.Columns = ("macs", "latency"),
    figures: Annotated[
        Path | None, option("Folder for one figure per column.", "--figures", metavar="FOLDER", panel="Output")
    ] = None,
) -> int:
    """Measure networks at each value of a setting: exponents of growth, and where two networks are equal."""
    from scsc_lab.experiments import sweep as sweeping

    setting = sweeping.over(over)
    settings = with_runtimes(Settings(execution, timing, fields, training), columns)
    runtimes.check(settings.timing.runtimes, execution)
    shared.require_used(context, columns, settings)
    if figures is None:
        shared.require_without(context, ("width", "titles"), "nothing is drawn without --figures FOLDER")
    else:
        check_writable(figures / "latency.png")
    clash = {"resolution": "resolution", **{key: key for key in sweeping.OF_SETTINGS}}.get(setting.key)
    if clash:
        shared.require_without(context, (clash,), f"--over goes over {setting.key}")
    store = running.opened(output)
    built = networks.build()
    experiment = sweeping.experiment(built.networks, columns, setting, settings)
    measured = running.measure([experiment], store, parallel)
    (result,) = measured.results
    rows = [{**row, "model": f"{row['model']} at {row['variant']}"} for row in result.rows]
    table = tables.sweep_table(result.rows, result.columns, setting.key, metrics.notes(rows, columns))
    device = running.device_of(result.rows)
    code = running.show(table, output, built, device=device, seed=execution.seed, cut=measured.interrupted)
    if figures is not None:
        from scsc_lab.report.figures import style
        from scsc_lab.report.figures import sweep as drawn

        for column in result.columns:
            path = figures / f"{column.word or column.heading}.png"
            style.save(drawn.draw(result.rows, column, setting.key, drawing), path)
            typer.echo(f"figure: {path}", err=True)
    return code
