"""Accuracy of trained networks on harder images: smaller letters, more noise. It has no column of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scsc_lab.errors import InputError
from scsc_lab.metrics import Metric, Progress, trained_field, training
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.settings import Settings
from scsc_lab.training.plan import Runs

HEIGHTS = (4, 5, 6, 7, 8)
"""Heights of the small letters, in pixels; 7 in training."""

NOISES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
"""Deviations of each pixel's noise; 0.05 to 0.15 in training."""


@dataclass(frozen=True)
class Difficulty:
    """A run, and the images to evaluate it on.

    Attributes:
        run: the run, of one seed; its ``weights`` is the folder of trained weights.
        images: test images per condition.
    """

    run: Runs = field(default_factory=Runs)
    images: int = 500

    def identity(self) -> dict[str, Any]:
        """Return what decides the numbers: the run, not the file of its weights."""
        return {"run": self.run.identity(), "images": self.images, "heights": HEIGHTS, "noises": NOISES}


def configure(settings: Settings) -> Difficulty:
    """Return the run that settings ask for, of the first seed."""
    runs = training.configure(settings)
    return Difficulty(dataclasses.replace(runs, seeds=runs.seeds[:1]))


def measure(networks: Sequence[Network], settings: Difficulty, progress: Progress) -> list[Row]:
    """Return one row per network: ``seed, epochs`` and ``difficulty``, one entry per condition.

    An entry has ``condition`` (``small letters`` or ``noise``), ``value``, and the accuracies in percent. A run whose
    weights are missing is trained again.

    Raises:
        InputError: if the data has no such conditions, or no folder is named for trained weights.
    """
    from scsc_lab.execution.passes import using_threads
    from scsc_lab.training.data import navon
    from scsc_lab.training.loop import outputs
    from scsc_lab.training.run import prepared
    from scsc_lab.training.tasks import goal

    run = settings.run
    if run.plan.data != "navon":
        raise InputError(f"--difficulty draws letters smaller and noisier: it is for --data navon, not {run.plan.data}")
    seed = run.seeds[0]
    looks: list[tuple[str, float, navon.Look]] = [
        *(("small letters", height, navon.Look(height=height)) for height in HEIGHTS),
        *(("noise", noise, navon.Look(noise=noise)) for noise in NOISES),
    ]
    rows = []
    with using_threads(run.threads):
        for network in networks:
            progress(f"difficulty of {network}, seed {seed}")
            module = trained_field.module_of(network, run, True, progress)
            batches = prepared(run.plan, training.own_input(network), seed)
            entries = []
            for condition, value, look in looks:
                data = dataclasses.replace(batches.data, test=navon.test_images(seed, settings.images, look))
                judge = goal(run.plan.task, data, run.plan.recipe, seed).judge
                accuracies = judge(outputs(module, dataclasses.replace(batches, data=data), "cpu"))
                entries.append({"condition": condition, "value": value, **accuracies})
            rows.append({"seed": seed, "epochs": run.plan.recipe.epochs, "difficulty": entries})
    return rows


def table_rows(row: Row) -> list[Row]:
    """Return one row per condition of a run."""
    shared = {key: row[key] for key in ("seed", "epochs")}
    return [{"table": "difficulty", **shared, **entry} for entry in row.get("difficulty", ())]


METRIC = Metric(name="difficulty", columns=(), measure=measure, configure=configure, table_rows=table_rows)
