"""What changed between two reports, and whether a change is outside its interval: a check for regressions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report import fields as receptive_fields
from scsc_lab.report.names import task
from scsc_lab.report.tables import Column, Table

WORDS = ("slower", "worse")
"""What a change may be called that one fails on: time that is longer; any other number that is worse, or lost."""

OPEN = "not judged"
"""Verdict on a number of which nothing can be said, since there is no interval or nothing to compare it with."""

_ALIKE = 1e-9
"""A relative difference of an exact number that is rounding."""

_EXACT = ("params", "macs")
"""Numbers by which a network is the same network in two reports."""

_COLUMNS = (
    Column("model", "model", number=False),
    Column("measure", "measure", number=False),
    Column("old", "was"),
    Column("new", "is"),
    Column("change", "change", units.percent),
    Column("certain", "outside its interval", number=False),
    Column("verdict", "verdict", number=False),
)


@dataclass(frozen=True)
class _Pair:
    """One network in two reports, among all that both have.

    Attributes:
        name: its name, with the size of its input where networks of its name have several.
        old: its row in the earlier report.
        new: its row in the report.
        others: the rows of the other networks that are in both, old and new.
    """

    name: str
    old: Row
    new: Row
    references: tuple[tuple[Row, Row], ...]


def table(old: Sequence[Row], new: Sequence[Row], columns: Mapping[str, Column]) -> Table:
    """Return one line a number that differs between two reports, with its verdict.

    Exact numbers differ where they are not equal. A time is compared by its ratio to the baseline, which the machine's
    speed leaves alone, where both reports have one against the same network; that of the baseline itself by its ratio
    to a network that is the same in both reports. A number with an interval has changed where the two intervals lie
    apart. What the old report has and the new one lacks is worse; of what can be compared in no way, the verdict is
    :data:`OPEN`.

    Args:
        old: rows of the earlier report.
        new: rows of the report.
        columns: the columns of every metric, by word.
    """
    networks, before_ = _networks(new), _networks(old)
    sizes: dict[str, set[str]] = {}
    for row in (*networks, *before_):
        sizes.setdefault(row["model"], set()).add(str(row["resolution"]))
    after = {_name(row, sizes): row for row in networks}
    before = {_name(row, sizes): row for row in before_}
    both = {name: (row, after[name]) for name, row in before.items() if name in after}
    pairs = [
        _Pair(name, *rows, tuple(rows_of_other for another, rows_of_other in both.items() if another != name))
        for name, rows in both.items()
    ]
    changes = [change for pair in pairs for column in columns.values() for change in _changes(pair, column)]
    changes += [change for pair in pairs for change in _failures(pair)]
    for name in (name for name in before if name not in after):
        timed = any(before[name].get(str(column.key)) is not None for column in columns.values() if column.is_timed)
        changes.append(_line(name, "the network", "measured", "missing", "worse", "missing", timed=timed))
    notes = [f"Only in the new report: {name}." for name in after if name not in before]
    notes += [f"Only in the old report: {name}." for name in before if name not in after]
    return Table(_COLUMNS, tuple(changes), "" if changes else "Nothing changed.", tuple(notes))


def unjudged(changes: Sequence[Row], old: Sequence[Row], columns: Mapping[str, Column], failing: Sequence[str]) -> str:
    """Return one line on why nobody can say that nothing got slower or worse; empty where one can.

    Args:
        changes: rows of :func:`table`.
        old: rows of the earlier report.
        columns: the columns of every metric, by word.
        failing: the words of :data:`WORDS` that fail.
    """
    for failure in failing:
        number = "time" if failure == "slower" else "number"
        judged = [column for column in columns.values() if column.better and column.is_timed == (failure == "slower")]
        if not any(row.get(str(column.key)) is not None for row in _networks(old) for column in judged):
            return f"--fail-on {failure}: the old report has no {number} to compare with"
    for row in changes:
        lost = row["verdict"] == "worse" and "worse" not in failing and row["timed"]
        if lost or (row["verdict"] == OPEN and ("slower" if row["timed"] else "worse") in failing):
            return f"--fail-on cannot judge {row['measure']} of {row['model']}: {row['certain']}"
    return ""


def _name(row: Row, sizes: Mapping[str, set[str]]) -> str:
    """Return a network's name, with its input's size where networks of its name have several."""
    has_sizes = len(sizes[row["model"]]) > 1
    return f"{row['model']} at {units.size(row['resolution'])}" if has_sizes else str(row["model"])


def _networks(rows: Sequence[Row]) -> list[Row]:
    """Return the networks of a report and their deploy forms, each with the interval of its receptive field."""
    networks = [row for row in rows if row["table"] in ("comparison", "deploy")]
    return receptive_fields.joined(networks, [row for row in rows if row["table"] == "field"])


def _changes(pair: _Pair, column: Column) -> list[Row]:
    """Return the line of one number of one network; none where it has not changed, or the old report has none."""
    key, timed = str(column.key), column.is_timed
    before, after = pair.old.get(key), pair.new.get(key)
    cells = (column.cell(pair.old), column.cell(pair.new))
    if before is None:
        return []
    if after is None:
        return [_line(pair.name, column.quantity, cells[0], "missing", "worse", "missing", timed=timed)]
    if timed:
        return _of_time(pair, column)
    if abs(after - before) <= _ALIKE * abs(before):
        return []
    change = (after - before) / before if before else None
    certain, apart = _certainty(pair, column)
    verdict = "" if certain in ("exact", "yes", "no") or not column.better else OPEN
    if apart and column.better:
        verdict = "better" if (after < before) == (column.better == "lower") else "worse"
    return [_line(pair.name, column.quantity, *cells, verdict, certain, change)]


def _certainty(pair: _Pair, column: Column) -> tuple[str, bool]:
    """Return whether a number that is no time is outside its interval, in words and as truth."""
    if column.change is None or not column.change.paired:
        return "exact", True
    if column.change.judged:  # of runs, each of which is a pair with that of the same seed in the other report
        if task(pair.old) != task(pair.new):
            return "trained on other data", False
        difference = column.change.paired(pair.new, pair.old)
        ends = [difference.get(end) for end in column.change.column.key[1:]]
        low, high = ends if all(end is not None for end in ends) else (None, None)
        return ("no interval", False) if low is None or high is None else _apart((0.0, 0.0), (low, high))
    return _apart(*((row.get(f"{column.key}_low"), row.get(f"{column.key}_high")) for row in (pair.old, pair.new)))


def _apart(old: tuple[Any, Any], new: tuple[Any, Any]) -> tuple[str, bool]:
    if None in (*old, *new):
        return "no interval", False
    apart = old[1] < new[0] or new[1] < old[0]
    return ("yes" if apart else "no"), apart


def _of_time(pair: _Pair, column: Column) -> list[Row]:
    """Return the line of a time, by its ratio to the baseline, or of the baseline by its ratio to the same network."""
    assert column.change is not None
    ratio, low, high = column.change.keys[:3]
    verdict = column.change.verdict
    name, old, new = f"{column.quantity}, × {pair.new.get('baseline')}", pair.old, pair.new
    if all(old.get(key) == new.get(key) for key in (str(column.key), ratio, "baseline")):
        return []
    if "withheld" in (old.get(verdict), new.get(verdict)):
        return [_line(pair.name, name, "", "", OPEN, "measured on a machine that was too busy", timed=True)]
    if old.get(ratio) and new.get(ratio) and old.get("baseline") == new.get("baseline"):
        certain, apart = _apart(*((row.get(low), row.get(high)) for row in (old, new)))
        values = (old[ratio], new[ratio])
    else:
        name = column.quantity
        references = [] if old.get(ratio) or new.get(ratio) else _references(pair, column)
        if not references:
            reason = "it has no ratio to a network that is the same in both reports; put such a network first"
            return [_line(pair.name, name, column.cell(old), column.cell(new), OPEN, reason, timed=True)]
        first = references[0][0]
        name, values = f"{name}, × {first[0]['model']}", (1 / first[0][ratio], 1 / first[1][ratio])
        apart = all(
            _apart(*ends)[1] and _moved_more(pair, reference, str(column.key)) for reference, ends in references
        )
        certain = "yes" if apart else "no"
    judged = ("faster" if values[1] < values[0] else "slower") if apart else OPEN if certain == "no interval" else ""
    cells = (units.ratio(values[0]), units.ratio(values[1]))
    return [_line(pair.name, name, *cells, judged, certain, values[1] / values[0] - 1, timed=True)]


_Reference = tuple[tuple[Row, Row], tuple[tuple[float, float], tuple[float, float]]]


def _references(pair: _Pair, column: Column) -> list[_Reference]:
    """Return networks that are the same in both reports, timed against this one, with the intervals of its ratio."""
    assert column.change is not None
    keys, model = column.change.keys[:3], pair.new["model"]
    references: list[_Reference] = []
    for rows in pair.references:
        is_same = all(rows[0].get(key) == rows[1].get(key) for key in _EXACT)
        if is_same and all(row.get("baseline") == model and all(row.get(key) for key in keys) for row in rows):
            low, high = ((1 / row[keys[2]], 1 / row[keys[1]]) for row in rows)
            references.append((rows, (low, high)))
    return references


def _moved_more(pair: _Pair, reference: tuple[Row, Row], key: str) -> bool:
    """Return whether it is this network's time, rather than the reference's, that made their ratio change."""
    moves = [abs(math.log(new[key] / old[key])) for old, new in ((pair.old, pair.new), reference)]
    return moves[0] > moves[1]


def _failures(pair: _Pair) -> list[Row]:
    """Return the lines of measurements that were complete and are not."""
    lines = []
    for key in ("status", "latency_status", "accuracy_status"):
        before, after = pair.old.get(key) or "complete", pair.new.get(key) or "complete"
        if before == "complete" != after:
            timed = key == "latency_status"
            lines.append(_line(pair.name, key.replace("_", " "), before, after, "worse", "not complete", timed=timed))
    return lines


def _line(
    model: str,
    measure: str,
    old: str,
    new: str,
    verdict: str,
    certain: str,
    change: float | None = None,
    *,
    timed: bool = False,
) -> Row:
    row = {"model": model, "measure": measure, "old": old, "new": new, "change": change}
    return {**row, "certain": certain, "verdict": verdict, "timed": timed}
