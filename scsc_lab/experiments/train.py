"""Runs runs, network × seed × budget, and their summaries, paired against a baseline."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from scsc_lab.analysis.convergence import share_converged
from scsc_lab.database import Store
from scsc_lab.errors import InputError
from scsc_lab.experiments import runner, tuning
from scsc_lab.experiments.experiment import Arm, Experiment, Measure, check_names
from scsc_lab.experiments.results import Result
from scsc_lab.experiments.runner import Progress
from scsc_lab.experiments.tuning import Grid
from scsc_lab.metrics import accuracy
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.training.plan import Runs


@dataclass(frozen=True)
class Trained:
    """Results of training.

    Attributes:
        runs: one row per run, with its ``model``; by budget, network and seed.
        networks: one row per network at the largest budget, compared with the baseline where it is not the baseline.
        budgets: such rows of every budget, ascending; p values are adjusted over all of them.
        tuned: one row per network and value that was tried; none without tuning.
        arms: each network with the settings of its runs of the largest budget.
        interrupted: whether a keyboard interrupt ended it before all runs were done.
    """

    runs: tuple[Row, ...]
    networks: tuple[Row, ...]
    budgets: tuple[tuple[Row, ...], ...] = ()
    tuned: tuple[Row, ...] = ()
    arms: tuple[tuple[Network, Runs], ...] = ()
    interrupted: bool = False


def measure(
    networks: Sequence[Network],
    settings: Runs,
    *,
    baseline: int = 0,
    delta: float = accuracy.DELTA,
    confidence: float = accuracy.CONFIDENCE,
    self_test: bool = False,
    budgets: Sequence[int] = (),
    grid: Grid | None = None,
    store: Store | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train networks, each with every seed, and compare them with the baseline.

    Args:
        networks: the networks.
        settings: data, recipe, seeds and where to train.
        baseline: which network the others are compared with.
        delta: difference in points that counts as none.
        confidence: level of the intervals of differences.
        self_test: train the baseline against itself with other seeds: the noise floor.
        budgets: epochs of several budgets, whose runs share their first epochs; none: the recipe's epochs alone.
        grid: what to tune per network before; nothing without it.
        store: where the rows of runs are added as they end; runs that it has are not repeated.
        executor: where to run, one run per worker; this process without one.
        progress: called with the progress.

    Raises:
        InputError: if network, data and recipe do not go together.
    """
    settings_of = dict.fromkeys(networks, settings)
    tried: list[Row] = []
    if grid is not None:
        tuned = runner.run([tuning.experiment(networks, settings, grid)], store, executor, progress)
        if tuned.interrupted:
            return Trained((), (), interrupted=True)
        tried = tuning.rows(tuned.results[0])
        settings_of = tuning.chosen(networks, settings, grid, tried)
    asked = experiments(
        networks,
        settings_of,
        baseline=baseline,
        delta=delta,
        confidence=confidence,
        self_test=self_test,
        budgets=budgets,
    )
    measured = runner.run(asked, store, executor, progress)
    by_budget = [rows for rows in map(_rows, measured.results) if rows]
    everything = [row for rows in by_budget for row in rows]
    for row, added in zip(everything, accuracy.adjusted(everything), strict=True):
        row |= added
        row["verdict"] = row.pop("accuracy_verdict", None)
    return Trained(
        tuple(run for row in everything for run in row["runs"]),
        tuple(by_budget[-1]) if by_budget else (),
        tuple(map(tuple, by_budget)),
        tuple(tried),
        tuple((arm.network, arm.settings["accuracy"]) for arm in asked[-1].arms),
        measured.interrupted,
    )


def experiments(
    networks: Sequence[Network],
    settings: Mapping[Network, Runs],
    *,
    baseline: int = 0,
    delta: float = accuracy.DELTA,
    confidence: float = accuracy.CONFIDENCE,
    self_test: bool = False,
    budgets: Sequence[int] = (),
) -> list[Experiment]:
    """Return the experiments of networks that are trained with every seed and compared with the baseline, by budget.

    Args:
        networks: the networks.
        settings: how each is trained.
        baseline: position of the network that the others are compared with.
        delta: difference in points that counts as none.
        confidence: level of the intervals of differences.
        self_test: train the baseline against itself with other seeds: the noise floor.
        budgets: epochs of several budgets, whose runs share their first epochs; none: the recipe's epochs alone.

    Raises:
        InputError: if two networks have one name, or runs of these budgets cannot share their first epochs.
    """
    check_names(networks)
    first = settings[networks[baseline]]
    budgets = sorted(budgets) or [first.plan.recipe.epochs]
    check_budgets(budgets, first)
    arms = [
        Arm(network, None if at == baseline else baseline, settings={"accuracy": settings[network]})
        for at, network in enumerate(networks)
    ]
    if self_test:
        arms = _against_itself(networks[baseline], first)
    details = {"delta": delta, "confidence": confidence}
    found = []
    for epochs in budgets:
        limited = [
            replace(arm, settings={"accuracy": at_budget(arm.settings["accuracy"], epochs, budgets)}) for arm in arms
        ]
        asked = (Measure("accuracy", limited[0].settings["accuracy"]),)
        found.append(Experiment("comparison", tuple(limited), asked, ("accuracy",), details=details))
    return found


def check_budgets(budgets: Sequence[int], settings: Runs) -> None:
    """Raise InputError if runs of several budgets cannot share their first epochs, or a budget is no budget."""
    if len(set(budgets)) < len(budgets):
        raise InputError(f"--budgets {','.join(map(str, budgets))}: a budget occurs twice")
    schedule = settings.plan.recipe.schedule
    if len(budgets) > 1 and schedule != "constant":
        raise InputError(
            f"--budgets needs --recipe-set schedule=constant: under {schedule} no two budgets share an epoch"
        )
    for epochs in budgets:
        replace(settings.plan.recipe, epochs=epochs)


def at_budget(settings: Runs, epochs: int, budgets: Sequence[int]) -> Runs:
    """Return the settings of a run of one of several budgets."""
    plan = replace(settings.plan, recipe=replace(settings.plan.recipe, epochs=epochs))
    return replace(settings, plan=plan, last_budget=max(budgets) if len(budgets) > 1 else 0)


def _rows(result: Result) -> list[Row]:
    """Return the rows of networks that have runs, with their budget and what it cost on average."""
    rows = [dict(row) for row in result.rows if row.get("runs")]
    labels = [row["model"] for row in rows]
    for row in rows:
        row["epochs"] = row["runs"][0]["epochs"]
        row["runs_converged"], _ = share_converged(row["runs"])
        for key in ("train_macs", "seconds"):
            values = [run[key] for run in row["runs"] if run.get(key) is not None]
            row[f"{key}_mean"] = statistics.fmean(values) if values else None
        row["baseline"] = row["baseline"] if row["baseline"] in labels else None
    return rows


def _against_itself(network: Network, settings: Runs) -> list[Arm]:
    """Return a network, and the same with seeds that begin where its own end."""
    shift = max(settings.seeds) + 1 - min(settings.seeds)
    other = replace(settings, seeds=tuple(seed + shift for seed in settings.seeds))
    again = Arm(network, 0, label=f"{network}, other seeds", settings={"accuracy": other}, seed_shift=shift)
    return [Arm(network, settings={"accuracy": settings}), again]
