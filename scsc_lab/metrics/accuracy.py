"""Accuracy: a network trained with several seeds, the last epoch of each, and its paired difference to the baseline."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterable, Sequence

from scsc_lab import units
from scsc_lab.analysis import paired_seeds
from scsc_lab.errors import InputError
from scsc_lab.metrics import Metric, Parts, training
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.report.accuracy import PAIRS_RULE, pair_of
from scsc_lab.report.tables import Change, Column
from scsc_lab.training.plan import Runs

CONFIDENCE = 0.95
"""Level of the intervals, unless seeds are added until they are narrow."""

DELTA = 0.5
"""Difference in points that counts as none."""

SHARED = ("data", "recipe", "task", "epochs", "batch_size", "train_images", "test_images")
"""Keys that comparable runs share; every row of a run has them."""

_IN_TRAINING = ("training_loss", "accuracy_in_training")

_OF_PAIRS = ("p_value", "p_holm", "pair_correlation", "seed_pairs")


def runs(network: Network, settings: Runs) -> list[Runs]:
    """Return the settings of a network's runs, one a seed: inputs at the network's resolution, the device's name."""
    from scsc_lab.execution.hardware import find

    plan = dataclasses.replace(settings.plan, size=network.resolution)
    run_plan = dataclasses.replace(settings, plan=plan, device=str(find(settings.device)))
    return [dataclasses.replace(run_plan, seeds=(seed,)) for seed in settings.seeds]


def summary(runs: Sequence[Row]) -> Row:
    """Return what the runs of one network come to: mean and deviation over the seeds that did not diverge.

    The runs themselves stand under ``runs``; each is a pair with the run of the same seed of every other network.
    """
    row: Row = {"runs": [dict(run) for run in runs], "seeds": len(runs)}
    keys = dict.fromkeys(key for run in runs for key in run if key == "accuracy" or key.endswith("_accuracy"))
    keys |= dict.fromkeys(key for run in runs for key in _IN_TRAINING if key in run)
    for key in keys:  # one that diverged at once has not all of them
        values = [run[key] for run in runs if run["status"] == "complete" and run.get(key) is not None]
        row[f"{key}_mean"] = statistics.fmean(values) if values else None
        row[f"{key}_deviation"] = statistics.stdev(values) if len(values) > 1 else None
    return row


def against(row: Row, baseline: Row) -> Row:
    """Return how a row's accuracy differs from the baseline's, over the pairs of which both runs are complete.

    Runs of one seed are a pair, or of one ``pair`` where they say so, if they share data, recipe and budget; see
    :func:`scsc_lab.analysis.paired_seeds.compare`. Differences below the row's ``accuracy_margin``, in points, count as
    none; its ``accuracy_confidence`` is the level of the intervals. Without pairs there is nothing.
    """
    pairs = paired(row, baseline)
    if not pairs:
        return {}
    from scsc_lab.analysis.paired_seeds import compare

    delta, confidence = _margin(row)
    first, second = zip(*((reference["accuracy"], run["accuracy"]) for reference, run in pairs), strict=True)
    comparison = compare(first, second, delta=delta, confidence=confidence)
    parts: Row = {}
    for key in (key for key in pairs[0][0] if key.endswith("_accuracy")):  # accuracies of single tasks, as local
        values = [(reference.get(key), run.get(key)) for reference, run in pairs]
        if all(None not in pair for pair in values):
            part = compare(*zip(*values, strict=True), delta=delta, confidence=confidence)
            name = key.removesuffix("_accuracy")
            parts |= {f"{name}_difference": part.mean, f"{name}_low": part.low, f"{name}_high": part.high}
    return {
        **parts,
        "accuracy_difference": comparison.mean,
        "difference_low": comparison.low,
        "difference_high": comparison.high,
        "p_value": comparison.p_value,
        "pair_correlation": comparison.correlation,
        "seed_pairs": comparison.seeds,
        "accuracy_verdict": comparison.verdict or None,
    }


def _margin(row: Row) -> tuple[float, float]:
    """Return the difference in points that counts as none, and the level of the intervals, of a row."""
    return row.get("accuracy_margin", DELTA), row.get("accuracy_confidence", CONFIDENCE)


def paired(row: Row, baseline: Row) -> list[tuple[Row, Row]]:
    """Return the pairs of runs, of the baseline and of a row, of which both are complete."""
    by_pair = {(pair_of(run), setting(run)): run for run in row.get("runs") or () if run["status"] == "complete"}
    return [
        (run, by_pair[pair_of(run), setting(run)])
        for run in baseline.get("runs") or ()
        if run["status"] == "complete" and (pair_of(run), setting(run)) in by_pair
    ]


def setting(run: Row) -> tuple[str, ...]:
    """Return what a run shares with those that it may be compared with: the values of :data:`SHARED`, and ``tuned``."""
    return (*(str(run.get(key)) for key in SHARED), str(run.get("tuned") or ""))


def adjusted(rows: Sequence[Row]) -> list[Row]:
    """Return what is to be added to each row of a table: its p by Holm's method, and the verdict by it.

    A network that stands in several rows, as a variant in two studies, is one comparison.

    Args:
        rows: networks, those that are compared with their ``p_value``.
    """
    family = {_comparison(row): row["p_value"] for row in rows if row.get("p_value") is not None}
    if not family:
        return [{} for _ in rows]
    from scsc_lab.analysis.paired_seeds import holm, verdict

    by_holm = dict(zip(family, holm(list(family.values())), strict=True))
    added: list[Row] = []
    for row in rows:
        p_value = None if row.get("p_value") is None else by_holm[_comparison(row)]
        ends = (row.get("difference_low"), row.get("difference_high"))
        delta, confidence = _margin(row)
        judged = verdict(*ends, row.get("seed_pairs") or 0, delta, p_value, 1 - confidence)
        added.append({} if p_value is None else {"p_holm": p_value, "accuracy_verdict": judged or None})
    return added


def comparisons(rows: Sequence[Row]) -> int:
    """Return how many networks of a table are compared, each once."""
    return len({_comparison(row) for row in rows if row.get("p_value") is not None})


def _comparison(row: Row) -> tuple[str, ...]:
    """Return what makes two rows one comparison: network, baseline, input, data and recipe of the runs."""
    runs = row.get("runs") or ()
    network = identity(str(row.get("network") or row["model"]))
    return (network, str(row.get("baseline")), str(row.get("resolution")), *(setting(runs[0]) if runs else ()))


def identity(text: str) -> str:
    """Return what is the same for all spellings of one network; the text itself where it cannot be read here."""
    try:
        return json.dumps(Network.read(text).identity(), sort_keys=True, default=str)
    except (InputError, ImportError, ValueError):  # its file or package is not here
        return text


def shortage(tables: Iterable[Sequence[Network]], runs: int, budgets: int = 1) -> list[str]:
    """Return one line if networks cannot be told apart with so few seeds, to be printed before training.

    Args:
        tables: networks that stand in one table, those of each baseline behind it.
        runs: runs of each network.
        budgets: number of budgets at which they are compared.
    """
    compared: set[tuple[str, str]] = set()
    for texts in ([identity(network.text) for network in networks] for networks in tables):
        compared |= {(texts[0], text) for text in texts[1:] if text != texts[0]}
    return list(filter(None, [paired_seeds.shortage(budgets * len(compared), runs)]))


def notes(rows: Sequence[Row]) -> list[str]:
    """Return how the networks were trained, which runs diverged, and what the seeds can and cannot tell."""
    trained = [row for row in rows if row.get("runs")]
    if not trained:
        return []
    recipes = dict.fromkeys(_how(run) for row in trained for run in row["runs"])
    numbers = sorted({len(row["runs"]) for row in trained})
    range_ = " to ".join(dict.fromkeys((str(numbers[0]), str(numbers[-1]))))
    range_ += " seed" if numbers == [1] else " seeds"
    sentences = [f"Accuracy: {'; '.join(recipes)}; {range_}; as by `scsc-lab train`. {PAIRS_RULE}"]
    notes_on_data = {
        f"{run['data']}: {note}." for row in trained for run in row["runs"] for note in run.get("data_notes", ())
    }
    sentences += sorted(notes_on_data)
    if len(trained) > 1 and not any(run.get("tuned") for row in trained for run in row["runs"]):
        sentences.append("One learning rate for all, not tuned.")
    if any(row.get("accuracy_status") for row in trained):
        sentences.append("ACCURACY CUT SHORT: runs are missing.")
    for row in trained:
        diverged = [str(run["seed"]) for run in row["runs"] if run["status"] != "complete"]
        if diverged:
            sentences.append(f"{row['model']}: DIVERGED with seed {', '.join(diverged)}; left out.")
    pairs = [row["seed_pairs"] for row in trained if row.get("seed_pairs")]
    sentences += filter(None, [paired_seeds.shortage(comparisons(trained), min(pairs, default=0))])
    verdicts = [
        f"{row.get('variant') or row['model']} {row['accuracy_verdict']} (p {units.probability(row['p_value'])}, "
        f"Holm {units.probability(row.get('p_holm'))}; ρ {units.correlation(row['pair_correlation'])})"
        for row in trained
        if row.get("accuracy_verdict")
    ]
    if verdicts:
        sentences.append(f"Verdict on accuracy: {'; '.join(verdicts)}.")
    return list(dict.fromkeys(sentences))


def _how(run: Row) -> str:
    epochs = f"{run['epochs']} epoch{'s' if run['epochs'] != 1 else ''}"
    return (
        f"{run['data']}, recipe {run['recipe']}, {epochs} of {run['train_images']:,} images, "
        f"{run['test_images']:,} test images"
    )


def column() -> Column:
    """Return the column of accuracies, with its paired differences."""
    change_column = Column(
        ("accuracy_difference", "difference_low", "difference_high"), "Δ accuracy, points", units.points_interval
    )
    return Column(
        "accuracy_mean",
        "accuracy",
        units.decimal,
        unit="%",
        word="accuracy",
        better="higher",
        question="Is it more accurate?",
        change=Change(
            change_column,
            "difference",
            "Δ points, 95%",
            scale=1.0,
            paired=against,
            judged="accuracy_verdict",
            adds=_OF_PAIRS,
            across=adjusted,
        ),
    )


METRIC = Metric(
    name="accuracy",
    columns=(column(),),
    configure=training.configure,
    parts=Parts("training", runs),
    join=summary,
    notes=notes,
)
ORDER = 4
