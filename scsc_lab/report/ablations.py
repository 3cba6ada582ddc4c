"""The tables of ablations, from rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scsc_lab import units
from scsc_lab.records import Row, with_changes
from scsc_lab.report import tables
from scsc_lab.report.tables import Column, Table

_WIDTH = (
    "Fewer kernels share the input's channels among fewer scales: each is wider, and the module may cost more. A value "
    "of a built-in study that a network cannot have (more groups than channels, say) is left out."
)


def ablation_tables(rows: Sequence[Row], metrics: Sequence[str]) -> Table:
    """Return one table a study, each variant with its change against the full network.

    Args:
        rows: variants of one or more studies; the first of each study is the full network.
        metrics: words of :data:`ABLATION_COLUMNS`, in order.
    """
    by_study: dict[str, list[Row]] = {}
    for row in rows:
        by_study.setdefault(row["study"], []).append(row)
    keys = [KEYS.get(metric, metric) for metric in metrics]
    compared = {study: with_changes(own, keys, 0) for study, own in by_study.items()}
    measured = "latency" in metrics or "erf" in metrics
    columns = [Column("variant", "variant", number=False)]
    for metric in metrics:
        if metric == "latency":
            columns.append(Column(("ratio", "ratio_low", "ratio_high"), "time ×, 95%", units.ratio_interval))
            continue
        column = ABLATION_COLUMNS[metric]
        if metric == "erf" or (metric in ("params", "macs") and measured):
            columns += [replace(column, optional=metric != "erf"), tables.change_only(column)]
        elif metric in ("params", "macs"):
            columns += tables.changed(column)
        else:
            columns.append(tables.change_only(column))
    found = [Table(tuple(columns), tuple(own), f"{own[0]['model']}: {study}") for study, own in compared.items()]
    first = found[0]
    records = tuple(row for own in compared.values() for row in own)
    notes = [_WIDTH] if any(study in ("components", "kernels", "scales") for study in by_study) else []
    notes += _conditions(rows[0], metrics)
    details = list(found[1:])
    if details:  # what holds for all stands at the end
        details[-1] = replace(details[-1], notes=tuple(notes))
    return Table(first.columns, first.rows, first.title, () if details else tuple(notes), tuple(details), records)


def _conditions(row: Row, metrics: Sequence[str]) -> list[str]:
    """Return how latency and receptive fields were measured, from any variant's row."""
    notes = []
    if "latency" in metrics:
        notes.append(
            f"Time: over the full network's, median of random-order pairs with its 95% interval; batch {row['batch']}, "
            f"{row['dtype']}, threads: {row['threads']}, {row['device_name']}."
        )
    if "erf" in metrics:
        notes.append(
            "r(50%): share of the input's area in the smallest square around the last stage's central unit that holds "
            f"half of its gradient; {row['weights']} weights, {row['images']} {row['image_kind']}."
        )
    return notes


ABLATION_COLUMNS = {
    "params": tables.PARAMS,
    "macs": tables.MACS,
    "activations": tables.ACTIVATIONS,
    "bytes": tables.BYTES,
    "latency": Column("ratio", "time ×", units.significant),
    "erf": Column("r50", "r(50%)", units.share),
}
"""Columns of the metrics that ablations show, by the word that ``--with`` has for them."""

KEYS = {"latency": "ratio", "erf": "r50"}
"""Keys of the numbers that changes are taken of, where they are not the metric's own name."""


def headings(metrics: Sequence[str]) -> dict[str, str]:
    """Return what the metrics are called in a figure, by the key that their change is taken of."""
    short = {metric: ABLATION_COLUMNS[metric].heading.partition(" (")[0].removesuffix(" ×") for metric in metrics}
    return {KEYS.get(metric, metric): heading for metric, heading in short.items()}
