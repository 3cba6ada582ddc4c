"""The tables of a report on what is inside each network: where MACs and time go, and the fields of all stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scsc_lab import units
from scsc_lab.records import Row, file_name
from scsc_lab.report import tables
from scsc_lab.report.document import Block, Details, Grid
from scsc_lab.report.latency import IQR, MEDIAN
from scsc_lab.report.tables import Column, Table

if TYPE_CHECKING:
    pass

TITLE = "Where MACs and time go"

_NOTES = (
    "Parts are timed inside the pass, in turn with passes that are not watched, which give the total: each has its "
    "median share of a watched pass. Unexplained: the total less the parts.",
)


def parts(rows: Sequence[Row]) -> tuple[Block, ...]:
    """Return a table of each network's stages, and of its modules folded away.

    Args:
        rows: a row a part, with the ``model`` and what the part is, ``by``; network by network.
    """
    found: list[Block] = []
    for model in dict.fromkeys(str(row["model"]) for row in rows):
        for by in dict.fromkeys(str(row["by"]) for row in rows if row["model"] == model):
            own = tuple(row for row in rows if row["model"] == model and row["by"] == by)
            columns = (
                Column("name", by, number=False),
                MEDIAN,
                IQR,
                Column("time_share", "share", units.share),
                tables.MACS,
                Column("macs_share", "share", units.share),
            )
            table = Table(tables.filled(columns, own), own, f"{model} by {by}", () if found else _NOTES)
            grid = Grid(table, f"{by}s_of_{file_name(model)}")
            found.append(grid if by == "stage" else Details(f"{model} by {by}", (grid,)))
    return tuple(found)
