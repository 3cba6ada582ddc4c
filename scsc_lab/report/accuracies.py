"""The part of a report on accuracy, from rows of trained networks alone: what they come to, and every run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from scsc_lab import units
from scsc_lab.records import Row, file_name
from scsc_lab.report import tables
from scsc_lab.report.document import Block, Curves, Details, Grid, Line, Paragraph, Picture
from scsc_lab.report.tables import Column, Table

TITLE = "Accuracy, by training"

PROBE = (
    "A probe at small scale, not a reproduction: networks a quarter as wide, drawn images of 64×64 pixels, minutes of "
    "training. It says which way SCSC moves accuracy here, on a task that asks for a large field and for local detail "
    "at once; it says nothing of ImageNet or of faces in photographs, for which the paper's claims stay open."
)
"""What runs of pico networks can and cannot tell."""

DRAWN = ("navon", "faces")
"""Data that the project draws."""

_PICO = re.compile(r"\w+_pico(?!\w)")
_TOLD_BY = ("model", "data", "recipe", "epochs", "train_images", "test_images", "batch_size", "seed")


def section(networks: Sequence[Row], ablated: Sequence[Row] = ()) -> tuple[Block, ...]:
    """Return a table of the networks, a figure of the seeds and one of the curves for each baseline, and every run.

    Args:
        networks: networks with their ``runs``, and the changes against the label of their ``baseline``.
        ablated: variants with theirs.
    """
    blocks: list[Block] = []
    pico = all(_PICO.match(str(row.get("network") or row["model"])) for row in networks)
    if pico and all(run["data"] in DRAWN for row in networks for run in row["runs"]):
        blocks.append(Paragraph(PROBE))
    blocks.append(Grid(_table(networks), "accuracy"))
    curves: list[Block] = []
    for baseline in dict.fromkeys(row["baseline"] for row in networks):
        group = [{**row, "verdict": row.get("accuracy_verdict")} for row in networks if row["baseline"] == baseline]
        group.sort(key=lambda row: row["model"] != baseline)
        blocks += _pictures(group, str(baseline))[:1]
        curves += _pictures(group, str(baseline))[1:]
    runs = [run for row in [*networks, *ablated] for run in row["runs"]]
    unique = list({tuple(str(run.get(key)) for key in _TOLD_BY): run for run in runs}.values())
    folded = Details("Learning curves, and every run", (*curves, Grid(_runs(unique), "runs")))
    return (*blocks, folded)


def _pictures(group: Sequence[Row], baseline: str) -> list[Block]:
    from scsc_lab.report.figures import accuracy

    name = file_name(baseline)
    many = len(group) > accuracy.MANY
    whose, joined = f"{baseline} and what is held against it", "" if many else ", pairs joined"
    caption = f"{whose}: each seed a dot{joined}; the difference and its interval"
    whole = f"{whose}: learning curves, drawn as means over the seeds" if many else f"{baseline}: every run's curve"
    behind = Curves("epoch", tuple(line for row in group for run in row["runs"] for line in _lines(row, run)))
    return [
        Picture(f"accuracy_{name}", caption, partial(accuracy.draw, group)),
        Picture(f"curves_{name}", whole, partial(accuracy.curves, group), behind),
    ]


def _lines(row: Row, run: Row) -> list[Line]:
    curve = run["curve"]
    names = dict.fromkeys(name for epoch in curve for name in epoch["accuracy"])
    points = {"training loss": [(epoch["epoch"], epoch["loss"]) for epoch in curve]}
    for name in names:
        judged = [epoch for epoch in curve if name in epoch["accuracy"]]  # long runs are judged seldom
        points[f"{name.replace('_', ' ')} (%)"] = [(epoch["epoch"], epoch["accuracy"][name]) for epoch in judged]
    return [
        Line(
            str(row["model"]), f"seed {run['seed']}", name, tuple(float(x) for x, _ in line), tuple(y for _, y in line)
        )
        for name, line in points.items()
    ]


def _table(networks: Sequence[Row]) -> Table:
    parts = dict.fromkeys(
        key.removesuffix("_accuracy_mean") for row in networks for key in row if key.endswith("_accuracy_mean")
    )
    rows = [{**row, "data": row["runs"][0]["data"]} for row in networks]
    columns = (
        tables.MODEL,
        Column("data", "data", number=False),
        Column("seeds", "seeds"),
        Column(("accuracy_mean", "accuracy_deviation"), "accuracy", with_deviation, unit="%"),
        *(Column((f"{p}_accuracy_mean", f"{p}_accuracy_deviation"), f"{p}", with_deviation, unit="%") for p in parts),
        *DIFFERENCES,
        Column("accuracy_verdict", "verdict", number=False),
    )
    notes = (
        "Mean ± deviation over seeds of the last epoch; differences against the baseline above over pairs of one seed, "
        "with their paired 95% t interval; p: exact sign-flip test, and Holm's for all rows of the table; ρ: "
        "correlation of the pairs. Accuracy of navon: both letters right.",
    )
    return Table(tables.filled(columns, rows), tuple(rows), notes=notes)


def _runs(runs: Sequence[Row]) -> Table:
    parts = dict.fromkeys(key for run in runs for key in run if key.endswith("_accuracy"))
    rows = [{**run, "loss": run["curve"][-1]["loss"] if run["curve"] else None} for run in runs]
    columns = (
        tables.MODEL,
        Column("data", "data", number=False),
        Column("seed", "seed"),
        Column("epochs", "epochs"),
        Column("accuracy", "accuracy", units.decimal, unit="%"),
        *(Column(key, f"{key.removesuffix('_accuracy')}", units.decimal, unit="%") for key in parts),
        Column("loss", "last loss", units.decimal),
        Column("seconds", "seconds", units.decimal),
        Column("images_per_second", "images/s", units.decimal),
        Column("train_macs", "MACs spent", units.giga, unit="G"),
        Column("status", "status", number=False),
    )
    notes = (
        "Seconds are those of the clock, pauses and the machine's other work in them, and no measure of speed: runs of "
        "one table were made side by side and at different times. MACs are exact.",
    )
    return Table(tables.filled(columns, rows), tuple(rows), "Every run", notes=notes)


def with_deviation(values: tuple[float | None, ...]) -> str:
    """Return a mean and a deviation as ``63.2 ± 1.4``."""
    mean, deviation = values
    return units.decimal(mean) if deviation is None else f"{units.decimal(mean)} ± {units.decimal(deviation)}"


DIFFERENCES = (
    Column(("accuracy_difference", "difference_low", "difference_high"), "Δ points, 95%", units.points_interval),
    Column("p_value", "p", units.probability),
    Column("p_holm", "p, Holm", units.probability),
    Column("pair_correlation", "ρ", units.correlation),
)
"""The columns of a paired difference."""
