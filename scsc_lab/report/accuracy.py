"""Accuracy as blocks, from rows of trained networks: the tables of the terminal and the section of a report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from scsc_lab import units
from scsc_lab.analysis.convergence import RULE, sentence, share_converged
from scsc_lab.records import Row, file_name
from scsc_lab.report import tables
from scsc_lab.report.document import Block, Curves, Details, Grid, Line, Paragraph, Picture, Section
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

PAIRS_RULE = (
    "Mean ± deviation over seeds of the last epoch, never the best. Differences to the baseline are over pairs of one "
    "seed, which share split, order and augmentation, with their 95 % t interval; p: exact sign-flip test, and Holm's "
    "for all rows of the table; ρ: correlation of the pairs."
)
"""The explanation of every accuracy and its difference."""

_PICO = re.compile(r"\w+_pico(?!\w)")
_TOLD_BY = ("model", "data", "recipe", "epochs", "train_images", "test_images", "batch_size", "seed")
_VERDICT = Column("verdict", "verdict", number=False)


def _with_deviation(values: tuple[float | None, ...]) -> str:
    """Return a mean and a deviation as ``63.2 ± 1.4``."""
    mean, deviation = values
    return units.decimal(mean) if deviation is None else f"{units.decimal(mean)} ± {units.decimal(deviation)}"


def _mean(name: str, title: str, *, optional: bool = False) -> Column:
    keys = (f"{name}_mean", f"{name}_deviation")
    return Column(keys, title, _with_deviation, unit="%", optional=optional)


def _difference(name: str, title: str, *, optional: bool = False) -> Column:
    stem = "" if name == "accuracy" else f"{name}_"
    ends = ("difference_low", "difference_high") if not stem else (f"{stem}low", f"{stem}high")
    return Column((f"{name}_difference", *ends), title, units.points_interval, optional=optional)


_DIFFERENCES = (
    _difference("accuracy", "Δ points, 95%"),
    Column("p_value", "p", units.probability, optional=True),
    Column("p_holm", "p, Holm", units.probability, optional=True),
    Column("pair_correlation", "ρ", units.correlation, optional=True),
)


def networks_table(networks: Sequence[Row], notes: Sequence[str] = ()) -> Table:
    """Return one row per network: accuracies over its seeds, and the paired differences to the baseline.

    Args:
        networks: networks with their ``runs`` and ``verdict``.
        notes: lines below.
    """
    parts = dict.fromkeys(
        key.removesuffix("_accuracy_mean") for row in networks for key in row if key.endswith("_accuracy_mean")
    )
    rows = [{**row, "data": row["runs"][0]["data"] if row["runs"] else ""} for row in networks]
    columns = (
        tables.MODEL,
        Column("data", "data", number=False, optional=True),
        Column("seeds", "seeds"),
        _mean("accuracy", "accuracy"),
        *(_mean(f"{part}_accuracy", part, optional=True) for part in parts),
        *_DIFFERENCES,
        *(_difference(part, f"Δ {part}, points", optional=True) for part in parts),
        _VERDICT,
    )
    return Table(tables.filled(columns, rows), tuple(rows), notes=tuple(notes))


def table(
    networks: Sequence[Row],
    runs: Sequence[Row],
    notes: Sequence[str] = (),
    budgets: Sequence[Sequence[Row]] = (),
    tuned: Sequence[Row] = (),
    difficulty: Sequence[Row] = (),
) -> Table:
    """Return the table of networks, and below it those of the budgets, the tuning and the difficulty.

    JSON and CSV carry rows of networks (one per budget), of runs and of the tuning, told apart by ``kind``.

    Args:
        networks: rows of :func:`scsc_lab.experiments.train.measure`, at the largest budget.
        runs: rows of runs, each with its ``model``.
        notes: what must be known to read them.
        budgets: rows of the networks at each budget, if there are several.
        tuned: rows of :func:`scsc_lab.experiments.tuning.rows`.
        difficulty: rows of :func:`scsc_lab.experiments.difficulty.summaries`.
    """
    by_budget = [row for rows in budgets for row in rows] or list(networks)
    warning = caveat(networks)
    notes = [*([f"{RULE[0].upper()}{RULE[1:]}."] if warning else []), *sentences(budgets), *notes]
    records = [{"kind": "network", **{k: v for k, v in row.items() if k != "runs"}} for row in by_budget]
    for kind, rows in (("run", runs), ("tuning", tuned), ("difficulty", difficulty)):
        records += [{"kind": kind, **row} for row in rows]
    parts = ((_budgets, by_budget if len(budgets) > 1 else ()), (_tuning, tuned), (_difficulty, difficulty))
    details = tuple(make(rows) for make, rows in parts if rows)
    shown = networks_table(networks)
    return Table(shown.columns, shown.rows, warning, (), details, tuple(records)).noted(notes)


def caveat(networks: Sequence[Row]) -> str:
    """Return one line if a baseline's runs had not converged; empty if they had, or nothing is compared."""
    lines = []
    for row in networks:
        if row["model"] != row.get("baseline") or len(networks) < 2:
            continue
        converged, complete = share_converged(row["runs"])
        if converged < complete:
            lines.append(
                f"CAVEAT: {row['model']}, the baseline, had not converged in {complete - converged} of {complete} runs "
                f"of {row['epochs']} epochs: differences may be of the speed of learning."
            )
    return " ".join(lines)


def sentences(budgets: Sequence[Sequence[Row]]) -> list[str]:
    """Return one line per compared network on its verdicts at all budgets, if there are several."""
    if len(budgets) < 2:
        return []
    lines = []
    for model in (row["model"] for row in budgets[-1] if row.get("accuracy_difference") is not None):
        rows = [next((row for row in rows if row["model"] == model), {}) for rows in budgets]
        verdicts = [row.get("verdict") for row in rows]
        each = ", ".join(f"{row.get('epochs')}: {word or 'none'}" for row, word in zip(rows, verdicts, strict=True))
        lines.append(f"{model} against {budgets[-1][0]['baseline']}: {sentence(verdicts)} (by epochs: {each}).")
    return lines


def _budgets(rows: Sequence[Row]) -> Table:
    ordered = sorted(rows, key=lambda row: (row["epochs"], row["model"] != row["baseline"]))
    columns = (
        Column("epochs", "epochs"),
        tables.MODEL,
        _mean("accuracy", "accuracy"),
        Column("train_macs_mean", "MACs spent", units.giga, unit="G"),
        Column("seconds_mean", "seconds", units.decimal),
        Column(("runs_converged", "seeds"), "converged", lambda counts: f"{counts[0]} of {counts[1]}", number=False),
        *_DIFFERENCES,
        _VERDICT,
    )
    return Table(tables.filled(columns, ordered), tuple(ordered), "By training budget")


def _tuning(rows: Sequence[Row]) -> Table:
    columns = (
        tables.MODEL,
        Column("key", "tuned", number=False),
        Column("value", "value", number=False),
        Column("accuracy_mean", "held-out accuracy", units.decimal, unit="%"),
        Column("train_macs", "MACs spent", units.giga, unit="G"),
        Column("seconds", "seconds", units.decimal),
        Column("chosen", "chosen", lambda chosen: "yes" if chosen else "", number=False),
    )
    return Table(tables.filled(columns, rows), tuple(rows), "Tuning, on held-out training images")


def _difficulty(rows: Sequence[Row]) -> Table:
    names = dict.fromkeys(key.removesuffix("_mean") for row in rows for key in row if key.endswith("_mean"))
    columns = (
        Column("condition", "condition", number=False),
        Column("value", "value", lambda value: f"{value:g}"),
        tables.MODEL,
        *(Column(f"{name}_mean", name, units.decimal, unit="%") for name in names),
        *(
            Column((f"{name}_difference", f"{name}_low", f"{name}_high"), f"Δ {name}, points", units.points_interval)
            for name in names
        ),
    )
    note = "Small letters: height in pixels, 7 in training. Noise: deviation per pixel, 0.05 to 0.15 in training."
    return Table(tables.filled(columns, rows), tuple(rows), "By difficulty, from the same weights", (note,))


def section(networks: Sequence[Row], ablated: Sequence[Row] = ()) -> Section:
    """Return a table of the networks, a figure of the seeds and one of the curves per baseline, and every run.

    Args:
        networks: networks with their ``runs``, and the changes against the label of their ``baseline``.
        ablated: variants with theirs.
    """
    judged = [{**row, "verdict": row.get("accuracy_verdict")} for row in networks]
    is_pico = all(_PICO.match(str(row.get("network") or row["model"])) for row in networks)
    is_drawn = all(run["data"] in DRAWN for row in networks for run in row["runs"])
    blocks: list[Block] = [Paragraph(PROBE)] if is_pico and is_drawn else []
    blocks.append(Grid(networks_table(judged, (f"{PAIRS_RULE} Accuracy of navon: both letters right.",)), "accuracy"))
    curves: list[Block] = []
    for baseline in dict.fromkeys(str(row["baseline"]) for row in judged):
        group = [row for row in judged if row["baseline"] == baseline]
        seeds, learning = _pictures(sorted(group, key=lambda row: row["model"] != baseline), baseline)
        blocks.append(seeds)
        curves.append(learning)
    runs = [run for row in [*networks, *ablated] for run in row["runs"]]
    unique = list({tuple(str(run.get(key)) for key in _TOLD_BY): run for run in runs}.values())
    return Section(TITLE, (*blocks, Details("Learning curves, and every run", (*curves, Grid(_runs(unique), "runs")))))


def _pictures(group: Sequence[Row], baseline: str) -> tuple[Picture, Picture]:
    from scsc_lab.report.figures import accuracy

    name, is_large = file_name(baseline), len(group) > accuracy.MANY
    whose = f"{baseline} and its variants"
    seeds = f"{whose}: each seed a dot{'' if is_large else ', pairs joined'}; the difference and its interval"
    caption = f"{whose}: learning curves, means over the seeds" if is_large else f"{baseline}: every run's curve"
    behind = Curves("epoch", tuple(line for row in group for run in row["runs"] for line in _lines(row, run)))
    return (
        Picture(f"accuracy_{name}", seeds, partial(accuracy.draw, group)),
        Picture(f"curves_{name}", caption, partial(accuracy.curves, group), behind),
    )


def _lines(row: Row, run: Row) -> list[Line]:
    curve = run["curve"]
    points = {"training loss": [(epoch["epoch"], epoch["loss"]) for epoch in curve]}
    for name in dict.fromkeys(name for epoch in curve for name in epoch["accuracy"]):
        judged = [epoch for epoch in curve if name in epoch["accuracy"]]  # long runs are judged rarely
        points[f"{name.replace('_', ' ')} (%)"] = [(epoch["epoch"], epoch["accuracy"][name]) for epoch in judged]
    return [
        Line(
            str(row["model"]), f"seed {run['seed']}", name, tuple(float(x) for x, _ in line), tuple(y for _, y in line)
        )
        for name, line in points.items()
    ]


def _runs(runs: Sequence[Row]) -> Table:
    parts = dict.fromkeys(key for run in runs for key in run if key.endswith("_accuracy"))
    rows = [{**run, "loss": run["curve"][-1]["loss"] if run["curve"] else None} for run in runs]
    columns = (
        tables.MODEL,
        Column("data", "data", number=False),
        Column("seed", "seed"),
        Column("epochs", "epochs"),
        Column("accuracy", "accuracy", units.decimal, unit="%"),
        *(Column(key, key.removesuffix("_accuracy"), units.decimal, unit="%") for key in parts),
        Column("loss", "last loss", units.decimal),
        Column("seconds", "seconds", units.decimal),
        Column("images_per_second", "images/s", units.decimal),
        Column("train_macs", "MACs spent", units.giga, unit="G"),
        Column("status", "status", number=False),
    )
    notes = (
        "Seconds include pauses and other work of the machine, and are no measure of speed: runs were made side by "
        "side and at different times. MACs are exact.",
    )
    return Table(tables.filled(columns, rows), tuple(rows), "Every run", notes=notes)
