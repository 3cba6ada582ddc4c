"""The tables of a search: the front with the options that make it, measured in the trials and again at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.tables import Column, Table

_MOST_REASONS = 3
_LONGEST_REASON = 100


def search_table(
    front: Sequence[Row], again: Sequence[Row], columns: Sequence[Column], title: str, notes: Sequence[str]
) -> Table:
    """Return the networks of a front, what each was measured at, and the options that make it.

    Args:
        front: one row per network, the baseline's first: as its trial measured it, with its ``options``.
        again: the same networks measured again in one run, in the same order; empty where counts decide.
        columns: objectives and budgets.
        title: the title.
        notes: what must be known to read it.
    """
    rows: list[Row] = []
    for number, row in enumerate(front):
        latest = {**row, **(again[number] if again else {})}
        earlier = {f"trial_{key}": value for key, value in row.items()} if again and number else {}
        label = "baseline" if not number else str(number)
        rows.append({**latest, "point": label, "options": row.get("options") or "", **earlier})
    chosen = [Column("point", "", number=False)]
    for column in columns:
        chosen.append(replace(column, optional=False))
        change = column.change
        if change is not None:
            chosen.append(
                replace(change.column, title="Δ" if change.how != "measured" else "× baseline, 95%", optional=False)
            )
            if again and (change.how == "measured" or change.paired is not None):
                chosen.append(replace(_of_trial(change.column), title="in its trial", optional=True))
    options = [Column("point", "", number=False), Column("written", "options", number=False)]
    points = [{"point": row["point"], "written": _with_equals(row)} for row in rows[1:]]
    details = (Table(tuple(options), tuple(points), "What makes them", tuple(notes)),) if points else ()
    table = Table(tables.filled(chosen, rows), tuple(rows), title, () if details else tuple(notes), details)
    return replace(table, records=tuple(rows))


def notes_on_trials(given_up: Mapping[str, int], tried: int, *, enumerated: bool) -> list[str]:
    """Return how many combinations were tried, and why others were given up."""
    total = sum(given_up.values())
    if enumerated:
        notes = [f"All {tried:,} combinations were counted: the front is exact."]
    else:
        notes = [f"{tried:,} trials, {tried - total:,} of them measured to the end."]
    for reason, number in list(given_up.items())[:_MOST_REASONS]:
        text = reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…"
        notes.append(f"{number:,} {'could not be built' if enumerated else 'given up'}: {text}.")
    return notes


def axis(column: Column) -> Column:
    """Return the column that an axis shows: the ratio to the baseline's where only ratios compare."""
    if column.change is None or column.change.how != "measured":
        return column
    name = f"{column.quantity} × baseline's"
    return replace(column, key=column.change.key, title=name, name=name, unit="", scale=1.0)


def _of_trial(column: Column) -> Column:
    renamed = tuple(f"trial_{key}" for key in column.keys)
    return replace(column, key=renamed[0] if isinstance(column.key, str) else renamed)


def _with_equals(row: Row) -> str:
    equal = row.get("equal") or 0
    equals = f" (or one of {equal:,} that cost the same)" if equal else ""
    return f"{row['options'] or 'as it is'}{equals}"
