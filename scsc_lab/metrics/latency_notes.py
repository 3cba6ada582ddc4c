"""What must be known of times, in words: the machine, layouts, runtimes, and what has no interval."""

from __future__ import annotations

from collections.abc import Sequence

from scsc_lab import runtimes, units
from scsc_lab.records import Row
from scsc_lab.report.latency import LAYOUTS, of_other_pairs, rule, timings_of, without_interval
from scsc_lab.report.names import precision
from scsc_lab.report.parts import TIME_RULE
from scsc_lab.settings import LAYOUT_RULE, WARM_UP_RULE, Settings
from scsc_lab.units import listed


def notes(rows: Sequence[Row]) -> list[str]:
    """Return how times were taken, which are incomplete, the layouts, and oddities."""
    timed = [row for row in rows if row.get("latency_status")]
    if not timed:
        return []
    batches, threads, devices = (
        listed([str(row[key]) for row in timed if key in row]) for key in ("batch", "threads", "device_name")
    )
    precisions = listed([precision(row) for row in timed if "dtype" in row])
    notes = [
        f"Time: median of one forward pass, batch {batches}, {precisions}, threads: {threads}, {devices}; as by "
        f"`scsc-lab latency`. {rule(timed)}"
    ]
    unfinished = [row for row in timed if row["latency_status"] != "complete"]
    notes += [
        f"{row['model']}: TIMING {str(row['latency_status']).upper()}{': ' * bool(reason)}{reason}."
        for row in unfinished
        for reason in [row.get("latency_failure", "")]
    ]
    notes += _layouts(timed)
    notes += without_interval(timed) + _notes_of_other_pairs(timed)
    return notes + _notes_elsewhere(timed) + _slow_products(timings_of(timed)) + machine_notes(timed)


def _slow_products(rows: Sequence[Row]) -> list[str]:
    """Return a line where torch's products are slow for the processor, which hides what a network of them could do."""
    speeds = [(row.get("runtime_details") or {}).get("products") for row in rows]
    slowest = min((speed for speed in speeds if speed), default=1.0)
    if slowest > _NEARLY_AS_FAST:
        return []
    return [
        f"torch's linear layers, attention and 1×1 convolutions run at {slowest:.2f} × the speed of oneDNN's products "
        "here, since torch leaves them to MKL, which is written for Intel's processors: ratios of times depend on it."
    ]


_NEARLY_AS_FAST = 0.8


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
    return [note + _agreement(elsewhere)]


def _agreement(rows: Sequence[Row]) -> str:
    """Return how near outputs in other runtimes are to torch's; nothing where none was compared, as of ONNX files."""
    checked = [row["output_difference"] for row in rows if row["output_difference"] is not None]
    if not checked:
        return ""
    whose = "Outputs" if len(checked) == len(rows) else f"{len(checked)} of {len(rows)} outputs"
    return f" {whose} were compared with torch's: equal within {max(checked):.1g} of the largest."


def machine_notes(rows: Sequence[Row]) -> list[str]:
    """Return a line where other work on the machine shows in the rows, or nothing."""
    from scsc_lab.analysis.paired import RESTLESS

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


_OPERATORS = (
    "Operators are the runtime's own, after its fusions, timed by its own profile in turn with passes that are not "
    "watched, which give the total: each has its median share of a watched pass; unexplained: the total less the "
    "operators."
)


def detailed_notes(
    rows: Sequence[Row], settings: Settings, *, self_test: bool = False, parts: bool = False
) -> tuple[str, ...]:
    """Return the lines below the table."""
    lines = []
    if any(row["baseline"] for row in rows):
        lines.append(rule(rows))
    if parts:
        lines.append(_OPERATORS if rows[0].get("by") == "operator" else TIME_RULE)
    if self_test:
        lines += _noise(rows)
    lines += _cut_short(rows)
    lines.append(_settings(rows[0]))
    lines.append(_warm_up(rows))
    lines += _chosen_layouts(rows)
    lines += _elsewhere(rows)
    lines += _slow_products(rows)
    lines += _oddities(rows)
    memory_method = next((row["peak_memory_method"] for row in rows if row["peak_memory_method"]), "")
    if memory_method and not parts:
        lines.append(
            f"Peak memory: {memory_method}. p90, p95 and p99 need 64, 130 and 662 samples. No sample is dropped."
        )
    return tuple(lines)


def _settings(row: Row) -> str:
    hint = " One thread is steadier than all of a shared machine; --threads N." if row["threads"] == 1 else ""
    threads = f", {row['threads']} thread{'s' if row['threads'] > 1 else ''}.{hint}" if row["device"] == "cpu" else "."
    where = row["device_name"] if row["device"] == "cpu" else f"{row['device_name']} ({row['processor']})"
    mode = "forward and backward, training mode" if row["mode"] == "train" else "inference mode, evaluation mode"
    return f"{where}, torch {row['versions'].get('torch', '')}, {mode}, random input, {row['clock']}{threads}"


def _chosen_layouts(rows: Sequence[Row]) -> list[str]:
    """Return which layout each network ran in, where it was looked for."""
    in_layout: dict[str, list[str]] = {}
    for row in rows:
        if row["memory_format_asked"] == "auto" and row["memory_format"]:
            in_layout.setdefault(LAYOUTS[row["memory_format"]], []).append(_name(row, rows))
    if not in_layout:
        return []
    which = "; ".join(f"{layout} {', '.join(dict.fromkeys(names))}" for layout, names in in_layout.items())
    return [f"Layout of weights and input, {LAYOUT_RULE}: {which}. A layer may change it inside, as SCSC's on a CPU."]


def _elsewhere(rows: Sequence[Row]) -> list[str]:
    """Return what must be known of runtimes other than torch: versions, settings, that they compute the same."""
    elsewhere = [row for row in rows if row.get("runtime", runtimes.USUAL) != runtimes.USUAL and row["runtime_details"]]
    lines = []
    for name in dict.fromkeys(row["runtime"] for row in elsewhere):
        row = next(row for row in elsewhere if row["runtime"] == name)
        details = {key: value for key, value in row["runtime_details"].items() if key not in ("version", "versions")}
        listed = "".join(f", {key.replace('_', ' ')} {value}" for key, value in details.items())
        lines.append(f"{runtimes.title(name)} {row['runtime_details'].get('version', '')}{listed}.")
    if not elsewhere:
        return []
    exported = {row["model"]: row["export_seconds"] for row in elsewhere if row["export_seconds"] is not None}
    took = f" Making the ONNX models took another {sum(exported.values()):.1f} s." if exported else ""
    lines.append(
        "Set-up: from the network in memory to the end of its first pass; not part of the times."
        + took
        + _agreement(elsewhere)
    )
    return lines


def _warm_up(rows: Sequence[Row]) -> str:
    warmed = [row for row in rows if row["warm_up_runs"]]
    if not warmed:
        return "Nothing was warmed up."
    each = {(row["model"], row.get("runtime"), row["batch"]): row for row in warmed}.values()
    runs = [row["warm_up_runs"] for row in each]
    seconds = sum(row["warm_up_seconds"] for row in each)
    most = f"{min(runs)} to {max(runs)}" if min(runs) < max(runs) else str(runs[0])
    restless = [_name(row, rows) for row in each if not row["warm_up_settled"]]
    ended = f"; NOT SETTLED in the time limit: {', '.join(restless)}" if restless else ""
    return f"Warm-up, not timed: {WARM_UP_RULE}; {most} passes, {seconds:.1f} s{ended}."


def _oddities(rows: Sequence[Row]) -> list[str]:
    timed = [row for row in rows if row["samples"] and row.get("name", "total") == "total"]
    lines = [
        f"DRIFT: {_name(row, rows)} changed by {units.percent(row['drift_change'])} from the first third of its "
        "samples to the last: throttling, or other work on the machine. Ratios remain valid: pairs drift together."
        for row in timed
        if row["drift"]
    ]
    odd = [f"{len(row['outliers'])} of {row['samples']} ({_name(row, rows)})" for row in timed if row["outliers"]]
    if odd:
        lines.append(f"Outliers, kept: {', '.join(odd)}.")
    repeats = {row["batch"]: row["repeats"] for row in timed if row["repeats"] > 1}
    if repeats:
        times = ", ".join(f"{number} times at batch {batch}" for batch, number in repeats.items())
        lines.append(f"The shortest pass is too short for the clock; each sample repeats all of them: {times}.")
    return lines + machine_notes(timed) + _restless_parts(rows)


def _restless_parts(rows: Sequence[Row]) -> list[str]:
    restless = [
        f"{row['name']} ({_name(row, rows)})"
        for row in rows
        if row.get("name", "total") != "total" and (row["iqr_seconds"] or 0.0) > row["median_seconds"] > 0
    ]
    reason = "parts whose interquartile range exceeds their median"
    return (
        [f"NOT STEADY: {reason}: {', '.join(restless)}. Other work on the machine dominates their times."]
        if restless
        else []
    )


def _noise(rows: Sequence[Row]) -> list[str]:
    from scsc_lab.analysis.paired import Comparison, noise_floor

    lines = []
    for row in rows:
        if not row["baseline"] or row["ratio"] is None:
            continue
        comparison = Comparison(row["ratio"], row["ratio_low"], row["ratio_high"], row["verdict"], row["samples"])
        floor = noise_floor(comparison)
        floor_text = f"±{units.share(floor)}" if floor is not None else "not known: too few pairs"
        elsewhere = f" in {runtimes.title(row['runtime'])}" if row["runtime"] != runtimes.USUAL else ""
        lines.append(
            f"Noise floor of this machine, {row['baseline']}{elsewhere} at batch {row['batch']} against itself in "
            f"{row['samples']} pairs: {floor_text}. Smaller differences are not detectable."
        )
    return lines


def _cut_short(rows: Sequence[Row]) -> list[str]:
    lines = []
    if any(row["status"] == "cut short" for row in rows):
        lines.append("CUT SHORT: interrupted; these are the rounds that were complete.")
    if any(row["status"] == "out of memory" for row in rows):
        lines.append("Out of memory: not measured at this batch size; the other rows stand.")
    return lines + [f"{_name(row, rows)}: FAILED: {row['failure']}." for row in rows if row.get("failure")]


def _name(row: Row, rows: Sequence[Row]) -> str:
    has_batches = len({each["batch"] for each in rows}) > 1
    elsewhere = len({each.get("runtime") for each in rows}) > 1
    name = f"{row['model']} in {runtimes.title(row['runtime'])}" if elsewhere else str(row["model"])
    return f"{name} at batch {row['batch']}" if has_batches else name
