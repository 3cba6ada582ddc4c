"""Tables as a paper has them, from rows alone: the claims, the comparison, the ablations."""

from __future__ import annotations

from collections.abc import Sequence

from scsc_lab import tables, units
from scsc_lab.records import Row, with_changes
from scsc_lab.tables import Column, Table

_QUANTITIES = {"params": "parameters", "macs": "MACs"}


def claims_table(rows: Sequence[Row]) -> Table:
    """Return the claims of the abstract beside our own figures, with what is inferred and the nearest settings."""
    columns = (
        Column("claim", "claim", number=False),
        Column("published", "paper", units.percent),
        Column("measured", "ours", units.exact_percent),
        Column("difference", "points", units.points),
        Column("verdict", "verdict", number=False),
    )
    notes = [
        "Changes of the SCSC network against its baseline, counted as by `scsc-lab flops`; the paper's FLOPs are MACs. "
        "Reproduced: within one point. Points below zero: more is saved than claimed.",
    ]
    for row in rows:
        if row["nearest"] is not None:
            reached = f"{units.exact_percent(row['nearest_change'])} {_QUANTITIES[row['quantity']]}"
            found = f"{row['nearest']} comes nearest, with {reached}"
            if row["nearest"] == row["network"]:
                found = "none comes nearer than the released network"
            notes.append(
                f"{row['claim']}: of all choices of each stage's kernels, {found}; what the paper used is open."
            )
    inferred = {row["network"]: row["inferred"] for row in rows if row["inferred"]}
    notes += [f"Inferred, {network}: {text}." for network, text in inferred.items()]
    if any(row["published_text"] for row in rows):
        notes.append("Similar: the abstract prints no figure; held against no change, and no reason for exit code 1.")
    return Table(columns, tuple(rows), "SCSC against its baselines: claimed and counted", tuple(notes))


def ablation_tables(rows: Sequence[Row], metrics: Sequence[str]) -> Table:
    """Return one table a study, each variant with its change against the full network.

    Args:
        rows: variants of one or more studies; the first of each study is the full network.
        metrics: keys of the metrics shown, in order.
    """
    by_study: dict[str, list[Row]] = {}
    for row in rows:
        by_study.setdefault(row["study"], []).append(row)
    compared = {study: with_changes(own, metrics, 0) for study, own in by_study.items()}
    columns = [Column("variant", "variant", number=False)]
    for key in metrics:
        column = ABLATION_COLUMNS[key]
        columns += tables.changed(column) if key in ("params", "macs") else [tables.change_only(column)]
    found = [Table(tuple(columns), tuple(own), f"{own[0]['model']}: {study}") for study, own in compared.items()]
    first = found[0]
    records = tuple(row for own in compared.values() for row in own)
    return Table(first.columns, first.rows, first.title, (), tuple(found[1:]), records)


ABLATION_COLUMNS = {
    "params": tables.PARAMS,
    "macs": tables.MACS,
    "activations": tables.ACTIVATIONS,
    "bytes": tables.BYTES,
}
"""Columns of the metrics that ablations show."""
