"""``scsc-lab evaluate``: trained networks on test images, with intervals, and compared on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from scsc_lab import units
from scsc_lab.cli import progress, requests
from scsc_lab.cli.networks import Baseline, Networks, position
from scsc_lab.cli.parameters import Reworded, Without, command, option
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import render as formats
from scsc_lab.report import tables
from scsc_lab.report.figures import style
from scsc_lab.report.render import csv
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings import Execution, Output, Settings, Training
from scsc_lab.store import check_writable, write


@command(example="scsc-lab evaluate swin_pico --weights run.pt --data navon")
def evaluate(
    context: typer.Context,
    networks: Annotated[Networks, Without("transplant", "mixer", "rule", "deploy")],
    training: Annotated[
        Training,
        Without("recipe", "recipe_set", "seeds", "epochs", "train_images"),
        Reworded(batch_size="Images per pass. Default: 64."),
    ],
    execution: Annotated[Execution, Without("dtype", "memory_format", "train", "batch")],
    output: Output,
    far: Annotated[
        float,
        option("False-accept rate at which to report the true-accept rate.", "--far", low=0, high=1, metavar="RATE"),
    ] = 0.01,
    predictions: Annotated[
        Path | None,
        option("Write per-image predictions to this CSV file.", "--predictions", metavar="FILE", panel="Output"),
    ] = None,
    plot: Annotated[
        Path | None,
        option("Draw the ROC curve of a verification to this file.", "--plot", metavar="FILE", panel="Output"),
    ] = None,
    baseline: Baseline = None,
) -> None:
    """Evaluate trained networks: top-1 and top-5, or verification, with 95 % intervals; McNemar's test of each pair."""
    formats.choose(output.format, output.output)
    if plot:
        style.check(plot)
    if predictions:
        check_writable(predictions)

    from scsc_lab.experiments import evaluate as evaluating
    from scsc_lab.metrics.training import configure

    data = replace(training, batch_size=None, train_images=1, seeds=1)  # nothing of the training split is used
    settings = configure(Settings(execution, training=data))
    settings = replace(settings, plan=replace(settings.plan, size=networks.resolution))
    if settings.plan.task != "verification":
        requests.require_without(context, ("far", "plot"), f"the task is {settings.plan.task}, not verification")
    measured, network_notes = networks.build()
    with progress.stepwise() as report:
        evaluated = evaluating.measure(
            measured,
            settings,
            baseline=position(baseline, measured),
            far=far,
            batch=training.batch_size or 64,
            tell=lambda what: report(what, 0, len(measured)),
        )
    notes = [*evaluated.notes, *network_notes]
    info = run_info(execution.device, execution.seed)
    formats.emit(_table(evaluated.rows, notes), info, output.format, output.output)
    if predictions:
        write(predictions, csv.of_rows(evaluated.predictions))
    if plot and evaluated.curves:
        from scsc_lab.report.figures import roc

        curves = {
            str(network): (curve.far.tolist(), curve.tar.tolist())
            for network, curve in zip(measured, evaluated.curves, strict=True)
            if curve is not None
        }
        style.save(roc.draw(curves), plot)
        typer.echo(f"figure: {plot}", err=True)


def _table(rows: Sequence[Row], notes: Sequence[str]) -> Table:
    far = next((f"{row['far']:g}" for row in rows if "far" in row), "")
    parts = dict.fromkeys(key for row in rows for key in row if key.endswith("_accuracy"))
    columns = (
        tables.MODEL,
        Column("test_images", "images", units.integer),
        Column(("top1", "top1_low", "top1_high"), "top-1 (%)", _interval),
        Column(("top5", "top5_low", "top5_high"), "top-5 (%)", _interval),
        *(Column(key, f"{key.removesuffix('_accuracy')} (%)", units.decimal) for key in parts),
        Column(("accuracy", "accuracy_low", "accuracy_high"), "accuracy (%)", _interval),
        Column("equal_error_rate", "EER (%)", units.decimal),
        Column("tar_at_far", f"TAR (%) at FAR {far}", units.decimal),
        *([Column("not_finite", "not finite", units.integer)] if any(row["not_finite"] for row in rows) else []),
        Column("only_baseline_right", "only baseline right", units.integer),
        Column("only_this_right", "only this right", units.integer),
        Column("mcnemar_p", "p, McNemar", units.probability),
    )
    said = ["Intervals hold 95 %, over these test images; other runs of the training would vary more."]
    if far:
        said = ["Ten-fold accuracy; its 95% interval is over test identities: pairs that share one are dependent."]
    return Table(tables.filled(columns, rows), tuple(rows), notes=(*said, *notes))


def _interval(values: tuple[float | None, ...]) -> str:
    return units.with_interval(values, units.decimal)
