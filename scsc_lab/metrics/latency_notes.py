"""What must be known of times, in words: the machine, layouts, runtimes, and what has no interval."""

from __future__ import annotations

from collections.abc import Sequence

from scsc_lab import runtimes
from scsc_lab.records import Row
from scsc_lab.report.latency import of_other_pairs, rule, timings_of, without_interval
from scsc_lab.report.text import listed


def notes(rows: Sequence[Row]) -> list[str]:
    """Return how times were taken, which are incomplete, the layouts, and oddities."""
    timed = [row for row in rows if row.get("latency_status")]
    if not timed:
        return []
    first = timed[0]
    notes = [
        f"Time: median of one forward pass, batch {first['batch']}, {first['dtype']}, threads: {first['threads']}, "
        f"{first['device_name']}; as by `scsc-lab latency`. {rule(timed)}"
    ]
    unfinished = [row for row in timed if row["latency_status"] != "complete"]
    notes += [
        f"{row['model']}: TIMING {str(row['latency_status']).upper()}{': ' * bool(reason)}{reason}."
        for row in unfinished
        for reason in [row.get("latency_failure", "")]
    ]
    notes += _layouts(timed)
    notes += without_interval(timed) + _notes_of_other_pairs(timed)
    return notes + _notes_elsewhere(timed) + machine_notes(timed)


def _layouts(rows: Sequence[Row]) -> list[str]:
    """Return which networks were timed in channels-last layout, in one short line."""
    last = {str(row["model"]): row.get("memory_format") == "channels_last" for row in rows}
    names, contiguous = ([name for name, is_last in last.items() if is_last == which] for which in (True, False))
    if not names:
        return []
    if len(contiguous) < len(names):
        return [f"Channels-last layout, the faster one, for all{' except ' if contiguous else ''}{listed(contiguous)}."]
    return [f"Channels-last layout, the faster one, for {listed(names)}."]


def _notes_of_other_pairs(rows: Sequence[Row]) -> list[str]:
    """Return which medians do not belong with the baseline's: those of pairs that were timed at another time."""
    medians = {(row["model"], str(row.get("resolution"))): row.get("median_seconds") for row in rows}
    names = []
    for row in rows:
        reference = medians.get((row.get("baseline"), str(row.get("resolution"))))
        if reference and of_other_pairs(row, reference):
            names.append(str(row["model"]))
    return [f"Timed in another session than the baseline: compare ratios only: {', '.join(names)}."] if names else []


def _notes_elsewhere(rows: Sequence[Row]) -> list[str]:
    """Return what must be known of the times in other runtimes than torch: versions, and which outputs agree."""
    elsewhere = [row for row in timings_of(rows) if row["runtime"] != runtimes.USUAL]
    details = {row["runtime_title"]: (row["runtime_details"] or {}).get("version", "") for row in reversed(elsewhere)}
    if not elsewhere:
        return []
    versions = ", ".join(f"{title} {version}".strip() for title, version in reversed(details.items()))
    note = f"Other runtimes, in the same rounds, with the same input, threads and precision: {versions}."
    checked = [row["output_difference"] for row in elsewhere if row["output_difference"] is not None]
    if checked:
        whose = "Outputs" if len(checked) == len(elsewhere) else f"{len(checked)} of {len(elsewhere)} outputs"
        note += f" {whose} were compared with torch's: equal within {max(checked):.1g} of the largest."
    return [note]


def machine_notes(rows: Sequence[Row]) -> list[str]:
    """Return a line where other work on the machine shows in the rows, or nothing."""
    from scsc_lab.analysis.samples import RESTLESS

    signs = []
    spread = max((row.get("spread") or 1.0 for row in rows), default=1.0)
    if spread > RESTLESS:
        signs.append(f"a median is {spread:.2f} times the fastest sample")
    busy = max((row for row in rows if row.get("load") is not None), key=lambda row: row["load"], default=None)
    if busy and busy["load"] > busy["cores"]:
        signs.append(f"the load is {busy['load']:.1f} on {busy['cores']} cores")
    if not signs:
        return []
    withheld = " No verdicts." if any(row.get("verdict") == "withheld" for row in rows) else ""
    return [f"BUSY MACHINE: {' and '.join(signs)}. Times are too long, and intervals of ratios too narrow.{withheld}"]
