"""``scsc-lab compare``: networks side by side, each with its change against the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from scsc_lab import metrics, runtimes
from scsc_lab.cli import progress, requests, shared
from scsc_lab.cli.networks import Baseline, Networks, position
from scsc_lab.cli.parameters import Without, command, option
from scsc_lab.database import Store
from scsc_lab.errors import InputError
from scsc_lab.metrics.latency import with_runtimes
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import comparison
from scsc_lab.report import render as formats
from scsc_lab.report.figures import style
from scsc_lab.report.tables import Column
from scsc_lab.settings import Drawing, Output, Settings, texts
from scsc_lab.store import check_writable

By = Literal["stage", "module"]
"""What two networks can be laid side by side by."""

_DEFAULT = tuple(metrics.default_words())

_BY_BLOCK = (
    *("models", "model", "by", "set", "weights", "label", "resolution", "batch", "channels", "transplant", "mixer"),
    *("rule", "format", "output"),
)
"""Parameters that act where two networks are counted block by block."""


@command(example="scsc-lab compare swin scsc_swin")
def compare(
    context: typer.Context,
    networks: Annotated[Networks, Without("deploy")],
    execution: shared.MeasuredIn,
    timing: shared.Timed,
    fields: shared.Drawn,
    training: shared.Trained,
    drawing: Annotated[Drawing, Without("panels")],
    output: Output,
    columns: shared.Columns = _DEFAULT,
    accuracies: Annotated[
        Path | None,
        option("Add your own results, with columns model,metric,value.", "--accuracy", metavar="FILE.csv"),
    ] = None,
    by: Annotated[By | None, option("Lay two networks side by side, part by part.", "--by")] = None,
    plot: Annotated[
        tuple[str, ...],
        option("Draw a scatter of two columns, e.g. macs,latency.", "--plot", metavar="X,Y", parse=texts.words),
    ] = (),
    figure: Annotated[
        Path | None,
        option("File of the scatter. Default: compare_X_Y.png.", "--figure", metavar="FILE", panel="Output"),
    ] = None,
    store: shared.Store = None,
    jobs: shared.Jobs = 1,
    executor: shared.Executor = "local",
    baseline: Baseline = None,
) -> int:
    """Compare networks by size, latency, receptive field, and published, your own or trained accuracy."""
    if len(plot) not in (0, 2):
        raise InputError(f"--plot {','.join(plot)!r}: two columns with a comma between, e.g. --plot macs,latency")
    drawn = figure or Path(f"compare_{'_'.join(plot)}.png".replace("/", "-"))
    if by:
        requests.require_only(context, _BY_BLOCK, "--by counts block by block")
    if not plot:
        requests.require_without(context, ("figure", "width", "titles"), "nothing is drawn without --plot X,Y")
    else:
        style.check(drawn)
    formats.choose(output.format, output.output)
    settings = with_runtimes(Settings(execution, timing, fields, training), columns)
    runtimes.check(settings.timing.runtimes, execution)
    requests.require_used(context, columns, settings)
    if store:
        check_writable(store)
    kept = Store(store)

    from scsc_lab.experiments import compare as comparing
    from scsc_lab.experiments import own_results, runner

    measured_networks, network_notes = networks.build()
    labels = [str(network) for network in measured_networks]
    index = position(baseline, measured_networks)
    values = own_results.read(accuracies, labels) if accuracies else {}
    known = [*metrics.with_extra_columns(columns, settings), *own_results.metrics(values)]
    for word in plot:
        if word not in known:
            raise InputError(f"--plot {','.join(plot)!r}: {word!r} is none of {', '.join(known)}")
    if by:
        if len(labels) != 2:
            raise InputError(f"--by {by} lays two networks side by side; {len(labels)} are named")
        rows = comparing.side_by_side(measured_networks, by, execution.batch)
        formats.emit(comparison.blocks_table(rows, labels, by), run_info(), output.format, output.output)
        return 0
    shared.warn_of_few_seeds([[measured_networks[index], *measured_networks]], columns, training.seeds)
    with runner.executor(executor, jobs) as pool, progress.stepwise() as report:
        experiment = comparing.experiment(measured_networks, columns, settings, baseline=index, values=values)
        measured = runner.run([experiment], kept, pool, report)
    (result,) = measured.results
    table = comparison.comparison_table(result.rows, result.columns, (*result.notes, *network_notes))
    formats.emit(table, run_info(_device(result.rows), execution.seed), output.format, output.output)
    if plot:
        _draw(result.rows, result.columns, plot, drawn, drawing)
    return 130 if measured.interrupted else 0


def _device(rows: Sequence[Row]) -> str:
    """Return where the rows were timed, if they were; counts have no device."""
    return next((str(row["device"]) for row in rows if row.get("device")), "cpu")


def _draw(rows: Sequence[Row], columns: Sequence[Column], axes: Sequence[str], path: Path, drawing: Drawing) -> None:
    from scsc_lab.report.figures import scatter

    x, y = (comparison.axis(word, columns, rows) for word in axes)
    style.save(scatter.draw(rows, x, y, drawing), path)
    typer.echo(f"figure: {path}", err=True)
