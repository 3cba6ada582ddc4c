"""Data sets, one file each, and what they all are: images by index, with labels, in a train and a test split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from scsc_lab.errors import InputError

Image = npt.NDArray[np.uint8]
"""One image, ``(C, H, W)``, values 0 to 255."""

Indices = npt.NDArray[np.int64]
"""Positions of images in a split."""

Labels = npt.NDArray[np.int64]
"""The labels of a split, ``(images, tasks)``."""


class Split(Protocol):
    """The images of a split and their labels."""

    @property
    def labels(self) -> Labels:
        """The labels of all images, ``(images, tasks)``."""

    def image(self, index: int) -> Image:
        """Return one image."""


@dataclass(frozen=True)
class Task:
    """One thing to tell about an image.

    Attributes:
        name: its name; empty if the data has one task only.
        classes: the names of the classes, in the order of their labels.
    """

    name: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Data:
    """A data set.

    Attributes:
        name: as ``--data`` takes it.
        tasks: the classifications of each image. A network has one output per class, task by task.
        train: the images to learn from.
        test: the images to be judged on.
        size: height and width of every image, in pixels; none: they differ.
        mean, std: normalisation of each channel for pixels from 0 to 1; none: the network's own.
        open_set: whether the classes of the test images are other classes: identities to be verified.
        notes: what a reader must know about it, such as files left out.
        divided: digest of the images of the only split, which the seed divides; empty: it has splits of its own.

    Raises:
        InputError: if an image has a label that is no class.
    """

    name: str
    tasks: tuple[Task, ...]
    train: Split
    test: Split
    size: tuple[int, int] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    open_set: bool = False
    notes: tuple[str, ...] = ()
    divided: str = ""

    def __post_init__(self) -> None:
        check_labels(self.train.labels, self.tasks, f"{self.name}: training")
        if not self.open_set:  # the identities of its test are others
            check_labels(self.test.labels, self.tasks, f"{self.name}: test")

    @property
    def outputs(self) -> int:
        """Outputs that a network needs: the classes of all tasks."""
        return sum(len(task.classes) for task in self.tasks)


def check_labels(labels: Labels, tasks: Sequence[Task], images: str) -> None:
    """Raise InputError if a label, ``(images, tasks)``, is not the number of a class of its task.

    Args:
        labels: the labels.
        tasks: the tasks, in the order of the labels.
        images: data and split of the images, for the message.
    """
    for column, task in zip(labels.T, tasks, strict=True):
        outside = np.flatnonzero((column < 0) | (column >= len(task.classes)))
        if len(outside):
            label = f"{task.name} labels" if task.name else "labels"
            raise InputError(
                f"{images} images: {len(outside)} of {len(column)} have {label} outside 0 to {len(task.classes) - 1}, "
                f"the first is image {outside[0]} with {column[outside[0]]}"
            )


@dataclass(frozen=True)
class InMemory:
    """A small split, kept in memory.

    Attributes:
        images: ``(images, C, H, W)``, values 0 to 255.
        labels: ``(images, tasks)``.
    """

    images: npt.NDArray[np.uint8]
    labels: Labels

    @classmethod
    def of(cls, drawn: Sequence[tuple[Image, tuple[int, ...]]]) -> InMemory:
        """Return a split of drawn images and their labels."""
        images, labels = zip(*drawn, strict=True)
        return cls(np.stack(images), np.array(labels, dtype=np.int64))

    def image(self, index: int) -> Image:
        """Return one image."""
        image: Image = self.images[index]
        return image
