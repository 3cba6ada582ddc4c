"""Tables of comparisons and ablations, from columns and rows alone: networks, their changes, variants, blocks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import quantiles
from typing import Any

from scsc_lab import units
from scsc_lab.analysis import fronts
from scsc_lab.errors import InputError
from scsc_lab.records import Row, grouped, is_lower_bound
from scsc_lab.report import latency, tables
from scsc_lab.report.tables import Column, Table
from scsc_lab.units import without_folders


def comparison_table(rows: Sequence[Row], columns: Sequence[Column], notes: Sequence[str] = ()) -> Table:
    """Return the networks with their numbers, and below them the changes against their baselines.

    Args:
        rows: networks, each with the label of its ``baseline``.
        columns: what is shown of them, in order.
        notes: what must be known to read them.
    """
    by_runtime = latency.runtimes_table(rows, notes) if any(column.apart for column in columns) else None
    columns = [column for column in columns if not column.apart]
    sizes = dict.fromkeys(map(tables.INPUT.cell, rows))
    title = f"Input {next(iter(sizes))}" if len(sizes) == 1 else ""
    inputs = [] if title else [tables.INPUT]
    columns_shown = (tables.MODEL, *inputs, *tables.filled(columns, rows))
    if by_runtime is not None and len(columns_shown) == 1 + len(inputs):
        return replace(by_runtime, records=tuple(rows))
    apart = () if by_runtime is None else (by_runtime,)
    once = {(row["model"], tables.INPUT.cell(row)): row for row in reversed(rows)}  # of several baselines
    table = Table(columns_shown, tuple(reversed(once.values())), title, notes=tuple(notes), records=tuple(rows))
    compact = replace(compact_table(rows, columns, notes), details=() if by_runtime is None else (by_runtime,))
    changed = tuple(row for row in rows if row["baseline"] != row["model"])
    if not changed:
        return replace(table, notes=() if apart else table.notes, details=apart, compact=compact)
    against = dict.fromkeys(str(row["baseline"]) for row in changed)
    short = without_folders(str(row["model"]) for row in rows)
    heading = "Change against " + (short[next(iter(against))] if len(against) == 1 else "the baseline")
    against_columns = [Column("baseline", "against", number=False)] if len(against) > 1 else []
    changes = [columns_shown for column in columns for columns_shown in _changes(column)]
    columns_shown = (tables.MODEL, *against_columns, *tables.filled(changes, changed))
    if len(columns_shown) == 1:  # nothing but what is in the table of its own
        return replace(table, notes=(), details=apart, compact=compact)
    details = (Table(columns_shown, changed, heading, () if apart else table.notes), *apart)
    return replace(table, notes=(), details=details, compact=compact)


def wide_table(rows: Sequence[Row], columns: Sequence[Column], notes: Sequence[str] = ()) -> Table:
    """Return one table with every change and every number: for a page to explore, not a terminal.

    Args:
        rows: networks, each with the label of its ``baseline``; a network after its baseline.
        columns: what is shown of them, in order.
        notes: what must be known to read them.
    """
    changes = [change for column in columns for change in _changes(column)]
    numbers = [
        replace(column, optional=column.optional or (column.change is not None and column.change.column.optional))
        for column in columns
    ]
    against = (
        ["Changes are against each network's baseline."] if any(row["baseline"] != row["model"] for row in rows) else []
    )
    every = (tables.MODEL, *changes, *numbers, tables.INPUT)
    compact = compact_table(rows, columns, notes)
    return Table(tables.filled(every, rows), tuple(rows), notes=(*against, *notes), compact=compact)


def _changes(column: Column) -> list[Column]:
    """Return the column of a column's change, and that of the verdict on it where the metric judges it."""
    change = column.change
    if change is None:
        return []
    verdict = change.verdict if change.how == "measured" else change.judged
    title = "verdict" if change.how == "measured" else f"verdict on {column.quantity}"
    optional = change.how != "measured"  # without its verdict a ratio of times is half an answer
    return [change.column, *([Column(verdict, title, number=False, optional=optional)] if verdict else [])]


def compact_table(rows: Sequence[Row], columns: Sequence[Column], notes: Sequence[str] = ()) -> Table:
    """Return one table with each number and its change in one cell, or side by side where the change has an interval.

    Args:
        rows: networks, each with the label of its ``baseline``.
        columns: what is shown of them, in order.
        notes: what must be known to read them.
    """
    sizes = list(dict.fromkeys(units.size(row["resolution"]) for row in rows))
    cells: list[Column] = [tables.MODEL, *([tables.INPUT] if len(sizes) > 1 else [])]
    for column in tables.filled(columns, rows):
        change = column.change
        if change is None or not tables.filled([change.column], rows):
            cells.append(column)
        elif isinstance(change.column.key, str):
            cells.append(_with_change(column, change.column))
        else:
            below = change.beside.removeprefix(column.title).strip()
            cells.append(replace(column, heads=(column.quantity, column.unit)))
            ratio = without_reference(change.column, rows)
            cells.append(replace(ratio, title=change.beside, heads=(column.quantity, below)))
            cells += [
                replace(each, heads=(column.quantity, "verdict"), optional=False) for each in _changes(column)[1:]
            ]
    baselines = list(dict.fromkeys(str(row["baseline"]) for row in rows if row["baseline"] != row["model"]))
    against = (
        f", with the change against {baselines[0] if len(baselines) == 1 else 'the baseline'}" if baselines else ""
    )
    where = f" at {sizes[0]} pixels" if len(sizes) == 1 else ""
    return Table(tuple(cells), tuple(rows), f"Networks{where}{against}", tuple(notes))


def _with_change(column: Column, change: Column) -> Column:
    """Return a column whose cells hold a number and, in parentheses, its change."""

    def text(values: tuple[Any, Any]) -> str:
        number, changed = column.text(values[0]), change.text(values[1])
        return f"{number} ({changed})" if changed else number

    optional = column.optional or change.optional
    return replace(column, key=(str(column.key), str(change.key)), text=text, change=None, optional=optional)


def without_reference(column: Column, rows: Sequence[Row] = ()) -> Column:
    """Return the column of a measured ratio without the time that the ratio is of; any other column as it is.

    Args:
        column: the column.
        rows: the rows of its table. Where the baseline's own time in them is of other rounds, the column stays.
    """
    if isinstance(column.key, str) or column.text is not units.ratio_of_time:
        return column
    reference = column.key[3]
    for row, baseline in zip(rows, tables.baselines(rows, rows), strict=True):
        seconds = (baseline or {}).get(reference.replace("baseline_seconds", str(latency.MEDIAN.key)))
        if units.milliseconds(row.get(reference)) not in (units.MISSING, units.milliseconds(seconds)):
            return column
    return replace(column, key=column.key[:3], text=units.ratio_interval)


def blocks_table(rows: Sequence[Row], labels: Sequence[str], by: str) -> Table:
    """Return two networks side by side, from the rows of :mod:`scsc_lab.experiments.compare`."""
    columns = (
        Column("name", "stage" if by == "stage" else "block", number=False),
        Column("params_first", "params", units.mega_aligned, unit="M"),
        Column("params_second", "→", units.mega_aligned),
        Column("params_difference", "Δ", units.with_sign(units.mega_aligned)),
        Column("macs_first", "MACs", units.giga_aligned, unit="G"),
        Column("macs_second", "→", units.giga_aligned),
        Column("macs_difference", "Δ", units.with_sign(units.giga_aligned)),
    )
    notes = (
        f"First {labels[0]}, then {labels[1]}; the differences sum to the total's. "
        "Parameters in millions, MACs in thousand millions.",
    )
    keys = ("params_first", "params_second", "macs_first", "macs_second")
    costly = tuple(row for row in rows if any(row[key] for key in keys))
    return Table(columns, costly, f"{labels[0]} → {labels[1]}", notes, records=tuple(rows))


def interval(column: Column, row: Row) -> tuple[float, float] | None:
    """Return the ends of a number's interval, in the row's unit, or None.

    They are those of the row; of a time the quartiles of its samples, of an accuracy two standard errors of its mean.
    """
    stem = str(column.key).removesuffix("_mean")
    low, high = row.get(f"{stem}_low"), row.get(f"{stem}_high")
    if row.get(f"{stem}_deviation") is not None and row.get("seeds"):
        reach = 2 * row[f"{stem}_deviation"] / math.sqrt(row["seeds"])
        low, high = row[str(column.key)] - reach, row[str(column.key)] + reach
    samples = row.get("samples_seconds") if column.key == latency.MEDIAN.key else None
    if samples and len(samples) > 1:
        low, _, high = quantiles(samples, n=4, method="inclusive")
    return None if low is None or high is None else (low, high)


def front(rows: Sequence[Row], x: Column, y: Column) -> list[int]:
    """Return which rows are on the Pareto front of two columns; none with partial counts or where intervals overlap.

    Where the intervals of two of its points overlap in a column, nobody knows which of them is better in it.
    """
    if any(is_lower_bound(row, column.key) for row in rows for column in (x, y)):
        return []
    xs, ys = ([row[str(column.key)] for row in rows] for column in (x, y))
    best = fronts.front(xs, ys, x.better, y.better)
    for first, second in itertools.pairwise(best):
        for column in (x, y):
            ends = [interval(column, rows[at]) for at in (first, second)]
            if ends[0] and ends[1] and max(ends[0][0], ends[1][0]) <= min(ends[0][1], ends[1][1]):
                return []
    return best


def axis(word: str, columns: Sequence[Column], rows: Sequence[Row]) -> Column:
    """Return the column of a word as an axis.

    Raises:
        InputError: if there is no such column among those that any row has.
    """
    by_word = {column.word: column for column in columns if any(row.get(str(column.key)) is not None for row in rows)}
    if word not in by_word:
        raise InputError(f"--plot {word!r}: not among the columns measured: {', '.join(by_word)}")
    return by_word[word]


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
    return grouped(rows, lambda row: str(row["study"]))
