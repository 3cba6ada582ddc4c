"""Stratified choices of images: the same share of every class, drawn from the seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scsc_lab.errors import InputError

Indices = npt.NDArray[np.int64]


def chosen(labels: Indices, images: int, random: np.random.Generator, what: str) -> Indices:
    """Return the indices of a stratified choice, in order: every class has its share, as near as whole images allow.

    Args:
        labels: the class of every image.
        images: images to choose; 0: all of them.
        random: what draws.
        what: what the images are for, named in the error.

    Raises:
        InputError: if there are not as many.
    """
    if images > len(labels):
        raise InputError(f"there are {len(labels)} {what} images, not {images}")
    if not images:
        return np.arange(len(labels))
    # Rank each image inside its class, at random, as a share of the class: the lowest ranks are a stratified choice.
    ranks = np.empty(len(labels))
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        ranks[members] = (np.arange(len(members)) + random.random()) / len(members)
    found: Indices = np.sort(np.argsort(ranks, kind="stable")[:images])
    return found


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


def check_classes(names: tuple[str, ...], where: str) -> None:
    """Raise InputError if there are fewer than two classes."""
    if len(names) < 2:
        found = f"one class, {names[0]}" if names else "no classes"
        raise InputError(f"{where} has {found}: two are needed at least")
