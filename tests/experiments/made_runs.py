"""Rows of networks from runs that were made up, as training gives them."""

from __future__ import annotations

from scsc_lab.experiments import train
from scsc_lab.experiments.results import Result
from scsc_lab.metrics import accuracy
from scsc_lab.report.tables import with_changes


def summaries(runs, delta: float = accuracy.DELTA, confidence: float = accuracy.CONFIDENCE):
    """Return a row per network, the first the baseline, from the rows of its runs."""
    margin = {"accuracy_margin": delta, "accuracy_confidence": confidence}
    rows = [{"model": own[0]["model"], **margin, **accuracy.summary(own)} for own in runs]
    rows = [{**row, "baseline": rows[0]["model"]} for row in with_changes(rows, [accuracy.column()], 0)]
    rows = train._rows(Result({}, (), tuple(rows), ()))
    return [{**row, "verdict": row.pop("accuracy_verdict", None)} for row in rows]
