"""The columns of latencies, the line above their table, and the one table of them that a paper takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.tables import Column, Table

LAYOUTS = {"contiguous": "contiguous", "channels_last": "channels-last"}
"""What the orders of an image's elements are called."""

MEDIAN = Column("median_seconds", "median (ms)", units.milliseconds)
IQR = Column("iqr_seconds", "IQR", units.milliseconds)
BATCH = Column("batch", "batch", units.integer)
MEASURED = (
    MEDIAN,
    IQR,
    Column("p90_seconds", "p90", units.milliseconds),
    Column("images_per_second", "images/s", units.rate, optional=True),
    Column("peak_memory_bytes", "peak (MB)", units.mega),
    Column("samples", "samples", units.integer),
)
COMPARED = (  # in a narrow terminal the interval and the verdict stay before the MACs do
    replace(tables.MACS, optional=True),
    Column("macs_change", "Δ MACs", units.percent, optional=True),
    Column("baseline_seconds", "baseline (ms)", units.milliseconds, optional=True),
    Column("time_change", "Δ time", units.percent),
    Column("ratio", "ratio", units.ratio),
    Column(("ratio_low", "ratio_high"), "95 % interval", units.interval),
    Column("verdict", "verdict", number=False),
)
LAYOUT = Column("memory_format", "layout", lambda layout: LAYOUTS.get(layout, ""), optional=True)
RUNTIME = Column("runtime_title", "runtime", number=False)
SETUP = Column("setup_seconds", "set-up (s)", units.seconds)
TO_TORCH = (
    Column("torch_time_change", "Δ time", units.percent),
    Column("torch_ratio", "ratio", units.ratio),
    Column(("torch_ratio_low", "torch_ratio_high"), "95 % interval", units.interval),
    Column("torch_verdict", "verdict", number=False),
)
OWN_FORM = (
    Column("ordinary_ratio", "to ordinary", units.ratio),
    Column(("ordinary_ratio_low", "ordinary_ratio_high"), "95 % interval", units.interval),
)
# Set as a number is, so that a narrow terminal leaves out optional columns before it folds these words.
STATUS = Column("status", "status", lambda status: "" if status == "complete" else str(status))


def title(rows: Sequence[Row]) -> str:
    """Return what all rows share: device, type, threads, mode."""
    row = rows[0]
    sizes = " and ".join(dict.fromkeys(units.size(row["resolution"]) for row in rows))
    batches = ", ".join(dict.fromkeys(str(row["batch"]) for row in rows))
    threads = f", {row['threads']} thread{'s' if row['threads'] > 1 else ''}" if row["device"] == "cpu" else ""
    asked = row["memory_format_asked"]
    everywhere = asked == "channels_last" and all(other["memory_format"] == asked for other in rows)
    order = f", {LAYOUTS[asked]}" if everywhere else ""
    used = dict.fromkeys((_runtime(other), other.get("runtime_title", "torch")) for other in rows)
    alone = {"torch": "eager", "compile": "compiled"} if len(used) == 1 else {}
    *others, last = (alone.get(name, str(title)) for name, title in used)
    how = f"{', '.join(others)} and {last}" if others else last
    how += ", forward and backward" if row["mode"] == "train" else ""
    return f"{row['device']}{threads}, {row['dtype']}{order}, {how}, batch {batches}, {sizes}"


def _runtime(row: Row) -> str:
    """Return what a row was timed in; rows that do not say are of torch, and say whether it was compiled."""
    return str(row.get("runtime") or ("compile" if row.get("compile") else "torch"))


def table(rows: Sequence[Row]) -> Table:
    """Return timings as one table, each beside its ratio to the baseline; columns that say nothing are left out.

    It has what a page has room for; rows hold more.
    """
    several = [BATCH] if len({row["batch"] for row in rows}) > 1 else []
    elsewhere = {_runtime(row) for row in rows} - {"torch"}
    where = [RUNTIME] if len({_runtime(row) for row in rows}) > 1 else []
    against = [column for column in COMPARED if column.key != "time_change"]
    to_torch = [replace(column, heading=f"to torch: {column.heading}") for column in TO_TORCH[1:3]] if elsewhere else []
    shown = (tables.MODEL, *where, *several, LAYOUT, MEDIAN, IQR, *against, *to_torch, STATUS)
    baselines = dict.fromkeys(str(row["baseline"]) for row in rows if row["baseline"])
    said = f"Ratio: time over that of {', '.join(baselines)}, median over pairs of random order."
    return Table(tables.filled(shown, rows), tuple(rows), title(rows), (said,) if baselines else ())
