"""Tasks of a network: classification of images, or verification of identities."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn

from scsc_lab.analysis import verification
from scsc_lab.errors import InputError
from scsc_lab.training.data import Data
from scsc_lab.training.draws import Purpose, generator
from scsc_lab.training.objectives import MarginLoss, SummedCrossEntropy
from scsc_lab.training.recipes import Recipe

Outputs = npt.NDArray[np.float32]
Accuracies = dict[str, float | None]


@dataclass(frozen=True)
class Goal:
    """A task made ready for a data set.

    Attributes:
        objective: the loss.
        judge: returns accuracies in percent by name, from the outputs for all test images; ``accuracy`` is the first.
            They are None if an output is not finite.
        outputs: outputs that a network needs; none: whatever embedding it has.
        chance: accuracy of a guess, in percent: of one of all classes, right in every task, or of one of two answers.
    """

    objective: Callable[[int], nn.Module]
    judge: Callable[[Outputs], Accuracies]
    outputs: int | None
    chance: float


def goal(task: str, data: Data, recipe: Recipe, seed: int) -> Goal:
    """Return a task made ready: ``classification`` or ``verification``.

    Raises:
        InputError: if the data is not for the task.
    """
    check(task, data)
    return TASKS[task](data, recipe, seed)


def check(task: str, data: Data) -> None:
    """Raise InputError if data is not for a task."""
    if (task == "verification") != data.open_set:
        right_task = "verification" if data.open_set else "classification"
        raise InputError(f"--task {task}: {data.name} is data for {right_task}")


def classification(data: Data, recipe: Recipe, seed: int) -> Goal:
    """Return summed cross-entropy; top-1 of each task, and ``accuracy``: all tasks right on an image."""
    del seed
    classes = [len(task.classes) for task in data.tasks]

    def judge(outputs: Outputs) -> Accuracies:
        right = correct(outputs, data)
        accuracies: Accuracies = {"accuracy": 100 * float(right.all(axis=1).mean())}
        for index, task in enumerate(data.tasks):
            if task.name:
                accuracies[f"{task.name}_accuracy"] = 100 * float(right[:, index].mean())
        return dict.fromkeys(accuracies) if not_finite(outputs) else accuracies

    return Goal(
        lambda outputs: SummedCrossEntropy(classes, recipe.label_smoothing),
        judge,
        sum(classes),
        100 / math.prod(classes),
    )


def verification_of_pairs(data: Data, recipe: Recipe, seed: int) -> Goal:
    """Return a margin loss over the training identities; ten-fold accuracy and equal error rate on drawn pairs."""
    del recipe
    identities = data.test.labels[:, 0]
    pairs = verification.draw_pairs(identities, generator(seed, Purpose.PAIRS))
    count = len(data.tasks[0].classes)

    def judge(outputs: Outputs) -> Accuracies:
        if not_finite(outputs):
            return {"accuracy": None, "equal_error_rate": None}
        scores = verification.scores(outputs, pairs)
        return {
            "accuracy": verification.accuracy(scores, pairs),
            "equal_error_rate": verification.roc(scores, pairs.is_genuine).equal_error_rate,
        }

    return Goal(lambda length: MarginLoss(length, count, scale=32.0, margin=0.3), judge, None, 50.0)


TASKS: Mapping[str, Callable[[Data, Recipe, int], Goal]] = {
    "classification": classification,
    "verification": verification_of_pairs,
}
"""Every task by its name."""


def not_finite(outputs: Outputs) -> int:
    """Return the number of images whose outputs, ``(images, …)``, are not all finite."""
    return int((~np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1)).sum())


def correct(outputs: Outputs, data: Data, top: int = 1) -> npt.NDArray[np.bool_]:
    """Return whether each task's label is among the ``top`` highest outputs, ``(images, tasks)``.

    Of equal outputs that of the first class counts as the highest, as in ``argmax``.
    """
    right, start = [], 0
    for index, task in enumerate(data.tasks):
        part = outputs[:, start : start + len(task.classes)]
        labels = data.test.labels[:, index : index + 1]
        of_label = np.take_along_axis(part, labels, axis=1)
        before = (part > of_label) | ((part == of_label) & (np.arange(part.shape[1]) < labels))
        right.append(before.sum(axis=1) < top)
        start += len(task.classes)
    return np.stack(right, axis=1) & np.isfinite(outputs).all(axis=1, keepdims=True)
