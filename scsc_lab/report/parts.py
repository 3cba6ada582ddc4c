"""The parts of networks, as tables and pictures: costs, times, and places under the roofs of a machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from scsc_lab import units
from scsc_lab.analysis.count import Count, Part
from scsc_lab.records import Row, file_name, grouped
from scsc_lab.report import tables
from scsc_lab.report.document import Block, Details, Grid, Picture, Section
from scsc_lab.report.figures import style
from scsc_lab.report.latency import IQR, MEDIAN
from scsc_lab.report.names import shortened_apart
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


_ROW_INCHES = 0.17
_FRAME_INCHES = 0.45
_LONGEST_NAME = 26


def draw_shares(parts: Sequence[Part], total: Part, axes: Any = None) -> Any:
    """Draw the share of the MACs of each part as a bar, with the MACs beside it, and return the axes.

    Args:
        parts: the parts; those without MACs, and the whole network among its modules, are left out.
        total: the whole network.
        axes: matplotlib's axes to draw on. Default: those of a new figure, one column wide.
    """
    costly = [part for part in parts if part.name and part.macs]
    if axes is None:
        _, axes = style.new(style.COLUMN_INCHES, _FRAME_INCHES + _ROW_INCHES * max(len(costly), 1))
    short = shortened_apart((part.name for part in costly), _LONGEST_NAME)
    with style.applied():
        shares = [100 * part.macs / total.macs for part in costly]
        axes.barh(range(len(costly)), shares, color=style.COLOURS[0], height=0.7)
        for place, (part, share) in enumerate(zip(costly, shares, strict=True)):
            label = f"{units.giga(part.macs)} G"
            offset = {"xytext": (3, 0), "textcoords": "offset points", "va": "center", "fontsize": style.POINTS}
            axes.annotate(label, (share, place), **offset)
        axes.set_yticks(range(len(costly)), [short[part.name] for part in costly])
        axes.tick_params(axis="y", left=False)
        axes.set_ylim(len(costly) - 0.4, -0.6)
        axes.set_xlim(0, 1.5 * max(shares, default=100.0))
        axes.set_xlabel(f"share of {units.giga(total.macs)} G MACs (%)")
    return axes


def section(rows: Sequence[Row]) -> Section:
    """Return a table of the time of each network's stages, and of its modules folded away.

    Args:
        rows: one row per part, with the ``model`` and the kind of the part, ``by``; network by network.
    """
    blocks: list[Block] = []
    for (model, by), parts in grouped(rows, lambda row: (str(row["model"]), str(row["by"]))).items():
        notes = () if blocks else (TIME_RULE,)
        timed = Table(tables.filled(time_columns(by), parts), tuple(parts), f"{model} by {by}", notes)
        grid = Grid(timed, f"{by}s_of_{file_name(model)}")
        blocks.append(grid if by == "stage" else Details(timed.title, (grid,)))
    return Section("Where MACs and time go", tuple(blocks))


_TITLE = "Why time does not follow MACs"
BETWEEN = "between modules"
"""What runs between the modules that are timed: additions, activations, moves."""


def roofline_section(networks: Sequence[Row]) -> list[Section]:
    """Return the section of a report, if any network has places: why time does not follow MACs."""
    rows = [row for row in networks if row.get("places")]
    if not rows:
        return []
    caption = "MACs per second against MACs per byte, under the roofs; numbers as in the table, area: share of time"
    grid = Grid(roofline_table(rows, notes(rows)), "roofline")
    return [Section(_TITLE, (grid, Picture("roofline", caption, partial(draw_roofline, rows))))]


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


_LARGEST, _SMALLEST = 11.0, 3.0
_NUMBERED_SHARE = 0.04


def draw_roofline(rows: Sequence[Row], options: Drawing = style.PLAIN) -> Figure:
    """Return the figure: a mark per kind of module, its area the share of the time, numbered as in the table.

    Kinds without multiply-accumulates have no place here; the table has them.

    Args:
        rows: networks with their ``places`` and ``roofs``.
        options: width and titles.
    """
    width = options.width or style.COLUMN_INCHES
    figure, axes = style.new(width, 0.8 * width)
    if options.titles:
        figure.suptitle("Roofline", x=0.02, ha="left", fontsize=8)
    marks = [row for row in parts(rows) if row.get("macs") and row.get("intensity") and row["seconds"] > 0]
    if not marks:
        return figure
    machine = next(row["roofs"] for row in rows if row.get("roofs"))
    peak, moved = (machine[key]["median"] / 1e9 for key in ("macs_per_second", "bytes_per_second"))
    across = [row["intensity"] for row in marks] + [peak / moved]
    low, high = min(across) / 2, max(across) * 2
    short = shortened_apart(row["model"] for row in rows)
    with style.applied():
        corner = peak / moved
        axes.plot([low, corner, high], [moved * low, peak, peak], color="0.35", linewidth=1.0, zorder=1)
        axes.annotate(f"{peak:.3g} GMAC/s", (corner, peak), (-2, 3), textcoords="offset points", color="0.25")
        axes.annotate(f"{moved:.3g} GB/s", (low, moved * low), (12, -2), textcoords="offset points", color="0.25")
        for at, (row, look) in enumerate(zip(rows, style.looks(rows), strict=True)):
            for part in (part for part in marks if part["model"] == row["model"]):
                place = (part["intensity"], part["macs"] / part["seconds"] / 1e9)
                size = max(_LARGEST * part["time_share"] ** 0.5 * 1.6, _SMALLEST)
                axes.plot(*place, markersize=size, alpha=0.75, zorder=2, **look.mark)
                if part["time_share"] >= _NUMBERED_SHARE:
                    offset = (0.35 * size + 2, -0.35 * size - 5) if at % 2 else (-0.35 * size - 6, 0.35 * size + 1)
                    axes.annotate(str(part["number"]), place, offset, textcoords="offset points", zorder=3)
            axes.plot([], [], linestyle="", markersize=5, label=short[str(row["model"])], **look.mark)
        axes.margins(0.1)
        axes.set(xscale="log", yscale="log", xlabel="MACs per byte", ylabel="GMAC/s")
        for axis in (axes.xaxis, axes.yaxis):
            style.plain_log(axis, (1.0, 2.0, 5.0))
        figure.legend(loc="outside lower center", ncols=2, handletextpad=0.3)
    return figure


def notes(rows: Sequence[Row]) -> list[str]:
    """Return one sentence per network on what bounds its time, and how the roofs were measured."""
    rows_with_places = [row for row in rows if row.get("places")]
    lines = [sentence(row) for row in rows_with_places]
    if rows_with_places:
        first = rows_with_places[0]
        peak, moved = (first["roofs"][key]["median"] for key in ("macs_per_second", "bytes_per_second"))
        lines.append(
            f"Roofs, measured here: {units.significant(peak / 1e9, 3)} GMAC/s by a product or a convolution, "
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
