"""``scsc-lab compare``: networks side by side; ``scsc-lab sweep``: the same at each value of a setting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from scsc_lab import metrics
from scsc_lab.cli import running, shared
from scsc_lab.cli.networks import Baselines, Networks, Pairs
from scsc_lab.cli.parameters import Only, Without, command, option, output_file
from scsc_lab.errors import InputError
from scsc_lab.execution.pools import Parallel
from scsc_lab.files import check_writable
from scsc_lab.records import Row
from scsc_lab.report import comparison
from scsc_lab.report.accuracy import with_schedule
from scsc_lab.report.figures import style
from scsc_lab.report.sweep import sweep_table
from scsc_lab.report.tables import Column
from scsc_lab.settings import Drawing, Execution, Output, PaperTable, Schedule, Settings, texts

By = Literal["stage", "module"]
"""Parts by which two networks can be compared."""

_DEFAULT = tuple(metrics.default_column_names())

_BY_BLOCK = (
    *("models", "model", "by", "set", "weights", "label", "resolution", "batch", "channels", "transplant", "mixer"),
    *("rule", "format", "output", "timeout"),
)
"""Parameters that act where two networks are counted block by block."""


@command(first="--with --resolution --transplant --plot --format")
def compare(
    context: typer.Context,
    networks: Annotated[Networks, Without("deploy")],
    execution: shared.MeasuredIn,
    timing: shared.Timed,
    fields: shared.Drawn,
    training: shared.Trained,
    schedule: Schedule,
    drawing: Annotated[Drawing, Without("panels")],
    output: PaperTable,
    parallel: Parallel,
    columns: shared.Columns = _DEFAULT,
    accuracies: Annotated[
        Path | None,
        option("Add your own results, with columns model,metric,value.", "--accuracy", metavar="FILE.csv"),
    ] = None,
    by: Annotated[By | None, option("Compare two networks part by part.", "--by")] = None,
    plot: Annotated[
        tuple[str, ...],
        option("Draw a scatter of two columns, e.g. macs,latency.", "--plot", metavar="X,Y", parse=texts.names),
    ] = (),
    figure: Annotated[Path | None, output_file("File of the scatter. Default: compare_X_Y.png.", "--figure")] = None,
    baseline: Baselines = (),
    pair: Pairs = (),
) -> int:
    """Compare networks by size, latency, receptive field, and published, your own or trained accuracy."""
    if len(plot) not in (0, 2):
        raise InputError(f"--plot {','.join(plot)!r}: two columns with a comma between, e.g. --plot macs,latency")
    drawn = figure or Path(f"compare_{'_'.join(plot)}.png".replace("/", "-"))
    if by:
        shared.require_only(context, _BY_BLOCK, "--by counts block by block")
    if not plot:
        shared.require_without(context, ("figure", "width", "titles"), "nothing is drawn without --plot X,Y")
    else:
        style.check(drawn)
    settings = shared.checked_settings(context, columns, Settings(execution, timing, fields, training), schedule)
    store = running.opened(output)

    from scsc_lab.experiments import compare as comparing
    from scsc_lab.experiments import results

    built = networks.build()
    labels = [str(network) for network in built.networks]
    if by:
        if len(labels) != 2:
            raise InputError(f"--by {by} compares two networks; {len(labels)} are named")
        rows = comparing.side_by_side(built.networks, by, execution.batch)
        return running.show(comparison.blocks_table(rows, labels, by), output, built)
    values = results.read_own(accuracies, labels) if accuracies else {}
    for axis in plot:
        column_names = [*metrics.with_extra_columns(columns, settings), *results.own_metrics(values)]
        if axis not in column_names:
            hint = f"; add {axis} to --with" if axis in metrics.columns() else metrics.meant(axis)
            raise InputError(f"--plot {','.join(plot)!r}: {axis!r} is none of {', '.join(column_names)}{hint}")
    roles = built.roles(baseline, pair)
    pairs = [[built.networks[first], built.networks[at]] for at, first in roles if first is not None]
    shared.warn_of_few_seeds(pairs, columns, training.seeds, schedule.budgets)
    experiment = comparing.experiment(built.networks, columns, settings, roles=roles, values=values)
    trained = running.train(experiment, schedule, store, parallel=parallel)
    result = trained.results[-1]
    table = comparison.comparison_table(result.rows, result.columns, result.notes)
    if trained.budgets:
        table = with_schedule(table, trained.budgets, trained.tuned)
    code = running.show(table, output, built, seed=execution.seed, cut=trained.interrupted)
    if plot:
        _draw(result.rows, result.columns, plot, drawn, drawing)
    return code


def _draw(rows: Sequence[Row], columns: Sequence[Column], axes: Sequence[str], path: Path, drawing: Drawing) -> None:
    from scsc_lab.report.figures import scatter

    x, y = (comparison.axis(name, columns, rows) for name in axes)
    running.save_figure(scatter.draw(rows, x, y, drawing), path)


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
    figures: Annotated[Path | None, output_file("Folder for one figure per column.", "--figures", "FOLDER")] = None,
) -> int:
    """Measure networks at each value of a setting: exponents of growth, and where two networks are equal."""
    from scsc_lab.experiments import sweep as sweeping

    setting = sweeping.over(over)
    settings = shared.checked_settings(context, columns, Settings(execution, timing, fields, training))
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
    table = sweep_table(result.rows, result.columns, setting.key, metrics.notes(rows, columns))
    code = running.show(table, output, built, seed=execution.seed, cut=measured.interrupted)
    if figures is not None:
        from scsc_lab.report.figures import sweep as drawn

        for column in result.columns:
            path = figures / f"{column.word or column.heading}.png"
            running.save_figure(drawn.draw(result.rows, column, setting.key, drawing), path)
    return code
