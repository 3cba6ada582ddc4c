"""Accuracy: a network trained with several seeds, the last epoch of each, and its paired difference to the baseline."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from scsc_lab import units
from scsc_lab.architectures.network import Network
from scsc_lab.metrics import Metric, Tell, training
from scsc_lab.records import Row
from scsc_lab.report.tables import Change, Column
from scsc_lab.training.plan import FEWEST_SEEDS, Training

DELTA = 0.5
"""Difference in points that counts as none."""


def measure(networks: Sequence[Network], settings: Training, tell: Tell) -> list[Row]:
    """Return one row a network, with its runs under ``runs``; each seed's are a pair with every other network's."""
    return [summary([training.run(network, settings, seed, tell) for seed in settings.seeds]) for network in networks]


def summary(runs: Sequence[Row]) -> Row:
    """Return what the runs of one network come to: mean and deviation over the seeds that did not diverge."""
    found: Row = {"runs": [dict(run) for run in runs], "seeds": len(runs)}
    keys = [key for run in runs[:1] for key in run if key == "accuracy" or key.endswith("_accuracy")]
    for key in keys:
        values = [run[key] for run in runs if run["status"] == "complete"]
        found[f"{key}_mean"] = statistics.fmean(values) if values else None
        found[f"{key}_deviation"] = statistics.stdev(values) if len(values) > 1 else None
    return found


def against(row: Row, baseline: Row, delta: float = DELTA) -> Row:
    """Return how a row's accuracy differs from the baseline's, over the pairs of which both runs are complete.

    Runs are paired in their order; see :func:`scsc_lab.analysis.paired_seeds.compare`.
    """
    pairs = [
        (one["accuracy"], two["accuracy"])
        for one, two in zip(baseline.get("runs") or (), row.get("runs") or (), strict=False)
        if one["status"] == two["status"] == "complete"
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
        "pairs": found.seeds,
        "accuracy_verdict": found.verdict or None,
    }


def notes(rows: Sequence[Row]) -> list[str]:
    """Return how the networks were trained, which runs diverged, and what the seeds can and cannot tell."""
    trained = [row for row in rows if row.get("runs")]
    if not trained:
        return []
    first = trained[0]["runs"][0]
    epochs = f"{first['epochs']} epoch{'s' if first['epochs'] != 1 else ''}"
    found = [
        f"Accuracy: {first['data']}, recipe {first['recipe']}, {epochs} of {first['train_images']:,} images, "
        f"{len(trained[0]['runs'])} seeds, the last epoch, {first['test_images']:,} test images; the mean over "
        "seeds; differences over pairs of one seed, with their 95% t interval; as by `scsc-lab train`."
    ]
    for row in trained:
        diverged = [str(run["seed"]) for run in row["runs"] if run["status"] != "complete"]
        if diverged:
            found.append(f"{row['model']}: DIVERGED with seed {', '.join(diverged)}; left out.")
    if len(trained) > 1 and min(len(row["runs"]) for row in trained) < FEWEST_SEEDS:
        found.append("Fewer than 6 seeds: no verdict, since a sign-flip test cannot reach 5 % with them.")
    verdicts = [f"{row['model']} {row['accuracy_verdict']}" for row in trained if row.get("accuracy_verdict")]
    return found + ([f"Verdict on accuracy: {', '.join(verdicts)}."] if verdicts else [])


METRIC = Metric(
    name="accuracy",
    columns=(
        Column(
            "accuracy_mean",
            "accuracy (%)",
            units.decimal,
            word="accuracy",
            better="higher",
            change=Change(
                Column(
                    ("accuracy_difference", "difference_low", "difference_high"),
                    "Δ accuracy, points",
                    units.points_interval,
                ),
                "difference",
                "Δ points, 95%",
                scale=1.0,
                paired=against,
            ),
        ),
    ),
    measure=measure,
    configure=training.configure,
    notes=notes,
    usual=False,
)
ORDER = 4
