"""The probe: pico networks trained in pairs, SCSC's components taken out one by one, and fields before and after.

What it rests on stands in one store, run by run, so that it goes on where it was, and its report is written from rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from scsc_lab import metrics
from scsc_lab.analysis.protocol import Protocol
from scsc_lab.architectures.network import Network
from scsc_lab.experiments import runner, variants
from scsc_lab.experiments.runner import Progress, Task
from scsc_lab.metrics import training
from scsc_lab.metrics.trained_field import TrainedField
from scsc_lab.settings import Request
from scsc_lab.store import RowStore
from scsc_lab.training.plan import Training

PAIRS = (
    (("swin_pico", "scsc_swin_pico"), (("data", "navon"),)),
    (("resnet_pico", "scsc_resnet_pico"), (("data", "navon"),)),
    (("faceresnet_pico", "scsc_faceresnet_pico"), (("data", "faces"),)),
)
"""Each pair, and what is said of its training beside the ``pico`` recipe."""

ABLATED, STUDY = "scsc_swin_pico", "components"
"""The network whose parts are taken out one by one, and the study that says which."""


@dataclass(frozen=True)
class Effort:
    """How much is trained.

    Attributes:
        seeds: runs of each network of a pair.
        ablation_seeds: runs of each variant.
        field_seeds: seeds of the runs whose fields are measured before and after training.
        samples: images of each field.
        words: further words about training, for all.
    """

    seeds: int = 10
    ablation_seeds: int = 6
    field_seeds: tuple[int, ...] = (5, 6, 7, 8, 9)
    samples: int = 16
    words: tuple[tuple[str, str], ...] = ()


_MOST_ABLATED, _MOST_FIELDS = 6, 5
"""Runs of a variant, and of a network whose fields are measured, where there are as many."""


def effort(request: Request) -> Effort:
    """Return how much is trained with the seeds, the recipe and its changes that a request has."""
    runs = request.seeds or Effort.seeds
    seeds = tuple(range(request.seed, request.seed + runs))
    words = tuple((key, value) for key, value in request.options if key == "recipe" or key.startswith("recipe."))
    return Effort(runs, min(runs, _MOST_ABLATED), seeds[-_MOST_FIELDS:], words=words)


def families() -> list[list[Network]]:
    """Return the networks that are ablated, the full one first: the largest family of the probe."""
    return [[variant.network for variant in variants.built_in(Network.read(ABLATED), [STUDY])]]


def measure(
    store: RowStore,
    folder: Path,
    weights: Path,
    request: Request,
    effort: Effort | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> None:
    """Measure all of the probe that a store has not; afterwards it has everything.

    Args:
        store: where rows are kept.
        folder: where the maps of receptive fields go.
        weights: where trained weights are and go that fields are measured with; once these are kept, they may go.
        request: device and threads.
        effort: how much is trained. Default: ten seeds a network.
        executor: where runs are made, one a worker.
        progress: told what is being done.

    Raises:
        KeyboardInterrupt: if it was interrupted; what was measured is in the store.
    """
    effort = effort or Effort()
    counted, fields, needed = list[Task](), list[Task](), list[Task]()
    for pair, words in PAIRS:
        runs = _runs(request, (*words, *effort.words), effort.seeds)
        for network in map(Network.read, pair):
            counted += [_size(network), Task("accuracy", (network,), runs)]
            own = _fields(network, runs, effort, folder, weights)
            missing = [task for task in own if task.key not in runner.there(own, store)]
            fields += own
            needed += _with_weights(network, own[-1].settings.runs) if own[-1] in missing else []
    varied = _runs(request, effort.words, effort.ablation_seeds)
    for variant in variants.built_in(Network.read(ABLATED), [STUDY]):
        counted += [_size(variant.network), Task("accuracy", (variant.network,), varied)]
    for tasks in (needed, [*counted, *fields]):  # weights first: those that are gone are trained again
        if runner.run(tasks, store, executor, progress).interrupted:
            raise KeyboardInterrupt


def _runs(request: Request, words: Sequence[tuple[str, str]], seeds: int) -> Training:
    said = dict(words)
    if "recipe.epochs" in said:
        said.pop("epochs", None)
    return training.configure(dataclasses.replace(request, seeds=seeds, options=tuple(said.items())))


def _size(network: Network) -> Task:
    metric = metrics.registry()["size"]
    return Task("size", (network,), metric.configure(Request()))


def _fields(network: Network, runs: Training, effort: Effort, folder: Path, weights: Path) -> list[Task]:
    """Return what measures a network's fields before and after training."""
    own = dataclasses.replace(runs, seeds=effort.field_seeds, weights=str(weights))
    how = Protocol(samples=effort.samples, maps=folder)
    return [Task("trained_field", (network,), TrainedField(own, trained, how)) for trained in (False, True)]


def _with_weights(network: Network, runs: Training) -> list[Task]:
    return Task("accuracy", (network,), runs).parts()
