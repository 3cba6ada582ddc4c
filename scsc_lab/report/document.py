"""A report as data: sections of paragraphs, tables and figures, in order. Renderers make a page of it, or a paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from scsc_lab.records import Row
from scsc_lab.report.tables import Table
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scsc_lab.analysis.field import Field

Notes: TypeAlias = Callable[[Sequence[Row], Sequence[str]], list[str]]
"""Returns what must be known to read rows of the columns of some words."""


@dataclass(frozen=True)
class Paragraph:
    """Prose, in which what stands between two backticks is code."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """Lines of prose, one point each."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """A table, and the name of the file that holds it alone.

    Attributes:
        table: the table.
        name: name of its files, without a suffix.
        in_file: whether a text links to it as a CSV file: it is too long to read.
    """

    table: Table
    name: str
    in_file: bool = False


@dataclass(frozen=True, eq=False)
class Maps:
    """Receptive fields that stand behind a figure, where one can choose the share of the mass that a square holds.

    Attributes:
        fields: the fields, in order.
        intervals: of each field, the ends of the 95 % interval of ``r(t)`` by ``t``, as fractions; empty if unknown.
    """

    fields: tuple[Field, ...]
    intervals: tuple[Mapping[float, tuple[float, float]], ...]


@dataclass(frozen=True)
class Line:
    """One line of a plot: its network, its seed, its measure and its points."""

    name: str
    which: str
    measure: str
    xs: tuple[float, ...]
    ys: tuple[float | None, ...]


@dataclass(frozen=True)
class Curves:
    """Lines that stand behind a figure, where one can choose the measure: learning curves, say.

    Attributes:
        across: what the horizontal axis is, with its unit.
        lines: the lines, those of one name together.
    """

    across: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure that is drawn when it is wanted.

    Attributes:
        name: name of its files, without a suffix.
        caption: one line of prose.
        draw: takes what is wanted of it, returns the figure.
        behind: the numbers that it shows, for a page to explore.
    """

    name: str
    caption: str
    draw: Callable[[Drawing], Figure]
    behind: Maps | Curves | None = None


@dataclass(frozen=True)
class Details:
    """What only some want to read, folded away where a page can fold."""

    summary: str
    blocks: tuple[Block, ...]


Block: TypeAlias = Paragraph | Bullets | Grid | Picture | Details


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A report: its title, its abstract of one screen, and its sections."""

    title: str
    abstract: tuple[Block, ...]
    sections: tuple[Section, ...]

    def blocks(self) -> Iterator[Block]:
        """Return every block in order, those folded away too."""
        yield from unfolded(self.abstract)
        for section in self.sections:
            yield from unfolded(section.blocks)


def unfolded(blocks: tuple[Block, ...]) -> Iterator[Block]:
    """Return every block in order, those folded away too."""
    for block in blocks:
        yield block
        if isinstance(block, Details):
            yield from unfolded(block.blocks)
