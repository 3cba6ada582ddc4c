"""Convergence of a training run, from its curve. No numpy."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scsc_lab.records import Row

LOSS_SHARE, ACCURACY_POINTS = 0.01, 1.0
"""Fall of the loss, as a share of the first epoch's, and rise of the accuracy below which a run has converged."""

_CHANCE = {"navon": 1.0, "faces": 50.0}
"""Accuracy of guessing, in percent, where a row lacks it: two letters of ten; whether two images show one face."""

RULE = (
    "converged: from the first to the second half of the last quarter of the epochs at constant rate (of all epochs "
    "under other schedules) the loss fell by less than 1 % of the first epoch's, and the accuracy rose by less than 1 "
    "point; a run whose accuracy is at most two deviations above chance is at chance, and has not converged"
)
"""The rule in words. The cool-down is left out, since it lowers the loss of any run."""


@dataclass(frozen=True)
class Convergence:
    """The last quarter of a run.

    Attributes:
        loss_fall: fall of the mean loss between its halves, as a percentage of the first epoch's loss.
        accuracy_rise: rise of the mean accuracy between its halves, in points; None without two judged epochs.
        converged: whether both are small; False if the accuracy is unknown or at chance.
    """

    loss_fall: float
    accuracy_rise: float | None
    converged: bool


def convergence(run: Row) -> Convergence | None:
    """Return the convergence of a run by :data:`RULE`; None if it diverged or has fewer than two such epochs."""
    curve = run.get("curve") or []
    epochs = curve[: run.get("constant_epochs") or len(curve)]
    if run.get("status") != "complete" or len(epochs) < 2:
        return None
    last = epochs[-max(2, math.ceil(len(epochs) / 4)) :]
    early, late = last[: len(last) // 2], last[len(last) // 2 :]
    fall = statistics.fmean(e["loss"] for e in early) - statistics.fmean(e["loss"] for e in late)
    judged = [epoch["accuracy"]["accuracy"] for epoch in epochs if "accuracy" in epoch["accuracy"]]
    in_last = [epoch["accuracy"]["accuracy"] for epoch in last if "accuracy" in epoch["accuracy"]]
    # Long runs are judged rarely: the last judged epoch before the quarter then stands for its first half.
    values = in_last if len(in_last) > 1 else judged[-2:]
    half = len(values) // 2
    rise = statistics.fmean(values[half:]) - statistics.fmean(values[:half]) if half else None
    fall_percent = 100 * fall / curve[0]["loss"]
    small = fall_percent < 100 * LOSS_SHARE and rise is not None and rise < ACCURACY_POINTS
    return Convergence(fall_percent, rise, small and not is_at_chance(run))


def is_at_chance(run: Row) -> bool:
    """Return whether a run's accuracy is at most two binomial deviations above chance; False if chance is unknown."""
    chance = chance_of(run)
    accuracy, images = run.get("accuracy"), run.get("test_images")
    if chance is None or accuracy is None or not images:
        return False
    return bool(accuracy <= chance + 2 * math.sqrt(chance * (100 - chance) / images))


def chance_of(run: Row) -> float | None:
    """Return the accuracy of guessing in a run's task, in percent; None if it is unknown."""
    return run.get("chance", _CHANCE.get(str(run.get("data"))))


def share_converged(runs: Sequence[Row]) -> tuple[int, int, int]:
    """Return how many runs had converged, how many are at chance, and how many did not diverge."""
    complete = [run for run in runs if run.get("status") == "complete"]
    results = [convergence(run) for run in complete]
    converged = sum(result is not None and result.converged for result in results)
    return converged, sum(map(is_at_chance, complete)), len(complete)


STILL_FALLING = 0.10
"""Fall of the loss from the last epoch but one to the last, as a share, above which a run is under-trained."""


def under_training(runs: Sequence[Row]) -> str:
    """Return why a baseline's runs are too weak to compare with; empty where they are not.

    Their mean accuracy is within two deviations of chance, or their loss still falls by more than 10 % per epoch.
    """
    values = [run["accuracy"] for run in runs if run.get("accuracy") is not None]
    chance = chance_of(runs[0]) if runs else None
    if chance is not None and len(values) > 1:
        mean, deviation = statistics.fmean(values), statistics.stdev(values)
        if mean - chance <= 2 * deviation:
            return f"{mean:.1f} ± {deviation:.1f} %, within two deviations of chance"
    ends = [[epoch["loss"] for epoch in run["curve"][-2:]] for run in runs if len(run.get("curve") or ()) > 1]
    falls = [1 - last / previous for previous, last in ends if previous > 0]
    if falls and statistics.fmean(falls) > STILL_FALLING:
        return f"its loss still falls by {statistics.fmean(falls):.0%} per epoch"
    return ""


def sentence(verdicts: Sequence[str | None]) -> str:
    """Return what verdicts at ascending budgets say together, in a few words.

    Args:
        verdicts: ``better``, ``worse``, ``same`` or ``inconclusive`` at each budget; None without a verdict.
    """
    if not verdicts or None in verdicts or "" in verdicts:
        return "no verdict: too few seeds"
    last, shorter = verdicts[-1], verdicts[:-1]
    if len(set(verdicts)) == 1:
        every = {"same": "the same", "inconclusive": "inconclusive"}.get(str(last), str(last))
        return f"{every} at every budget" if last != "inconclusive" else every
    if last in ("same", "worse") and "better" in shorter:
        return "faster to learn, not better"
    if last in ("same", "better") and "worse" in shorter:
        return "slower to learn, not worse"
    if last == "inconclusive":
        early = [verdict_name for verdict_name in ("better", "worse") if verdict_name in shorter]
        speed = {"better": "faster to learn", "worse": "slower to learn"}
        return f"{speed[early[0]]}; inconclusive at the largest budget" if len(early) == 1 else "inconclusive"
    return f"{last} at the largest budget alone" if shorter.count(last) == 0 else f"{last} from some budget on"
