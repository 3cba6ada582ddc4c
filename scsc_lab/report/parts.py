"""The table of a network's parts: operators, modules or stages, with the share of the MACs that each has."""

from __future__ import annotations

from collections.abc import Sequence

from scsc_lab import units
from scsc_lab.analysis.count import Count, Part
from scsc_lab.report import tables
from scsc_lab.report.tables import Column, Table


def columns(by: str) -> list[Column]:
    """Return the columns of a breakdown by ``operator``, ``module`` or ``stage``; operators own no parameters."""
    return [
        Column("name", by, number=False),
        *([Column("calls", "calls", units.integer)] if by == "operator" else [tables.PARAMS]),
        tables.MACS,
        Column("macs_share", "share", units.share),
        tables.ACTIVATIONS,
        tables.BYTES,
    ]


def table(count: Count, parts: Sequence[Part], by: str) -> Table:
    """Return the parts of a count that cost anything, and its total, as one table."""
    named = [part for part in parts if part.name and (part.macs or part.params)]
    shown = [*named, count.total]
    rows = tuple({**vars(part), "macs_share": part.macs / count.macs if count.macs else None} for part in shown)
    unknown = ", ".join(f"{name} ({calls} calls)" for name, calls in count.unknown)
    notes = (f"PARTIAL: operators without a rule, not counted: {unknown}.",) if unknown else ()
    return Table(tuple(columns(by)), rows, f"Cost by {by}", notes)
