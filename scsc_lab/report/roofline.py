"""Rooflines: where each kind of module of a network is under the roofs of a machine, as table and section."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.document import Grid, Picture, Section
from scsc_lab.report.tables import Column, Table

BETWEEN = "between modules"
"""What runs between the modules that are timed: additions, activations, moves."""


def section(networks: Sequence[Row]) -> list[Section]:
    """Return the section of a report, if any network has places: why time does not follow MACs."""
    from scsc_lab.report.figures import roofline

    rows = [row for row in networks if row.get("places")]
    if not rows:
        return []
    caption = "MACs per second against MACs per byte, under the roofs; numbers as in the table, area: share of time"
    grid = Grid(roofline_table(rows, notes(rows)), "roofline")
    return [
        Section("Why time does not follow MACs", (grid, Picture("roofline", caption, partial(roofline.draw, rows))))
    ]


def roofline_table(rows: Sequence[Row], notes: Sequence[str]) -> Table:
    """Return one row per network and kind of module, the longest first, and one of the whole.

    Args:
        rows: networks with their ``places``.
        notes: what must be known to read it.
    """
    lines = parts(rows)
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
    return Table(columns, tuple(lines), "Time under the roofs of this machine", tuple(notes), records=tuple(rows))


def parts(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the table, numbered as in the figure."""
    lines: list[Row] = []
    for row in rows:
        total_seconds = sum(place["seconds"] for place in row.get("places", ()))
        for number, place in enumerate(row.get("places", ()), start=1):
            shares = {
                "time_share": place["seconds"] / total_seconds,
                "intensity": place["macs"] / place["bytes"] if place["bytes"] else None,
            }
            lines.append({"model": row["model"], "number": number, **place, **shares})
        if total_seconds:
            total = {"part": "all", "seconds": total_seconds, "time_share": 1.0, "least_seconds": row["least_seconds"]}
            lines.append({"model": row["model"], **total, "attained": row["least_seconds"] / total_seconds})
    return lines


def notes(rows: Sequence[Row]) -> list[str]:
    """Return one sentence per network on what bounds its time, and how the roofs were measured."""
    rows_with_places = [row for row in rows if row.get("places")]
    lines = [sentence(row) for row in rows_with_places]
    if rows_with_places:
        first = rows_with_places[0]
        peak, moved = (first["roofs"][key]["median"] for key in ("macs_per_second", "bytes_per_second"))
        lines.append(
            f"Roofs, measured here: {units.significant(peak / 1e9, 3)} GMAC/s by a matrix product, "
            f"{units.significant(moved / 1e9, 3)} GB/s by a copy; {first['dtype']}, threads: {first['threads']}, "
            f"{first['device_name']}. Bytes are counted per operator, nothing fused or cached: caches served what is "
            "above 100 % of a roof. Overhead: below 20 % of both roofs."
        )
    return lines


def sentence(row: Row) -> str:
    """Return what bounds a network's time: ``61 % of its time is memory-bound; its … reach 12 % of the roof``."""
    places, total = row["places"], sum(place["seconds"] for place in row["places"])
    shares = dict.fromkeys(("compute", "memory", "overhead"), 0.0)
    for place in places:
        shares[place["bound"]] += place["seconds"] / total
    bound, share = max(shares.items(), key=lambda item: item[1])
    spent = {"compute": "compute-bound", "memory": "memory-bound", "overhead": "overhead, near neither roof"}[bound]
    lost = max(places, key=lambda place: place["seconds"] - place["least_seconds"])
    attained = f"{100 * (lost['attained'] or 0):.0f} %"
    return f"{row['model']}: {100 * share:.0f} % of its time is {spent}; {_whose(lost['part'])} {attained} of the roof."


def _whose(part: str) -> str:
    """Return a kind of module as the subject of a sentence."""
    if part == BETWEEN:
        return "what runs between its modules reaches"
    return f"its {part} {'reach' if part.endswith('s') else 'reaches'}"
