"""The table of training runs: what each network comes to over its seeds, and against the baseline."""

from __future__ import annotations

from collections.abc import Sequence

from scsc_lab.records import Row
from scsc_lab.report import accuracies, tables
from scsc_lab.report.tables import Column, Table


def table(networks: Sequence[Row], runs: Sequence[Row], notes: Sequence[str] = ()) -> Table:
    """Return one line a network, and below it the differences to the baseline.

    JSON and CSV carry a row a network and a row a run, told apart by ``kind``.

    Args:
        networks: rows of :func:`scsc_lab.experiments.train.summaries`.
        runs: rows of runs, each with its ``model``.
        notes: what must be known to read them.
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
    records = [{"kind": "network", **{k: v for k, v in row.items() if k != "runs"}} for row in networks]
    records += [{"kind": "run", **row} for row in runs]
    shown, kept = tables.filled(columns, networks), tuple(records)
    compared = tuple(row for row in networks if row.get("accuracy_difference") is not None)
    if not compared:
        return Table(shown, tuple(networks), notes=tuple(notes), records=kept)
    heading = f"Accuracy against {compared[0]['baseline']}" if "baseline" in compared[0] else "Against the first"
    against = Table(tables.filled(differences, compared), compared, heading, tuple(notes))
    return Table(shown, tuple(networks), details=(against,), records=kept)
