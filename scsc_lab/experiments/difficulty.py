"""Difficulty curves: trained networks on harder images, paired by seed against a baseline."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

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


def summaries(result: Result, baseline: str = "") -> list[Row]:
    """Return one row per condition and network: mean accuracies in percent, and paired differences to the baseline.

    Args:
        result: the experiment's result, with one row per network, seed and condition.
        baseline: name of the network that the others are compared with. Default: the experiment's first.
    """
    rows = [row for row in result.further if row["table"] == "difficulty"]
    baseline = baseline or str(result.arms[0]["label"])
    keys = [key for key in (rows[0] if rows else {}) if key.endswith("_accuracy")]
    by_cell: dict[tuple[str, float, str], dict[int, Row]] = {}
    for row in rows:
        by_cell.setdefault((row["condition"], row["value"], row["model"]), {})[row["seed"]] = row
    table = []
    for (condition, value, model), runs in by_cell.items():
        summary: Row = {"condition": condition, "value": value, "model": model, "seeds": len(runs)}
        baselines = by_cell.get((condition, value, baseline), {})
        for key in keys:
            name = key.removesuffix("_accuracy")
            summary[f"{name}_mean"] = statistics.fmean(run[key] for run in runs.values())
            seeds = [seed for seed in runs if seed in baselines]
            if model != baseline and seeds:
                pair = compare([baselines[seed][key] for seed in seeds], [runs[seed][key] for seed in seeds])
                summary |= {
                    f"{name}_difference": pair.mean,
                    f"{name}_low": pair.low,
                    f"{name}_high": pair.high,
                }
        table.append(summary)
    return table
