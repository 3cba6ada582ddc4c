"""Verification and confusion: rates at thresholds with intervals over identities; classes taken for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from scsc_lab.analysis.paired_seeds import share_interval
from scsc_lab.errors import InputError
from scsc_lab.records import Row

FOLDS = 10
"""Folds of the accuracy: each is judged at the threshold that is best on the nine others, as on LFW."""

IMPOSTORS_NEEDED = 10
"""Impostor pairs above the threshold that a true accept rate has to rest on at least: FAR × impostors."""

_MOST_GENUINE = 3000
"""Genuine pairs that are drawn at most."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """Pairs of images.

    Attributes:
        first, second: index of either image.
        is_genuine: whether they show one identity.
        fold: the fold of each pair, from 0.
    """

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    is_genuine: Bools
    fold: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Roc:
    """The receiver operating characteristic: both rates at every threshold, from the strictest on.

    Attributes:
        far: false accept rate, share of the impostor pairs that are accepted.
        tar: true accept rate, share of the genuine pairs that are accepted.
        impostors: number of impostor pairs.
    """

    far: Floats
    tar: Floats
    impostors: int

    @property
    def equal_error_rate(self) -> float:
        """The rate at which as many impostors are accepted as genuine pairs are rejected, in percent."""
        gap = self.far - (1 - self.tar)
        after = int(np.argmax(gap >= 0))
        before = max(after - 1, 0)
        step = gap[after] - gap[before]
        share = -gap[before] / step if step else 0.0
        return 100 * float(self.far[before] + share * (self.far[after] - self.far[before]))

    def tar_at(self, far: float) -> float:
        """Return the true accept rate, in percent, at a false accept rate.

        Raises:
            InputError: if the impostor pairs cannot resolve that rate: fewer than 10 of them would be accepted.
        """
        least = IMPOSTORS_NEEDED / self.impostors
        if not least <= far < 1:
            raise InputError(
                f"a FAR of {far:g} needs more than {self.impostors} impostor pairs: from {least:.2g} up here"
            )
        return 100 * float(self.tar[np.searchsorted(self.far, far, side="right") - 1])


def draw_pairs(identities: npt.NDArray[np.int64], random: np.random.Generator) -> Pairs:
    """Draw as many genuine as impostor pairs; the identities are dealt to folds, and no pair crosses two of them.

    Args:
        identities: the identity of every image.
        random: what draws.

    Raises:
        InputError: if there are too few identities, or images of one, for ten folds.
    """
    names = random.permutation(np.unique(identities))
    if len(names) < 2 * FOLDS:
        raise InputError(f"verification needs at least {2 * FOLDS} identities in the test, there are {len(names)}")
    drawn: list[tuple[int, int, bool, int]] = []
    for fold in range(FOLDS):
        members = np.flatnonzero(np.isin(identities, names[fold::FOLDS]))
        left, right = np.triu_indices(len(members), k=1)
        is_same = identities[members[left]] == identities[members[right]]
        count = min(int(is_same.sum()), int((~is_same).sum()), _MOST_GENUINE // FOLDS)
        if not count:
            raise InputError("verification needs two images of an identity at least in the test")
        for kind in (True, False):
            chosen = random.choice(np.flatnonzero(is_same == kind), count, replace=False)
            drawn += [(int(members[left[i]]), int(members[right[i]]), kind, fold) for i in chosen]
    first, second, kinds, folds = (np.array(column) for column in zip(*drawn, strict=True))
    return Pairs(first, second, kinds, folds)


def read_pairs(path: Path, index_of: Mapping[tuple[str, int], int]) -> Pairs:
    """Read pairs in LFW's format: a head line ``folds pairs``, then lines ``name i j`` and ``name i other j``.

    Args:
        path: the file; each fold has as many genuine lines as impostor lines.
        index_of: the index of an image by its identity and its number, counted from 1.

    Raises:
        InputError: if the file is not of that format, or names an image that is not there.
    """
    try:
        lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
        folds, half = (
            (int(number_text) for number_text in lines[0]) if len(lines[0]) == 2 else (FOLDS, int(lines[0][0]))
        )
    except (OSError, UnicodeDecodeError, ValueError, IndexError):
        raise InputError(f"{path} is not a list of pairs: its first line is 'folds pairs', such as 10 300") from None
    if folds < 2 or half < 1:
        raise InputError(f"{path} has {folds} folds of 2 × {half} pairs: two are needed, each judged by the others")
    if len(lines) - 1 != 2 * folds * half:
        raise InputError(f"{path} has {len(lines) - 1} pairs for {folds} folds of 2 × {half}")
    rows = []
    for number, fields in enumerate(lines[1:]):
        try:
            name, i, *rest = fields
            second_name, j = (name, *rest) if len(rest) == 1 else rest
            rows.append(
                (index_of[name, int(i)], index_of[second_name, int(j)], name == second_name, number // (2 * half))
            )
        except (ValueError, KeyError):
            raise InputError(f"{path}, line {number + 2}: no such images: {' '.join(fields)}") from None
    first, second, is_same, fold = (np.array(column) for column in zip(*rows, strict=True))
    for number in range(folds):
        if (genuine := int(is_same[fold == number].sum())) != half:
            raise InputError(
                f"{path}, fold {number + 1}: {genuine} of {2 * half} pairs are of one identity, not {half}"
            )
    return Pairs(first, second, is_same, fold)


def scores(embeddings: npt.NDArray[np.float32], pairs: Pairs) -> Floats:
    """Return the cosine of each pair's embeddings, ``(images, …)``, which are flattened."""
    units = embeddings.reshape(len(embeddings), -1).astype(np.float64)
    units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)
    cosines: Floats = np.einsum("ij,ij->i", units[pairs.first], units[pairs.second])
    return cosines


def accuracy(scores: Floats, pairs: Pairs) -> float:
    """Return the mean accuracy over the folds, in percent, each at the threshold that is best on the others."""
    right = _right(scores, pairs)
    return 100 * float(np.mean([right[pairs.fold == fold].mean() for fold in np.unique(pairs.fold)]))


def roc(scores: Floats, is_same: Bools) -> Roc:
    """Return the rates at every threshold; equal scores are accepted together."""
    _, genuine, impostors = _accepted(scores, is_same)
    return Roc(impostors / impostors[-1], genuine / genuine[-1], int(impostors[-1]))


def interval(scores: Floats, pairs: Pairs, identities: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return the 95 % interval of :func:`accuracy`, in percent, over the identities of which there are pairs.

    Pairs that share an identity are dependent. Their covariances are summed (the variance of dyadic data: Aronow, Samii
    and Assenova, Political Analysis 23, 2015), and Wilson's interval is taken at the number of independent pairs with
    that variance. If all pairs are judged alike, that number is the number of identities.
    """
    right = _right(scores, pairs)
    names, index = np.unique(identities[np.stack([pairs.first, pairs.second])], return_inverse=True)
    first, second = index.reshape(2, -1)
    share, count = float(right.mean()), len(names)
    variance = _variance_of_mean(right - share, first, second, count)
    independent = share * (1 - share) / variance if variance > 0 else float(count)
    quantile = float(stats.t.ppf(0.975, count - 1))
    weight = quantile**2 / independent
    centre = (share + weight / 2) / (1 + weight)
    half = quantile / (1 + weight) * float(np.sqrt(share * (1 - share) / independent + weight / independent / 4))
    return 100 * (centre - half), 100 * (centre + half)


def _variance_of_mean(errors: Floats, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], count: int) -> float:
    """Return the variance of the mean of errors of pairs of numbered identities; pairs that share one are dependent."""
    crossing = first != second
    by_identity = np.bincount(first, errors, count) + np.bincount(second[crossing], errors[crossing], count)
    low, high = np.minimum(first, second)[crossing], np.maximum(first, second)[crossing]
    by_both = np.bincount(low * count + high, errors[crossing])  # counted for either identity above
    total = float((by_identity**2).sum() - (by_both**2).sum())
    return max(total, 0.0) / len(errors) ** 2 * count / max(count - 2, 1)


def _right(scores: Floats, pairs: Pairs) -> Floats:
    """Return 1 for each pair judged rightly at the threshold that is best on the other folds, else 0."""
    right = np.empty(len(scores))
    for fold in np.unique(pairs.fold):
        inside = pairs.fold == fold
        threshold = best_threshold(scores[~inside], pairs.is_genuine[~inside])
        right[inside] = (scores[inside] >= threshold) == pairs.is_genuine[inside]
    return right


def best_threshold(scores: Floats, is_same: Bools) -> float:
    """Return the threshold that judges most pairs rightly, a score from it up being accepted.

    It is halfway between two neighbouring scores, or infinite if it is best to reject all pairs. Of equally good ones,
    the strictest.
    """
    thresholds, genuine, impostors = _accepted(scores, is_same)
    best = int(np.argmax(genuine - impostors))
    if best in (0, len(thresholds) - 1):
        return float(thresholds[best])
    middle = float((thresholds[best] + thresholds[best + 1]) / 2)
    return middle if middle > thresholds[best + 1] else float(thresholds[best])  # no number may lie between


def _accepted(scores: Floats, is_same: Bools) -> tuple[Floats, Floats, Floats]:
    """Return every threshold, from infinity down, and the genuine and impostor pairs that it accepts."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # of each group of equal scores
    thresholds = np.append(np.inf, scores[order][last])
    genuine, impostors = (np.append(0.0, np.cumsum(kind[order])[last]) for kind in (is_same, ~is_same))
    return thresholds, genuine, impostors


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
