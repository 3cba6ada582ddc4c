"""Tables of raw numbers: columns that know how their numbers are written, rows that stay numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from scsc_lab import units
from scsc_lab.analysis.fronts import Better
from scsc_lab.records import Row, change, is_lower_bound


@dataclass(frozen=True)
class Column:
    """One column: which number, under which heading, written how, and how two of them compare.

    Attributes:
        key: key of the number in a row; several keys for a cell that several numbers make up, an interval say.
        title: what stands above it, without the unit.
        text: how the number, or the tuple of numbers, is written; from :mod:`scsc_lab.units`.
        number: whether it is a number, set to the right.
        optional: whether it is left out where a terminal is too narrow for it.
        word: what ``--with`` and ``--plot`` call it; empty where nothing chooses it.
        unit: the unit that its numbers have where they are written; empty where each cell says it, or there is none.
        name: what axes and sentences call it; empty: the title.
        axis: label of an axis; empty: the name with the unit.
        scale: what a number is multiplied with to have the unit.
        better: whether less or more of it is wanted: ``lower``, ``higher`` or neither.
        change: how its change against a baseline is had and shown, if it is.
        question: what is asked of a network against its baseline: answered with yes where it is better, or with larger
            or smaller where neither way is.
        apart: whether it has a place in another table than that of the networks: a time in another runtime.
        heads: heading above several columns, and the column's own below it, where a format has two rows of headings.
    """

    key: str | tuple[str, ...]
    title: str
    text: Callable[[Any], str] = units.plain
    number: bool = True
    optional: bool = False
    unit: str = ""
    word: str = ""
    name: str = ""
    axis: str = ""
    scale: float = 1.0
    better: Better = ""
    change: Change | None = None
    question: str = ""
    apart: bool = False
    heads: tuple[str, str] | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Its keys, in order."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def quantity(self) -> str:
        """Its quantity, without the unit."""
        return self.name or self.title

    @property
    def heading(self) -> str:
        """The title with the unit: ``params (M)``."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def axis_label(self) -> str:
        """The label of an axis: ``parameters (M)``."""
        return self.axis or (f"{self.quantity} ({self.unit})" if self.unit else self.quantity)

    @property
    def is_timed(self) -> bool:
        """Whether its numbers are times: their ratio to the baseline's is measured in pairs, with an interval."""
        return self.change is not None and self.change.how == "measured"

    def cell(self, row: Row) -> str:
        """Return the text of this column's cell in a row; a lower bound begins with ≥."""
        text = self.text(row.get(self.key) if isinstance(self.key, str) else tuple(map(row.get, self.keys)))
        return f"≥{text}" if text and is_lower_bound(row, self.key) else text


@dataclass(frozen=True)
class Change:
    """How a number's change against a baseline is had and shown.

    Attributes:
        column: the column that shows it.
        how: ``ratio``: a fraction of the baseline's (−0.25: a quarter less); ``difference``: in the number's own unit;
            ``measured``: the metric gives it itself, with its interval.
        beside: heading in a row of headings with the number itself.
        scale: what a difference is multiplied with to be in points.
        verdict: key of what an interval that the metric gives says.
        paired: takes a row and the baseline's and returns what is to be added to the row: a difference with its
            interval, where both rows hold the numbers for it.
        judged: key of the word by which a metric judges the change itself: ``better``, ``worse``, ``same``,
            ``inconclusive``, or none where there is too little to say anything; empty where it does not.
        across: takes all rows of a table, and returns what is to be added to each: what depends on their number.
        adds: further keys that ``paired`` and ``across`` add.
    """

    column: Column
    how: Literal["ratio", "difference", "measured"] = "ratio"
    beside: str = "Δ"
    scale: float = 1e2
    verdict: str = "verdict"
    paired: Callable[[Row, Row], Row] | None = None
    judged: str = ""
    across: Callable[[Sequence[Row]], list[Row]] | None = None
    adds: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Key of the number that says how much it changes."""
        return self.column.keys[0]

    def scaled(self, row: Row) -> tuple[float | None, float | None, float | None]:
        """Return a row's change and the ends of its interval, in percent or points; a measured ratio of 1.1 is 10."""
        scale = self.scale if self.how == "difference" else 100
        numbers = [row.get(key) for key in self.column.keys[:3]]
        changes = [None if number is None else scale * (number - (self.how == "measured")) for number in numbers]
        value, low, high = (*changes, None, None)[:3]
        return value, low, high

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key of a row that is of the change, its interval and its verdict."""
        verdict = (self.verdict,) if self.how == "measured" else ()
        return (*self.column.keys, *verdict, *filter(None, (self.judged,)), *self.adds)


_MOST_NAMES = 3
"""The columns among which are those of names, which a table repeats where it stands in blocks."""


def measured(
    key: str,
    title: str,
    unit: str,
    text: Callable[[Any], str],
    word: str,
    scale: float,
    better: Literal["lower", "higher"],
    *,
    optional: bool = False,
) -> Column:
    """Return the column of a number whose change is a fraction of the baseline's, under ``<key>_change``.

    Where it is optional, a terminal that is too narrow leaves out the change; the number itself stays.
    """
    change = Change(Column(f"{key}_change", f"Δ {title}", units.percent, optional=optional))
    return Column(key, title, text, unit=unit, word=word, scale=scale, better=better, change=change)


def with_changes(rows: Sequence[Row], columns: Sequence[Column], baseline: int) -> list[Row]:
    """Return the rows of a table with every column's change against row ``baseline``; ``None`` in that row itself."""
    return across([with_change(row, rows[baseline], columns) for row in rows], columns)


def with_change(row: Row, baseline: Row, columns: Sequence[Column]) -> Row:
    """Return a row with every column's change against a baseline's row; ``None`` where it is that row itself.

    Partial counts have none: they are lower bounds. A change against another row does not stay.
    """
    added: Row = {}
    for column in columns:
        if column.change is not None and column.change.paired is not None:
            added |= {key: None for key in column.change.keys if key in row}
            added |= column.change.paired(row, baseline) if row is not baseline else {}
        elif column.change is not None and not column.is_timed:
            key = str(column.key)
            value, against = (None if is_lower_bound(each, key) else each.get(key) for each in (row, baseline))
            added[column.change.key] = None
            if row is not baseline and value is not None and against is not None:
                is_ratio = column.change.how == "ratio"
                added[column.change.key] = change(value, against) if is_ratio else value - against
    return {**row, **added}


def across(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """Return the rows of a table with what depends on how many there are: p values adjusted for their number."""
    adjusted = list(rows)
    for column in columns:
        if column.change is not None and column.change.across is not None:
            adjusted = [{**row, **added} for row, added in zip(adjusted, column.change.across(adjusted), strict=True)]
    return adjusted


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
        compact: the same as one narrower table, for a paper and for Markdown.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    title: str = ""
    notes: tuple[str, ...] = ()
    details: tuple[Table, ...] = ()
    records: tuple[Row, ...] | None = None
    compact: Table | None = None

    @property
    def raw(self) -> tuple[Row, ...]:
        """The rows that JSON and CSV carry."""
        return self.rows if self.records is None else self.records

    def noted(self, notes: Sequence[str]) -> Table:
        """Return the table with further notes, below the last of its parts."""
        compact = self.compact and self.compact.noted(notes)
        if not self.details:
            return replace(self, notes=(*self.notes, *notes), compact=compact)
        return replace(self, details=(*self.details[:-1], self.details[-1].noted(notes)), compact=compact)

    def with_failures(self, failures: Sequence[Row]) -> Table:
        """Return the table with a row per network that could not be measured, whose reason is a note."""
        if not failures:
            return self
        reasons = [f"{row['model']}: NOT MEASURED: {row['failure']}." for row in failures]
        records = (*self.raw, *failures)
        if MODEL not in self.columns:  # networks stand side by side
            return replace(self, records=records).noted(reasons)
        compact = self.compact and replace(self.compact, rows=(*self.compact.rows, *failures))
        table = replace(self, rows=(*self.rows, *failures), records=records, compact=compact).noted(reasons)
        return replace(table, columns=(*self.columns, _FAILED))

    def in_blocks(self, fits: Callable[[Table], bool]) -> Iterator[Table]:
        """Return the table as one or more narrower ones, below each other, that all begin with the columns of names.

        Args:
            fits: whether there is room for a table.
        """
        columns = self.columns
        texts = [at for at, column in enumerate(columns[:_MOST_NAMES]) if not column.number]
        names = max(texts, default=0) + 1
        while names > 1 and not fits(replace(self, columns=columns[: names + 1])):
            names -= 1
        while columns:
            heads = [*(column.heads and column.heads[0] for column in columns), None]  # a number and its change: one
            alone = [at for at in range(names + 1, len(heads)) if not heads[at] or heads[at - 1] != heads[at]]
            ends = alone or [len(columns)]
            count = next((at for at in reversed(ends) if fits(replace(self, columns=columns[:at]))), ends[0])
            yield replace(self, columns=columns[:count])
            columns = (*columns[:names], *columns[count:]) if columns[count:] else ()

    def cells(self) -> list[list[str]]:
        """Return every row as text; a network of a file is called by the file's name, without its folders."""
        names = units.without_folders(str(row["model"]) for row in self.rows if "model" in row)
        lines = [[column.cell(row) for column in self.columns] for row in self.rows]
        return [[names.get(cell, cell) for cell in line] for line in lines]


def changed(column: Column, title: str = "Δ") -> tuple[Column, Column]:
    """Return a column and the column of its change against the baseline."""
    narrower = column.change is not None and column.change.column.optional
    return column, Column(f"{column.key}_change", title, units.percent, optional=narrower)


MODEL = Column("model", "model", number=False)
_FAILED = Column("status", "status", lambda status: "not measured" if status == "failed" else "")
INPUT = Column(("resolution", "inputs"), "input", units.input_text)
MACS_RULE = "MACs: multiply-accumulates, which papers print as FLOPs"
"""The explanation of every count."""

PARAMS = replace(
    measured("params", "params", "M", units.mega, "params", 1e-6, "lower"),
    name="parameters",
    question="Has it fewer parameters?",
)
MACS = replace(measured("macs", "MACs", "G", units.giga, "macs", 1e-9, "lower"), question="Does it cost fewer MACs?")
ACTIVATIONS = replace(
    measured("activations", "acts", "M", units.mega, "activations", 1e-6, "lower", optional=True),
    name="activations",
    question="Does it write fewer activations?",
)
BYTES = replace(
    measured("bytes", "bytes", "M", units.mega, "bytes", 1e-6, "lower"), question="Does it move fewer bytes?"
)


def baselines(rows: Sequence[Row], networks: Sequence[Row]) -> list[Row | None]:
    """Return the network that each row is compared with: of several of one name that with an input of the same size."""
    by_name = {network["model"]: network for network in reversed(networks)}
    by_size = {(network["model"], str(network.get("resolution"))): network for network in reversed(networks)}
    names = [(row.get("baseline"), str(row.get("resolution"))) for row in rows]
    return [by_size.get((name, size), by_name.get(name)) for name, size in names]


def filled(columns: Sequence[Column], rows: Sequence[Row]) -> tuple[Column, ...]:
    """Return the columns that have something to show in at least one row."""
    return tuple(column for column in columns if any(column.cell(row) for row in rows))
