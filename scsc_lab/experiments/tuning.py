"""Equal tuning: one value of the recipe chosen per network on held-out training images, with equally many runs."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scsc_lab.errors import InputError
from scsc_lab.experiments.experiment import Arm, Experiment, Measure
from scsc_lab.experiments.results import Result
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.settings import Schedule
from scsc_lab.training.plan import Plan, Runs, changed, parsed

VALIDATION = 0.2
"""Share of the training images, or of their identities, that judge the runs of the tuning."""

SEEDS = 2
"""Runs per network and value, unless a schedule says how many."""

FIRST_SEED = 1000
"""Seed of the first run per value: drawn images are then none of the experiment's."""


@dataclass(frozen=True)
class Grid:
    """Setting to tune, and its values.

    Attributes:
        key: field of the recipe.
        values: its values to try, as text.
        seeds: runs per network and value.
        epochs: epochs of each run.
    """

    key: str
    values: tuple[str, ...]
    seeds: int
    epochs: int

    @property
    def text(self) -> str:
        """The grid in words, as rows and notes have it."""
        return f"{self.key}={','.join(self.values)}, {self.seeds} seeds, {self.epochs} epochs"


def grid(schedule: Schedule, settings: Runs) -> Grid | None:
    """Return what a schedule tunes, checked; None if nothing.

    Raises:
        InputError: if the key is no field of a recipe, or there are not two different values that make sense.
    """
    if schedule.tune is None:
        return None
    key, text = schedule.tune
    values = tuple(value.strip() for value in text.split(","))
    if len(values) < 2:
        raise InputError(f"--tune {key}={text}: at least two values, as lr=3e-4,1e-3,3e-3")
    if key in ("epochs", "batch_size"):
        raise InputError(f"--tune {key}: the budget is the same for all networks; tune lr, weight_decay …")
    if len({parsed(key, value) for value in values}) < len(values):
        raise InputError(f"--tune {key}={text}: a value occurs twice")
    epochs = schedule.tune_epochs or max(schedule.budgets, default=settings.plan.recipe.epochs)
    tried = Grid(key, values, schedule.tune_seeds or SEEDS, epochs)
    for value in values:
        _settings(settings, tried, value)
    if max(settings.seeds) >= FIRST_SEED:
        raise InputError(f"--tune takes the seeds from {FIRST_SEED} up: lower --seed")
    return tried


def experiment(networks: Sequence[Network], settings: Runs, tried: Grid) -> Experiment:
    """Return the experiment of a tuning: every network with every value, with the same number of runs.

    The runs train on four fifths of the training images and are judged on the others; test images are not used.
    """
    arms = tuple(
        Arm(network, study=str(network), variant=value, settings={"accuracy": _settings(settings, tried, value)})
        for network in networks
        for value in tried.values
    )
    details = {"key": tried.key, "text": tried.text}
    return Experiment("tuning", arms, (Measure("accuracy", settings),), ("accuracy",), details=details)


def rows(result: Result) -> list[Row]:
    """Return one row per network and value, with its cost and whether it was ``chosen``.

    A network's value is that of the highest mean accuracy, the first of equal ones; one that diverged with a seed is
    not chosen.

    Raises:
        InputError: if a network diverged with every value.
    """
    details = result.experiment["details"]
    table = [{**_row(row), "key": details["key"], "grid": details["text"]} for row in result.rows if row.get("runs")]
    for model in dict.fromkeys(row["model"] for row in table):
        candidates = [row for row in table if row["model"] == model and row["accuracy_mean"] is not None]
        if not candidates:
            raise InputError(f"{model} diverged with every value of {details['text']}")
        max(candidates, key=lambda row: float(row["accuracy_mean"]))["chosen"] = True
    return table


def chosen(networks: Sequence[Network], plan: Plan, tried: Grid, table: Sequence[Row]) -> dict[Network, Plan]:
    """Return each network's plan, with the value that was chosen for it."""
    values = {row["model"]: row["value"] for row in table if row["chosen"]}
    return {
        network: dataclasses.replace(changed(plan, tried.key, values[str(network)]), tuned=tried.text)
        for network in networks
    }


def _settings(settings: Runs, tried: Grid, value: str) -> Runs:
    plan = changed(settings.plan, tried.key, value)
    recipe = dataclasses.replace(plan.recipe, epochs=tried.epochs)
    plan = dataclasses.replace(plan, recipe=recipe, validation=VALIDATION)
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + tried.seeds))
    return dataclasses.replace(settings, plan=plan, seeds=seeds, weights="", last_budget=0)


def _row(row: Row) -> Row:
    runs = row["runs"]
    diverged = sum(run["status"] != "complete" for run in runs)
    return {
        "model": row["model"],
        "value": row["variant"],
        "accuracy_mean": None if diverged else statistics.fmean(run["accuracy"] for run in runs),
        "seeds": len(runs),
        "diverged": diverged,
        "train_macs": sum(run["train_macs"] for run in runs),
        "seconds": sum(run["seconds"] for run in runs),
        "chosen": False,
    }
