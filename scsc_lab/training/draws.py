"""Random draws keyed by what they are for: the number of workers, the batch layout and a resume change none of them."""

from __future__ import annotations

import enum

import numpy as np


class Purpose(enum.IntEnum):
    """Purpose of a draw; draws for different purposes are independent."""

    TRAIN_IMAGE = 1
    TEST_IMAGE = 2
    ORDER = 3
    AUGMENTATION = 4
    MIXING = 5
    SPLIT = 6
    IDENTITY = 7
    PAIRS = 8
    NETWORK = 9
    TEST_IDENTITY = 10
    VALIDATION = 11


def generator(seed: int, purpose: Purpose, epoch: int = 0, index: int = 0) -> np.random.Generator:
    """Return the generator of one draw, counter-based (Philox 4×64): equal keys give equal draws, in any order.

    Args:
        seed: seed of the run, from 0 up.
        purpose: what is drawn.
        epoch: the epoch, for what is drawn anew in each.
        index: the image, the step or whatever else the draw belongs to.
    """
    return np.random.Generator(np.random.Philox(key=(seed << 8) + purpose, counter=(0, 0, epoch, index)))


def torch_seed(seed: int, purpose: Purpose, epoch: int = 0, index: int = 0) -> int:
    """Return a seed for torch's own generator, for draws made inside a network: initial weights, drop-path."""
    return int(generator(seed, purpose, epoch, index).integers(2**63))
