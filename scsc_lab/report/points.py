"""The points of a report's abstract, and its rules: which pairs, how large an effect, which verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report import findings
from scsc_lab.report.fields import is_of_one_draw
from scsc_lab.report.latency import USUAL, key_in
from scsc_lab.report.names import added_module, compared, effect, module
from scsc_lab.units import MOST_NAMES, listed

MOST_BULLETS = 5

APART = 0.10
"""Distance of a change in time from that in MACs, as a fraction of the baseline, that is worth a sentence."""

GAIN = 0.05
"""Share of its time that a deploy form must save to be worth a sentence."""

_CONTROLS = ("identity", "depthwise", "pooling", "inception", "mixconv")
"""Mixers simpler than SCSC: one that does as well shows that its parts are not what counts."""

_SINGLE = ("smallest kernel only", "smallest, equal width", "largest kernel only", "largest, equal width")
"""Variants of the components that have one kernel in place of several."""

_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def pairs(networks: Sequence[Row]) -> list[Row]:
    """Return the networks that the abstract is about: those with SCSC, else all that have a baseline."""
    variants = compared(networks)
    return [row for row in variants if module(row) == "SCSC"] or variants


def subject(row: Row, pairs: Sequence[Row]) -> str:
    """Return what a sentence calls a pair: its backbone where one of the pairs alone has it, with a module put in."""
    is_alone = sum(pair["baseline"] == row["baseline"] for pair in pairs) == 1
    return str(row["baseline"] if added_module(row) and is_alone else row["model"])


def time_verdict(row: Row, runtime: str = USUAL) -> str:
    """Return what a time's interval says: faster, slower, the same, inconclusive, withheld, or that there is none."""
    ratio, low, high, verdict = (
        row.get(key_in(runtime, key)) for key in ("ratio", "ratio_low", "ratio_high", "verdict")
    )
    if verdict == "withheld":
        return "withheld"
    if ratio is None or low is None or high is None:
        return "without an interval"
    if verdict == "same":
        return "the same"
    return "inconclusive" if low <= 1 <= high else "faster" if ratio < 1 else "slower"


def is_clear(row: Row) -> bool:
    """Return whether the verdict on a network's accuracy is better or worse."""
    return row.get("accuracy_verdict") in ("better", "worse")


def bullets(rows: Sequence[Row], networks: Sequence[Row]) -> list[str]:
    """Return at most five points: time against MACs, claims, ablations and controls, deploy forms, the probe."""
    chosen = pairs(networks)
    candidates = [
        _time_against_macs(chosen),
        _on_claims([row for row in rows if row["table"] == "claim"]),
        _on_parts([row for row in rows if row["table"] == "ablation"]),
        _on_controls(networks),
        _on_deploy([row for row in rows if row["table"] == "deploy"]),
        _on_probe([row for row in rows if row["table"] == "claim"]),
    ]
    return [point for point in candidates if point][:MOST_BULLETS]


def _time_against_macs(chosen: Sequence[Row]) -> str:
    lines = []
    for row in sorted(chosen, key=effect, reverse=True):
        macs, ratio = row.get("macs_change"), row.get("ratio")
        if macs is None or ratio is None or time_verdict(row) not in ("faster", "slower"):
            continue
        if abs(ratio - 1 - macs) > APART or (ratio - 1) * macs < 0:
            lines.append(f"{subject(row, chosen)}: {units.percent(macs)} MACs, {units.percent(ratio - 1)} time")
    return f"MACs do not predict the time. {'; '.join(lines[:MOST_NAMES])}." if lines else ""


def _on_claims(claims: Sequence[Row]) -> str:
    if not claims:
        return ""
    judged = {str(row["claim"]): findings.verdict(row) for row in claims}
    parts = [f"{sum(verdict == 'reproduced' for verdict in judged.values())} reproduced"]
    others = [row for row in claims if judged[row["claim"]] not in ("reproduced", "not tested")]
    parts += [f"{row['claim']} {judged[row['claim']]} ({findings.both_changes(row)})" for row in others]
    open_ = sum(verdict == "not tested" for verdict in judged.values())
    return f"Of the paper's {len(claims)} claims: {'; '.join(parts)}{f'; {open_} not tested' if open_ else ''}."


def _on_parts(variants: Sequence[Row]) -> str:
    """Return the largest clear effect of a part of the module on each measure, and what has none on accuracy."""
    by_part = [row for row in variants if row.get("study") == "components" and row.get("variant") != "full"]
    lines = []
    if times := [row for row in by_part if row.get("ratio") and time_verdict(row) in ("faster", "slower")]:
        row = max(times, key=effect)
        lines.append(f"{row['variant']} {units.ratio_interval(_ends(row, 'ratio', 'ratio'))} × its time")
    if clear := [row for row in by_part if is_clear(row)]:
        row = max(clear, key=lambda row: abs(row["accuracy_difference"]))
        lines.append(f"{row['variant']} {points(row['accuracy_difference'])} of accuracy")
    if wider := [
        row
        for row in by_part
        if (row.get("r50_difference_low") or 0) * (row.get("r50_difference_high") or 0) > 0 and not is_of_one_draw(row)
    ]:
        row = max(wider, key=lambda row: abs(row["r50_difference"]))
        lines.append(f"{row['variant']} {points(100 * row['r50_difference'])} of r(50%)")
    text = f"Largest clear effects of changing {by_part[0]['baseline']}: {'; '.join(lines)}." if lines else ""
    judged = [row for row in by_part if row.get("accuracy_verdict")]
    if judged and not any(map(is_clear, judged)):
        most = max(abs(row["accuracy_difference"]) for row in judged)
        whole = listed(list(dict.fromkeys(str(row["baseline"]) for row in judged)))
        tried = f"{count(len(judged))} tried, at most {units.decimal(most)} points"
        text += f" No change of a part of {whole} moves accuracy clearly ({tried})."
    single = [row for row in by_part if row["variant"] in _SINGLE and (row.get("difference_high") or 0) > 0]
    equal = [
        f"{row['variant']} {units.points_interval(_ends(row, 'accuracy_difference', 'difference'))}"
        for row in single
        if row["accuracy_difference"] >= 0
    ]
    if equal:
        text += f" One kernel is not clearly less accurate than several: {', '.join(equal)} points."
    return text.strip()


def _ends(row: Row, key: str, stem: str) -> tuple[float | None, ...]:
    return row[key], row.get(f"{stem}_low"), row.get(f"{stem}_high")


def _on_controls(networks: Sequence[Row]) -> str:
    """Return which simpler mixers do as well as SCSC: in no more time, and not clearly less accurate."""
    variants = compared(networks)
    lines = []
    for row in (row for row in variants if module(row) == "SCSC" and row.get("accuracy_difference") is not None):
        controls = [
            control for control in variants if control["baseline"] == row["baseline"] and module(control) in _CONTROLS
        ]
        equal = [control for control in controls if _does_as_well(control, row)]
        if equal:
            names = [f"{module(control)} ({points(control['accuracy_difference'])})" for control in equal]
            lines.append(f"in {row['baseline']} {listed(names)} as well as SCSC ({points(row['accuracy_difference'])})")
    in_time = ", in no more time" if all(row.get("ratio") for row in variants) else ""
    return f"Simpler mixers do {'; '.join(lines)}{in_time}." if lines else ""


def _does_as_well(control: Row, row: Row) -> bool:
    difference = control.get("accuracy_difference")
    if difference is None or (control.get("ratio") or 0.0) > (row.get("ratio") or math.inf):
        return False
    return bool(difference >= row["accuracy_difference"])


def _on_deploy(forms: Sequence[Row]) -> str:
    lines = [
        f"{row['ordinary']} {units.ratio_interval(_ends(row, 'ordinary_ratio', 'ordinary_ratio'))} ×"
        for row in forms
        if row.get("ordinary_ratio_high") and row["ordinary_ratio_high"] < 1 and row["ordinary_ratio"] < 1 - GAIN
    ]
    return f"Folded for deployment, a network takes less of its own time: {'; '.join(lines)}." if lines else ""


def _on_probe(claims: Sequence[Row]) -> str:
    lines: dict[str, str] = {}
    for row in claims:
        if row.get("probe_difference") is None:
            continue
        caveat = ", against an under-trained baseline" if row.get("probe_under_trained") else ""
        if not is_clear({"accuracy_verdict": row.get("probe_verdict")}):
            caveat = f" ({row.get('probe_verdict') or 'too few seeds'})"
        name = str(row["probe_network"])
        lines.setdefault(name, f"{name} {points(row['probe_difference'])}{caveat}")
    return f"A probe with small networks on drawn images, not a test: {'; '.join(lines.values())}." if lines else ""


def points(value: float) -> str:
    """Return a difference as ``+1.20 points``."""
    return f"{units.signed_decimal(value)} points"


def count(number: int) -> str:
    """Return a small number in words."""
    return _COUNTS[number] if number < len(_COUNTS) else str(number)
