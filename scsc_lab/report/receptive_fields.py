"""The table of receptive fields in a report, from rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.tables import Column, Table

TRAINED = "trained"
"""What a row's ``weights`` are where its field is that of training runs' last weights."""


def of_one_draw(rows: Sequence[Row]) -> list[str]:
    """Return one line on the fields of a single random initialisation, whose intervals hold for it alone."""
    drawn = [row for row in rows if row.get("weights") in ("random", "mixed") and "model" in row]
    single = [row for row in drawn if (row.get("initialisations") or row.get("seeds") or 1) == 1]
    if not single:
        return []
    named = ", ".join(dict.fromkeys(str(row["model"]) for row in single))
    return [f"{named}: intervals are of this initialisation; those of the architecture take several (--seeds 3)."]


def of(network: Row, fields: Sequence[Row]) -> Row | None:
    """Return the last field of a network, at its input size and, where both were trained, of training with its data."""
    data = {run["data"] for run in network.get("runs") or ()}
    for row in reversed(fields):
        named = row["model"] == network["model"] or row.get("network", "") == network.get("network")
        sized = row.get("resolution") in (None, network["resolution"])
        if named and sized and (not data or row.get("train_data") in (None, *data)):
            return row
    return None


def fields_table(rows: Sequence[Row]) -> Table:
    """Return the figures of merit of each network's last stage, ``r(50%)`` with its interval."""
    columns = (
        tables.MODEL,
        tables.INPUT,
        Column("stage", "stage", number=False),
        *([Column("weights", "weights", number=False)] if any(row.get("weights") == TRAINED for row in rows) else []),
        Column(("r20", "r20_low", "r20_high"), "r(20%), 95%", units.share_interval),
        Column(("r50", "r50_low", "r50_high"), "r(50%), 95%", units.share_interval),
        Column(("r95", "r95_low", "r95_high"), "r(95%), 95%", units.share_interval),
        Column("radius50_pixels", "radius 50%", units.decimal, unit="px"),
        Column(("theoretical_pixels", "theoretical_reaches_border"), "theoretical", _theoretical, unit="px"),
        Column("truncation", "truncated", units.share),
    )
    notes = [
        "r(t): share of the input's area in the smallest square around the unit's true centre that holds t of the "
        "gradient's mass, with its 95% interval. Theoretical: the side of the field that the architecture allows; ≥: "
        "it goes on beyond the image. Truncated: mass in the outer 5% of the sides.",
    ]
    return Table(columns, tuple(rows), notes=(*notes, *of_one_draw(rows)))


def _theoretical(values: tuple[Any, ...]) -> str:
    sides, cut = values
    return f"{'≥ ' if cut and sides else ''}{units.size(sides)}"
