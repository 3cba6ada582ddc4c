"""Number of seeds: planned from finished runs, or raised until the intervals are narrow."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scsc_lab.analysis import sequential
from scsc_lab.analysis.sequential import Look
from scsc_lab.errors import InputError
from scsc_lab.experiments.train import Trained
from scsc_lab.metrics import accuracy
from scsc_lab.records import Row
from scsc_lab.training.plan import Runs

DIFFERENCE = 2.0
"""Difference in points that a plan is made for."""

FEWEST_PAIRS = 3
"""Pairs below which a deviation is no basis of a plan."""

Measure = Callable[[Runs, float], Trained]
"""Trains with the seeds of the settings, and returns the rows with intervals of a level."""


@dataclass(frozen=True)
class Plan:
    """Number of seeds that a comparison needs.

    Attributes:
        model: the network compared with the baseline.
        pairs: pairs that the plan is made from.
        deviation: standard deviation of their differences, in points.
        correlation: of the pairs; None where it is not defined.
        needed: pairs that find the difference with 80 % power.
        seconds: training time of the pairs that are missing, one run after another.
    """

    model: str
    pairs: int
    deviation: float
    correlation: float | None
    needed: int
    seconds: float


def plan(trained: Trained, difference: float) -> list[Plan]:
    """Return how many seeds each comparison needs to find a difference at the largest budget.

    Args:
        trained: finished runs of at least three seeds.
        difference: difference in points to be found.

    Raises:
        InputError: if there are fewer pairs, or the difference makes no sense.
    """
    compared = [row for row in trained.networks if row.get("accuracy_difference") is not None]
    fewest = min((row["seed_pairs"] for row in compared), default=0)
    if fewest < FEWEST_PAIRS:
        raise InputError(f"--plan needs {FEWEST_PAIRS} finished pairs of runs at least, not {fewest}")
    baseline = next(row for row in trained.networks if row["model"] == compared[0]["baseline"])
    plans = []
    for row in compared:
        differences = [second["accuracy"] - first["accuracy"] for first, second in accuracy.paired(row, baseline)]
        deviation = float(np.std(differences, ddof=1))
        pairs = sequential.needed(deviation, difference, len(compared))
        seconds = sum(_seconds(trained, str(name)) for name in (row["model"], row["baseline"]))
        missing = max(pairs - len(differences), 0)
        plans.append(
            Plan(row["model"], len(differences), deviation, row.get("pair_correlation"), pairs, missing * seconds)
        )
    return plans


def lines(plans: Sequence[Plan], difference: float, jobs: int) -> list[str]:
    """Return each plan in one line."""
    return [
        f"{plan.model}: {plan.needed} seeds find {difference:g} points with 80 % power (deviation of the differences "
        f"{plan.deviation:.2f} points"
        + ("" if plan.correlation is None else f", correlation {plan.correlation:.2f}")
        + f", from {plan.pairs} seeds); those that are missing take about {plan.seconds / jobs / 3600:.1f} hours here "
        f"with --jobs {jobs}."
        for plan in plans
    ]


def until_narrow(measure: Measure, settings: Runs, looks: Sequence[Look], points: float) -> tuple[Trained, Look]:
    """Train with more seeds until the intervals of all differences are narrow; return the last rows and look.

    Args:
        measure: trains; runs that exist are not repeated.
        settings: their seeds start at the first of these.
        looks: numbers of seeds at which to look, with the level of the intervals there.
        points: half-width of an interval, in points, that is narrow enough.
    """
    first = settings.seeds[0]
    for look in looks:
        trained = measure(dataclasses.replace(settings, seeds=tuple(range(first, first + look.seeds))), look.confidence)
        if trained.interrupted or all(_half_width(row) <= points for row in trained.networks):
            break
    return trained, look


def note(look: Look, looks: Sequence[Look], points: float) -> str:
    """Return how seeds were added, and what level the intervals have."""
    pairs = ", ".join(str(planned_look.seeds) for planned_look in looks)
    return (
        f"Seeds were added until every half-width was below {points:g} points, with looks at {pairs} seeds: stopped at "
        f"{look.seeds}. Intervals have the level {look.confidence:.2%} at this look, so that all looks together miss "
        "with 5 % at most; verdicts use the same level."
    )


def _half_width(row: Row) -> float:
    low, high = row.get("difference_low"), row.get("difference_high")
    if row["model"] == row["baseline"]:
        return 0.0
    return float("inf") if low is None or high is None else (high - low) / 2


def _seconds(trained: Trained, model: str) -> float:
    """Return the seconds of one seed of a network: its longest run, and the shorter ones' own epochs."""
    runs = [run for run in trained.runs if run["model"] == model and run["status"] == "complete"]
    longest = max((run["epochs"] for run in runs), default=0)
    per_seed: dict[int, float] = {}
    for run in runs:
        epochs = run["curve"] if run["epochs"] == longest else run["curve"][run.get("constant_epochs") or 0 :]
        per_seed[run["seed"]] = per_seed.get(run["seed"], 0.0) + sum(epoch["seconds"] for epoch in epochs)
    return statistics.fmean(per_seed.values()) if per_seed else 0.0
