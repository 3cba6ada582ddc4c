"""The tables of ablations, from rows alone."""

from __future__ import annotations

from collections.abc import Sequence

from scsc_lab import tables
from scsc_lab.records import Row, with_changes
from scsc_lab.tables import Column, Table


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
