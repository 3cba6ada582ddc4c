"""The tables of a comparison, from columns and rows alone: the networks, their changes, two of them block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scsc_lab import units
from scsc_lab.errors import InputError
from scsc_lab.records import Row
from scsc_lab.report import latency, tables
from scsc_lab.report.tables import Column, Table


def comparison_table(rows: Sequence[Row], columns: Sequence[Column], notes: Sequence[str] = ()) -> Table:
    """Return the networks with what was measured, and below it the changes against their baselines.

    Args:
        rows: networks, each with the label of its ``baseline``.
        columns: what is shown of them, in order.
        notes: what must be known to read them.
    """
    others = latency.runtimes_table(rows, notes) if any(column.apart for column in columns) else None
    columns = [column for column in columns if not column.apart]
    sizes = dict.fromkeys(units.size(row["resolution"]) for row in rows)
    title = f"Input {next(iter(sizes))}" if len(sizes) == 1 else ""
    inputs = [] if title else [tables.INPUT]
    shown = (tables.MODEL, *inputs, *tables.filled(columns, rows))
    if others is not None and len(shown) == 1 + len(inputs):
        return replace(others, records=tuple(rows))
    apart = () if others is None else (others,)
    once = {(row["model"], units.size(row["resolution"])): row for row in reversed(rows)}  # of several baselines
    table = Table(shown, tuple(reversed(once.values())), title, notes=tuple(notes), records=tuple(rows))
    changed = tuple(row for row in rows if row["baseline"] != row["model"])
    if not changed:
        return replace(table, notes=() if apart else table.notes, details=apart)
    against = dict.fromkeys(str(row["baseline"]) for row in changed)
    heading = "Change against " + (next(iter(against)) if len(against) == 1 else "the baseline")
    several = [Column("baseline", "against", number=False)] if len(against) > 1 else []
    changes = [column.change.column for column in columns if column.change is not None]
    shown = (tables.MODEL, *several, *tables.filled(changes, changed))
    if len(shown) == 1:  # nothing but what is in the table of its own
        return replace(table, notes=(), details=apart)
    details = (Table(shown, changed, heading, () if apart else table.notes), *apart)
    return replace(table, notes=(), details=details)


def wide_table(rows: Sequence[Row], columns: Sequence[Column], notes: Sequence[str] = ()) -> Table:
    """Return one table with every number beside its change: for a page, not a terminal.

    Args:
        rows: networks, each with the label of its ``baseline``; a network after its baseline.
        columns: what is shown of them, in order.
        notes: what must be known to read them.
    """
    beside: list[Column] = [tables.MODEL, tables.INPUT]
    for column in columns:
        beside.append(column)
        if column.change is not None:
            beside.append(replace(column.change.column, title=column.change.beside))
    several = any(row["baseline"] != row["model"] for row in rows)
    against = ["Changes are against the baseline above."] if several else []
    return Table(tables.filled(beside, rows), tuple(rows), notes=(*against, *notes))


def blocks_table(rows: Sequence[Row], labels: Sequence[str], by: str) -> Table:
    """Return two networks side by side, from the rows of :mod:`scsc_lab.experiments.diff`."""
    columns = (
        Column("name", "stage" if by == "stage" else "block", number=False),
        Column("params_first", "params", units.mega_aligned, unit="M"),
        Column("params_second", "→", units.mega_aligned),
        Column("params_difference", "Δ", units.signed_mega_aligned),
        Column("macs_first", "MACs", units.giga_aligned, unit="G"),
        Column("macs_second", "→", units.giga_aligned),
        Column("macs_difference", "Δ", units.signed_giga_aligned),
    )
    notes = (
        f"First {labels[0]}, then {labels[1]}; the differences sum to the total's. "
        "Parameters in millions, MACs in thousand millions.",
    )
    keys = ("params_first", "params_second", "macs_first", "macs_second")
    shown = tuple(row for row in rows if any(row[key] for key in keys))
    return Table(columns, shown, f"{labels[0]} → {labels[1]}", notes, records=tuple(rows))


def axis(word: str, columns: Sequence[Column], rows: Sequence[Row]) -> Column:
    """Return the column of a word as an axis.

    Raises:
        InputError: if there is no such column among those that any row has.
    """
    known = {column.word: column for column in columns if any(row.get(str(column.key)) is not None for row in rows)}
    if word not in known:
        raise InputError(f"--plot {word!r}: not among the columns measured: {', '.join(known)}")
    return known[word]
