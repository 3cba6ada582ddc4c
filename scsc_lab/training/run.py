"""One training run: a network, a data set, a recipe and a seed to a row of raw numbers. Networks come as modules."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from scsc_lab.errors import InputError
from scsc_lab.records import Row
from scsc_lab.training.batches import WHOLE, Batches, Shard
from scsc_lab.training.checkpoint import Trained
from scsc_lab.training.data import Data, reading, registry
from scsc_lab.training.data.reading import Request
from scsc_lab.training.data.trained_on import TrainedOn
from scsc_lab.training.draws import Purpose, generator, torch_seed
from scsc_lab.training.loop import Report, outputs, train
from scsc_lab.training.plan import Input, Plan
from scsc_lab.training.tasks import fitted, goal, shape


@dataclass(frozen=True)
class Place:
    """Device and files of a run; they change its numbers by rounding at most.

    Attributes:
        device: device to train on.
        workers: processes that read images.
        checkpoint: file replaced after every epoch and resumed from.
        trunk: file of the epochs shared with runs of other budgets; see :func:`scsc_lab.training.loop.train`.
        shard: this process's part of every batch.
        report: called after every step.
    """

    device: str = "cpu"
    workers: int = 0
    checkpoint: Path | None = None
    trunk: Path | None = None
    shard: Shard = WHOLE
    report: Report | None = None


HERE = Place()
"""This process, on its CPU."""


def run(
    make: Callable[[], nn.Module], expected: Input, plan: Plan, seed: int, place: Place = HERE
) -> tuple[Trained, nn.Module, Row]:
    """Train one network with one seed.

    Args:
        make: returns the network with its first weights, drawn from torch's global generator, which is set for it.
        expected: size and normalisation of the network's input.
        plan: data, recipe and budget.
        seed: seed of data, order, augmentation and first weights.
        place: where to train.

    Returns:
        The run, the trained network in evaluation mode, and its row: ``data, recipe, task, seed, lr, tuned, epochs,
        constant_epochs, batch_size, train_images, test_images, chance, accuracy`` and the other accuracies in percent
        (of the last epoch), ``training_loss``, the last epoch's,
        ``accuracy_in_training, curve, seconds, images_per_second, waiting, status, head, data_notes, trained_on``.
        Accuracies of a diverged run are ``None``.

    Raises:
        InputError: if data, recipe and network do not go together; nothing is trained then.
    """
    batches = prepared(plan, expected, seed, place)
    chosen = goal(plan.task, batches.data, plan.recipe, seed)
    network, head = first(make, batches, chosen.outputs, seed)
    if plan.recipe.zero_init and expected.is_random:
        start_from_shortcuts(network)
    size, channels = batches.preparation.size, batches.preparation.channels
    length = chosen.outputs or math.prod(shape(network, size, channels))
    trained = train(
        network,
        chosen.objective(length),
        batches,
        chosen.judge,
        device=place.device,
        checkpoint=place.checkpoint,
        trunk=place.trunk,
        report=place.report,
    )
    accuracies = trained.curve[-1].accuracy if trained.curve else {"accuracy": None}
    is_complete = trained.status == "complete"
    if not is_complete:
        accuracies = dict.fromkeys(accuracies)
    row: Row = {
        "data": plan.data,
        "recipe": plan.recipe_name,
        "task": plan.task,
        "seed": seed,
        "lr": plan.recipe.lr,
        "tuned": plan.tuned,
        "epochs": plan.recipe.epochs,
        "constant_epochs": plan.recipe.trunk_epochs,
        "batch_size": plan.recipe.batch_size,
        "train_images": len(batches.data.train.labels),
        "test_images": len(batches.data.test.labels),
        "chance": chosen.chance,
        **accuracies,
        "training_loss": trained.curve[-1].loss if trained.curve else None,
        "accuracy_in_training": _accuracy_in_training(network, batches, plan, seed, place) if is_complete else None,
        "curve": [asdict(epoch) for epoch in trained.curve],
        "seconds": trained.seconds,
        "images_per_second": trained.images_per_second,
        "waiting": max((epoch.waiting for epoch in trained.curve), default=0.0),
        "status": trained.status,
        "head": head,
        "input": [channels, *size],
        "data_notes": list(batches.data.notes),
        "trained_on": TrainedOn.of(batches.data, plan.split, seed).text(),
    }
    return trained, network, row


def first(make: Callable[[], nn.Module], batches: Batches, outputs: int | None, seed: int) -> tuple[nn.Module, str]:
    """Return the network of a run as it is before training, and what became of its head; see :func:`run`.

    Args:
        make: returns the network with its first weights.
        batches: data and inputs.
        outputs: outputs that the network needs; None: whatever embedding it has.
        seed: seed of the run.
    """
    torch.manual_seed(torch_seed(seed, Purpose.NETWORK))
    network = make()
    if outputs is None:
        return network, ""
    return network, fitted(network, outputs, batches.preparation.size, batches.preparation.channels)


def start_from_shortcuts(network: nn.Module) -> None:
    """Let residual blocks start as their shortcuts, where they have timm's method ``zero_init_last``."""
    for module in network.modules():
        if callable(zero_init_last := getattr(module, "zero_init_last", None)):
            zero_init_last()


def prepared(plan: Plan, expected: Input, seed: int, place: Place = HERE, data: Data | None = None) -> Batches:
    """Return the batches of a run: its data loaded and checked, its inputs' size and normalisation decided.

    Args:
        plan: data, recipe and budget.
        expected: size and normalisation of the network's input.
        seed: seed of the run.
        place: where to train.
        data: the plan's data, as :attr:`Batches.data` of another run of this seed.

    Raises:
        InputError: if the data cannot be loaded, or makes no batch.
    """
    data = data or _loaded(plan, seed)
    mean, std = (
        _per_channel(values, expected.channels) for values in (data.mean or expected.mean, data.std or expected.std)
    )
    preparation = replace(expected, size=plan.size or data.size or expected.size, mean=mean, std=std)
    return Batches(data, plan.recipe, preparation, seed, place.workers, place.shard)


def _accuracy_in_training(network: nn.Module, batches: Batches, plan: Plan, seed: int, place: Place) -> float | None:
    """Return the accuracy of a trained network, in percent, on as many training images as there are of the test.

    They are evenly spaced, and not augmented. Where the test has other identities there is none.
    """
    data = batches.data
    if data.open_set:
        return None
    images = len(data.train.labels)
    spaced = np.linspace(0, images - 1, min(images, len(data.test.labels))).round().astype(np.int64)
    sample = replace(data, test=reading.Chosen(data.train, spaced, data.train.labels[spaced]))
    judge = goal(plan.task, sample, plan.recipe, seed).judge
    return judge(outputs(network, replace(batches, data=sample), place.device))["accuracy"]


def _per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Return values of the channels of an image for a network that takes colour, or grey: their mean."""
    if channels not in (1, 3):
        raise InputError(f"it takes {channels} channels, and images have three, or one for grey")
    return values if len(values) == channels else (math.fsum(values) / len(values),) * channels


def _loaded(plan: Plan, seed: int) -> Data:
    request = Request(
        seed,
        plan.train_images,
        plan.test_images,
        plan.split,
        plan.skip_unreadable,
        plan.image_column,
        plan.label_column,
        plan.evaluated,
        plan.task == "verification",
        plan.background,
    )
    data = registry.load(plan.data, request)
    if not plan.validation:
        return data
    return reading.validation(data, plan.validation, generator(seed, Purpose.VALIDATION))
