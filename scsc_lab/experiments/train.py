"""Training runs, network × seed × budget, and their summaries, paired against a baseline."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass

from scsc_lab.analysis.convergence import share_converged
from scsc_lab.architectures.network import Network
from scsc_lab.errors import InputError
from scsc_lab.experiments import runner, tuning
from scsc_lab.experiments.runner import Progress, Task
from scsc_lab.experiments.tuning import Grid, Tuned
from scsc_lab.metrics import accuracy
from scsc_lab.records import Row
from scsc_lab.report.tables import with_changes
from scsc_lab.store import RowStore
from scsc_lab.training.plan import Training


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
    arms: tuple[tuple[Network, Training], ...] = ()
    interrupted: bool = False


def measure(
    networks: Sequence[Network],
    settings: Training,
    *,
    baseline: int = 0,
    delta: float = accuracy.DELTA,
    confidence: float = accuracy.CONFIDENCE,
    self_test: bool = False,
    budgets: Sequence[int] = (),
    grid: Grid | None = None,
    store: RowStore | None = None,
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
    budgets = sorted(budgets) or [settings.plan.recipe.epochs]
    check_budgets(budgets, settings)
    tuned = Tuned(dict.fromkeys(networks, settings), ())
    if grid is not None:
        tuned = tuning.tune(networks, settings, grid, store, executor, progress)
        if tuned.interrupted:
            return Trained((), (), interrupted=True)
    with nullcontext("") if store is not None or len(budgets) < 2 else tempfile.TemporaryDirectory() as folder:
        arms = [
            (network, dataclasses.replace(own, checkpoints=folder), label)
            for network, own, label in _arms(networks, tuned.settings, baseline, self_test)
        ]
        tasks = [
            [Task("accuracy", (network,), at_budget(own, epochs, budgets)) for network, own, _ in arms]
            for epochs in budgets
        ]
        measured = runner.run([task for row in tasks for task in row], store, executor, progress)
    runs = [_runs(arms, row, measured) for row in tasks]
    place = 0 if self_test else baseline
    rows = [row for row in (summaries(row, place, delta, confidence) for row in runs) if row]
    everything = [row for network_rows in rows for row in network_rows]
    for row, added in zip(everything, accuracy.adjusted(everything, delta, confidence), strict=True):
        row |= {"p_holm": added["p_holm"], "verdict": added["accuracy_verdict"]} if added else {}
    return Trained(
        tuple(run for row in runs for arm in row for run in arm),
        tuple(rows[-1]) if rows else (),
        tuple(map(tuple, rows)),
        tuned.rows,
        tuple((network, at_budget(own, budgets[-1], budgets)) for network, own, _ in arms),
        measured.interrupted,
    )


def check_budgets(budgets: Sequence[int], settings: Training) -> None:
    """Raise InputError if runs of several budgets cannot share their first epochs, or a budget is no budget."""
    if len(set(budgets)) < len(budgets):
        raise InputError(f"--budgets {','.join(map(str, budgets))}: a budget occurs twice")
    schedule = settings.plan.recipe.schedule
    if len(budgets) > 1 and schedule != "constant":
        raise InputError(
            f"--budgets needs --recipe-set schedule=constant: under {schedule} no two budgets share an epoch"
        )
    for epochs in budgets:
        dataclasses.replace(settings.plan.recipe, epochs=epochs)


def _runs(
    arms: Sequence[tuple[Network, Training, str]], tasks: Sequence[Task], measured: runner.Measured
) -> list[list[Row]]:
    """Return the rows of each arm's runs, with their ``model`` and, where seeds differ, what they are paired by."""
    rows: list[list[Row]] = []
    for task, (_, own, label) in zip(tasks, arms, strict=True):
        (row,) = measured.rows.get(task) or [{}]
        shift = own.seeds[0] - arms[0][1].seeds[0]  # runs of the self-test are paired in their order
        rows.append(
            [{"model": label, **run, **({"pair": run["seed"] - shift} if shift else {})} for run in row.get("runs", ())]
        )
    return rows


def at_budget(settings: Training, epochs: int, budgets: Sequence[int]) -> Training:
    """Return the settings of a run of one of several budgets."""
    plan = dataclasses.replace(settings.plan, recipe=dataclasses.replace(settings.plan.recipe, epochs=epochs))
    return dataclasses.replace(settings, plan=plan, last_budget=max(budgets) if len(budgets) > 1 else 0)


def summaries(
    runs: Sequence[Sequence[Row]],
    baseline: int = 0,
    delta: float = accuracy.DELTA,
    confidence: float = accuracy.CONFIDENCE,
) -> list[Row]:
    """Return one row per network from the rows of its runs: mean, deviation, and the difference to the baseline.

    Args:
        runs: the rows of each network's runs; those of one seed are a pair. A network without runs is left out.
        baseline: which network the others are compared with.
        delta: difference in points that counts as none.
        confidence: level of the intervals.
    """
    found = [{"model": own[0]["model"], **accuracy.summary(own)} for own in runs if own]
    place = sum(bool(own) for own in runs[:baseline])
    if runs[baseline]:
        found = with_changes(found, [accuracy.column(delta, confidence)], place)
    for row in found:
        row["epochs"] = row["runs"][0]["epochs"]
        row["runs_converged"], _ = share_converged(row["runs"])
        for key in ("train_macs", "seconds"):
            values = [run[key] for run in row["runs"] if run.get(key) is not None]
            row[f"{key}_mean"] = statistics.fmean(values) if values else None
        row["baseline"] = found[place]["model"] if runs[baseline] else None
        row["verdict"] = row.pop("accuracy_verdict", None)
    return found


def _arms(
    networks: Sequence[Network], settings: Mapping[Network, Training], baseline: int, self_test: bool
) -> list[tuple[Network, Training, str]]:
    """Return the networks to train, the settings of each and its label."""
    if not self_test:
        return [(network, settings[network], str(network)) for network in networks]
    network = networks[baseline]
    own = settings[network]
    shift = max(own.seeds) + 1 - min(own.seeds)
    other = dataclasses.replace(own, seeds=tuple(seed + shift for seed in own.seeds))
    return [(network, own, str(network)), (network, other, f"{network}, other seeds")]
