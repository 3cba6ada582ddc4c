"""Tables of sweeps and searches: every row, fitted exponents and crossings; the front and the options that make it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scsc_lab import units
from scsc_lab.analysis import fronts
from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings.texts import number_of

STRAIGHT = 0.98
"""Share of explained variance from which a curve counts as a power."""

_UNITS = {"resolution": "px", "threads": "threads", "batch": "images", "width": "×", "depth": "×"}


@dataclass(frozen=True)
class Curve:
    """One network's numbers of one column.

    Attributes:
        model: the network.
        column: the column.
        xs: values of the setting.
        ys: numbers, in the row's unit.
        power: the power law that fits, if any.
    """

    model: str
    column: Column
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    power: fronts.Power | None

    @property
    def is_power(self) -> bool:
        """Whether a power law explains nearly all of it."""
        return self.power is not None and self.power.explained >= STRAIGHT


def curves(rows: Sequence[Row], columns: Sequence[Column]) -> list[Curve]:
    """Return the curve of each network and column, where the setting is a number."""
    made = []
    for column in columns:
        for model in dict.fromkeys(str(row["model"]) for row in rows):
            points = [
                (number, float(row[str(column.key)]))
                for row in rows
                if row["model"] == model
                and row.get(str(column.key)) is not None
                and (number := number_of(row["variant"])) is not None
            ]
            if points:
                xs, ys = zip(*points, strict=True)
                made.append(Curve(model, column, xs, ys, fronts.fit(xs, ys) if min(xs) > 0 else None))
    return made


def crossings(rows: Sequence[Row], columns: Sequence[Column]) -> list[tuple[str, str, Column, fronts.Crossing]]:
    """Return where networks are equal to the first one: network, baseline, column and crossing."""
    crossing_networks = []
    baseline = str(rows[0]["baseline"])
    for column in columns:
        if column.change is None or column.change.how not in ("ratio", "measured"):
            continue
        for model in dict.fromkeys(str(row["model"]) for row in rows if row["model"] != row["baseline"]):
            points = [(number_of(row["variant"]), _ratio(row, column)) for row in rows if row["model"] == model]
            complete = [
                (x, *ratio) for x, ratio in points if x is not None and ratio is not None and min(x, *ratio) > 0
            ]
            if len(complete) > 1 and (crossing := fronts.crossing(*zip(*complete, strict=True))) is not None:
                crossing_networks.append((model, baseline, column, crossing))
    return crossing_networks


def sweep_table(rows: Sequence[Row], columns: Sequence[Column], key: str, notes: Sequence[str]) -> Table:
    """Return the rows of a sweep, the exponents below, and sentences on where networks cross.

    Args:
        rows: one per value and network: ``variant`` is the value, ``baseline`` the network it is compared with.
        columns: the measured columns.
        key: the setting.
        notes: what must be known to read the rows.
    """
    chosen: list[Column] = [Column("variant", key), tables.MODEL]
    for column in columns:
        chosen += [column, *([column.change.column] if column.change is not None else [])]
    fitted = [curve for curve in curves(rows, columns) if curve.power is not None]
    exponents: list[Row] = [
        {
            "model": curve.model,
            "column": (curve.column.name or curve.column.heading).partition(" (")[0],
            "exponent": curve.power.exponent,
            "exponent_low": curve.power.low,
            "exponent_high": curve.power.high,
            "explained": curve.power.explained,
        }
        for curve in fitted
        if curve.power is not None
    ]
    sentences = [sentence(*crossing, key) for crossing in crossings(rows, columns)]
    details: tuple[Table, ...] = ()
    if exponents:
        keys = ("exponent", "exponent_low", "exponent_high")
        parts = (
            tables.MODEL,
            Column("column", "of", number=False),
            Column(keys, "exponent, 95%", lambda values: units.with_interval(values, _two_places)),
            Column("explained", "R²", _two_places),
        )
        rules = (
            f"Exponent b of a power law, number ∝ {key}^b, by least squares of logarithms, with its 95% t interval; "
            f"R² below {STRAIGHT:g}: not quite a power.",
            *_on_fields(fitted, key),
        )
        details = (Table(parts, tuple(exponents), f"Growth with {key}", (*sentences, *rules, *notes)),)
    notes_above = () if details else (*sentences, *notes)
    records = (*rows, *exponents)
    return Table(tables.filled(chosen, rows), tuple(rows), f"Over {key}", notes_above, details, records)


def sentence(model: str, baseline: str, column: Column, crossing: fronts.Crossing, key: str) -> str:
    """Return where a network becomes better than another: ``a is faster than b above 160 px (152–171)``."""
    low, high = (units.significant(end, 3) if end is not None else "…" for end in (crossing.low, crossing.high))
    side = "above" if crossing.falls else "below"
    claim = "is faster" if column.word.startswith("latency") else f"has fewer {column.word}"
    where = f"{units.significant(crossing.x, 3)} {_UNITS.get(key, '')}".strip()
    interval = "" if crossing.low == crossing.high else f" ({low} to {high})"
    return f"{model} {claim} than {baseline} {side} {key} {where}{interval}."


def _ratio(row: Row, column: Column) -> tuple[float, float, float] | None:
    """Return a row's ratio to its baseline with the ends of its interval; None without one."""
    assert column.change is not None
    keys = column.change.column.key
    if column.is_timed:
        ratio, low, high = (row.get(key) for key in keys[:3])
        if ratio is None or low is None or high is None or row.get(column.change.verdict) == "withheld":
            return None
        return float(ratio), float(low), float(high)
    change = row.get(column.change.key)
    return None if change is None else (1 + change, 1 + change, 1 + change)


def _two_places(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}".replace("-", "−")


def _on_fields(fitted: Sequence[Curve], key: str) -> list[str]:
    """Return whether a field is as large as the network makes it, or as the image does."""
    if key != "resolution":
        return []
    lines = []
    for curve in fitted:
        if curve.column.word not in ("erf", "r20", "r30", "r95", "r99") or curve.power is None:
            continue
        if curve.power.high < -1:
            whose = "is a number of the network: nearly as many pixels in any image (exponent −2: exactly)"
        elif curve.power.low > -1:
            whose = "is a number of the image: nearly the same share at any size (exponent 0: exactly)"
        else:
            whose = "is not told apart: of the network (exponent −2) or of the image (0)"
        lines.append(f"{curve.column.heading} of {curve.model} {whose}.")
    return lines


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
    return Table(tables.filled(chosen, rows), tuple(rows), title, () if details else tuple(notes), details)


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
    if not column.is_timed:
        return column
    assert column.change is not None
    name = f"{column.quantity} × baseline's"
    return replace(column, key=column.change.key, title=name, name=name, unit="", scale=1.0)


def _of_trial(column: Column) -> Column:
    renamed = tuple(f"trial_{key}" for key in column.keys)
    return replace(column, key=renamed[0] if isinstance(column.key, str) else renamed)


def _with_equals(row: Row) -> str:
    equal = row.get("equal") or 0
    equals = f" (or one of {equal:,} that cost the same)" if equal else ""
    return f"{row['options'] or 'as it is'}{equals}"
