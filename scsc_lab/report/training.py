"""The tables of training runs: each network's accuracy over its seeds, and its difference to the baseline."""

from __future__ import annotations

from collections.abc import Sequence

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report import accuracies, tables
from scsc_lab.report.tables import Column, Table


def table(
    networks: Sequence[Row],
    runs: Sequence[Row],
    notes: Sequence[str] = (),
    budgets: Sequence[Sequence[Row]] = (),
    tuned: Sequence[Row] = (),
) -> Table:
    """Return one line per network, and below it the differences to the baseline, the budgets and the tuning.

    JSON and CSV carry rows of networks (one per budget), of runs and of the tuning, told apart by ``kind``.

    Args:
        networks: rows of :func:`scsc_lab.experiments.train.summaries`, at the largest budget.
        runs: rows of runs, each with its ``model``.
        notes: what must be known to read them.
        budgets: rows of the networks at each budget, if there are several.
        tuned: rows of :class:`scsc_lab.experiments.tuning.Tuned`.
    """
    parts = dict.fromkeys(
        key.removesuffix("_accuracy_mean") for row in networks for key in row if key.endswith("_accuracy_mean")
    )
    columns = (
        tables.MODEL,
        Column("seeds", "seeds"),
        Column(("accuracy_mean", "accuracy_deviation"), "accuracy (%)", accuracies.with_deviation),
        *(
            Column((f"{p}_accuracy_mean", f"{p}_accuracy_deviation"), f"{p} (%)", accuracies.with_deviation)
            for p in parts
        ),
    )
    differences = (
        tables.MODEL,
        *accuracies.DIFFERENCES,
        Column("verdict", "verdict", number=False),
    )
    by_budget = [row for rows in budgets for row in rows] or networks
    records = [{"kind": "network", **{k: v for k, v in row.items() if k != "runs"}} for row in by_budget]
    records += [{"kind": "run", **row} for row in runs]
    records += [{"kind": "tuning", **row} for row in tuned]
    shown, kept = tables.filled(columns, networks), tuple(records)
    compared = tuple(row for row in networks if row.get("accuracy_difference") is not None)
    details = [*([_budgets(by_budget)] if len(budgets) > 1 else []), *([_tuning(tuned)] if tuned else [])]
    if not compared:
        return Table(shown, tuple(networks), notes=tuple(notes), records=kept, details=tuple(details))
    heading = f"Accuracy against {compared[0]['baseline']}" if "baseline" in compared[0] else "Against the first"
    against = Table(tables.filled(differences, compared), compared, heading, tuple(notes))
    return Table(shown, tuple(networks), details=(*details, against), records=kept)


def _budgets(rows: Sequence[Row]) -> Table:
    ordered = sorted(rows, key=lambda row: (row["epochs"], row["model"] != row["baseline"]))
    columns = (
        Column("epochs", "epochs"),
        tables.MODEL,
        Column(("accuracy_mean", "accuracy_deviation"), "accuracy (%)", accuracies.with_deviation),
        Column("train_macs_mean", "MACs spent (G)", units.giga),
        Column("seconds_mean", "seconds", units.decimal),
        *accuracies.DIFFERENCES,
        Column("verdict", "verdict", number=False),
    )
    return Table(tables.filled(columns, ordered), tuple(ordered), "By training budget")


def _tuning(rows: Sequence[Row]) -> Table:
    columns = (
        tables.MODEL,
        Column("key", "tuned", number=False),
        Column("value", "value", number=False),
        Column("accuracy_mean", "held-out accuracy (%)", units.decimal),
        Column("train_macs", "MACs spent (G)", units.giga),
        Column("seconds", "seconds", units.decimal),
        Column("chosen", "chosen", lambda chosen: "yes" if chosen else "", number=False),
    )
    return Table(tables.filled(columns, rows), tuple(rows), "Tuning, on held-out training images")
