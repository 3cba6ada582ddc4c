"""Latencies as blocks: the columns, the one table, the one explanation, and the section of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.document import Block, Grid, Paragraph, Picture, Section
from scsc_lab.report.names import precision
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings import PERCENTILES

USUAL = "torch"
"""The runtime whose numbers stand under their own keys in a row of a network."""

IN_RUNTIMES = "In each runtime"
"""Title of the table, and of the section, of several runtimes."""
_MOST_STRIPS = 12
"""Networks whose samples a picture shows; of more it would be a wall."""

NOT_OF_THE_PAIRS = 0.1
"""Relative distance of the ratio of two medians from the paired ratio beyond which they are of other pairs."""

LAYOUTS = {"contiguous": "contiguous", "channels_last": "channels-last"}
"""What the orders of an image's elements are called."""

_TIMED = (
    *("median_seconds", "iqr_seconds", "images_per_second", "samples_seconds", "ratio", "ratio_low", "ratio_high"),
    *("verdict", "baseline_seconds", "pairs_used", "spread", "outliers", "drift", "drift_change"),
    *("ordinary", "ordinary_ratio", "ordinary_ratio_low", "ordinary_ratio_high", "ordinary_verdict"),
    *("memory_format", "memory_format_asked", "runtime_details"),
)
"""Keys of a timing that a network's row has for each runtime."""

_OF_TORCH = ("torch_ratio", "torch_ratio_low", "torch_ratio_high", "torch_baseline_seconds")

_ELSEWHERE = (
    *(*_OF_TORCH, "torch_verdict", "setup_seconds", "export_seconds"),
    *("output_difference", "runtime_title"),
)
"""Those that it has for runtimes other than torch only."""

_SHARED = (
    *("pairs", "repeats", "device", "device_name", "processor", "cores", "load", "load_before", "load_after"),
    *("is_busy", "dtype", "threads", "streams", "compile", "mode", "seed", "batch", "delta", "resamples"),
    "confidence",
)
"""Those that all runtimes of a measurement share."""

MEDIAN = Column("median_seconds", "median", units.milliseconds, unit="ms")
IQR = Column("iqr_seconds", "IQR", units.milliseconds)
BATCH = Column("batch", "batch", units.integer)
LAYOUT = Column("memory_format", "layout", lambda layout: LAYOUTS.get(layout, ""), optional=True)
RUNTIME = Column("runtime_title", "runtime", number=False)
# Set as a number is, so that a narrow terminal leaves out optional columns before it folds these words.
STATUS = Column("status", "status", lambda status: "" if status in ("complete", None) else str(status))

_MEASURED = (
    MEDIAN,
    IQR,
    *(Column(f"p{percent}_seconds", f"p{percent}", units.milliseconds) for percent in PERCENTILES),
    Column("images_per_second", "images/s", units.rate, optional=True),
    Column("peak_memory_bytes", "peak", units.mega, unit="MB"),
    Column("samples", "samples", units.integer),
    Column("setup_seconds", "set-up", units.seconds, unit="s"),
)
_COMPARED = (  # in a narrow terminal the interval and the verdict stay before the MACs do
    replace(tables.MACS, optional=True),
    Column("macs_change", "Δ MACs", units.percent, optional=True),
    Column("baseline_seconds", "baseline", units.milliseconds, optional=True, unit="ms"),
    Column("time_change", "Δ time", units.percent),
    Column("ratio", "ratio", units.ratio),
    Column(("ratio_low", "ratio_high"), "95 % interval", units.interval),
    Column("verdict", "verdict", number=False),
    Column("ordinary_ratio", "to ordinary", units.ratio),
    Column(("ordinary_ratio_low", "ordinary_ratio_high"), "95 % interval", units.interval),
)
_TO_TORCH = (
    Column("torch_time_change", "Δ time", units.percent),
    Column("torch_ratio", "ratio", units.ratio),
    Column(("torch_ratio_low", "torch_ratio_high"), "95 % interval", units.interval),
    Column("torch_verdict", "verdict", number=False),
)


def key_in(runtime: str, key: str) -> str:
    """Return the key under which a network's row has a number of one runtime."""
    return key if runtime == USUAL else f"{runtime}_{key}"


def pivoted(timings: Sequence[Row]) -> Row:
    """Return what one row says of a network's timings in several runtimes: numbers of torch, then prefixed ones."""
    row: Row = {key: timings[0][key] for key in _SHARED if key in timings[0]}
    row["runtimes"] = [timing["runtime"] for timing in timings]
    row["latency_status"] = next((each["status"] for each in timings if each["status"] != "complete"), "complete")
    for timing in timings:
        row |= {"latency_failure": timing["failure"]} if timing.get("failure") else {}
        keys = _TIMED if timing["runtime"] == USUAL else (*_TIMED, *_ELSEWHERE)
        row |= {key_in(timing["runtime"], key): timing[key] for key in keys if key in timing}
    return row


def timings_of(networks: Sequence[Row]) -> list[Row]:
    """Return one row per network and runtime, network by network, from rows that :func:`pivoted` made."""
    names = dict.fromkeys(name for row in networks for name in row.get("runtimes") or (USUAL,))
    shared = ("model", "network", "hue", "resolution", "form", "ordinary", "macs", "macs_change", *_SHARED)
    return [
        {
            **{key: row.get(key_in(name, key)) for key in (*_TIMED, *_ELSEWHERE)},
            **{key: row.get(key) for key in shared},
            "runtime": name,
            "runtime_title": row.get(key_in(name, "runtime_title")) or name,
            "baseline": "" if row.get("baseline") in (None, row["model"]) else row["baseline"],
        }
        for row in networks
        for name in names
        if row.get(key_in(name, "median_seconds")) is not None
    ]


def of_other_pairs(row: Row, reference: float) -> bool:
    """Return whether a network's median and its ratio are of other pairs than a baseline's median, in seconds."""
    if row.get("baseline_seconds"):
        return bool(abs(row["baseline_seconds"] / reference - 1) > NOT_OF_THE_PAIRS)
    if not (row.get("ratio") and row.get("median_seconds")):
        return False
    return bool(abs(row["median_seconds"] / reference / row["ratio"] - 1) > NOT_OF_THE_PAIRS)


def title(rows: Sequence[Row]) -> str:
    """Return what all timings share: device, type, threads, mode."""
    row = rows[0]
    sizes = " and ".join(dict.fromkeys(map(tables.INPUT.cell, rows)))
    batches = ", ".join(dict.fromkeys(str(timing["batch"]) for timing in rows))
    threads = f", {row['threads']} thread{'s' if row['threads'] > 1 else ''}" if row["device"] == "cpu" else ""
    threads += f", {row['streams']} passes at once" if (row.get("streams") or 1) > 1 else ""
    layout = row["memory_format_asked"]
    everywhere = layout == "channels_last" and all(timing["memory_format"] == layout for timing in rows)
    order = f", {LAYOUTS[layout]}" if everywhere else ""
    used = dict.fromkeys((timing["runtime"], timing["runtime_title"]) for timing in rows)
    alone = {"torch": "eager", "compile": "compiled"} if len(used) == 1 else {}
    *first_names, last = (alone.get(name, str(name_shown)) for name, name_shown in used)
    how = f"{', '.join(first_names)} and {last}" if first_names else last
    how += ", forward and backward" if row["mode"] == "train" else ""
    return f"{row['device']}{threads}, {precision(row)}{order}, {how}, batch {batches}, {sizes}"


def table(rows: Sequence[Row], notes: Sequence[str] = ()) -> Table:
    """Return timings as one table, without empty columns; below it the ratios to the baseline and to torch.

    Args:
        rows: timings, of :meth:`scsc_lab.timing.result.Latency.row` or :func:`timings_of`.
        notes: lines below the last table.
    """
    compared = any(row["baseline"] for row in rows)
    elsewhere = any(row["runtime"] != USUAL for row in rows)
    looked_for = elsewhere or any(row["memory_format_asked"] == "auto" for row in rows)
    runtime_columns = [RUNTIME] if len({row["runtime"] for row in rows}) > 1 else []
    baselines = len({row["baseline"] for row in rows if row["baseline"]}) > 1
    against = [Column("baseline", "against", number=False)] if baselines and not rows[0].get("self_test") else []
    keys = (tables.MODEL, *against, *runtime_columns, *([BATCH] if len({row["batch"] for row in rows}) > 1 else []))
    measured = (*keys, *([LAYOUT] if looked_for else []), *_MEASURED, *([] if compared else _COMPARED[:1]), STATUS)
    details = []
    if compared:
        names = dict.fromkeys(str(row["baseline"]) for row in rows if row["baseline"])
        baseline = "itself" if rows[0].get("self_test") else " and ".join(names)
        heading = f"Against {baseline}{', in the same runtime' if runtime_columns else ''}"
        details.append(Table(tables.filled((*keys, *_own_forms(rows)), rows), tuple(rows), heading))
    if with_torch := tuple(row for row in rows if row.get("torch_ratio") is not None):
        details.append(Table(tables.filled((*keys, *_TO_TORCH), with_torch), with_torch, "Against the same in torch"))
    medians = Table(tables.filled(measured, rows), tuple(rows), title(rows), (), tuple(details))
    return medians.noted(notes)


def _own_forms(rows: Sequence[Row]) -> tuple[Column, ...]:
    """Return the columns of ratios, those to the ordinary form only where that is not the baseline."""
    has_other = any(row["ordinary"] and row["ordinary"] != row["baseline"] for row in rows)
    return _COMPARED if has_other else _COMPARED[:-2]


def runtimes_table(networks: Sequence[Row], notes: Sequence[str] = ()) -> Table | None:
    """Return the table of networks in each runtime, or None if none was timed in another one than torch."""
    timings = tuple(timings_of(networks))
    if all(row["runtime"] == USUAL for row in timings):
        return None
    columns = (
        tables.MODEL,
        RUNTIME,
        MEDIAN,
        Column(("ratio", "ratio_low", "ratio_high", "baseline_seconds"), "× baseline, 95 %", units.ratio_of_time),
        Column(_OF_TORCH, "× torch, 95 %", units.ratio_of_time),
        Column("verdict", "verdict", number=False, optional=True),
    )
    return Table(tables.filled(columns, timings), timings, IN_RUNTIMES, tuple(notes))


def sections(networks: Sequence[Row], deployed: Sequence[Row], noise: Sequence[Row]) -> list[Section]:
    """Return the sections of a report: each runtime, and the samples with the machine's noise floor.

    Args:
        networks: networks, each with the label of its ``baseline``.
        deployed: deploy forms, each with the label of the network that it is a form of under ``ordinary``.
        noise: a network timed against itself, if one was.
    """
    from scsc_lab.report import parts
    from scsc_lab.report.figures import latency

    in_order = []
    form_of = {str(row.get("ordinary")): row for row in deployed}
    forms = [form for row in networks for form in (row, form_of.get(str(row["model"]))) if form is not None]
    if (table_of_runtimes := runtimes_table(forms, (rule(networks),))) is not None:
        blocks: list[Block] = [Grid(table_of_runtimes, "runtimes")]
        timings = timings_of(forms)
        if latency.points(timings):
            caption = (
                "Time and MACs, both as multiples of the baseline's, in each runtime; on the line time follows MACs"
            )
            blocks.append(Picture("time_against_macs_in_runtimes", caption, partial(latency.draw_ratios, timings)))
        in_order.append(Section(IN_RUNTIMES, tuple(blocks)))
    blocks = [Paragraph(noise_floor(noise))] if noise_floor(noise) else []
    if timed := [row for row in networks if row.get("samples_seconds")]:
        caption = "Every timed sample of every network; dots: samples, bar: quartiles, line: median"
        blocks.append(Grid(steadiness(timed), "steadiness"))
        if len(timed) <= _MOST_STRIPS:
            blocks.append(Picture("latency", caption, partial(latency.draw, timed)))
    in_order += parts.roofline_section(networks)
    return [*in_order, *([Section("Latency and its noise floor", tuple(blocks))] if blocks else [])]


def without_interval(rows: Sequence[Row]) -> list[str]:
    """Return one line on the ratios that have no interval, and why; none where all have one."""
    from scsc_lab.analysis.paired import FEWEST_PAIRS

    lines = []
    for row in rows:
        if row.get("ratio") is not None and row.get("ratio_low") is None:
            pairs = len(row["samples_seconds"]) if row.get("samples_seconds") else row.get("pairs_used")
            lines.append(str(row["model"]) + ("" if pairs is None else f" ({pairs} pairs, {FEWEST_PAIRS} needed)"))
    return [f"No interval: {', '.join(lines)}."] if lines else []


def rule(rows: Sequence[Row]) -> str:
    """Return the explanation of every ratio of times, with the seed, the resamples and the margin that rows say."""
    seed, resamples, delta = (
        next((row[key] for row in rows if row.get(key) is not None), None) for key in ("seed", "resamples", "delta")
    )
    drawn = "" if seed is None else f" (seed {seed})"
    bootstrap = "bootstrap" if resamples is None else f"bootstrap, {resamples:,} resamples"
    margin = "the margin" if delta is None else f"±{units.share(delta).replace('.0%', ' %')}"
    return (
        f"Timed side by side in rounds of random order{drawn}. Ratio, ×: time over that of the baseline in the same "
        f"runtime, median over the pairs of a round; 95 % interval: {bootstrap}. same: within {margin} of 1; faster, "
        "slower: all of the interval on one side of 1."
    )


def noise_floor(rows: Sequence[Row]) -> str:
    """Return what a network timed against itself gave; nothing where none was."""
    if len(rows) < 2 or rows[1].get("ratio") is None or not rows[1].get("samples_seconds"):
        return ""
    again = rows[1]
    ratio = units.ratio_interval((again["ratio"], again.get("ratio_low"), again.get("ratio_high")))
    return (
        f"{rows[0]['model']}, timed against itself in {len(again['samples_seconds'])} pairs: {ratio}, verdict "
        f"“{again.get('verdict')}”. Differences inside this interval are this machine's noise, for a network of about "
        f"this time at batch {again.get('batch', 1)}; shorter passes are noisier."
    )


def steadiness(rows: Sequence[Row]) -> Table:
    """Return the table of how steadily each network was timed: pairs, spread, drift, outliers, load, layout."""
    counted = [
        {
            **row,
            "pairs": len(row["samples_seconds"]),
            "outlier_count": None if row.get("outliers") is None else len(row["outliers"]),
        }
        for row in rows
    ]
    columns = (
        tables.MODEL,
        Column("pairs", "pairs", units.integer),
        Column("repeats", "passes/sample", units.integer),
        Column("spread", "median / fastest", units.ratio),
        Column("drift_change", "drift, last third", units.percent),
        Column("outlier_count", "outliers, kept", units.integer),
        Column("load", "load", units.decimal),
        LAYOUT,
    )
    return Table(tables.filled(columns, counted), tuple(counted))
