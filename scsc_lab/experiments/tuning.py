"""Equal tuning: one value of the recipe chosen per network on held-out training images, with equally many runs."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from scsc_lab import units
from scsc_lab.architectures.network import Network
from scsc_lab.errors import InputError
from scsc_lab.experiments import runner
from scsc_lab.experiments.runner import Progress, Task
from scsc_lab.metrics import accuracy
from scsc_lab.records import Row
from scsc_lab.store import RowStore
from scsc_lab.training.plan import Training, changed, parsed

VALIDATION = 0.2
"""Share of the training images, or of their identities, that judge the runs of the tuning."""

FIRST_SEED = 1000
"""Seed of the first run per value: drawn images are then none of the experiment's."""


@dataclass(frozen=True)
class Grid:
    """What is tuned.

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


@dataclass(frozen=True)
class Tuned:
    """A finished tuning.

    Attributes:
        settings: the settings of each network's runs, with its value.
        rows: one row per network and value: ``model, key, value, accuracy_mean, seeds, diverged, train_macs, seconds,
            chosen``.
        interrupted: whether an interrupt ended it before all networks had a value.
    """

    settings: Mapping[Network, Training]
    rows: tuple[Row, ...]
    interrupted: bool = False


def grid(text: str, seeds: int, epochs: int, settings: Training) -> Grid:
    """Return a grid from a user's ``KEY=VALUE,VALUE,…``, checked.

    Raises:
        InputError: if the key is no field of a recipe, or there are not two different values that make sense.
    """
    key, equals, rest = text.partition("=")
    values = tuple(value.strip() for value in rest.split(","))
    if not equals or len(values) < 2:
        raise InputError(f"--tune {text!r}: a field of the recipe and at least two values, as lr=3e-4,1e-3,3e-3")
    if key in ("epochs", "batch_size"):
        raise InputError(f"--tune {key}: the budget is the same for all networks; tune lr, weight_decay …")
    if len({parsed(key, value) for value in values}) < len(values):
        raise InputError(f"--tune {text!r}: a value occurs twice")
    for value in values:
        changed(settings.plan, key, value)
    if max(settings.seeds) >= FIRST_SEED:
        raise InputError(f"--tune takes the seeds from {FIRST_SEED} up: lower --seed")
    return Grid(key, values, seeds, epochs)


def tune(
    networks: Sequence[Network],
    settings: Training,
    tried: Grid,
    store: RowStore | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Choose a value per network: that of the highest mean accuracy, the first of equal ones.

    A value that diverged with a seed is not chosen. The runs train on four fifths of the training images and are judged
    on the others; test images are not used.

    Raises:
        InputError: if networks, data and recipe do not go together, or a network diverged with every value.
    """
    trials = {
        (network, value): _runs(network, settings, tried, value) for network in networks for value in tried.values
    }
    measured = runner.run([task for tasks in trials.values() for task in tasks], store, executor, progress)
    if any(task not in measured.rows for tasks in trials.values() for task in tasks):
        return Tuned({}, (), True)
    rows = [
        _row(network, tried, value, [row for task in tasks for row in measured.rows[task]])
        for (network, value), tasks in trials.items()
    ]
    chosen: dict[Network, Training] = {}
    for network in networks:
        candidates = [row for row in rows if row["model"] == str(network) and row["accuracy_mean"] is not None]
        if not candidates:
            raise InputError(f"{network} diverged with every value of {tried.text}")
        best = max(candidates, key=lambda row: float(row["accuracy_mean"]))
        best["chosen"] = True
        plan = dataclasses.replace(changed(settings.plan, tried.key, best["value"]), tuned=tried.text)
        chosen[network] = dataclasses.replace(settings, plan=plan)
    return Tuned(chosen, tuple(rows))


def notes(rows: Sequence[Row], tried: Grid) -> list[str]:
    """Return how values were chosen, which, at which cost, and which lie at the edge of the grid."""
    chosen = [row for row in rows if row["chosen"]]
    if not chosen:
        return []
    macs, seconds = (sum(float(row[key]) for row in rows) for key in ("train_macs", "seconds"))
    values = ", ".join(f"{row['model']} {row['value']}" for row in chosen)
    lines = [
        f"Tuned per network on held-out training images ({tried.text}; {len(tried.values) * tried.seeds} runs each, "
        f"{units.giga(macs)} GMACs and {seconds / 3600:.1f} hours in total): {tried.key} {values}."
    ]
    edges = [row["model"] for row in chosen if row["value"] in (tried.values[0], tried.values[-1])]
    if edges:
        lines.append(f"The best {tried.key} of {', '.join(edges)} is at the edge of the grid: a wider grid may help.")
    return lines


def _runs(network: Network, settings: Training, tried: Grid, value: str) -> list[Task]:
    plan = changed(settings.plan, tried.key, value)
    recipe = dataclasses.replace(plan.recipe, epochs=tried.epochs)
    plan = dataclasses.replace(plan, recipe=recipe, validation=VALIDATION)
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + tried.seeds))
    own = dataclasses.replace(settings, plan=plan, seeds=seeds, weights="", last_budget=0)
    return [Task("training", (network,), run) for run in accuracy.runs(network, own)]


def _row(network: Network, tried: Grid, value: str, runs: Sequence[Row]) -> Row:
    diverged = sum(run["status"] != "complete" for run in runs)
    return {
        "model": str(network),
        "key": tried.key,
        "value": value,
        "accuracy_mean": None if diverged else statistics.fmean(run["accuracy"] for run in runs),
        "seeds": len(runs),
        "diverged": diverged,
        "train_macs": sum(run["train_macs"] for run in runs),
        "seconds": sum(run["seconds"] for run in runs),
        "chosen": False,
    }
