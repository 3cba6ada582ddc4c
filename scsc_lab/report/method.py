"""What a report says of how its numbers were obtained, from rows alone: a sentence only where rows support it."""

from __future__ import annotations

from collections.abc import Sequence

from scsc_lab.records import Row
from scsc_lab.report import fields
from scsc_lab.report.accuracy import PAIRS_RULE
from scsc_lab.settings import Timing
from scsc_lab.settings.declaration import phrases

SOURCE = "Wang, Chu, Han, Zhang, ICCV 2023 workshop NIVT, arXiv 2308.07110"
"""Where SCSC was published."""


def sentences(rows: Sequence[Row]) -> list[str]:
    """Return how each kind of number was had, on which machine and with which versions."""
    run = rows[0]
    lines = []
    if batches := sorted({int(row.get("batch") or 1) for row in rows if row.get("macs") is not None}):
        lines.append(
            "Parameters, MACs, activations, bytes: one forward pass on torch's meta device at ATen's operators, batch "
            f"{' and '.join(map(str, batches))}, evaluation mode; as `scsc-lab flops`."
        )
    if checks := {str(row["check"]) for row in rows if row.get("check")}:
        lines.append(f"fvcore's count of the same networks, operator by operator: {', '.join(sorted(checks))}.")
    lines += [*_timing(run, rows), *fields.method([row for row in rows if row["table"] == "field"]), *_training(rows)]
    if run.get("gathered"):
        versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        measured = f" Versions they were measured with: {versions}." if versions else ""
        return [
            *lines,
            f"Gathered from the rows of one or more runs, which need not be of one machine or day.{measured}",
            _citation(run, rows),
        ]
    machine = run["machine"]
    cores = f", {machine['cores']} cores" if "cores" in machine else ""
    on = f" ({run['device_name']})" if run.get("device_name") else ""
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    commit = f", commit {run['commit']}" if run.get("commit") else ""
    return [
        *lines,
        f"Seed {run.get('seed', 0)}; weights: random unless a row says otherwise.",
        f"Machine: {machine.get('processor', 'unknown')}{cores}, {machine.get('system', 'unknown system')}; "
        f"timed on {run.get('device', 'cpu')}{on}.",
        f"Versions: {versions}{commit}; {run.get('time', 'at an unknown time')}.",
        _citation(run, rows),
    ]


def _citation(run: Row, rows: Sequence[Row]) -> str:
    package = f"scsc-lab {run['versions'].get('scsc-lab', '')}".rstrip()
    commit = f", commit {run['commit']}" if run.get("commit") else ""
    module = ""
    if any("scsc" in str(row.get("model") or row.get("network")).lower() for row in rows):
        module = f"; for SCSC, {SOURCE}"
    published = any(row.get("published_top1") is not None for row in rows)
    return (
        f"To cite: {package}{commit}, by the entry in its file CITATION.cff{module}"
        f"{'; for published figures, the sources named beside them' if published else ''}."
    )


def inferred(rows: Sequence[Row]) -> list[str]:
    """Return what no source says and was inferred, network by network."""
    texts = {str(row.get("model") or row.get("network")): row["inferred"] for row in rows if row.get("inferred")}
    return [f"{name}: {text}." for name, text in texts.items()]


def unmeasured(rows: Sequence[Row]) -> list[str]:
    """Return what a reader may look for and not find, and why."""
    lines = []
    if any(row["table"] == "claim" and row.get("measured") is None for row in rows):
        lines.append("The paper's claims about accuracy: not tested, they need ImageNet or face data.")
    if any(row.get("published_top1") is not None for row in rows):
        lines.append("Top-1 figures are those published, with their source.")
    lines += [f"The {row['what']} of {row['model']}: {row['reason']}." for row in rows if row["table"] == "missing"]
    timed = [row for row in rows if row.get("median_seconds") is not None]
    if timed and not any(str(row.get("device", "")).startswith("cuda") for row in timed):
        lines.append("Latency on a GPU: all times here are of the machine named above.")
    drawn = [row for row in rows if row["table"] == "field"]
    if drawn and all(row.get("weights") == "random" for row in drawn):
        lines.append("Receptive fields of trained networks: these are at random initialisation.")
    return lines or ["Whatever no row here is about."]


def _timing(run: Row, rows: Sequence[Row]) -> list[str]:
    settings = run.get("settings", {}).get("latency")
    if settings is None or not any(row.get("median_seconds") is not None for row in rows):
        return []
    timing = settings["timing"]
    return [
        "Latency: all networks of a comparison side by side, in rounds of random order (seeded), "
        f"{', '.join(phrases(Timing, timing))}, after a warm-up; ratios are medians of the paired ratios; as "
        "`scsc-lab latency`."
    ]


def _training(rows: Sequence[Row]) -> list[str]:
    if not any(row.get("runs") for row in rows):
        return []
    return [
        f"Accuracy: each network trained with each seed, by one recipe and budget; as `scsc-lab train`. {PAIRS_RULE}"
    ]
