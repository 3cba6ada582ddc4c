"""Stratified choices of images: the same share of every class, drawn from the seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from scsc_lab.errors import InputError
from scsc_lab.training.data import Data, Image, Labels, Split, Task

Indices = npt.NDArray[np.int64]


def chosen(labels: Indices, images: int, random: np.random.Generator, purpose: str) -> Indices:
    """Return the indices of a stratified choice, in order: every class has its share, as near as whole images allow.

    Args:
        labels: the class of every image.
        images: images to choose; 0: all of them.
        random: what draws.
        purpose: use of the images, for the error message.

    Raises:
        InputError: if there are not as many.
    """
    if images > len(labels):
        raise InputError(f"there are {len(labels)} {purpose} images, not {images}")
    if not images:
        return np.arange(len(labels))
    # Rank each image inside its class, at random, as a share of the class: the lowest ranks are a stratified choice.
    ranks = np.empty(len(labels))
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        ranks[members] = (np.arange(len(members)) + random.random()) / len(members)
    selection: Indices = np.sort(np.argsort(ranks, kind="stable")[:images])
    return selection


def divided(labels: Indices, share: float, random: np.random.Generator) -> tuple[Indices, Indices]:
    """Return the indices of a train and a test split, stratified.

    Args:
        labels: the class of every image.
        share: share of the images that is the test, between 0 and 1.
        random: what draws.

    Raises:
        InputError: if the share is none, or a class has fewer than two images.
    """
    if not 0 < share < 1:
        raise InputError(f"--split {share:g}: the share of images that is the test, above 0 and below 1, e.g. 0.2")
    test: list[npt.NDArray[np.int64]] = []
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        if len(members) < 2:
            raise InputError("--split needs two images of every class at least")
        test.append(members[: min(max(round(share * len(members)), 1), len(members) - 1)])
    tested = np.sort(np.concatenate(test))
    return np.setdiff1d(np.arange(len(labels)), tested), tested


@dataclass(frozen=True)
class Chosen:
    """Some images of a split.

    Attributes:
        split: the split.
        indices: which of its images.
        labels: their labels, ``(images, tasks)``.
    """

    split: Split
    indices: Indices
    labels: Labels

    def image(self, index: int) -> Image:
        """Return one image."""
        return self.split.image(int(self.indices[index]))


def validation(data: Data, share: float, random: np.random.Generator) -> Data:
    """Return a data set whose test is held out of the training images; the test images are in neither split.

    Of an open set whole identities are held out, else a stratified share of every class of the first task.

    Args:
        data: the data set.
        share: share of the training images, or of their identities, that is held out.
        random: what draws.

    Raises:
        InputError: if a class, or the data, is too small to be divided.
    """
    labels = data.train.labels
    if not data.open_set:
        training, validating = divided(labels[:, 0], share, random)
        return replace(data, train=_part(data.train, training), test=_part(data.train, validating))
    identities = len(data.tasks[0].classes)
    held_out = random.permutation(identities)[: min(max(round(share * identities), 1), identities - 1)]
    is_held = np.isin(labels[:, 0], held_out)
    remaining = np.setdiff1d(np.arange(identities), held_out)
    train = _part(data.train, np.flatnonzero(~is_held))
    names = tuple(data.tasks[0].classes[identity] for identity in remaining)
    return replace(
        data,
        tasks=(Task(data.tasks[0].name, names),),
        train=replace(train, labels=np.searchsorted(remaining, train.labels)),
        test=_part(data.train, np.flatnonzero(is_held)),
    )


def _part(split: Split, indices: Indices) -> Chosen:
    return Chosen(split, indices, split.labels[indices])


def check_classes(names: tuple[str, ...], where: str) -> None:
    """Raise InputError if there are fewer than two classes."""
    if len(names) < 2:
        listed = f"one class, {names[0]}" if names else "no classes"
        raise InputError(f"{where} has {listed}: two are needed at least")
