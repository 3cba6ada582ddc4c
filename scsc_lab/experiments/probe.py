"""The probe: pico networks trained in pairs, SCSC's components taken out one by one, and fields before and after.

What it rests on stands in one store, run by run, so that it goes on where it was, and its report is written from rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from scsc_lab.database import Store
from scsc_lab.experiments import ablate, variants
from scsc_lab.experiments.compare import measures
from scsc_lab.experiments.experiment import Experiment, Measure, comparison
from scsc_lab.experiments.task import Task
from scsc_lab.metrics.trained_field import TrainedField
from scsc_lab.metrics.training import configure
from scsc_lab.networks.network import Network
from scsc_lab.settings import Fields, Settings, Training
from scsc_lab.training.plan import Runs

_COUNTED = ("params", "macs", "activations", "bytes")

PAIRS = (
    (("swin_pico", "scsc_swin_pico"), Training(data="navon")),
    (("resnet_pico", "scsc_resnet_pico"), Training(data="navon")),
    (("faceresnet_pico", "scsc_faceresnet_pico"), Training(data="faces")),
)
"""Each pair, with its data."""

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
        training: recipe, its changes and the numbers of images, for all.
    """

    seeds: int = 10
    ablation_seeds: int = 6
    field_seeds: tuple[int, ...] = (5, 6, 7, 8, 9)
    samples: int = 16
    training: Training = field(default_factory=Training)


_MOST_ABLATED, _MOST_FIELDS = 6, 5
"""Runs of a variant, and of a network whose fields are measured, where there are as many."""


def effort(settings: Settings) -> Effort:
    """Return how much is trained with the seeds, the recipe and its changes that settings have."""
    first, runs = settings.execution.seed, settings.training.seeds or Effort.seeds
    seeds = tuple(range(first, first + runs))
    training = Training(recipe=settings.training.recipe, recipe_set=settings.training.recipe_set)
    return Effort(runs, min(runs, _MOST_ABLATED), seeds[-_MOST_FIELDS:], training=training)


def families() -> list[list[Network]]:
    """Return the networks that are ablated, the full one first: the largest family of the probe."""
    return [[variant.network for variant in variants.built_in(Network.read(ABLATED), [STUDY])]]


def experiments(
    settings: Settings, weights: Path, effort: Effort | None = None, store: Store | None = None
) -> list[Experiment]:
    """Return the experiments of the probe: the pairs, their fields before and after training, SCSC's components.

    Args:
        settings: device, threads and first seed.
        weights: folder of the trained weights that fields are measured with; once these are kept, they may go.
        effort: how much is trained. Default: ten seeds per network.
        store: where the rows are; weights are written for fields that it does not have yet.
    """
    effort = effort or Effort()
    found = [_pair(pair, training, settings, weights, effort, store) for pair, training in PAIRS]
    runs = _runs(settings, Training(), effort, effort.ablation_seeds)
    variants_ = variants.built_in(Network.read(ABLATED), [STUDY])
    if variants_:
        study = ablate.experiment(variants_, _COUNTED, Settings())
        words = (*_COUNTED, "accuracy")
        found.append(replace(study, columns=words, measures=(*study.measures, Measure("accuracy", runs))))
    return found


def _pair(
    pair: Sequence[str],
    training: Training,
    settings: Settings,
    weights: Path,
    effort: Effort,
    store: Store | None,
) -> Experiment:
    """Return the experiment of a network and its baseline: costs, accuracy, and fields before and after training."""
    networks = [Network.read(name) for name in pair]
    runs = _runs(settings, training, effort, effort.seeds)
    fields = replace(runs, seeds=effort.field_seeds, weights=str(weights))
    how = TrainedField(fields, Settings(fields=Fields(samples=effort.samples)))
    stored = store.keys() if store is not None else set()
    if any(Task("trained_field", (network,), how).key not in stored for network in networks):
        runs = replace(runs, weights=str(weights))
    asked = [*measures(_COUNTED, Settings()), Measure("accuracy", runs), Measure("trained_field", how)]
    return comparison(networks, (*_COUNTED, "accuracy", "erf"), asked)


def _runs(settings: Settings, training: Training, effort: Effort, seeds: int) -> Runs:
    """Return runs of the effort's recipe with the data and epochs of a pair; the effort's own epochs come first."""
    changes = dict(effort.training.recipe_set)
    epochs = None if "epochs" in changes else effort.training.epochs or training.epochs
    asked = replace(effort.training, data=training.data, epochs=epochs, seeds=seeds)
    return configure(replace(settings, training=asked))
