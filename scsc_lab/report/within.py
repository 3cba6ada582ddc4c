"""The tables of a report on what is inside each network: where MACs and time go, and the fields of all stages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from scsc_lab import units
from scsc_lab.records import Row, file_name
from scsc_lab.report import evidence, receptive_fields, tables
from scsc_lab.report.document import Block, Details, Grid, Picture
from scsc_lab.report.latency import IQR, MEDIAN
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scsc_lab.analysis.field import Field

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


def _draw(maps: Sequence[Field], rows: Sequence[Row], options: Drawing) -> Figure:
    from scsc_lab.report.figures import erf

    return erf.draw(maps, options, rows)


def stages(fields: Sequence[Row], folder: Path) -> tuple[Block, ...]:
    """Return picture and table of the fields of all stages, where rows have them.

    Args:
        fields: rows of receptive fields, with those of each stage under ``stages``.
        folder: the report's folder.
    """
    found: list[Block] = []
    for row in fields:
        own = [{"model": row["model"], "resolution": row["resolution"], **stage} for stage in row.get("stages") or ()]
        if not own:
            continue
        name = f"stages_of_{file_name(str(row['model']))}"
        blocks: list[Block] = []
        if drawn := [stage for stage in own if "map_file" in stage]:
            maps = evidence.fields(folder, drawn)
            blocks.append(
                Picture(
                    f"fields_of_{name}",
                    f"Effective receptive fields of the stages of {row['model']}",
                    partial(_draw, maps, drawn),
                )
            )
        blocks.append(Grid(receptive_fields.fields_table(own), f"receptive_fields_of_{name}"))
        found.append(Details(f"All stages of {row['model']}", tuple(blocks)))
    return tuple(found)
