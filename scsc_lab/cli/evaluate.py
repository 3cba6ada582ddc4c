"""``scsc-lab evaluate``: trained networks on test images, with intervals, and compared on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from scsc_lab import units
from scsc_lab.cli import options, progress, requests
from scsc_lab.cli.networks import Baseline, Networks, position
from scsc_lab.cli.parameters import Without, command
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import render as formats
from scsc_lab.report import tables
from scsc_lab.report.figures import style
from scsc_lab.report.render import csv
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings import Request
from scsc_lab.store import check_writable, write


@command(example="scsc-lab evaluate swin_pico --weights run.pt --data navon")
def evaluate(
    context: typer.Context,
    networks: Annotated[Networks, Without("transplant", "mixer", "rule", "deploy")],
    data: options.Data = "navon",
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="NAME", help="classification or verification. Default: what the data is for."),
    ] = None,
    test_images: Annotated[
        str | None, typer.Option("--test-images", metavar="N", help="Images to be judged on. Default: the data's.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="SHARE", help="Share of one folder's images that is the test.")
    ] = None,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Go on without files that cannot be read.")
    ] = False,
    batch_size: Annotated[str, typer.Option("--batch-size", metavar="N", help="Images in one pass.")] = "64",
    far: Annotated[
        str, typer.Option("--far", metavar="RATE", help="False accept rate that the true accept rate is told at.")
    ] = "0.01",
    predictions: Annotated[
        Path | None, typer.Option("--predictions", metavar="FILE", help="Write what is said of every image, as CSV.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw the ROC of a verification.")] = None,
    device: options.Device = "auto",
    threads: options.Threads = "1",
    seed: options.Seed = "0",
    baseline: Baseline = None,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Evaluate trained networks: top-1 and top-5, or verification, with 95 % intervals; McNemar's test of each pair."""
    given = {
        "data": data,
        "task": task,
        "train_images": "1",  # nothing of the training split is used
        "test_images": None if test_images is None else str(options.whole("--test-images", test_images)),
        "split": None if split is None else str(options.share("--split", split)),
        "skip_unreadable": str(skip_unreadable).lower(),
    }
    request = Request(
        device=options.device(device),
        threads=options.whole("--threads", threads, 4096),
        seed=options.seed(seed),
        seeds=1,
        options=tuple((key, value) for key, value in given.items() if value is not None),
    )
    rate, batch = options.number("--far", far, 1), options.whole("--batch-size", batch_size)
    formats.choose(format, output)
    if plot:
        style.check(plot)
    if predictions:
        check_writable(predictions)

    import dataclasses

    from scsc_lab.experiments import evaluate as evaluating
    from scsc_lab.metrics import training

    settings = training.configure(request)
    settings = dataclasses.replace(settings, plan=dataclasses.replace(settings.plan, size=networks.resolution))
    if settings.plan.task != "verification":
        requests.require_without(context, ("far", "plot"), f"the task is {settings.plan.task}, not verification")
    found, network_notes = networks.build()
    with progress.stepwise() as told:
        evaluated = evaluating.measure(
            found,
            settings,
            baseline=position(baseline, found),
            far=rate,
            batch=batch,
            tell=lambda what: told(what, 0, len(found)) if told else None,
        )
    notes = [*evaluated.notes, *network_notes]
    formats.emit(_table(evaluated.rows, notes), run_info(request.device, request.seed), format, output)
    if predictions:
        write(predictions, csv.of_rows(evaluated.predictions))
    if plot and evaluated.curves:
        from scsc_lab.report.figures import roc

        curves = {
            str(network): (curve.far.tolist(), curve.tar.tolist())
            for network, curve in zip(found, evaluated.curves, strict=True)
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
