"""The table of the paper's claims, from rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report import accuracy_section, findings
from scsc_lab.report.tables import Column, Table

_QUANTITIES = {"params": "parameters", "macs": "MACs"}


def _verdict(values: tuple[Any, ...]) -> str:
    return findings.verdict(dict(zip(("verdict", "published", "measured"), values, strict=True)))


def claims_table(rows: Sequence[Row]) -> Table:
    """Return the claims of the abstract beside our own figures, with what is inferred and the nearest settings."""
    columns = (
        Column("claim", "claim", number=False),
        Column("published", "paper", units.percent),
        Column("measured", "ours", units.exact_percent),
        Column("difference", "points", units.points),
        Column(("verdict", "published", "measured"), "verdict", _verdict, number=False),
    )
    notes = [
        "Changes of the SCSC network against its baseline, counted as by `scsc-lab flops`; the paper's FLOPs are MACs. "
        "Reproduced: within one point. Points below zero: more is saved than claimed.",
    ]
    if any(row.get("measured") is None for row in rows):
        notes.append(
            "Accuracy: not tested, which needs ImageNet or face data. `--probe ROWS.jsonl` shows trained pico networks."
        )
    for row in rows:
        if row.get("nearest") is not None:
            reached = (
                f"{units.exact_percent(row.get('nearest_change'))} {_QUANTITIES.get(str(row.get('quantity')), '')}"
            )
            nearest = f"{row.get('nearest')} comes nearest, with {reached}"
            if row.get("nearest") == row["network"]:
                nearest = "none comes nearer than the released network"
            notes.append(
                f"{row['claim']}: of all choices of each stage's kernels, {nearest}; what the paper used is open."
            )
    inferred = {row["network"]: row.get("inferred") for row in rows if row.get("inferred")}
    notes += [f"Inferred, {network}: {text}." for network, text in inferred.items()]
    if any(row.get("published_text") for row in rows):
        notes.append("Similar: the abstract prints no figure; compared with 0 %; never fails the check.")
    title = "SCSC against its baselines: claimed and counted"
    by_budget = ({**row, **probe} for row in rows for probe in row.get("probe_budgets", ({},)))
    probed = tuple(row for row in by_budget if row.get("probe_difference") is not None)
    if not probed:
        return Table(columns, tuple(rows), title, tuple(notes))
    probe_columns = (
        Column("claim", "claim", number=False),
        Column("probe_network", "network", number=False, optional=True),
        Column("probe_baseline", "against", number=False, optional=True),
        Column("probe_epochs", "epochs", optional=True),
        Column("probe_pairs", "seeds"),
        Column(("probe_difference", "probe_low", "probe_high"), "Δ points, 95%", units.points_interval),
        Column("probe_verdict", "verdict", number=False),
    )
    data = dict.fromkeys(str(row["probe_data"]) for row in probed)
    images = "drawn images" if all(name in accuracy_section.DRAWN for name in data) else "images"
    probe_notes = (
        f"Networks a quarter as wide, trained on {images} ({' and '.join(data)}); each seed a pair, as by `scsc-lab "
        "train`. It neither confirms nor refutes the claims.",
    )
    probe = Table(probe_columns, probed, "A probe at small scale, beside the claims about accuracy", probe_notes)
    return Table(columns, tuple(rows), title, tuple(notes), (probe,), records=tuple(rows))
