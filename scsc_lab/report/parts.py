"""The parts of networks as blocks: what operators, modules and stages cost, and where time goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scsc_lab import units
from scsc_lab.analysis.count import Count, Part
from scsc_lab.records import Row, file_name
from scsc_lab.report import tables
from scsc_lab.report.document import Block, Details, Grid, Section
from scsc_lab.report.latency import IQR, MEDIAN
from scsc_lab.report.tables import Column, Table

TIME_RULE = (
    "Parts are timed in instrumented passes, alternating with plain passes that give the total: each has its median "
    "share of an instrumented pass. Unexplained: the total less the parts."
)
"""The explanation of the time of every part."""

TRAINABLE = replace(
    tables.measured("trainable_params", "trainable", "M", units.mega, "trainable", 1e-6, "lower", optional=True),
    name="trainable parameters",
    question="Does it train fewer parameters?",
)
MEMORY = replace(
    tables.measured("peak_bytes", "memory", "MB", units.mega, "memory", 1e-6, "lower", optional=True),
    name="peak activation memory",
    question="Does it need less memory?",
)
FLOPS = tables.measured("flops", "FLOPs", "G", units.giga, "flops", 1e-9, "lower")
MEMORY_RULE = (
    "Memory: most bytes of tensors alive at one time, weights left out, without workspaces and an allocator's rounding"
)
"""The explanation of the memory of every pass."""

_MACS_SHARE = Column("macs_share", "share", units.share)


def columns(by: str, cost: Column = tables.MACS) -> list[Column]:
    """Return the columns of a breakdown by ``operator``, ``module`` or ``stage``; operators own no parameters."""
    owned = Column("calls", "calls", units.integer) if by == "operator" else tables.PARAMS
    output = [Column("output", "output", units.shapes, optional=True)] if by == "module" else []
    share = _MACS_SHARE if cost is tables.MACS else Column("flops_share", "share", units.share)
    return [_name(by), *output, owned, cost, share, tables.ACTIVATIONS, tables.BYTES]


def time_columns(by: str) -> list[Column]:
    """Return the columns of a breakdown of time."""
    return [_name(by), MEDIAN, IQR, Column("time_share", "share", units.share), tables.MACS, _MACS_SHARE]


def _name(by: str) -> Column:
    return Column("name", by, number=False)


def table(count: Count, parts: Sequence[Part], by: str) -> Table:
    """Return the parts of a count that cost anything, and its total, as one table."""
    costly = [part for part in parts if part.name and (part.macs or part.params)]
    parts_and_total = [*costly, count.total]
    rows = tuple(
        {**vars(part), "macs_share": part.macs / count.macs if count.macs else None} for part in parts_and_total
    )
    unknown = ", ".join(f"{name} ({calls} calls)" for name, calls in count.unknown)
    notes = (f"PARTIAL: operators without a rule, not counted: {unknown}.",) if unknown else ()
    return Table(tuple(columns(by)), rows, f"Cost by {by}", notes)


def section(rows: Sequence[Row]) -> Section:
    """Return a table of the time of each network's stages, and of its modules folded away.

    Args:
        rows: one row per part, with the ``model`` and the kind of the part, ``by``; network by network.
    """
    blocks: list[Block] = []
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((str(row["model"]), str(row["by"])), []).append(row)
    for (model, by), parts in groups.items():
        notes = () if blocks else (TIME_RULE,)
        timed = Table(tables.filled(time_columns(by), parts), tuple(parts), f"{model} by {by}", notes)
        grid = Grid(timed, f"{by}s_of_{file_name(model)}")
        blocks.append(grid if by == "stage" else Details(timed.title, (grid,)))
    return Section("Where MACs and time go", tuple(blocks))
