"""Training runs, network × seed × budget, and their summaries: side by side, in other experiments, on harder images."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from scsc_lab.analysis import paired_seeds
from scsc_lab.analysis.convergence import share_converged
from scsc_lab.errors import InputError
from scsc_lab.experiments import runner, tuning
from scsc_lab.experiments.compare import check_names
from scsc_lab.experiments.experiment import Arm, Experiment, Measure
from scsc_lab.experiments.results import Result
from scsc_lab.experiments.runner import Progress
from scsc_lab.metrics import accuracy
from scsc_lab.metrics.difficulty import Difficulty
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.settings import Schedule
from scsc_lab.store import Store
from scsc_lab.training.plan import Runs

_METRIC = "accuracy"


@dataclass(frozen=True)
class Trained:
    """Results of training.

    Attributes:
        results: the experiment at each budget, ascending; at the largest with everything that it measures.
        budgets: at each budget one row per network that has runs, compared with its baseline; p values are adjusted
            over all of them.
        tuned: one row per network and value that was tried; none without tuning.
        arms: each network with the settings of its runs of the largest budget.
        interrupted: whether a keyboard interrupt ended it before all runs were done.
    """

    results: tuple[Result, ...]
    budgets: tuple[tuple[Row, ...], ...]
    tuned: tuple[Row, ...] = ()
    arms: tuple[tuple[Network, Runs], ...] = ()
    interrupted: bool = False

    @property
    def networks(self) -> tuple[Row, ...]:
        """One row per network at the largest budget."""
        return self.budgets[-1] if self.budgets else ()

    @property
    def runs(self) -> tuple[Row, ...]:
        """One row per run, with its ``model``; by budget, network and seed."""
        return tuple(run for rows in self.budgets for row in rows for run in row["runs"])


def experiment(
    networks: Sequence[Network],
    settings: Runs,
    *,
    baseline: int = 0,
    delta: float = accuracy.DELTA,
    confidence: float = accuracy.CONFIDENCE,
    self_test: bool = False,
) -> Experiment:
    """Return the experiment of networks that are trained with every seed and compared with one of them.

    Args:
        networks: the networks.
        settings: data, recipe, seeds and where to train.
        baseline: position of the network that the others are compared with.
        delta: difference in points that counts as none.
        confidence: level of the intervals of differences.
        self_test: train the baseline against itself with other seeds: the noise floor.

    Raises:
        InputError: if two networks have one name.
    """
    check_names(networks)
    arms = [Arm(network, None if at == baseline else baseline) for at, network in enumerate(networks)]
    if self_test:
        network, shift = networks[baseline], max(settings.seeds) + 1 - min(settings.seeds)
        shifted = replace(settings, seeds=tuple(seed + shift for seed in settings.seeds))
        label = f"{network}, other seeds"
        arms = [Arm(network), Arm(network, 0, label=label, settings={_METRIC: shifted}, seed_shift=shift)]
    details = {"delta": delta, "confidence": confidence}
    return Experiment("comparison", tuple(arms), (Measure(_METRIC, settings),), (_METRIC,), details=details)


def scheduled(
    experiment: Experiment,
    schedule: Schedule,
    store: Store | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> tuple[list[Experiment], list[Row]]:
    """Return an experiment at each budget, ascending, and the rows of the tuning, which is run for it.

    At the largest budget it measures everything, at the others accuracy alone. An experiment without accuracy is
    returned as it is.

    Raises:
        InputError: if the schedule does not fit the recipe.
        KeyboardInterrupt: if the tuning was interrupted.
    """
    settings: Runs | None = next(
        (measure.settings for measure in experiment.measures if measure.metric == _METRIC), None
    )
    if settings is None:
        return [experiment], []
    budgets = sorted(schedule.budgets) or [settings.plan.recipe.epochs]
    check(schedule, settings)
    tried: list[Row] = []
    plans = dict.fromkeys((arm.network for arm in experiment.arms), settings.plan)
    if grid := tuning.grid(schedule, settings):
        measured = runner.run([tuning.experiment(list(plans), settings, grid)], store, executor, progress)
        if measured.interrupted:
            raise KeyboardInterrupt
        tried = tuning.rows(measured.results[0])
        plans = tuning.chosen(list(plans), settings.plan, grid, tried)
    experiments = []
    for epochs in budgets:
        arms = []
        for arm in experiment.arms:
            arm_settings = replace(arm.settings.get(_METRIC, settings), plan=plans[arm.network])
            arms.append(replace(arm, settings={**arm.settings, _METRIC: _at_budget(arm_settings, epochs, budgets)}))
        shared = Measure(_METRIC, arms[0].settings[_METRIC])
        other_measures = [measure for measure in experiment.measures if measure.metric != _METRIC]
        is_largest = epochs == budgets[-1]
        experiments.append(
            replace(
                experiment,
                arms=tuple(arms),
                measures=(*other_measures, shared) if is_largest else (shared,),
                columns=experiment.columns if is_largest else (_METRIC,),
            )
        )
    return experiments, tried


def run(
    experiment: Experiment,
    schedule: Schedule | None = None,
    store: Store | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Measure an experiment, its networks tuned and trained for several budgets as the schedule says.

    Args:
        experiment: what is measured.
        schedule: budgets and tuning. Default: the recipe's epochs, nothing tuned.
        store: where rows are added as they are measured; those that it has are not measured again.
        executor: where to run, one run per worker; this process without one.
        progress: called with the progress.

    Raises:
        InputError: if network, data and recipe do not go together.
        KeyboardInterrupt: if it was interrupted before the first run was done.
    """
    experiments, tried = scheduled(experiment, schedule or Schedule(), store, executor, progress)
    measured = runner.run(experiments, store, executor, progress)
    budgets = tuple(map(tuple, summaries(measured.results)))
    return Trained(
        (*measured.results[:-1], _judged(measured.results[-1], budgets)) if budgets else measured.results,
        budgets,
        tuple(tried),
        tuple((arm.network, arm.settings[_METRIC]) for arm in experiments[-1].arms if _METRIC in arm.settings),
        measured.interrupted,
    )


def check(schedule: Schedule, settings: Runs) -> None:
    """Raise InputError if runs cannot follow a schedule."""
    recipe = settings.plan.recipe
    if len(schedule.budgets) > 1 and recipe.schedule != "constant":
        raise InputError(
            f"--budgets needs --recipe-set schedule=constant: under {recipe.schedule} no two budgets share an epoch"
        )
    for epochs in schedule.budgets:
        replace(recipe, epochs=epochs)
    tuning.grid(schedule, settings)


def summaries(results: Sequence[Result]) -> list[list[Row]]:
    """Return the rows of the networks that have runs, at each budget: their epochs, what these cost, and a verdict."""
    by_budget = [rows for rows in map(_rows, results) if rows]
    together = [row for rows in by_budget for row in rows]
    for row, added in zip(together, accuracy.adjusted(together) if together else (), strict=True):
        row |= added
        row["verdict"] = row.pop("accuracy_verdict", None)
    return by_budget


def _judged(result: Result, budgets: Sequence[Sequence[Row]]) -> Result:
    """Return the result of the largest budget, its p values adjusted over all budgets."""
    trained = iter(budgets[-1])
    rows = [(row, next(trained)) if row.get("runs") else (row, {}) for row in result.rows]
    added = [{"p_holm": by["p_holm"], "accuracy_verdict": by["verdict"]} if "p_holm" in by else {} for _, by in rows]
    return replace(result, rows=tuple({**row, **verdict} for (row, _), verdict in zip(rows, added, strict=True)))


def _at_budget(settings: Runs, epochs: int, budgets: Sequence[int]) -> Runs:
    """Return the settings of a run of one of several budgets."""
    plan = replace(settings.plan, recipe=replace(settings.plan.recipe, epochs=epochs))
    return replace(settings, plan=plan, last_budget=max(budgets) if len(budgets) > 1 else 0)


def _rows(result: Result) -> list[Row]:
    """Return the rows of networks that have runs, with their budget and its mean cost."""
    rows = [dict(row) for row in result.rows if row.get("runs")]
    labels = [row["model"] for row in rows]
    for row in rows:
        row["epochs"] = row["runs"][0]["epochs"]
        row["runs_converged"], row["runs_at_chance"], _ = share_converged(row["runs"])
        for key in ("train_macs", "seconds"):
            values = [run[key] for run in row["runs"] if run.get(key) is not None]
            row[f"{key}_mean"] = statistics.fmean(values) if values else None
        row["baseline"] = row["baseline"] if row["baseline"] in labels else None
    return rows


def on_harder_images(arms: Sequence[tuple[Network, Runs]]) -> Experiment:
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


def summaries_by_difficulty(result: Result, baseline: str = "") -> list[Row]:
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
                pair = paired_seeds.compare(
                    [baselines[seed][key] for seed in seeds], [runs[seed][key] for seed in seeds]
                )
                summary |= {
                    f"{name}_difference": pair.mean,
                    f"{name}_low": pair.low,
                    f"{name}_high": pair.high,
                }
        table.append(summary)
    return table
