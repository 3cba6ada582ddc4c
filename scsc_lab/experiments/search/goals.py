"""Goals of a search: objectives and budgets on columns of the metric registry, and dominance between points.

A point is dominated only where the intervals say so: better in one objective beyond its interval, worse in none. The
noise of accuracy is pooled over all networks of a search, since two seeds of two networks tell too little.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scsc_lab import metrics
from scsc_lab.analysis.fronts import Better
from scsc_lab.errors import InputError
from scsc_lab.records import Row
from scsc_lab.report.tables import Column
from scsc_lab.settings import texts

if TYPE_CHECKING:
    from scsc_lab.analysis.paired_seeds import Noise

ACCURACY = "accuracy"
"""Column whose noise is pooled over all networks of a search."""

EXACT = ("params", "macs")
"""Columns that are sums over blocks, so that a space of them can be enumerated."""


@dataclass(frozen=True)
class Bound:
    """A number that a column is held to.

    Attributes:
        name: the column.
        number: in the row's own unit, or a fraction of the baseline's change (-0.22) where it is relative.
        is_relative: whether it is the change against the baseline.
        written: how the user wrote it.
    """

    name: str
    number: float
    is_relative: bool
    written: str

    def of(self, row: Row) -> float | None:
        """Return what a row has of the column: the number, or its change against the baseline."""
        column = metrics.columns()[self.name]
        if not self.is_relative:
            return _number(row, str(column.key))
        assert column.change is not None
        change = _number(row, column.change.key)
        if column.is_timed and change is not None:
            change -= 1
        return 0.0 if change is None and _is_baseline(row) else change

    def absolute(self, baseline: Row) -> float:
        """Return the number that it stands for, given the baseline's row."""
        value: float = baseline[str(metrics.columns()[self.name].key)]
        return value * (1 + self.number) if self.is_relative else self.number


@dataclass(frozen=True)
class Budget:
    """A bound that a network must keep to: at most, or at least."""

    bound: Bound
    at_most: bool

    def excess(self, row: Row) -> float | None:
        """Return by how much a row breaks it, zero or less where it keeps to it; ``None`` if nothing was measured."""
        value = self.bound.of(row)
        if value is None:
            return None
        return value - self.bound.number if self.at_most else self.bound.number - value

    def __str__(self) -> str:
        return f"{self.bound.name} {'≤' if self.at_most else '≥'} {self.bound.written}"


@dataclass(frozen=True)
class Objective:
    """A column to minimise or maximise, or to bring near to a target."""

    name: str
    better: Better
    target: Bound | None = None

    @property
    def column(self) -> Column:
        """The column."""
        return metrics.columns()[self.name]

    def value(self, row: Row) -> float | None:
        """Return the number that a search compares: the column's, its ratio to the baseline's, or the distance."""
        if self.target is not None:
            value = self.target.of(row)
            return None if value is None else abs(value - self.target.number)
        change = self.column.change
        if change is not None and change.how == "measured":
            ratio = _number(row, change.key)
            is_timed = _number(row, str(self.column.key)) is not None
            return 1.0 if ratio is None and is_timed and _is_baseline(row) else ratio
        return _number(row, str(self.column.key))

    def losses(self, row: Row, rival: Row, noise: Noise | None = None) -> tuple[float, float]:
        """Return the interval of how much worse a row is than another; without bounds where nothing tells.

        Args:
            row: the row.
            rival: the other one.
            noise: of the accuracy of a run, pooled over all networks. Default: that of the two alone.
        """
        low, high = self._difference(row, rival, noise)
        return (-high, -low) if self.better == "higher" else (low, high)

    def _difference(self, row: Row, rival: Row, noise: Noise | None) -> tuple[float, float]:
        change = self.column.change
        if change is not None and change.paired is not None:
            paired = change.paired(row, rival)
            mean, low, high = (_number(paired, key) for key in change.column.key[:3])
            if noise is not None and self.name == ACCURACY and mean is not None:
                reach = noise.reach(paired["seed_pairs"])
                return mean - reach, mean + reach
            return (-math.inf if low is None else low, math.inf if high is None else high)
        (low, high), (other_low, other_high) = self._interval(row), self._interval(rival)
        return low - other_high, high - other_low

    def _interval(self, row: Row) -> tuple[float, float]:
        value = self.value(row)
        if value is None:
            return -math.inf, math.inf
        change, key = self.column.change, str(self.column.key)
        ends = [f"{key}_low", f"{key}_high"]
        if change is not None and change.how == "measured":
            ends = list(change.column.key[1:3])
        low, high = (_number(row, end) for end in ends)
        return (value if low is None else low, value if high is None else high)

    def __str__(self) -> str:
        if self.target is not None:
            return f"{self.name} near {self.target.written}"
        return f"{'most' if self.better == 'higher' else 'least'} {self.name}"


@dataclass(frozen=True)
class Goals:
    """Objectives and budgets of a search.

    Raises:
        InputError: if there is no objective, a column is named twice, or has no better end.
    """

    objectives: tuple[Objective, ...]
    budgets: tuple[Budget, ...] = ()

    def __post_init__(self) -> None:
        if not self.objectives:
            raise InputError("nothing to search for: --minimise COLUMN, --maximise COLUMN or --near COLUMN=VALUE")
        column_names = [objective.name for objective in self.objectives]
        for column_name in column_names:
            if column_names.count(column_name) > 1:
                raise InputError(f"{column_name} is named as two objectives")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns that must be measured, in the registry's order."""
        used = {objective.name for objective in self.objectives} | {budget.bound.name for budget in self.budgets}
        return tuple(column_name for column_name in metrics.column_names() if column_name in used)

    @property
    def are_exact(self) -> bool:
        """Whether they are on parameters and MACs alone, at most two objectives, so that no network is measured."""
        return set(self.columns) <= set(EXACT)

    def broken(self, row: Row) -> list[Budget]:
        """Return the budgets that a row breaks, of those that were measured."""
        return [budget for budget in self.budgets if (budget.excess(row) or 0.0) > 0]

    def dominates(self, row: Row, rival: Row, noise: Noise | None = None) -> bool:
        """Return whether a row beats another: better in one objective beyond the interval, and worse in none."""
        losses = [objective.losses(row, rival, noise) for objective in self.objectives]
        return all(high <= 0 for _, high in losses) and any(high < 0 for _, high in losses)

    def __str__(self) -> str:
        return "; ".join(map(str, (*self.objectives, *self.budgets)))

    def front(self, rows: Sequence[Row]) -> list[int]:
        """Return the positions of the rows that keep to the budgets and that no other such row dominates."""
        inside = [at for at, row in enumerate(rows) if not self.broken(row)]
        noise = self.noise(rows)
        return [
            at
            for at in inside
            if not any(self.dominates(rows[rival], rows[at], noise) for rival in inside if rival != at)
        ]

    def noise(self, rows: Sequence[Row]) -> Noise | None:
        """Return the noise of a run's accuracy, pooled over rows whose runs with the same seeds are complete."""
        if ACCURACY not in self.columns:
            return None
        from scsc_lab.analysis.paired_seeds import noise

        runs = [
            {run["seed"]: float(run["accuracy"]) for run in row.get("runs") or () if run["status"] == "complete"}
            for row in rows
        ]
        shared = set.intersection(*map(set, runs)) if runs else set[int]()
        return noise([[accuracies[seed] for seed in sorted(shared)] for accuracies in runs])


def bound(column_name: str, text: str, option: str) -> Bound:
    """Return a bound as a user writes it: ``3.5G``, ``5`` in the column's unit, ``-22%`` of the baseline.

    Raises:
        InputError: if there is no such column, or the text is no number.
    """
    metrics.chosen([column_name])
    column, text = metrics.columns()[column_name], text.strip()
    spelled = f"{option} {column_name}={text}"
    match = re.fullmatch(r"([+\-−]?)\s*(\d{1,6}(?:\.\d{1,6})?)\s*%", text)
    relative = column.change is not None and column.change.how in ("ratio", "measured")
    if match and (relative or column.scale in (1.0, 1e2)):
        number = float(match[2]) * (-1 if match[1] in ("-", "−") else 1)
        return (
            Bound(column_name, number / 100, True, text)
            if relative
            else Bound(column_name, number / column.scale, False, text)
        )
    if column.scale < 1:
        try:
            return Bound(column_name, texts.budget(text), False, text)
        except InputError as error:
            raise InputError(f"{option} {column_name}: {error}") from None
    if not re.fullmatch(r"-?\d{1,12}(\.\d{1,12})?", text):
        raise InputError(f"{spelled}: a number in the unit of {column.heading!r}, or a change such as -20%")
    return Bound(column_name, float(text) / column.scale, False, f"{text} {column.unit}".rstrip())


def budget(text: str) -> Budget:
    """Return the budget that a text such as ``latency<=5`` or ``accuracy>=90`` stands for.

    Raises:
        InputError: if it is none.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(<=|>=|≤|≥)\s*(.+)", text)
    if match is None:
        raise InputError(f"--budget {text!r}: write COLUMN<=VALUE or COLUMN>=VALUE, e.g. --budget 'latency<=5'")
    return Budget(bound(match[1], match[3], "--budget"), match[2] in ("<=", "≤"))


def objective(column_name: str, better: Better, option: str) -> Objective:
    """Return the objective of a column.

    Raises:
        InputError: if there is no such column, it has no better end, or the other end is the better one.
    """
    metrics.chosen([column_name])
    natural = metrics.columns()[column_name].better
    if natural and natural != better and column_name not in EXACT:
        fitting_option = "--maximise" if natural == "higher" else "--minimise"
        raise InputError(f"{option} {column_name}: better is {natural}; use {fitting_option} {column_name}")
    return Objective(column_name, better)


def near(column_name: str, text: str) -> Objective:
    """Return the objective to come near to a number of parameters or MACs.

    Raises:
        InputError: if the column is another, or the text is no number.
    """
    if column_name not in EXACT:
        raise InputError(f"--near {column_name}: {' or '.join(EXACT)}; bound other columns by --budget")
    return Objective(column_name, "lower", bound(column_name, text, "--near"))


def _is_baseline(row: Row) -> bool:
    return row.get("model") is not None and row["model"] == row.get("baseline")


def _number(row: Row, key: str) -> float | None:
    value = row.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
