"""``scsc-lab evaluate``: trained networks on test images, with intervals, and compared on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scsc_lab import units
from scsc_lab.cli import running, shared
from scsc_lab.cli.networks import Baseline, Networks
from scsc_lab.cli.parameters import Reworded, Without, command, option, output_file
from scsc_lab.errors import InputError
from scsc_lab.experiments.compare import comparison
from scsc_lab.experiments.experiment import Measure
from scsc_lab.experiments.results import Result
from scsc_lab.files import check_writable, write
from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.figures import style
from scsc_lab.report.render import rows_to_csv
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings import Execution, Output, Settings, Training

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scsc_lab.analysis.verification import Confusion


@command(first="--weights --data --by-class --class-map --plot")
def evaluate(
    context: typer.Context,
    networks: Annotated[Networks, Without("transplant", "mixer", "rule", "deploy", "input")],
    training: Annotated[
        Training,
        Without("recipe", "recipe_set", "seeds", "epochs", "train_images"),
        Reworded(batch_size="Images per pass. Default: 64."),
    ],
    execution: Annotated[Execution, Without("dtype", "memory_format", "streams", "train", "batch")],
    output: Output,
    far: Annotated[
        float,
        option("False-accept rate at which to report the true-accept rate.", "--far", low=0, high=1, metavar="RATE"),
    ] = 0.01,
    predictions: Annotated[
        Path | None, output_file("Write per-image predictions to this CSV file.", "--predictions")
    ] = None,
    plot: Annotated[
        Path | None, output_file("Draw confusion matrices, or a verification's ROC curve.", "--plot")
    ] = None,
    by_class: Annotated[bool, option("Also print the accuracy of each class.", "--by-class")] = False,
    class_map: Annotated[
        Path | None,
        option("Output of each class in a larger head: CSV class,number, or JSON.", "--class-map", metavar="FILE"),
    ] = None,
    pairs: Annotated[
        Path | None, option("Verify the pairs of this list, in the format of LFW.", "--pairs", metavar="FILE")
    ] = None,
    flip: Annotated[
        bool, option("Add the embedding of the mirror image to that of each image (verification).", "--flip")
    ] = False,
    baseline: Baseline = None,
) -> int:
    """Evaluate trained networks: top-1 and top-5, or verification, with 95 % intervals; McNemar's test of each pair."""
    if plot:
        style.check(plot)
    if predictions:
        check_writable(predictions)
    store = running.opened(output)

    from scsc_lab.metrics.evaluation import Evaluation, class_maps
    from scsc_lab.metrics.training import configure

    data = replace(training, batch_size=None, train_images=1, seeds=1)  # nothing of the training split is used
    runs = configure(Settings(execution, training=data))
    runs = replace(runs, plan=replace(runs.plan, size=networks.resolution))
    is_verification = runs.plan.task == "verification"
    idle = ("by_class", "class_map") if is_verification else ("far", "pairs", "flip")
    other_task = "classification" if is_verification else "verification"
    shared.require_without(context, idle, f"the task is {runs.plan.task}, not {other_task}")
    if pairs and not pairs.is_file():
        raise InputError(f"--pairs {pairs}: no such file")
    outputs = tuple(class_maps.read(class_map).items()) if class_map else None
    built = networks.build(heads_fit=False)
    settings = Evaluation(runs, far, training.batch_size or 64, outputs, pairs, flip)
    experiment = comparison(built.networks, [], [Measure("evaluation", settings)], baseline=built.position(baseline))
    result = running.measure([experiment], store).results[0]
    rows = _rows(result)
    rows_to_show = [
        {key: row[key] for key in row if key not in ("predictions", "curve", "notes", "table")} for row in rows
    ]
    table = _table(rows_to_show, rows[0]["notes"])
    if by_class:
        table = _with_classes(table, [row for confusion in _confusions(rows) for row in confusion.rows()])
    code = running.show(table, output, built, device=execution.device, seed=execution.seed)
    if predictions:
        write(predictions, rows_to_csv(_predictions(rows)))
    if plot:
        running.save_figure(_figure(rows), plot)
    return code


def _figure(rows: Sequence[Row]) -> Figure:
    """Return the figure of a verification or a classification.

    Raises:
        InputError: if no network has finite outputs.
    """
    from scsc_lab.report.figures import evaluation

    curves = {row["model"]: (row["curve"]["far"], row["curve"]["tar"]) for row in rows if row.get("curve")}
    confusions = _confusions(rows)
    if not (curves or confusions):
        raise InputError("--plot: no network has finite outputs for all images")
    return evaluation.draw_confusions(confusions) if confusions else evaluation.draw_rates(curves)


def _confusions(rows: Sequence[Row]) -> list[Confusion]:
    """Return the confusions of each network whose outputs are all finite, in each task; none in verification."""
    from scsc_lab.analysis.verification import Confusion

    sound = [row for row in rows if not row["not_finite"] and "top1" in row]
    return [
        Confusion.of(
            row["model"], key.removesuffix("label").strip(), labels, row["predictions"][f"{key[:-5]}predicted"]
        )
        for row in sound
        for key, labels in row["predictions"].items()
        if key.endswith("label")
    ]


_MISTAKES = (
    Column("taken_for", "most often taken for", number=False),
    Column("taken_for_images", "times", units.integer),
)


def _with_classes(table: Table, rows: Sequence[Row]) -> Table:
    """Return a table with that of the classes below it."""
    columns = (
        tables.MODEL,
        Column("task", "task", number=False),
        Column("class", "class", number=False),
        Column("images", "images", units.integer),
        Column(("accuracy", "accuracy_low", "accuracy_high"), "accuracy (%)", _interval),
        *(_MISTAKES if any(row["taken_for"] for row in rows) else ()),
    )
    records = (*({"kind": "network", **row} for row in table.rows), *({"kind": "class", **row} for row in rows))
    classes = Table(tables.filled(columns, rows), tuple(rows), "By class")
    return replace(table, details=(classes,), records=records)


def _rows(result: Result) -> list[Row]:
    """Return one row per network, in their order; those compared with another one name it, p adjusted together."""
    from scsc_lab.analysis.paired_seeds import holm

    by_label = {row["model"]: row for row in result.further}
    rows = []
    for arm, result_row in zip(result.arms, result.rows, strict=True):
        baseline = {"baseline": result_row["baseline"]} if arm["baseline"] is not None else {}
        rows.append({**by_label[arm["label"]], **baseline})
    compared = [row for row in rows if row.get("mcnemar_p") is not None]
    if len(compared) > 1:
        for row, adjusted in zip(compared, holm([row["mcnemar_p"] for row in compared]), strict=True):
            row["mcnemar_p_holm"] = adjusted
    return rows


def _predictions(rows: Sequence[Row]) -> list[Row]:
    """Return one row per image or pair: its labels, and each network's predictions under the network's name."""
    columns: dict[str, Sequence[object]] = {}
    for key, values in rows[0]["predictions"].items():
        if key.endswith("predicted"):
            columns |= {key.removesuffix("predicted") + row["model"]: row["predictions"][key] for row in rows}
        else:
            columns[key] = values
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _table(rows: Sequence[Row], notes: Sequence[str]) -> Table:
    far = next((f"{row['far']:g}" for row in rows if "far" in row), "")
    parts = dict.fromkeys(key for row in rows for key in row if key.endswith("_accuracy"))
    columns = (
        tables.MODEL,
        Column("test_images", "images", units.integer),
        Column(("top1", "top1_low", "top1_high"), "top-1", _interval, unit="%"),
        Column(("top5", "top5_low", "top5_high"), "top-5", _interval, unit="%"),
        *(Column(key, f"{key.removesuffix('_accuracy')}", units.decimal, unit="%") for key in parts),
        Column(("accuracy", "accuracy_low", "accuracy_high"), "accuracy", _interval, unit="%"),
        Column("equal_error_rate", "EER", units.decimal, unit="%"),
        Column("tar_at_far", f"TAR (%) at FAR {far}", units.decimal),
        *([Column("not_finite", "not finite", units.integer)] if any(row["not_finite"] for row in rows) else []),
        Column("only_baseline_right", "only baseline right", units.integer),
        Column("only_this_right", "only this right", units.integer),
        Column("mcnemar_p", "p, McNemar", units.probability),
        Column("mcnemar_p_holm", "p, Holm", units.probability),
    )
    method = "Intervals hold 95 %, over these test images; other runs of the training would vary more."
    if far:
        method = f"Accuracy over {rows[0]['folds']} folds; its 95% interval is over identities, since pairs share them."
    failures = [
        f"NO ACCURACY for {row['model']}: its outputs for {row['not_finite']} of {row['test_images']} images are not "
        "finite"
        for row in rows
        if row["not_finite"]
    ]
    return Table(tables.filled(columns, rows), tuple(rows), notes=(method, *notes, *failures))


def _interval(values: tuple[float | None, ...]) -> str:
    return units.with_interval(values, units.decimal)
