"""Rows as DataFrames that know their columns: they become LaTeX as commands print it, and draw themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas

from scsc_lab.errors import InputError
from scsc_lab.records import Row
from scsc_lab.report import comparison
from scsc_lab.report.figures import forest, scatter
from scsc_lab.report.tables import Column, Table


@dataclass(frozen=True)
class Context:
    """Columns of a frame, and notes on its rows.

    Attributes:
        columns: the measured columns, in order.
        notes: what must be known to read it.
    """

    columns: tuple[Column, ...] = ()
    notes: tuple[str, ...] = ()


class _Frame(pandas.DataFrame):  # type: ignore[misc]  # pandas comes without types
    """A DataFrame of measured rows, raw numbers under the keys of the rows; what is cut from it knows the same."""

    _metadata = ["_context"]  # noqa: RUF012  # pandas reads it of the class
    _context = Context()
    _needs: tuple[str, ...] = ()

    @property
    def _constructor(self) -> Callable[..., _Frame]:
        return type(self)

    @classmethod
    def of(cls, rows: Sequence[Row], columns: Sequence[Column], notes: Sequence[str] = ()) -> _Frame:
        """Return rows as a frame."""
        frame = cls([{key: _hashable(value) for key, value in row.items()} for row in rows])
        frame._context = Context(tuple(columns), tuple(notes))
        return frame

    def to_latex(self, buf: Any = None, *, caption: str = "", label: str = "", **options: Any) -> Any:
        """Return the rows as a LaTeX table of booktabs, and one of the changes, as the command's ``--format latex``.

        With pandas' options, or without the columns that say what a row is, it is pandas' table.

        Args:
            buf: where pandas writes.
            caption: caption of the first table. Default: one made from the content.
            label: label to refer to it by; further tables have a number behind it. Default: one made from the caption.
            options: options of pandas, e.g. ``index=False``.
        """
        from scsc_lab.report.render import latex

        if buf is not None or options or self.empty or not set(self._needs) <= set(self.columns):
            return super().to_latex(buf, caption=caption or None, label=label or None, **options)
        return latex.of(self._table(), caption, label)

    def _rows(self) -> list[Row]:
        """Return the rows as they were measured: what is missing is ``None`` again.

        Raises:
            InputError: if columns are missing that say of what a row is.
        """
        missing = [key for key in self._needs if key not in self.columns]
        if missing or self.empty:
            raise InputError(f"the frame has no {missing[0] if missing else 'rows'}: keep what compare or ablate gave")
        return [{str(key): _plain(value) for key, value in row.items()} for row in self.to_dict("records")]

    def _column(self, word: str) -> Column:
        return comparison.axis(word, self._context.columns, self._rows())

    def _table(self) -> Table:
        raise NotImplementedError


class Comparison(_Frame):
    """Networks side by side, a row a network, with its changes against the baseline."""

    _needs = ("model", "baseline", "resolution")

    def plot(self, x: str = "", y: str = "", ax: Any = None) -> Any:
        """Draw two columns against each other, a point a network, with the Pareto front, and return the axes.

        Args:
            x: the column across, by its word among the metrics. Default: the first that was measured.
            y: the column upwards. Default: the next.
            ax: matplotlib's axes to draw on. Default: those of a new figure, ``ax.figure``.

        Raises:
            InputError: if a column was not measured, or there is none to draw.
        """
        names = [column.word for column in self._context.columns if column.key in self.columns]
        x = x or next((name for name in names if name != y), "")
        y = y or next((name for name in names if name != x), "")
        if not (x and y):
            raise InputError("two columns are needed to draw a comparison: compare by two metrics, e.g. params, macs")
        return scatter.panel(self._rows(), self._column(x), self._column(y), ax)

    def _table(self) -> Table:
        return comparison.comparison_table(self._rows(), self._context.columns, self._context.notes)


class Ablation(_Frame):
    """Variants of a network, a row a variant, with its changes against the full network of its study."""

    _needs = ("model", "study", "variant")

    def plot(self, metric: str = "", ax: Any = None) -> Any:
        """Draw the change of each variant against the full network, a dot a variant, and return the axes.

        Args:
            metric: the column, by its word among the metrics. Default: the first that was measured.
            ax: matplotlib's axes to draw on. Default: those of a new figure, ``ax.figure``.

        Raises:
            InputError: if the column was not measured.
        """
        names = [column.word for column in self._context.columns if column.change is not None]
        return forest.panel(self._rows(), self._column(metric or (names or [""])[0]), ax)

    def _rows(self) -> list[Row]:
        rows = super()._rows()
        for variants in comparison.by_study(rows).values():
            keys = [column.change.key for column in self._context.columns if column.change is not None]
            if any(variants[0].get(key) is not None for key in keys):
                raise InputError(
                    f"the full network of {variants[0]['study']} is missing, its first row: changes are against it"
                )
        return rows

    def _table(self) -> Table:
        return comparison.ablation_tables(self._rows(), self._context.columns, self._context.notes)


def _hashable(value: Any) -> Any:
    """Return a cell by which a frame can be grouped: a list as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Return a cell of a frame as a row has it: pandas writes not-a-number where there is nothing."""
    if isinstance(value, tuple):
        return list(value)
    return None if isinstance(value, float) and math.isnan(value) else value
