"""What changed between two reports, and whether a change is outside its interval: a check for regressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report import receptive_fields, tables
from scsc_lab.report.tables import Column, Table

WORDS = ("slower", "worse")
"""What a change may be called that one fails on: time that is longer; any other number that is worse."""

_ALIKE = 1e-9
"""A relative difference of an exact number that is rounding."""

_COLUMNS = (
    Column("model", "model", number=False),
    Column("measure", "measure", number=False),
    Column("old", "was"),
    Column("new", "is"),
    Column("change", "change", units.percent),
    Column("certain", "outside its interval", number=False),
    Column("verdict", "verdict", number=False),
)


def table(old: Sequence[Row], new: Sequence[Row], columns: Mapping[str, Column]) -> Table:
    """Return one line a number that differs between two reports, with its verdict.

    Exact numbers differ where they are not equal. A time is held against the other by its ratio to the baseline, which
    the machine's speed leaves alone, where both reports have one against the same network; a number with an interval
    has changed where the two intervals lie apart. A number without an interval that is not exact says so.

    Args:
        old: rows of the report that the other is held against.
        new: rows of the report.
        columns: the columns of every metric, by word.
    """
    networks, several = _networks(new), _networks(old)
    sizes: dict[str, set[str]] = {}
    for row in (*networks, *several):
        sizes.setdefault(row["model"], set()).add(str(row["resolution"]))
    names = [_name(row, sizes) for row in networks]
    before = {_name(row, sizes): row for row in several}
    rows = [
        {**found, "model": name}
        for name, row in zip(names, networks, strict=True)
        if name in before
        for column in columns.values()
        if (found := _difference(before[name], row, column)) is not None
    ]
    notes = [f"Only in the new report: {name}." for name in names if name not in before]
    notes += [f"Only in the old report: {name}." for name in before if name not in names]
    return Table(_COLUMNS, tuple(rows), "" if rows else "Nothing changed.", tuple(notes))


def _name(row: Row, sizes: Mapping[str, set[str]]) -> str:
    """Return a network's name, with its input's size where networks of its name have several."""
    several = len(sizes[row["model"]]) > 1
    return f"{row['model']} at {units.size(row['resolution'])}" if several else str(row["model"])


def _networks(rows: Sequence[Row]) -> list[Row]:
    """Return the networks of a report, each with the interval of its receptive field."""
    fields = [row for row in rows if row["table"] == "field"]
    networks = [row for row in rows if row["table"] == "comparison"]
    found = [(row, receptive_fields.of(row, fields)) for row in networks]
    keys = ("r50", "r50_low", "r50_high")
    return [{**row, **{key: own.get(key) for key in keys}} if own is not None else row for row, own in found]


def _difference(old: Row, new: Row, column: Column) -> Row | None:
    key, text = str(column.key), column.cell
    cells = (text(old), text(new))
    intervals: list[tuple[Any, Any]] = [(row.get(f"{key}_low"), row.get(f"{key}_high")) for row in (old, new)]
    name = (column.name or column.heading).partition(" (")[0]
    timed = column.change is not None and column.change.how == "measured"
    exact = column.change is None or not (timed or column.change.paired)
    ratio, *ends = column.change.keys[:3] if column.change is not None else ("",)
    if timed and old.get(ratio) and new.get(ratio) and old.get("baseline") == new.get("baseline"):
        key, name = ratio, f"{name}, × {new['baseline']}"
        intervals = [(row.get(ends[0]), row.get(ends[1])) for row in (old, new)]
        cells = (units.ratio(old[key]), units.ratio(new[key]))
    before, after = old.get(key), new.get(key)
    if key.startswith("accuracy") and tables.task(old) != tables.task(new):
        return None  # of other data
    if before is None or after is None or abs(after - before) <= _ALIKE * abs(before):
        return None
    known = all(end is not None for pair in intervals for end in pair)
    certain = exact or (known and (intervals[0][1] < intervals[1][0] or intervals[1][1] < intervals[0][0]))
    lower = column.better == "lower"
    verdict = ""
    if certain and column.better:
        gained = (after < before) == lower
        verdict = ("faster" if gained else "slower") if timed else "better" if gained else "worse"
    said = "exact" if exact else ("yes" if certain else "no") if known else "no interval"
    change = (after - before) / before if before else None
    return {
        "model": new["model"],
        "measure": name,
        "old": cells[0],
        "new": cells[1],
        "change": change,
        "certain": said,
        "verdict": verdict,
    }
