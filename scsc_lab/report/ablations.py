"""The tables of ablations, from columns and rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.tables import Column, Table

_WIDTH = (
    "Fewer kernels share the input's channels among fewer scales: each is wider, and the module may cost more; at "
    "equal width each is as wide as in the full module. A value of a built-in study that a network cannot have (more "
    "groups than channels, say) is left out."
)
_ABSOLUTE = 2
"""The first columns are shown as they are, too, where there is room; the others as changes alone."""


def ablation_tables(rows: Sequence[Row], columns: Sequence[Column], notes: Sequence[str] = ()) -> Table:
    """Return one table a study, each variant with its change against the full network.

    Args:
        rows: variants of one or more studies; the first of each study is the full network.
        columns: what is shown of them, in order.
        notes: what must be known to read them.
    """
    compared = by_study(with_changes(rows, columns))
    chosen = [Column("variant", "variant", number=False)]
    has_others = any(column.change is not None and column.change.how != "ratio" for column in columns)
    for position, column in enumerate(columns):
        change = column.change.column if column.change is not None else None
        if position < _ABSOLUTE or column.change is None or column.change.how == "difference":
            chosen.append(replace(column, optional=has_others and position < _ABSOLUTE))
            change = change and (change if has_others else replace(change, title="Δ"))
        chosen += [change] if change is not None else []
    parts = [
        Table(tuple(chosen), tuple(variants), f"{variants[0]['model']}: {study}")
        for study, variants in compared.items()
    ]
    widths = [_WIDTH] if any(study in ("components", "kernels", "scales") for study in compared) else []
    first, *details = parts
    if details:  # what holds for all stands at the end
        details[-1] = replace(details[-1], notes=(*widths, *notes))
    records = tuple(row for variants in compared.values() for row in variants)
    own_notes = () if details else (*widths, *notes)
    return Table(first.columns, first.rows, first.title, own_notes, tuple(details), records)


def changes_table(rows: Sequence[Row], columns: Sequence[Column], notes: Sequence[str] = ()) -> Table:
    """Return one table of all studies of a network: each variant with its changes against the full network alone.

    Args:
        rows: variants of one or more studies; the first of each study is the full network.
        columns: those whose change is shown, in order.
        notes: what must be known to read them.
    """
    compared = {study: group[1:] for study, group in by_study(with_changes(rows, columns)).items()}
    chosen = [Column("study", "study", number=False), Column("variant", "variant", number=False)]
    chosen += [column.change.column for column in columns if column.change is not None]
    widths = [_WIDTH] if any(study in ("components", "kernels", "scales") for study in compared) else []
    variants = tuple(row for group in compared.values() for row in group)
    return Table(tuple(chosen), variants, f"{rows[0]['model']}: change by each variant", (*widths, *notes))


def with_changes(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """Return the variants of one network with their changes against the full network, the first of each study.

    What depends on the number of comparisons, adjusted p values, is over all studies: they have one baseline.
    """
    changed = [row for group in by_study(rows).values() for row in tables.with_changes(group, columns, 0)]
    return tables.across(changed, columns)


def by_study(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows of each study, in order."""
    studies: dict[str, list[Row]] = {}
    for row in rows:
        studies.setdefault(str(row["study"]), []).append(row)
    return studies
