"""Networks and data small enough to be trained inside a test."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from scsc_lab.training.batches import WHOLE, Batches, Shard
from scsc_lab.training.data import Data, InMemory, Task
from scsc_lab.training.plan import Input
from scsc_lab.training.recipes import Recipe

RECIPE = Recipe(source="a test", epochs=3, batch_size=8, optimizer="adamw", lr=1e-2, crop="shift", shift=1)


def built(seed: int = 0, outputs: int = 2) -> nn.Module:
    torch.manual_seed(seed)
    features = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Flatten())
    return nn.Sequential(*features, nn.Linear(512, outputs))


def data(images: int = 40) -> Data:
    """Return 8×8 images whose left or right half is bright."""
    random = np.random.default_rng(0)
    labels = random.integers(2, size=(images, 1))
    pictures = random.integers(0, 100, (images, 3, 8, 8), dtype=np.uint8)
    for picture, (label,) in zip(pictures, labels, strict=True):
        picture[:, :, 4 * label : 4 * label + 4] += 100
    split = InMemory(pictures, labels)
    return Data("halves", (Task("", ("left", "right")),), split, split, (8, 8))


def batches(
    recipe: Recipe = RECIPE, seed: int = 0, workers: int = 0, shard: Shard = WHOLE, of: Data | None = None
) -> Batches:
    return Batches(of or data(), recipe, Input((8, 8), (0.5,) * 3, (0.25,) * 3), seed, workers, shard)
