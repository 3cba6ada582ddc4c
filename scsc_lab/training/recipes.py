"""Recipes: how a network is trained, as frozen data with their sources. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scsc_lab.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run beside the network, the data and the seed.

    Attributes:
        source: where the recipe is from.
        epochs: passes over the training images.
        batch_size: images of one step, over all processes.
        optimizer: ``adamw``, ``sgd`` (Nesterov's momentum) or ``lamb`` (timm's).
        lr: highest learning rate.
        schedule: ``cosine`` to zero; ``step``: a tenth from each third of the epochs on; ``constant``, then a cool-down
            by 1 − √ to zero, so that runs of several budgets share their first epochs (arXiv 2405.18392).
        cooldown: share of the steps that the cool-down of ``constant`` takes, the last ones.
        warmup_epochs: epochs in which the learning rate rises linearly from zero; parts of one too.
        weight_decay: decay of weights (decoupled for adamw and lamb).
        decay_norms: whether norms and biases decay too.
        momentum: momentum of sgd.
        eps: what adamw adds to the root of the second moment. A gradient far below it moves its weight little, so that
            rounding, which makes the gradients of dead weights, does not become a step.
        zero_init: whether residual blocks start as their shortcuts (arXiv 1706.02677, section 5.1): those that have a
            method ``zero_init_last``, as the ResNets' and timm's.
        clip: largest norm of the gradient; 0 for any.
        label_smoothing: share of the target that goes to all classes alike.
        crop: ``shift`` (padded by ``shift`` pixels, cropped back), ``resized`` (8 to 100 % of the area, 3:4 to 4:3,
            resized) or ``none``.
        shift: see ``crop``, in pixels.
        flip: whether half of the images are mirrored.
        erase: probability that a random rectangle is blanked.
        randaugment: timm's policy, such as ``rand-m9-mstd0.5-inc1``; empty for none.
        mixup, cutmix: alpha of each; 0 for none. With both, one of them is drawn for each batch.
        amp: mixed precision (bfloat16, or float16 with a scaled loss) where the device is an accelerator.
    """

    source: str
    epochs: int
    batch_size: int
    optimizer: Literal["adamw", "sgd", "lamb"]
    lr: float
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    cooldown: float = 0.2
    warmup_epochs: float = 0.0
    weight_decay: float = 0.0
    decay_norms: bool = False
    momentum: float = 0.9
    eps: float = 1e-8
    zero_init: bool = False
    clip: float = 0.0
    label_smoothing: float = 0.0
    crop: Literal["none", "shift", "resized"] = "none"
    shift: int = 4
    flip: bool = False
    erase: float = 0.0
    randaugment: str = ""
    mixup: float = 0.0
    cutmix: float = 0.0
    amp: bool = True

    def __post_init__(self) -> None:
        for key, least in (("epochs", 1), ("batch_size", 2), ("shift", 0)):
            if getattr(self, key) < least:
                raise InputError(f"{key}={getattr(self, key)}: a whole number from {least} up")
        for key in ("warmup_epochs", "weight_decay", "clip", "mixup", "cutmix"):
            if getattr(self, key) < 0:
                raise InputError(f"{key}={getattr(self, key)}: a number from 0 up")
        for key in ("momentum", "label_smoothing", "erase", "cooldown"):
            if not 0 <= getattr(self, key) < 1:
                raise InputError(f"{key}={getattr(self, key)}: a number from 0 to below 1")
        for key in ("lr", "eps"):
            if not getattr(self, key) > 0:
                raise InputError(f"{key}={getattr(self, key)}: a number above 0")
        if self.warmup_epochs >= self.epochs:
            raise InputError(f"warmup_epochs={self.warmup_epochs:g}: fewer than the {self.epochs} epochs")
        if self.schedule == "constant" and self.warmup_epochs > (1 - self.cooldown) * self.epochs:
            raise InputError(
                f"warmup_epochs={self.warmup_epochs:g}: must end before the cool-down of {self.epochs} epochs"
            )

    @property
    def trunk_epochs(self) -> int:
        """Whole epochs before the cool-down, which runs of more epochs share; 0 under other schedules."""
        return int((1 - self.cooldown) * self.epochs) if self.schedule == "constant" else 0


RECIPES = {
    "pico": Recipe(
        source="chosen here for two CPU cores: AdamW (arXiv 1711.05101) at a constant rate with a cool-down "
        "(arXiv 2405.18392), random erasing (arXiv 1708.04896), residual blocks that start at zero (arXiv 1706.02677)",
        epochs=32,
        batch_size=32,
        optimizer="adamw",
        lr=5e-4,
        schedule="constant",
        warmup_epochs=0.5,
        weight_decay=0.05,
        eps=1e-6,
        zero_init=True,
        clip=5.0,
        erase=0.25,
    ),
    "cifar": Recipe(
        source="He et al., arXiv 1512.03385, section 4.2, as usually run: cosine in place of steps, 200 epochs "
        "(SGDR, arXiv 1608.03983)",
        epochs=200,
        batch_size=128,
        optimizer="sgd",
        lr=0.1,
        weight_decay=5e-4,
        decay_norms=True,
        crop="shift",
        flip=True,
    ),
    "resnet90": Recipe(
        source="He et al., arXiv 1512.03385, section 3.4, as torchvision's reference trains ResNet-50 (its V1 weights)",
        epochs=90,
        batch_size=256,
        optimizer="sgd",
        lr=0.1,
        schedule="step",
        weight_decay=1e-4,
        decay_norms=True,
        crop="resized",
        flip=True,
    ),
    "swin300": Recipe(
        source="Liu et al., arXiv 2103.14030, section A2.1 (ImageNet-1k)",
        epochs=300,
        batch_size=1024,
        optimizer="adamw",
        lr=1e-3,
        warmup_epochs=20,
        weight_decay=0.05,
        clip=5.0,
        label_smoothing=0.1,
        crop="resized",
        flip=True,
        erase=0.25,
        randaugment="rand-m9-mstd0.5-inc1",
        mixup=0.8,
        cutmix=1.0,
    ),
}
"""Every recipe by its name."""
