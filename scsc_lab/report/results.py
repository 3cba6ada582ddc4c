"""Results in hand: how what Python functions return becomes a table, LaTeX and a figure."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from scsc_lab.analysis import count as counts
from scsc_lab.analysis import field as receptive
from scsc_lab.errors import InputError
from scsc_lab.records import Row
from scsc_lab.report import parts
from scsc_lab.report.render import latex

if TYPE_CHECKING:
    import pandas

    from scsc_lab.report.tables import Table

Stages = Mapping[str, Sequence[str]]
"""Names of the modules that make up each stage."""


class Count(counts.Count):
    """Parameters and operations of one network, which become a DataFrame or a LaTeX table, and draw themselves."""

    find_stages: Callable[[], Stages] | None = None

    @classmethod
    def of(cls, count: counts.Count, find_stages: Callable[[], Stages]) -> Count:
        """Return a count that finds the stages of its network where they are asked for."""
        count_with_stages = cls(**vars(count))
        object.__setattr__(count_with_stages, "find_stages", find_stages)
        return count_with_stages

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: the counts without the network."""
        return {key: value for key, value in vars(self).items() if key != "find_stages"}

    def _parts(self, by: str, depth: int | None, stages: Stages | None) -> list[counts.Part]:
        if by not in ("operator", "module", "stage"):
            raise InputError(f"by={by!r}: operator, module or stage")
        if by == "stage":
            if stages is None and self.find_stages is not None:
                stages = self.find_stages()
            if stages is None:
                raise InputError("by='stage' needs stages: the modules of each, e.g. {'stage1': ['layer1']}")
            return self.by_stage(stages)
        return self.by_operator() if by == "operator" else self.by_module(depth)

    def frame(
        self, by: str = "operator", *, depth: int | None = None, stages: Stages | None = None
    ) -> pandas.DataFrame:
        """Return the parts as a pandas DataFrame, one per row, raw numbers.

        Args:
            by: ``operator``, ``module`` or ``stage``.
            depth: levels of modules. Default: all.
            stages: modules of each stage, for ``stage``. Default: as ``scsc-lab flops --by stage`` finds them.

        Raises:
            InputError: if there is no such breakdown, or the stages are missing.
        """
        import pandas

        names = [field.name for field in fields(counts.Part)]
        return pandas.DataFrame([asdict(part) for part in self._parts(by, depth, stages)], columns=names)

    def to_latex(
        self,
        by: str = "operator",
        *,
        depth: int | None = 2,
        stages: Stages | None = None,
        caption: str = "",
        label: str = "",
    ) -> str:
        """Return the parts that cost anything, and the total, as a LaTeX table of booktabs.

        Args:
            by: as in :meth:`frame`.
            depth: levels of modules; all with ``None``.
            stages: as in :meth:`frame`.
            caption: caption. Default: the title.
            label: label to refer to it by. Default: one made from the caption.
        """
        return latex.of(parts.table(self, self._parts(by, depth, stages), by), caption, label)

    def plot(self, by: str = "operator", *, depth: int | None = 1, stages: Stages | None = None, ax: Any = None) -> Any:
        """Draw the share of the MACs of each part, and return the axes.

        Args:
            by: as in :meth:`frame`.
            depth: levels of modules; all with ``None``.
            stages: as in :meth:`frame`.
            ax: matplotlib's axes to draw on. Default: those of a new figure, ``ax.figure``.
        """
        return parts.draw_shares(self._parts(by, depth, stages), self.total, ax)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the operators that have MACs, and the total."""
        table = parts.table(self, self.by_operator(), "operator")
        return _html(table, f"{self.params:,} parameters.")


def _html(table: Table, *sentences: str) -> str:
    """Return a table as a notebook shows it, with sentences and its notes as the caption."""
    cells = [[column.heading for column in table.columns], *table.cells()]
    lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in line) for line in cells]
    text = html.escape(" ".join((*sentences, *table.notes)))
    caption = f"<caption>{text}</caption>" if text else ""
    return f"<table>{caption}{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


class _HasRow(Protocol):
    def row(self) -> Row: ...


_T = TypeVar("_T", bound=_HasRow)


class _Results(list[_T], Generic[_T]):
    """Measurements side by side: a list that becomes a DataFrame or a LaTeX table, and draws itself."""

    def frame(self) -> pandas.DataFrame:
        """Return a pandas DataFrame with one row per measurement: numbers, their intervals, and settings."""
        import pandas

        return pandas.DataFrame(self._rows())

    def plot(self, ax: Any = None) -> Any:
        """Draw all of them together, and return the axes.

        Args:
            ax: matplotlib's axes to draw on. Default: those of a new figure, ``ax.figure``.
        """
        raise NotImplementedError

    def to_latex(self, *, caption: str = "", label: str = "") -> str:
        """Return a LaTeX table of booktabs, one row per measurement, with 95 % intervals.

        Args:
            caption: caption. Default: the title.
            label: label to refer to it by. Default: one made from the caption.
        """
        return latex.of(self._table(), caption, label)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the table."""
        return _html(self._table())

    def _rows(self) -> list[Row]:
        return [result.row() for result in self]

    def _table(self) -> Table:
        raise NotImplementedError


class Latencies(_Results[_HasRow]):
    """Latencies side by side."""

    def plot(self, ax: Any = None) -> Any:
        """Draw the samples of each network, below each other, and return the axes; see :meth:`_Results.plot`."""
        from scsc_lab.report.figures import latency

        return latency.panel(self._rows(), ax)

    def _table(self) -> Table:
        from scsc_lab.report import latency

        return latency.table(self._rows())


class Field(receptive.Field):
    """One receptive field, which draws its map."""

    def plot(self, ax: Any = None) -> Any:
        """Draw the map with its squares, its centre and its theoretical field, and return the axes.

        Args:
            ax: matplotlib's axes to draw on. Default: those of a new figure, ``ax.figure``.
        """
        from scsc_lab.report.figures import erf

        return erf.panel(self, ax)

    def to_latex(self, *, caption: str = "", label: str = "") -> str:
        """Return its figures as a LaTeX table of booktabs; see :meth:`ReceptiveFields.to_latex`."""
        return ReceptiveFields([self]).to_latex(caption=caption, label=label)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: its figures."""
        return ReceptiveFields([self])._repr_html_()


class ReceptiveFields(_Results[receptive.Field]):
    """Receptive fields side by side."""

    def plot(self, ax: Any = None) -> Any:
        """Draw the profiles: the mass within each distance of the centre; see :meth:`_Results.plot`."""
        from scsc_lab.report.figures import erf

        return erf.compared(self, ax)

    def _table(self) -> Table:
        from dataclasses import replace

        from scsc_lab.report import fields as blocks

        return replace(blocks.fields_table(self._rows()), title=blocks.TITLE)
