"""``scsc-lab compare``: networks side by side, each with its change against the baseline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scsc_lab.analysis.protocol import Protocol
from scsc_lab.cli import networks, options, progress
from scsc_lab.errors import InputError
from scsc_lab.experiments import own_results as accuracy
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import comparison
from scsc_lab.report import render as formats
from scsc_lab.report.figures import style
from scsc_lab.settings import Budget, Execution, Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

_BY = ("stage", "module")
_DEFAULT = "params,macs,activations,latency,erf,top1"


def compare(
    models: options.Models = None,
    model: options.MoreModels = None,
    with_: Annotated[
        str,
        typer.Option("--with", metavar="COLUMNS", help="Of params,macs,activations,bytes,latency,erf,top1."),
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
    set_: options.Changes = None,
    weights: options.Weights = None,
    resolution: options.Resolution = None,
    batch: options.Batch = "1",
    channels: options.Channels = None,
    transplant: options.Transplant = False,
    rule: options.Rules = None,
    device: options.Device = "auto",
    threads: options.Threads = "1",
    max_time: Annotated[str, typer.Option("--max-time", metavar="SECONDS", help="Time no longer than this.")] = "20",
    samples: Annotated[str, typer.Option("--samples", metavar="N", help="Images for receptive fields.")] = "16",
    seed: options.Seed = "0",
    baseline: options.Baseline = None,
    format: options.Format = None,
    output: options.Output = None,
) -> int:
    """Compare networks: size, latency, effective receptive field, published and your own accuracy."""
    named = networks.read(models, model, set_, weights, channels, transplant, rule)
    metrics = options.several("--with", with_, tuple(comparison.MEASURES))
    size, images = options.resolution(resolution), options.whole("--batch", batch)
    options.choice("--by", by, _BY)
    axes = _axes(plot)
    drawn = figure or Path(f"compare_{'_'.join(axes)}.png".replace("/", "-"))
    if by and (axes or baseline or accuracies or with_ != _DEFAULT):
        raise InputError("--by counts block by block: it takes no --with, --accuracy, --plot or --baseline")
    if figure is not None and not axes:
        raise InputError("--figure goes with --plot X,Y")
    if axes:
        style.check(drawn)
    formats.choose(format, output)
    number = options.seed(seed)
    plan = Plan(
        execution=Execution(device=options.device(device), threads=options.whole("--threads", threads, 4096)),
        budget=Budget(min_seconds=0.0, max_seconds=options.number("--max-time", max_time)),
        batches=(images,),
        resolution=size,
        seed=number,
    )
    protocol = Protocol(
        device=plan.execution.device,
        samples=options.whole("--samples", samples, 100_000),
        resolution=size,
        seed=number,
    )

    from scsc_lab.experiments import compare as comparing

    subjects = named.subjects(size)
    labels = [subject.label for subject in subjects]
    index = options.baseline_index(baseline, labels)
    own = accuracy.read(accuracies, labels) if accuracies else {}
    for word in axes:
        if word not in (*metrics, *accuracy.metrics(own)):
            raise InputError(f"--plot {plot!r}: {word!r} is none of {', '.join([*metrics, *accuracy.metrics(own)])}")
    if by:
        if len(subjects) != 2:
            raise InputError(f"--by {by} lays two networks side by side; {len(subjects)} are named")
        rows = comparing.side_by_side(subjects, by, size, images)
        formats.emit(comparison.blocks_table(rows, labels, by), run_info(), format, output)
        return 0
    with progress.stepwise() as told:
        rows = comparing.measure(
            subjects,
            metrics,
            baseline=index,
            batch=images,
            plan=plan,
            protocol=protocol,
            accuracies=own,
            progress=told,
        )
    formats.emit(comparison.comparison_table(rows, metrics), run_info(_device(rows), plan.seed), format, output)
    if axes:
        _draw(rows, axes, drawn)
    interrupted = any("cut short" in str(row.get("latency_status")) for row in rows)
    return 130 if interrupted or any(row.get("erf_failure") == "interrupted" for row in rows) else 0


def _device(rows: Sequence[Row]) -> str:
    """Return where the rows were timed, if they were; counts have no device."""
    return next((str(row["device"]) for row in rows if row.get("device")), "cpu")


def _axes(text: str | None) -> list[str]:
    """Return the two columns of ``--plot``.

    Raises:
        InputError: if there are not two.
    """
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    if text is not None and len(words) != 2:
        raise InputError(f"--plot {text!r}: two columns, e.g. macs,latency")
    return words


def _draw(rows: Sequence[Row], axes: Sequence[str], path: Path) -> None:
    from scsc_lab.report.figures import scatter

    x, y = (comparison.axis(word, rows) for word in axes)
    higher = [comparison.higher_is_better(column) for column in (x, y)]
    style.save(scatter.draw(rows, x, y, higher_x=higher[0], higher_y=higher[1]), path)
    typer.echo(f"figure: {path}", err=True)
