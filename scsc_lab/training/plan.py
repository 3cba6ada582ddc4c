"""Settings that all runs of a comparison share: data set, recipe, task and budget. No torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from scsc_lab.errors import InputError, nearest
from scsc_lab.networks.values import typed
from scsc_lab.settings import TASKS, Training
from scsc_lab.training.recipes import RECIPES, Recipe

OPEN_SETS = ("faces",)
"""Data for verification: the identities of the test are not those of the training."""

SEEDS = 10
"""Runs of each network unless told otherwise."""


@dataclass(frozen=True)
class Plan:
    """Settings that all runs of a comparison share; a change of any makes another experiment.

    Attributes:
        data: name of the data set, as ``--data`` takes it.
        recipe: the recipe with its overrides.
        task: ``classification`` or ``verification``.
        recipe_name: the recipe's name with its overrides.
        train_images, test_images: images of each split; 0: the data's own number.
        size: height and width of an input, in pixels; none: the data's own, or the network's.
        split: for data in one folder, the share of its images that is the test; 0: it has splits of its own.
        skip_unreadable: go on without the files that cannot be read.
        validation: share of the training images that is held out and judged in place of the test; 0: none.
        image_column, label_column: columns of tables; empty: found by their types and names.
        background: colour behind transparent pixels; empty: transparency is dropped.
        evaluated: whether nothing is trained, so that data without a training split will do.
        tuned: how the recipe's tuned values were chosen, in words; empty: they were not.
    """

    data: str = "navon"
    recipe: Recipe = RECIPES["pico"]
    task: str = "classification"
    recipe_name: str = "pico"
    train_images: int = 0
    test_images: int = 0
    size: tuple[int, int] | None = None
    split: float = 0.0
    skip_unreadable: bool = False
    validation: float = 0.0
    tuned: str = ""
    image_column: str = ""
    label_column: str = ""
    background: str = ""
    evaluated: bool = False


@dataclass(frozen=True)
class Input:
    """Input that a network declares; in a run, with the plan's and the data's own size and normalisation.

    Attributes:
        size: height and width, in pixels.
        mean, std: normalisation of each channel, for pixels from 0 to 1.
        crop_share: side of the centre that is kept over the shorter side of the image, in evaluation; an image that
            has the input's size already is kept whole.
        interpolation: Pillow's name of the filter that resizes.
        channels: 3, or 1 for grey.
        is_random: whether its first weights are drawn at random, so that the recipe decides how blocks start.
        is_squashed: whether an image is resized to the input's shape, whatever its own, as timm's ``squash`` does.
    """

    size: tuple[int, int]
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop_share: float = 0.875
    interpolation: str = "bicubic"
    channels: int = 3
    is_random: bool = True
    is_squashed: bool = False

    def in_words(self) -> str:
        """Return how an image of another size becomes an input, in evaluation."""
        sides, part = "×".join(map(str, self.size)), "each side" if self.is_squashed else "the shorter side"
        return (
            f"images that are not {sides}: the centre of {self.crop_share:.3g} of {part} resized to {sides}, "
            f"{self.interpolation}"
        )


@dataclass(frozen=True)
class Runs:
    """Runs of a network.

    Attributes:
        plan: what they share.
        seeds: one run for each.
        device: device to train on.
        threads: threads of one operator on the CPU; with one, a resumed run gives the same numbers, on the same
            processor and version of torch.
        workers: processes that read images.
        checkpoints: folder of the files that runs resume from; empty: none are written.
        last_budget: epochs of the longest of the runs that share their first epochs; 0: this run shares none.
        weights: folder that trained weights are written to; empty: they are not.
        suffix: ``.safetensors`` or ``.pth``.
    """

    plan: Plan = field(default_factory=Plan)
    seeds: tuple[int, ...] = tuple(range(SEEDS))
    device: str = "auto"
    threads: int = 1
    workers: int = 0
    checkpoints: str = ""
    last_budget: int = 0
    weights: str = ""
    suffix: str = ".safetensors"

    def identity(self) -> dict[str, Any]:
        """Return what decides the numbers of these runs, as plain data: where files go and the recipe's name do not."""
        plan = dataclasses.asdict(self.plan)
        del plan["recipe"]["source"], plan["recipe_name"]
        for name in ("image_column", "label_column", "background", "evaluated"):
            if not plan[name]:  # as they usually are: rows without them stay valid
                del plan[name]
        return {"plan": plan, "seeds": self.seeds, "device": self.device}

    def chain(self) -> dict[str, Any] | None:
        """Return the identity that runs of several budgets share, to be made in turn; None if there are no others."""
        if not self.last_budget:
            return None
        identity = self.identity()
        del identity["plan"]["recipe"]["epochs"]
        return identity


def plan(training: Training) -> Plan:
    """Return the plan that settings of training make. Data of identities is for verification by default.

    Raises:
        InputError: if a recipe has no such field, or a value makes no sense.
    """
    base = RECIPES[training.recipe]
    changes = dict(training.recipe_set)
    changes |= {key: value for key in ("epochs", "batch_size") if (value := getattr(training, key)) is not None}
    recipe = dataclasses.replace(base, **{key: parsed(key, value) for key, value in changes.items()})
    differing = (f"{key}={value}" for key, value in changes.items() if getattr(recipe, key) != getattr(base, key))
    return Plan(
        training.data,
        recipe,
        training.task or TASKS[training.data in OPEN_SETS],
        " ".join((training.recipe, *differing)),
        training.train_images or 0,
        training.test_images or 0,
        split=training.split or 0.0,
        skip_unreadable=training.skip_unreadable,
        image_column=training.image_column or "",
        label_column=training.label_column or "",
        background=training.background or "",
    )


def parsed(key: str, value: object) -> Any:
    """Return the value of a recipe's field from a user's text or value.

    Raises:
        InputError: if a recipe has no such field, or this is no value of it.
    """
    kinds = get_type_hints(Recipe)
    del kinds["source"]
    if key not in kinds:
        raise InputError(f"unknown key {key!r} of a recipe{nearest(key, kinds)} (keys: {', '.join(kinds)})")
    return typed(key, value, kinds[key])


def changed(plan: Plan, key: str, text: str) -> Plan:
    """Return a plan with another value of a recipe's field, under the same name of the recipe.

    Raises:
        InputError: as for :func:`parsed`, or if the value makes no sense.
    """
    return dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, **{key: parsed(key, text)}))
