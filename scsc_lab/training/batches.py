"""Batches in the order of a seed and an epoch, mixed, and divided over processes: a step's depends on nothing else."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from scsc_lab.errors import InputError, imported
from scsc_lab.training.augmentation import as_grey, augment, centred
from scsc_lab.training.data import Data, Split
from scsc_lab.training.draws import Purpose, generator
from scsc_lab.training.plan import Input
from scsc_lab.training.recipes import Recipe


@dataclass(frozen=True)
class Shard:
    """This process's part of every batch: the images ``rank, rank + world, …``."""

    rank: int = 0
    world: int = 1


WHOLE = Shard()
"""All of every batch."""


@dataclass(frozen=True)
class Batches:
    """The batches of a data set for one run.

    Attributes:
        data: the data set.
        recipe: batch size and augmentation.
        preparation: how an image becomes an input.
        seed: seed of the run.
        workers: processes that read and augment images; 0: this one.
        shard: which part of every batch.
        test_size: images of a batch of the test; 0: as in training.
    """

    data: Data
    recipe: Recipe
    preparation: Input
    seed: int
    workers: int = 0
    shard: Shard = WHOLE
    test_size: int = 0

    def check(self) -> None:
        """Raise InputError if there is nothing to train or to be judged on, or a batch that processes cannot share."""
        if self.steps < 1:
            raise InputError(
                f"{len(self.data.train.labels)} training images make no batch of {self.recipe.batch_size}: "
                "lower --batch-size"
            )
        if not len(self.data.test.labels):
            raise InputError("there are no test images that can be read")
        images, processes = self.recipe.batch_size, self.shard.world
        if images % processes:
            raise InputError(f"--batch-size {images} cannot be shared by {processes} processes")
        if (self.recipe.mixup or self.recipe.cutmix) and images // processes % 2:
            each = f" in each of {processes} processes" if processes > 1 else ""
            raise InputError(
                f"mixup and cutmix mix images in pairs: --batch-size {images} must give an even number{each}"
            )

    @property
    def steps(self) -> int:
        """Steps of an epoch: whole batches only."""
        return len(self.data.train.labels) // self.recipe.batch_size

    def training(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images, ``(N, C, H, W)``, with values 0 to 255, and labels of every step of an epoch."""
        order = generator(self.seed, Purpose.ORDER, epoch).permutation(len(self.data.train.labels))
        size = self.recipe.batch_size
        steps = [order[i * size : (i + 1) * size][self.shard.rank :: self.shard.world] for i in range(self.steps)]
        return self._loaded(_Prepared(self, self.data.train, epoch), steps)

    def test(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images and labels of the test split, in its order; every process sees all of them."""
        count, size = len(self.data.test.labels), self.test_size or self.recipe.batch_size
        steps = np.array_split(np.arange(count), math.ceil(count / size))
        return self._loaded(_Prepared(self, self.data.test, None), steps)

    def _loaded(self, images: _Prepared, steps: list[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
        # A generator of its own, so that a loader's seed is not drawn from the one that the network draws from.
        return iter(
            DataLoader(
                images,
                batch_sampler=[step.tolist() for step in steps],
                num_workers=self.workers,
                generator=torch.Generator().manual_seed(0),
                multiprocessing_context="spawn" if self.workers else None,
            )
        )


class _Prepared(Dataset[tuple[Tensor, Tensor]]):
    """Images by index, as inputs; in training (``epoch`` given) augmented by a draw of seed, epoch and index."""

    def __init__(self, batches: Batches, split: Split, epoch: int | None) -> None:
        self.recipe = batches.recipe
        self.preparation = batches.preparation
        self.seed = batches.seed
        self.split = split
        self.epoch = epoch

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.split.image(index)
        if self.epoch is None:
            image = centred(image, self.preparation)
        else:
            random = generator(self.seed, Purpose.AUGMENTATION, self.epoch, index)
            image = augment(image, self.recipe, self.preparation, random)
        if self.preparation.channels == 1:
            image = as_grey(image)
        return torch.from_numpy(np.require(image, requirements=["C", "W"])), torch.from_numpy(self.split.labels[index])


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
        timm = imported("timm.data.mixup", "mixup and cutmix need timm: pip install 'scsc-lab[timm]'")
        mix = timm.Mixup(
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


@contextmanager
def joined() -> Iterator[Shard]:
    """Join the processes that ``torchrun`` has started, if it has, over NCCL where there is CUDA and gloo elsewhere.

    Yields:
        The part of every batch that this process takes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield WHOLE
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield shard()
    finally:
        torch.distributed.destroy_process_group()


def shard() -> Shard:
    """Return the part of every batch that this process takes."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return WHOLE
    return Shard(torch.distributed.get_rank(), torch.distributed.get_world_size())
