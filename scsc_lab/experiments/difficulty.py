"""Difficulty curves: trained networks on harder images, paired by seed against a baseline."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from scsc_lab import units
from scsc_lab.analysis.paired_seeds import compare
from scsc_lab.experiments.experiment import Arm, Experiment, Measure
from scsc_lab.experiments.results import Result
from scsc_lab.metrics import accuracy
from scsc_lab.metrics.difficulty import Difficulty
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.training.plan import Runs


def experiment(arms: Sequence[tuple[Network, Runs]]) -> Experiment:
    """Return the experiment of trained networks on harder images, one arm per network and seed.

    Args:
        arms: each network with the settings of its runs, which have a folder of trained weights.
    """
    runs = [(network, run) for network, settings in arms for run in accuracy.runs(network, settings)]
    measure = Measure("difficulty", Difficulty(runs[0][1]))
    return Experiment(
        "difficulty",
        tuple(
            Arm(network, study=str(network), variant=f"seed {run.seeds[0]}", settings={"difficulty": Difficulty(run)})
            for network, run in runs
        ),
        (measure,),
    )


def rows(result: Result) -> list[Row]:
    """Return one row per network, seed and condition, with its accuracies in percent."""
    return [{key: value for key, value in row.items() if key != "table"} for row in result.further]


def summaries(rows: Sequence[Row], baseline: str) -> list[Row]:
    """Return one row per condition and network: mean accuracies, and paired differences to the baseline.

    Args:
        rows: rows of :func:`rows`.
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
