"""Confusions of a classifier: how often the images of each class were taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scsc_lab.analysis.paired_seeds import share_interval
from scsc_lab.records import Row


@dataclass(frozen=True, eq=False)
class Confusion:
    """Confusions of one network in one task.

    Attributes:
        model: the network.
        task: name of the task; empty if the data has one only.
        classes: names of the classes that images have, or are taken for.
        counts: number of images by their class and the class that they are taken for, ``(classes, classes)``.
    """

    model: str
    task: str
    classes: tuple[str, ...]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, model: str, task: str, labels: Sequence[str], predicted: Sequence[str]) -> Confusion:
        """Return the confusions of the labels of images and the classes that a network takes them for."""
        classes, numbers = np.unique([*labels, *predicted], return_inverse=True)
        counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
        np.add.at(counts, tuple(numbers.reshape(2, -1)), 1)
        return cls(model, task, tuple(map(str, classes)), counts)

    def rows(self) -> list[Row]:
        """Return one row per class that has images: accuracy in percent, and its most frequent wrong class."""
        rows: list[Row] = []
        for number, name in enumerate(self.classes):
            images, right = int(self.counts[number].sum()), int(self.counts[number, number])
            if not images:
                continue
            low, high = share_interval(right, images)
            row: Row = {"model": self.model, **({"task": self.task} if self.task else {}), "class": name}
            row |= {"images": images, "accuracy": 100 * right / images, "accuracy_low": low, "accuracy_high": high}
            wrong = self.counts[number].copy()
            wrong[number] = 0
            mistaken = int(wrong.max())
            taken_for = self.classes[int(wrong.argmax())] if mistaken else None
            rows.append({**row, "taken_for": taken_for, "taken_for_images": mistaken})
        return rows
