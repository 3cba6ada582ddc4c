"""Difficulty curves: trained networks on harder images, paired by seed against a baseline."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from concurrent.futures import Executor

from scsc_lab import units
from scsc_lab.analysis.paired_seeds import compare
from scsc_lab.architectures.network import Network
from scsc_lab.experiments import runner
from scsc_lab.experiments.runner import Progress, Task
from scsc_lab.metrics import accuracy
from scsc_lab.metrics.difficulty import Difficulty
from scsc_lab.records import Row
from scsc_lab.store import RowStore
from scsc_lab.training.plan import Training


def measure(
    arms: Sequence[tuple[Network, Training]],
    store: RowStore | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> list[Row]:
    """Return one row per network, seed and condition, with its accuracies in percent.

    Args:
        arms: each network with the settings of its runs, which have a folder of trained weights.
        store: where rows are added; those that it has are not measured again.
        executor: where to measure, one run per worker; this process without one.
        progress: called with the progress.

    Raises:
        InputError: if the data has no such conditions, or there is no folder of weights.
        KeyboardInterrupt: if it was interrupted.
    """
    tasks = [
        Task("difficulty", (network,), Difficulty(run))
        for network, settings in arms
        for run in accuracy.runs(network, settings)
    ]
    measured = runner.run(tasks, store, executor, progress)
    if measured.interrupted:
        raise KeyboardInterrupt
    return [
        {"model": str(task.networks[0]), "seed": row["seed"], "epochs": row["epochs"], **entry}
        for task in tasks
        for row in measured.rows[task]
        for entry in row["difficulty"]
    ]


def summaries(rows: Sequence[Row], baseline: str) -> list[Row]:
    """Return one row per condition and network: mean accuracies, and paired differences to the baseline.

    Args:
        rows: rows of :func:`measure`.
        baseline: name of the network that the others are compared with.
    """
    keys = [key for key in (rows[0] if rows else {}) if key.endswith("_accuracy")]
    by_cell: dict[tuple[str, float, str], dict[int, Row]] = {}
    for row in rows:
        by_cell.setdefault((row["condition"], row["value"], row["model"]), {})[row["seed"]] = row
    found = []
    for (condition, value, model), runs in by_cell.items():
        summary: Row = {"condition": condition, "value": value, "model": model, "seeds": len(runs)}
        others = by_cell.get((condition, value, baseline), {})
        for key in keys:
            name = key.removesuffix("_accuracy")
            summary[f"{name}_mean"] = statistics.fmean(run[key] for run in runs.values())
            seeds = [seed for seed in runs if seed in others]
            if model != baseline and seeds:
                pair = compare([others[seed][key] for seed in seeds], [runs[seed][key] for seed in seeds])
                summary |= {
                    f"{name}_difference": pair.mean,
                    f"{name}_low": pair.low,
                    f"{name}_high": pair.high,
                }
        found.append(summary)
    return found


def findings(rows: Sequence[Row]) -> list[str]:
    """Return one line per network, condition and task: the difference at the easiest and at the hardest images.

    Args:
        rows: rows of :func:`summaries`.
    """
    lines = []
    for model in dict.fromkeys(row["model"] for row in rows if any(key.endswith("_difference") for key in row)):
        for condition, is_reversed in (("small letters", True), ("noise", False)):
            cells = [row for row in rows if (row["model"], row["condition"]) == (model, condition)]
            cells.sort(key=lambda row: float(row["value"]), reverse=is_reversed)
            easiest, hardest = cells[0], cells[-1]
            for key in (key for key in easiest if key.endswith("_difference")):
                ends = [f"{units.signed_decimal(row[key])} points at {row['value']:g}" for row in (easiest, hardest)]
                name = key.removesuffix("_difference")
                lines.append(f"{model}, {condition}: {name} accuracy differs by {', '.join(ends)}.")
    return lines
