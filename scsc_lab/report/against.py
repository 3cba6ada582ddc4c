"""What changed between two reports, and whether a change is outside its interval: a check for regressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report.tables import Column, Table

WORDS = ("slower", "worse")
"""What a change may be called that one fails on: time that is longer; any other number that is worse."""

_TIME = "median_seconds"
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
    before = {row["model"]: row for row in _networks(old)}
    networks = _networks(new)
    rows = [
        found
        for row in networks
        if row["model"] in before
        for column in columns.values()
        if (found := _difference(before[row["model"]], row, column)) is not None
    ]
    names = [row["model"] for row in networks]
    notes = [f"Only in the new report: {name}." for name in names if name not in before]
    notes += [f"Only in the old report: {name}." for name in before if name not in names]
    return Table(_COLUMNS, tuple(rows), "" if rows else "Nothing changed.", tuple(notes))


def _networks(rows: Sequence[Row]) -> list[Row]:
    """Return the networks of a report, each with the interval of its receptive field."""
    fields = {row["model"]: row for row in rows if row["table"] == "field"}
    keys = ("r50", "r50_low", "r50_high")
    return [
        {**row, **{key: fields[row["model"]].get(key) for key in keys if row["model"] in fields}}
        for row in rows
        if row["table"] == "comparison"
    ]


def _difference(old: Row, new: Row, column: Column) -> Row | None:
    key, text = str(column.key), column.cell
    cells = (text(old), text(new))
    intervals: list[tuple[Any, Any]] = [(row.get(f"{key}_low"), row.get(f"{key}_high")) for row in (old, new)]
    name = (column.name or column.heading).partition(" (")[0]
    exact = key not in (_TIME, "r50") and not key.startswith("accuracy")
    if key == _TIME and old.get("ratio") and new.get("ratio") and old.get("baseline") == new.get("baseline"):
        key, name = "ratio", f"{name}, × {new['baseline']}"
        intervals = [(row.get("ratio_low"), row.get("ratio_high")) for row in (old, new)]
        cells = (units.ratio(old["ratio"]), units.ratio(new["ratio"]))
    before, after = old.get(key), new.get(key)
    if before is None or after is None or abs(after - before) <= _ALIKE * abs(before):
        return None
    known = all(end is not None for pair in intervals for end in pair)
    certain = exact or (known and (intervals[0][1] < intervals[1][0] or intervals[1][1] < intervals[0][0]))
    lower = column.better == "lower"
    verdict = ""
    if certain and column.better:
        gained = (after < before) == lower
        verdict = ("faster" if gained else "slower") if key in (_TIME, "ratio") else "better" if gained else "worse"
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
