"""The tables of a comparison, from rows alone: the networks, their changes, and two of them block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scsc_lab import units
from scsc_lab.errors import InputError
from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.tables import Column, Table

MEASURES = {
    "params": tables.PARAMS,
    "macs": tables.MACS,
    "activations": tables.ACTIVATIONS,
    "bytes": tables.BYTES,
    "latency": Column("median_seconds", "time (ms)", units.milliseconds),
    "erf": Column("r50", "r(50%)", units.share),
    "top1": Column("published_top1", "top-1 (%)", units.plain),
}
"""The column of every metric, by the word that ``--with`` has for it."""

_SHORT = {"erf": "Δ points", "top1": "Δ points"}
_HIGHER_IS_BETTER = ("r50", "published_top1")


def comparison_table(rows: Sequence[Row], metrics: Sequence[str]) -> Table:
    """Return the networks with what was measured, and below it the changes against their baselines.

    Args:
        rows: networks, each with the label of its ``baseline``.
        metrics: words of :data:`MEASURES`, in order.
    """
    measures = [MEASURES[metric] for metric in metrics]
    own = [Column(f"user:{name}", f"{name}, yours", units.plain) for name in user_metrics(rows)]
    sizes = dict.fromkeys(units.size(row["resolution"]) for row in rows)
    title = f"Input {next(iter(sizes))}" if len(sizes) == 1 else ""
    inputs = [] if title else [tables.INPUT]
    shown = (tables.MODEL, *inputs, *tables.filled([*measures, *own], rows))
    table = Table(shown, tuple(rows), title, notes=tuple(_notes(rows, metrics)))
    changed = tuple(row for row in rows if row["baseline"] != row["model"])
    if not changed:
        return table
    against = dict.fromkeys(str(row["baseline"]) for row in changed)
    heading = "Change against " + (next(iter(against)) if len(against) == 1 else "the baseline")
    several = [Column("baseline", "against", number=False)] if len(against) > 1 else []
    changes = [_change(metric) for metric in metrics] + [
        Column(f"change_of_user:{name}", f"Δ {name}, yours", units.signed) for name in user_metrics(rows)
    ]
    columns = (tables.MODEL, *several, *tables.filled(changes, changed))
    return Table(table.columns, table.rows, title, details=(Table(columns, changed, heading, table.notes),))


def wide_table(rows: Sequence[Row], metrics: Sequence[str]) -> Table:
    """Return one table with every number beside its change: for a page, not a terminal.

    Args:
        rows: networks, each with the label of its ``baseline``; a network after its baseline.
        metrics: words of :data:`MEASURES`, in order.
    """
    columns: list[Column] = [tables.MODEL, tables.INPUT]
    for metric in metrics:
        change = _change(metric)
        columns += [
            MEASURES[metric],
            change if metric == "latency" else replace(change, heading=_SHORT.get(metric, "Δ")),
        ]
    several = any(row["baseline"] != row["model"] for row in rows)
    notes = (*(["Changes are against the baseline above."] if several else []), *_notes(rows, metrics))
    return Table(tables.filled(columns, rows), tuple(rows), notes=notes)


def blocks_table(rows: Sequence[Row], labels: Sequence[str], by: str) -> Table:
    """Return two networks side by side, from the rows of :mod:`scsc_lab.experiments.diff`."""
    columns = (
        Column("name", "stage" if by == "stage" else "block", number=False),
        Column("params_first", "params (M)", units.mega_aligned),
        Column("params_second", "→", units.mega_aligned),
        Column("params_difference", "Δ", units.signed_mega_aligned),
        Column("macs_first", "MACs (G)", units.giga_aligned),
        Column("macs_second", "→", units.giga_aligned),
        Column("macs_difference", "Δ", units.signed_giga_aligned),
    )
    notes = (
        f"First {labels[0]}, then {labels[1]}; the differences sum to the total's. "
        "Parameters in millions, MACs in thousand millions.",
    )
    keys = ("params_first", "params_second", "macs_first", "macs_second")
    shown = tuple(row for row in rows if any(row[key] for key in keys))
    return Table(columns, shown, f"{labels[0]} → {labels[1]}", notes, records=tuple(rows))


def user_metrics(rows: Sequence[Row]) -> list[str]:
    """Return the names of the user's own metrics that any row has."""
    keys = dict.fromkeys(key for row in rows for key in row if key.startswith("user:"))
    return [key.removeprefix("user:") for key in keys]


def axis(name: str, rows: Sequence[Row]) -> Column:
    """Return the column that a word of ``--with`` or a metric of the user's own stands for, as an axis.

    Raises:
        InputError: if there is no such column among the rows.
    """
    own = user_metrics(rows)
    column = MEASURES.get(name) or (Column(f"user:{name}", name) if name in own else None)
    if column is None or all(row.get(str(column.key)) is None for row in rows):
        known = [word for word, c in MEASURES.items() if any(row.get(str(c.key)) is not None for row in rows)]
        raise InputError(f"--plot {name!r}: not among the columns measured: {', '.join([*known, *own])}")
    return column


def higher_is_better(column: Column) -> bool:
    """Return whether more of it is wanted: accuracy and receptive field, and what the user measured; not cost."""
    return column.key in _HIGHER_IS_BETTER or str(column.key).startswith("user:")


def _change(metric: str) -> Column:
    if metric == "latency":
        return Column(("ratio", "ratio_low", "ratio_high"), "time ×, 95%", units.ratio_interval)
    if metric == "erf":
        return Column("r50_difference", "Δ r(50%), points", units.points)
    if metric == "top1":
        return Column("published_top1_change", "Δ top-1", units.signed)
    return tables.change_only(MEASURES[metric])


def _notes(rows: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    notes = ["MACs: multiply-accumulates, which papers print as FLOPs; counted as by `scsc-lab flops`."]
    if "latency" in metrics:
        first = rows[0]
        notes.append(
            f"Time: median of one forward pass, batch {first['batch']}, {first['dtype']}, threads: {first['threads']}, "
            f"{first['device_name']}; ×: time over the baseline's, measured in random-order pairs, with its "
            "95% interval; as by `scsc-lab latency`."
        )
        unfinished = [row for row in rows if row.get("latency_status") not in (None, "complete")]
        notes += [f"{row['model']}: TIMING {str(row['latency_status']).upper()}." for row in unfinished]
        verdicts = [f"{row['model']} {row['verdict']}" for row in rows if row.get("verdict")]
        notes += [f"Verdict on time: {', '.join(verdicts)}."] if verdicts else []
    notes += [f"No r(50%) for {row['model']}: {row['erf_failure']}." for row in rows if row.get("erf_failure")]
    if "erf" in metrics and any("r50" in row for row in rows):
        weights = " and ".join(dict.fromkeys(str(row["weights"]) for row in rows if row.get("weights")))
        kinds = " and ".join(dict.fromkeys(str(row["image_kind"]) for row in rows if row.get("image_kind")))
        notes.append(
            "r(50%): share of the input's area in the smallest square around the last stage's central unit that holds "
            f"half of its gradient; {weights} weights, {kinds}; as by `scsc-lab erf`."
        )
    if "top1" in metrics:
        sources = dict.fromkeys(
            f"{row['model']} {row['published_source']}" for row in rows if row.get("published_source")
        )
        notes.append(
            f"top-1: ImageNet-1k, as published, not measured here: {'; '.join(sources)}."
            if sources
            else "top-1: none of these has a published figure."
        )
    if user_metrics(rows):
        notes.append(f"Yours: {', '.join(user_metrics(rows))}, from the file given.")
    notes += [f"Inferred, {row['model']}: {row['inferred']}." for row in rows if row.get("inferred")]
    return notes
