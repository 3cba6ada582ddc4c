"""From images that a reader has found, in one or two splits, to a data set: chosen, divided and decoded once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from scsc_lab.errors import InputError
from scsc_lab.training.data import Data, Image, Indices, Labels, Split, Task, check_labels
from scsc_lab.training.data.encoded import Sources, decodable
from scsc_lab.training.draws import Purpose, generator

TESTS = ("validation", "val", "valid", "test")
"""Names of a test split; the first that is there counts."""

MOST_CLASSES = 100_000
"""Classes that labels without names may number; ImageNet-21k has 21,841."""


@dataclass(frozen=True)
class Request:
    """Selection of a data set's images; what is not here is as in :class:`scsc_lab.training.plan.Plan`.

    Attributes:
        seed: what splits and choices are drawn from.
        train_images, test_images: images of each split, a stratified choice; 0: all.
        evaluated: whether only test images are read: data with one split needs no other.
        identities: whether the classes are identities to be verified; those of the test are others.
    """

    seed: int = 0
    train_images: int = 0
    test_images: int = 0
    split: float = 0.0
    skip_unreadable: bool = False
    image_column: str = ""
    label_column: str = ""
    evaluated: bool = False
    identities: bool = False
    background: str = ""


@dataclass(frozen=True)
class Part:
    """One split as a reader finds it: its images, and the class of each."""

    sources: Sources
    labels: Indices


@dataclass(frozen=True)
class Contents:
    """Classes and splits of the images that a reader lists.

    Attributes:
        classes: names of the classes.
        splits: the splits by name: ``train`` and one of :data:`TESTS`, or one of any name.
        notes: what a reader must know.
        identity: text that with the seed decides how one split is divided.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Part]
    notes: tuple[str, ...] = ()
    identity: bytes = field(default=b"", repr=False)


def assemble(name: str, listed: Contents, request: Request, unit: str = "files") -> Data:
    """Return the data set of the images that a reader lists.

    Args:
        name: name of the data set.
        listed: its images.
        request: the images to choose.
        unit: what images are, for the note on those that cannot be read.

    Raises:
        InputError: if splits or classes are missing, or images cannot be read: they are named.
    """
    if len(listed.classes) < 2:
        classes_found = f"one class, {listed.classes[0]}" if listed.classes else "no classes"
        raise InputError(f"{name} has {classes_found}: two are needed at least")
    random = generator(request.seed, Purpose.SPLIT)
    test = next((split for split in TESTS if split in listed.splits), "")
    notes = list(listed.notes)
    if request.split and request.identities and not request.evaluated:
        raise InputError(f"--split divides images, and verification tests other identities: give {name} two splits")
    if request.split:
        undivided, *unused = sorted(listed.splits, key=lambda split: split != "train")
        indices, test_indices = divided(listed.splits[undivided].labels, request.split, random)
        parts = [(listed.splits[undivided], indices), (listed.splits[undivided], test_indices)]
        notes += of_unused(unused)
    elif request.evaluated and (test or len(listed.splits) == 1):
        judged = listed.splits[test] if test else next(iter(listed.splits.values()))
        parts = [(judged, np.arange(len(judged.labels)))] * 2
    elif "train" in listed.splits and test:
        parts = [(listed.splits[split], np.arange(len(listed.splits[split].labels))) for split in ("train", test)]
    else:
        names = ", ".join(listed.splits)
        missing = "train" if "train" not in listed.splits else " or ".join(TESTS)
        raise InputError(f"{name} has no split {missing} (it has {names}): divide one with --split 0.2")
    splits, skipped = [], 0
    sizes = ((request.train_images, "training"), (request.test_images, "test"))
    for (part, indices), (images, purpose) in zip(parts, sizes, strict=True):
        if purpose == "training" and request.evaluated:
            indices, images = indices[:0], 0
        selected = indices[chosen(part.labels[indices], images, random, purpose)]
        readable, unreadable = decodable(part.sources, selected, part.labels, name, request.skip_unreadable)
        splits.append(replace(readable, background=request.background))
        skipped += unreadable
    if skipped:
        notes.append(f"{skipped} unreadable {unit} were left out")
    classes = listed.classes
    if request.identities:  # those of the images that are trained on; else, of those to be judged
        at = 1 if request.evaluated else 0
        present = np.unique(splits[at].labels)
        classes = tuple(classes[identity] for identity in present)
        splits[at] = replace(splits[at], labels=np.searchsorted(present, splits[at].labels))
    return Data(
        name,
        (Task("", classes),),
        splits[0],
        splits[1],
        open_set=request.identities,
        notes=tuple(notes),
        divided=hashlib.sha256(listed.identity).hexdigest()[:16] if request.split or len(listed.splits) == 1 else "",
    )


def of_unused(splits: Sequence[str]) -> list[str]:
    """Return a note on the splits that ``--split``, which divides another one, leaves out."""
    return [f"--split divides the other images: the split {' and '.join(splits)} is not used"] if splits else []


def class_names(values: Sequence[Any], split: str) -> tuple[str, ...]:
    """Return the classes of labels without names: the texts, sorted, or every number up to the largest."""
    if all(isinstance(value, str) for value in values):
        return tuple(sorted(set(values)))
    numbers = [value for value in values if isinstance(value, int)]
    if len(numbers) != len(values):
        row = next(row for row, value in enumerate(values) if not isinstance(value, int))
        raise InputError(f"{split}: labels must be whole numbers or texts, row {row} has {values[row]!r:.40}")
    largest = max(numbers, default=0)
    if largest < 0:
        raise InputError(f"{split}: labels must be whole numbers from 0, all {len(numbers)} rows have negative ones")
    if largest >= MOST_CLASSES:
        raise InputError(f"{split}: labels must be below {MOST_CLASSES:,}, row {numbers.index(largest)} has {largest}")
    return tuple(map(str, range(largest + 1)))


def numbered(values: Sequence[Any], names: Sequence[str], split: str) -> Indices:
    """Return labels, texts or numbers, as the numbers of their classes.

    Raises:
        InputError: if a row has no label, or one that is no class.
    """
    missing = [row for row, value in enumerate(values) if value is None or value == ""]
    if missing:
        raise InputError(f"{split}: {len(missing)} rows have no label, the first is row {missing[0]}")
    number_of = {name: number for number, name in enumerate(names)}
    numbers = [number_of.get(value, value) if isinstance(value, str) else value for value in values]
    unknown = [row for row, number in enumerate(numbers) if not isinstance(number, int) or abs(number) >= 2**63]
    if unknown:
        raise InputError(
            f"{split}: {len(unknown)} rows have a label that is no class, row {unknown[0]} has "
            f"{values[unknown[0]]!r:.40}"
        )
    labels: Labels = np.array(numbers, dtype=np.int64)
    check_labels(labels[:, None], (Task("", tuple(names)),), split)
    return labels


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
