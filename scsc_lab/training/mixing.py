"""Mixup and cutmix through timm: images of a batch mixed in pairs, each batch's draw keyed by its epoch and number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scsc_lab.errors import InputError
from scsc_lab.training.batches import Batches
from scsc_lab.training.draws import Purpose, generator
from scsc_lab.training.recipes import Recipe


class Mixing:
    """Mixes the images of a batch and their targets, or leaves them as they are.

    The draw of a batch is keyed by seed, epoch and the batch's number: here, and only here, the batch layout counts,
    since the images of a batch are mixed with one another.
    """

    def __init__(self, mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None, seed: int) -> None:
        self.mix = mix
        self.seed = seed

    @classmethod
    def of(cls, recipe: Recipe, batches: Batches) -> Mixing:
        """Return what a recipe mixes.

        Raises:
            InputError: if timm is missing, or the data has several tasks or an open set.
        """
        if not (recipe.mixup or recipe.cutmix):
            return cls(None, batches.seed)
        if len(batches.data.tasks) > 1 or batches.data.open_set:
            raise InputError(
                f"mixup and cutmix need one class per image; {batches.data.name} has several tasks: set both to 0"
            )
        try:
            from timm.data.mixup import Mixup
        except ImportError:
            raise InputError("mixup and cutmix need timm: pip install 'scsc-lab[timm]'") from None
        mix: Any = Mixup(
            mixup_alpha=recipe.mixup,
            cutmix_alpha=recipe.cutmix,
            label_smoothing=0.0,  # the objective smooths
            num_classes=batches.data.outputs,
        )
        return cls(mix, batches.seed)

    def __call__(self, images: Tensor, labels: Tensor, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Return images and targets: labels ``(N, tasks)`` as they are, or shares ``(N, 1, classes)`` if mixed."""
        if self.mix is None:
            return images, labels
        before = np.random.get_state()  # noqa: NPY002  # timm draws from the global generator
        try:
            np.random.seed(int(generator(self.seed, Purpose.MIXING, epoch, step).integers(2**32)))  # noqa: NPY002
            images, shares = self.mix(images, labels[:, 0])
        finally:
            np.random.set_state(before)  # noqa: NPY002
        return images, shares.to(torch.float32)[:, None, :]
