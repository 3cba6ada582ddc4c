"""Training runs, network × seed, and what they come to, paired against a baseline."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from scsc_lab.architectures.network import Network
from scsc_lab.experiments import runner
from scsc_lab.experiments.runner import Progress, Task
from scsc_lab.metrics import accuracy
from scsc_lab.records import Row
from scsc_lab.report.tables import with_changes
from scsc_lab.store import RowStore
from scsc_lab.training.plan import Training


@dataclass(frozen=True)
class Trained:
    """What training came to.

    Attributes:
        runs: one row a run, with its ``model``; network by network, seed by seed.
        networks: one row a network, against the baseline where it is not it.
        interrupted: whether a keyboard interrupt ended it before all runs were done.
    """

    runs: tuple[Row, ...]
    networks: tuple[Row, ...]
    interrupted: bool = False


def measure(
    networks: Sequence[Network],
    settings: Training,
    *,
    baseline: int = 0,
    delta: float = accuracy.DELTA,
    self_test: bool = False,
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
        self_test: train the baseline against itself with other seeds: the difference that nothing makes.
        store: where the rows of runs are added as they end; those it has are not trained again.
        executor: where runs are made, one a worker; this process without one.
        progress: told what is being done.

    Raises:
        InputError: if network, data and recipe do not go together.
    """
    arms = _arms(networks, settings, baseline, self_test)
    tasks = [Task("accuracy", (network,), own) for network, own, _ in arms]
    measured = runner.run(tasks, store, executor, progress)
    found = []
    for task, (_, own, label) in zip(tasks, arms, strict=True):
        (row,) = measured.rows.get(task) or [{}]
        first = own.seeds[0] - settings.seeds[0]  # runs of the self-test are paired in their order
        found.append(
            [{"model": label, **run, **({"pair": run["seed"] - first} if first else {})} for run in row.get("runs", ())]
        )
    return Trained(
        tuple(run for own in found for run in own),
        tuple(summaries(found, 0 if self_test else baseline, delta)),
        measured.interrupted,
    )


def summaries(runs: Sequence[Sequence[Row]], baseline: int = 0, delta: float = accuracy.DELTA) -> list[Row]:
    """Return one row a network from the rows of its runs: mean, deviation, and the difference to the baseline.

    Args:
        runs: the rows of each network's runs; those of one seed are a pair. A network without runs is left out.
        baseline: which network the others are compared with.
        delta: difference in points that counts as none.
    """
    found = [{"model": own[0]["model"], **accuracy.summary(own)} for own in runs if own]
    place = sum(bool(own) for own in runs[:baseline])
    if runs[baseline]:
        found = with_changes(found, [accuracy.column(delta)], place)
    for row in found:
        row["baseline"] = found[place]["model"] if runs[baseline] else None
        row["verdict"] = row.pop("accuracy_verdict", None)
    return found


def _arms(
    networks: Sequence[Network], settings: Training, baseline: int, self_test: bool
) -> list[tuple[Network, Training, str]]:
    """Return what is trained, how, and what it is called."""
    if not self_test:
        return [(network, settings, str(network)) for network in networks]
    own, shift = networks[baseline], max(settings.seeds) + 1 - min(settings.seeds)
    other = dataclasses.replace(settings, seeds=tuple(seed + shift for seed in settings.seeds))
    return [(own, settings, str(own)), (own, other, f"{own}, other seeds")]
