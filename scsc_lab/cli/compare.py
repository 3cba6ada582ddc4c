"""``scsc-lab compare``: networks side by side, each with its change against the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from scsc_lab import metrics, runtimes
from scsc_lab.cli import options, progress, requests, shared
from scsc_lab.cli.networks import Baseline, Networks, position
from scsc_lab.cli.parameters import Without, command
from scsc_lab.database import Store
from scsc_lab.errors import InputError
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import comparison
from scsc_lab.report import render as formats
from scsc_lab.report.figures import style
from scsc_lab.report.tables import Column
from scsc_lab.settings import Drawing
from scsc_lab.store import check_writable

_BY = ("stage", "module")
_BY_BLOCK = (
    *("models", "model", "by", "set", "weights", "label", "resolution", "batch", "channels", "transplant", "mixer"),
    *("rule", "format", "output"),
)
"""Parameters that act where two networks are counted block by block."""

_DEFAULT = ",".join(metrics.default_words())


@command(example="scsc-lab compare swin scsc_swin")
def compare(
    context: typer.Context,
    networks: Annotated[Networks, Without("deploy")],
    with_: Annotated[
        str, typer.Option("--with", metavar="COLUMNS", help=f"Of {', '.join(metrics.words())}.")
    ] = _DEFAULT,
    accuracies: Annotated[
        Path | None,
        typer.Option("--accuracy", metavar="FILE.csv", help="Your own results, with columns model,metric,value."),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="WHAT", help="Two networks side by side by stage or module.")
    ] = None,
    plot: Annotated[
        str | None, typer.Option("--plot", metavar="X,Y", help="Draw a scatter of two columns, e.g. macs,latency.")
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option("--figure", metavar="FILE", help="Where the scatter goes. Default: compare_X_Y.png."),
    ] = None,
    batch: options.Batch = "1",
    device: options.Device = "auto",
    threads: options.Threads = "1",
    runtime: options.Runtime = runtimes.USUAL,
    max_time: Annotated[str, typer.Option("--max-time", metavar="SECONDS", help="Time no longer than this.")] = "20",
    samples: Annotated[str, typer.Option("--samples", metavar="N", help="Images for receptive fields.")] = "16",
    stage: options.FieldStage = None,
    seed: options.Seed = "0",
    seeds: options.Seeds = None,
    data: options.Data = "navon",
    recipe: options.Recipe = "pico",
    recipe_set: options.RecipeSet = None,
    store: options.Store = None,
    jobs: options.Jobs = "1",
    executor: options.Executor = "local",
    baseline: Baseline = None,
    width: options.Width = None,
    no_titles: options.NoTitles = False,
    format: options.Format = None,
    output: options.Output = None,
) -> int:
    """Compare networks by size, latency, receptive field, and published, your own or trained accuracy."""
    words = options.several("--with", with_, tuple(metrics.words()))
    options.choice("--by", by, _BY)
    axes = _axes(plot)
    drawing = options.figures(width, no_titles)
    drawn = figure or Path(f"compare_{'_'.join(axes)}.png".replace("/", "-"))
    if by:
        requests.require_only(context, _BY_BLOCK, "--by counts block by block")
    if figure is not None and not axes:
        raise InputError("--figure goes with --plot X,Y")
    if (width or no_titles) and not axes:
        raise InputError("--width and --no-titles go with --plot X,Y")
    if axes:
        style.check(drawn)
    formats.choose(format, output)
    request = requests.read(context, words)

    processes = options.whole("--jobs", jobs)
    if store:
        check_writable(store)
    kept = Store(store)

    from scsc_lab.experiments import compare as comparing
    from scsc_lab.experiments import own_results, runner

    found, network_notes = networks.build()
    labels = [str(network) for network in found]
    index = position(baseline, found)
    values = own_results.read(accuracies, labels) if accuracies else {}
    known = [*metrics.with_extra_columns(words, request), *own_results.metrics(values)]
    for word in axes:
        if word not in known:
            raise InputError(f"--plot {plot!r}: {word!r} is none of {', '.join(known)}")
    if by:
        if len(found) != 2:
            raise InputError(f"--by {by} lays two networks side by side; {len(found)} are named")
        rows = comparing.side_by_side(found, by, request.batch)
        formats.emit(comparison.blocks_table(rows, labels, by), run_info(), format, output)
        return 0
    shared.warn_of_few_seeds([[found[index], *found]], words, request.seeds)
    with runner.executor(executor, processes) as pool, progress.stepwise() as told:
        experiment = comparing.experiment(found, words, request, baseline=index, values=values)
        measured = runner.run([experiment], kept, pool, told)
    (result,) = measured.results
    table = comparison.comparison_table(result.rows, result.columns, (*result.notes, *network_notes))
    formats.emit(table, run_info(_device(result.rows), request.seed), format, output)
    if axes:
        _draw(result.rows, result.columns, axes, drawn, drawing)
    return 130 if measured.interrupted else 0


def _device(rows: Sequence[Row]) -> str:
    """Return where the rows were timed, if they were; counts have no device."""
    return next((str(row["device"]) for row in rows if row.get("device")), "cpu")


def _axes(text: str | None) -> list[str]:
    """Return the two columns of ``--plot``.

    Raises:
        InputError: if they are not two.
    """
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    if text is not None and len(words) != 2:
        raise InputError(f"--plot {text!r}: two columns with a comma between, e.g. --plot macs,latency")
    return words


def _draw(rows: Sequence[Row], columns: Sequence[Column], axes: Sequence[str], path: Path, drawing: Drawing) -> None:
    from scsc_lab.report.figures import scatter

    x, y = (comparison.axis(word, columns, rows) for word in axes)
    style.save(scatter.draw(rows, x, y, drawing), path)
    typer.echo(f"figure: {path}", err=True)
