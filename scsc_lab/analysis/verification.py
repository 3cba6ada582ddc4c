"""Verification: whether two images show one identity, told by the cosine of their embeddings. Arrays in, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scsc_lab.errors import InputError

FOLDS = 10
"""Folds of the accuracy: each is judged at the threshold that is best on the nine others, as on LFW."""

IMPOSTORS_NEEDED = 10
"""Impostor pairs above the threshold that a true accept rate has to rest on at least: FAR × impostors."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """Pairs of images.

    Attributes:
        first, second: index of either image.
        same: whether they show one identity.
        fold: the fold of each pair, from 0.
    """

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    same: Bools
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
        if not 0 < far < 1 or far * self.impostors < IMPOSTORS_NEEDED:
            least = IMPOSTORS_NEEDED / self.impostors
            raise InputError(
                f"a FAR of {far:g} needs more than {self.impostors} impostor pairs: from {least:.2g} up here"
            )
        return 100 * float(self.tar[np.searchsorted(self.far, far, side="right") - 1])


def draw_pairs(identities: npt.NDArray[np.int64], random: np.random.Generator, most: int = 3000) -> Pairs:
    """Draw as many genuine as impostor pairs; the identities are dealt to folds, and no pair crosses two of them.

    Args:
        identities: the identity of every image.
        random: what draws.
        most: genuine pairs at most.

    Raises:
        InputError: if there are too few identities, or images of one, for ten folds.
    """
    names = random.permutation(np.unique(identities))
    if len(names) < 2 * FOLDS:
        raise InputError(f"verification needs at least {2 * FOLDS} identities in the test, there are {len(names)}")
    drawn: list[tuple[int, int, bool, int]] = []
    for fold in range(FOLDS):
        members = np.flatnonzero(np.isin(identities, names[fold::FOLDS]))
        one, two = np.triu_indices(len(members), k=1)
        same = identities[members[one]] == identities[members[two]]
        count = min(int(same.sum()), int((~same).sum()), most // FOLDS)
        if not count:
            raise InputError("verification needs two images of an identity at least in the test")
        for kind in (True, False):
            chosen = random.choice(np.flatnonzero(same == kind), count, replace=False)
            drawn += [(int(members[one[i]]), int(members[two[i]]), kind, fold) for i in chosen]
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
        folds, half = (int(word) for word in lines[0]) if len(lines[0]) == 2 else (FOLDS, int(lines[0][0]))
    except (OSError, UnicodeDecodeError, ValueError, IndexError):
        raise InputError(f"{path} is no list of pairs: its first line is 'folds pairs', such as 10 300") from None
    if len(lines) - 1 != 2 * folds * half:
        raise InputError(f"{path} has {len(lines) - 1} pairs for {folds} folds of 2 × {half}")
    rows = []
    for number, words in enumerate(lines[1:]):
        try:
            name, i, *rest = words
            other, j = (name, *rest) if len(rest) == 1 else rest
            rows.append((index_of[name, int(i)], index_of[other, int(j)], name == other, number // (2 * half)))
        except (ValueError, KeyError):
            raise InputError(f"{path}, line {number + 2}: no such images: {' '.join(words)}") from None
    first, second, same, fold = (np.array(column) for column in zip(*rows, strict=True))
    return Pairs(first, second, same, fold)


def scores(embeddings: npt.NDArray[np.float32], pairs: Pairs) -> Floats:
    """Return the cosine of each pair's embeddings, ``(images, length)``."""
    units = embeddings.astype(np.float64)
    units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)
    found: Floats = np.einsum("ij,ij->i", units[pairs.first], units[pairs.second])
    return found


def accuracy(found: Floats, pairs: Pairs) -> float:
    """Return the mean accuracy over the folds, in percent, each at the threshold that is best on the others."""
    shares = []
    for fold in np.unique(pairs.fold):
        here = pairs.fold == fold
        threshold = _best_threshold(found[~here], pairs.same[~here])
        shares.append(float(np.mean((found[here] >= threshold) == pairs.same[here])))
    return 100 * float(np.mean(shares))


def roc(found: Floats, same: Bools) -> Roc:
    """Return the rates at every threshold; equal scores are accepted together."""
    order = np.argsort(-found, kind="stable")
    last = np.append(np.diff(found[order]) != 0, True)
    accepted_same, accepted = np.cumsum(same[order])[last], (np.flatnonzero(last) + 1)
    genuine, impostors = int(same.sum()), int((~same).sum())
    tar = np.concatenate(([0.0], accepted_same / genuine))
    far = np.concatenate(([0.0], (accepted - accepted_same) / impostors))
    return Roc(far, tar, impostors)


def interval(
    found: Floats, pairs: Pairs, identities: npt.NDArray[np.int64], *, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return a 95 % bootstrap interval of the accuracy at the best threshold, in percent, over identities.

    Pairs of one identity are not independent, so identities are resampled: a pair counts as often as both of its
    identities were drawn (for a genuine pair: as its one was).
    """
    names, index = np.unique(identities, return_inverse=True)
    one, two = index[pairs.first], index[pairs.second]
    right = ((found >= _best_threshold(found, pairs.same)) == pairs.same).astype(np.float64)
    random = np.random.default_rng(seed)
    shares = []
    for _ in range(resamples):
        drawn = np.bincount(random.integers(len(names), size=len(names)), minlength=len(names))
        weight = np.where(pairs.same, drawn[one], drawn[one] * drawn[two])
        if weight.sum():
            shares.append(100 * float((weight * right).sum() / weight.sum()))
    low, high = np.percentile(shares, (2.5, 97.5))
    return float(low), float(high)


def _best_threshold(found: Floats, same: Bools) -> float:
    """Return the threshold that gets most pairs right, halfway to the next score below it."""
    order = np.argsort(-found, kind="stable")
    ordered, kinds = found[order], same[order]
    right = np.cumsum(kinds) + (~kinds).sum() - np.cumsum(~kinds)
    best = int(np.argmax(right))
    return float(ordered[best] if best + 1 == len(ordered) else (ordered[best] + ordered[best + 1]) / 2)
