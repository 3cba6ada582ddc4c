"""Tables of raw numbers: columns that know how their numbers are written, rows that stay numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scsc_lab import units
from scsc_lab.records import Row


@dataclass(frozen=True)
class Column:
    """One column: which number, under which heading, written how.

    Attributes:
        key: key of the number in a row; several keys for a cell that several numbers make up, an interval say.
        heading: heading, with the unit.
        text: how the number, or the tuple of numbers, is written; from :mod:`scsc_lab.units`.
        number: whether it is a number, set to the right.
        optional: whether it is left out where a terminal is too narrow for it.
    """

    key: str | tuple[str, ...]
    heading: str
    text: Callable[[Any], str] = units.plain
    number: bool = True
    optional: bool = False

    def cell(self, row: Row) -> str:
        """Return the text of this column's cell in a row."""
        if isinstance(self.key, str):
            return self.text(row.get(self.key))
        return self.text(tuple(row.get(key) for key in self.key))


@dataclass(frozen=True)
class Table:
    """Columns and rows, with what must be known to read them.

    Attributes:
        columns: the columns shown; rows may hold more.
        rows: raw numbers.
        title: one line above.
        notes: lines below: conventions, verdicts.
        details: tables that go with it, shown below.
        records: the rows that JSON and CSV carry, where they are not those shown: the details' too, say.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    title: str = ""
    notes: tuple[str, ...] = ()
    details: tuple[Table, ...] = ()
    records: tuple[Row, ...] | None = None

    @property
    def raw(self) -> tuple[Row, ...]:
        """The rows that JSON and CSV carry."""
        return self.rows if self.records is None else self.records

    def cells(self) -> list[list[str]]:
        """Return every row as text."""
        return [[column.cell(row) for column in self.columns] for row in self.rows]


def changed(column: Column, heading: str = "Δ") -> tuple[Column, Column]:
    """Return a column and the column of its change against the baseline."""
    return column, Column(f"{column.key}_change", heading, units.percent)


MODEL = Column("model", "model", number=False)
INPUT = Column("resolution", "input", units.size)
PARAMS = Column("params", "params (M)", units.mega)
MACS = Column("macs", "MACs (G)", units.giga)
ACTIVATIONS = Column("activations", "acts (M)", units.mega)
BYTES = Column("bytes", "bytes (M)", units.mega)


def change_only(column: Column) -> Column:
    """Return the column of a number's change against the baseline, under the number's name."""
    return Column(f"{column.key}_change", f"Δ {column.heading.partition(' (')[0]}", units.percent)


def filled(columns: Sequence[Column], rows: Sequence[Row]) -> tuple[Column, ...]:
    """Return the columns that have something to show in at least one row."""
    return tuple(column for column in columns if any(column.cell(row) for row in rows))
