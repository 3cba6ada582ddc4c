"""The table of rooflines: where each kind of module of a network is under the roofs of a machine."""

from __future__ import annotations

from collections.abc import Sequence

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.tables import Column, Table


def roofline_table(rows: Sequence[Row], notes: Sequence[str]) -> Table:
    """Return one row per network and kind of module, the longest first, and one of the whole.

    Args:
        rows: networks with their ``places``.
        notes: what must be known to read it.
    """
    placed = parts(rows)
    columns = (
        *([tables.MODEL] if len(rows) > 1 else []),
        Column("number", "", units.plain),
        Column("part", "modules", number=False),
        Column("seconds", "time (ms)", units.milliseconds),
        Column("time_share", "share", units.share),
        Column("least_seconds", "least (ms)", units.milliseconds),
        Column("attained", "of the roof", units.share),
        Column("bound", "bound by", number=False),
        Column(
            "intensity", "MAC/byte", lambda value: "" if value is None else units.significant(value, 2), optional=True
        ),
    )
    return Table(columns, tuple(placed), "Time under the roofs of this machine", tuple(notes), records=tuple(rows))


def parts(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the table, numbered as in the figure."""
    placed: list[Row] = []
    for row in rows:
        whole = sum(place["seconds"] for place in row.get("places", ()))
        for number, place in enumerate(row.get("places", ()), start=1):
            more = {
                "time_share": place["seconds"] / whole,
                "intensity": place["macs"] / place["bytes"] if place["bytes"] else None,
            }
            placed.append({"model": row["model"], "number": number, **place, **more})
        if whole:
            total = {"part": "all", "seconds": whole, "time_share": 1.0, "least_seconds": row["least_seconds"]}
            placed.append({"model": row["model"], **total, "attained": row["least_seconds"] / whole})
    return placed
