"""Accuracy: a network trained with several seeds, the last epoch of each, and its paired difference to the baseline."""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections.abc import Sequence

from scsc_lab import units
from scsc_lab.architectures.network import Network
from scsc_lab.metrics import Metric, Parts, training
from scsc_lab.records import Row
from scsc_lab.report.tables import Change, Column
from scsc_lab.training.plan import FEWEST_SEEDS, Training

DELTA = 0.5
"""Difference in points that counts as none."""

SHARED = ("data", "recipe", "task", "epochs", "batch_size", "train_images", "test_images")
"""What runs share that may be compared."""

_OF_PAIRS = ("p_value", "p_holm", "pair_correlation", "seed_pairs")


def runs(network: Network, settings: Training) -> list[Training]:
    """Return the settings of a network's runs, one a seed: inputs at the network's resolution, the device's name."""
    from scsc_lab.execution.device import find

    plan = dataclasses.replace(settings.plan, size=network.resolution)
    one = dataclasses.replace(settings, plan=plan, device=str(find(settings.device)))
    return [dataclasses.replace(one, seeds=(seed,)) for seed in settings.seeds]


def summary(runs: Sequence[Row]) -> Row:
    """Return what the runs of one network come to: mean and deviation over the seeds that did not diverge.

    The runs themselves stand under ``runs``; each is a pair with the run of the same seed of every other network.
    """
    found: Row = {"runs": [dict(run) for run in runs], "seeds": len(runs)}
    keys = dict.fromkeys(key for run in runs for key in run if key == "accuracy" or key.endswith("_accuracy"))
    for key in keys:  # one that diverged at once has not all of them
        values = [run[key] for run in runs if run["status"] == "complete" and run.get(key) is not None]
        found[f"{key}_mean"] = statistics.fmean(values) if values else None
        found[f"{key}_deviation"] = statistics.stdev(values) if len(values) > 1 else None
    return found


def against(row: Row, baseline: Row, delta: float = DELTA) -> Row:
    """Return how a row's accuracy differs from the baseline's, over the pairs of which both runs are complete.

    Runs of one seed are a pair, or of one ``pair`` where they say so, if they share data, recipe and budget; see
    :func:`scsc_lab.analysis.paired_seeds.compare`. Without pairs there is nothing.
    """
    others = {(pair_of(run), setting(run)): run for run in row.get("runs") or () if run["status"] == "complete"}
    pairs = [
        (one["accuracy"], others[pair_of(one), setting(one)]["accuracy"])
        for one in baseline.get("runs") or ()
        if one["status"] == "complete" and (pair_of(one), setting(one)) in others
    ]
    if not pairs:
        return {}
    first, second = zip(*pairs, strict=True)
    from scsc_lab.analysis.paired_seeds import compare

    found = compare(first, second, delta=delta)
    return {
        "accuracy_difference": found.mean,
        "difference_low": found.low,
        "difference_high": found.high,
        "p_value": found.p_value,
        "pair_correlation": found.correlation,
        "seed_pairs": found.seeds,
        "accuracy_verdict": found.verdict or None,
    }


def pair_of(run: Row) -> int:
    """Return what a run is paired by: its seed, unless it is a pair with runs of other seeds."""
    return int(run["pair"] if "pair" in run else run["seed"])


def setting(run: Row) -> tuple[str, ...]:
    """Return what a run shares with those that it may be compared with, as text: the values of :data:`SHARED`."""
    return tuple(str(run.get(key)) for key in SHARED)


def adjusted(rows: Sequence[Row]) -> list[Row]:
    """Return what is to be added to each row of a table: its p value adjusted for their number, by Holm's method."""
    from scsc_lab.analysis.paired_seeds import holm

    compared = [index for index, row in enumerate(rows) if row.get("p_value") is not None]
    found: list[Row] = [{} for _ in rows]
    for index, p_value in zip(compared, holm([rows[index]["p_value"] for index in compared]), strict=True):
        found[index] = {"p_holm": p_value}
    return found


def notes(rows: Sequence[Row]) -> list[str]:
    """Return how the networks were trained, which runs diverged, and what the seeds can and cannot tell."""
    trained = [row for row in rows if row.get("runs")]
    if not trained:
        return []
    said = dict.fromkeys(_how(run) for row in trained for run in row["runs"])
    numbers = sorted({len(row["runs"]) for row in trained})
    seeds = f"{' to '.join(dict.fromkeys((str(numbers[0]), str(numbers[-1]))))} seeds"
    found = [
        f"Accuracy: {'; '.join(said)}; {seeds}, the last epoch of each, the mean over them; differences over pairs of "
        "one seed, with their 95% t interval; as by `scsc-lab train`."
    ]
    if any(row.get("accuracy_status") for row in trained):
        found.append("ACCURACY CUT SHORT: runs are missing.")
    for row in trained:
        diverged = [str(run["seed"]) for run in row["runs"] if run["status"] != "complete"]
        if diverged:
            found.append(f"{row['model']}: DIVERGED with seed {', '.join(diverged)}; left out.")
    if any((row.get("seed_pairs") or FEWEST_SEEDS) < FEWEST_SEEDS for row in trained):
        found.append("Fewer than 6 pairs: no verdict, since a sign-flip test cannot reach 5 % with them.")
    verdicts = [
        f"{row['model']} {row['accuracy_verdict']} (p {units.probability(row['p_value'])}, "
        f"Holm {units.probability(row.get('p_holm'))}; ρ {units.correlation(row['pair_correlation'])})"
        for row in trained
        if row.get("accuracy_verdict")
    ]
    if verdicts:
        found.append(f"Verdict on accuracy, with the exact sign-flip p and Holm's for all rows: {'; '.join(verdicts)}.")
    return list(dict.fromkeys(found))


def _how(run: Row) -> str:
    epochs = f"{run['epochs']} epoch{'s' if run['epochs'] != 1 else ''}"
    return (
        f"{run['data']}, recipe {run['recipe']}, {epochs} of {run['train_images']:,} images, "
        f"{run['test_images']:,} test images"
    )


def column(delta: float = DELTA) -> Column:
    """Return the column of accuracies, with its paired differences.

    Args:
        delta: difference in points that counts as none.
    """
    shown = Column(
        ("accuracy_difference", "difference_low", "difference_high"), "Δ accuracy, points", units.points_interval
    )
    return Column(
        "accuracy_mean",
        "accuracy (%)",
        units.decimal,
        word="accuracy",
        better="higher",
        question="Is it more accurate?",
        change=Change(
            shown,
            "difference",
            "Δ points, 95%",
            scale=1.0,
            paired=functools.partial(against, delta=delta),
            judged="accuracy_verdict",
            adds=_OF_PAIRS,
            across=adjusted,
        ),
    )


METRIC = Metric(
    name="accuracy",
    columns=(column(),),
    configure=training.configure,
    parts=Parts("training", runs, summary),
    notes=notes,
    usual=False,
)
ORDER = 4
