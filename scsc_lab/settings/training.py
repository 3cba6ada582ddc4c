"""Settings of training runs, and of the data that networks are trained and evaluated on."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from scsc_lab.errors import InputError
from scsc_lab.settings import texts
from scsc_lab.settings.declaration import Declared, setting, spelled

TASKS = ("classification", "verification")
"""What a network can be trained and evaluated for."""

_setting = functools.partial(setting, panel="Training")


@dataclass(frozen=True)
class Training(Declared):
    """How networks are trained, and on which data.

    Raises:
        InputError: if a value is out of bounds, or a setting of the recipe is named twice.
    """

    data: str = _setting(
        "navon", "Data set: navon, faces, imagefolder:DIR or hf:NAME_OR_PATH.", "--data", metavar="NAME"
    )
    task: str | None = _setting(None, "Task. Default: the data's.", "--task", choices=TASKS)
    recipe: str = _setting("pico", "Recipe to train by.", "--recipe", choices="scsc_lab.training.recipes:RECIPES")
    recipe_set: tuple[tuple[str, str], ...] = _setting(
        (),
        "Change a setting of the recipe, e.g. lr=1e-3. Repeatable.",
        "--recipe-set",
        metavar="KEY=VALUE",
        parse=texts.assignment,
        repeated=True,
    )
    seeds: int | None = _setting(
        None, "Training runs per network. Default: 10.", "--seeds", low=1, high=1000, metavar="N"
    )
    epochs: int | None = _setting(None, "Epochs per run. Default: the recipe's.", "--epochs", low=1, metavar="N")
    batch_size: int | None = _setting(
        None, "Images per step. Default: the recipe's.", "--batch-size", low=1, metavar="N"
    )
    train_images: int | None = _setting(
        None, "Number of training images. Default: the data's.", "--train-images", low=1, metavar="N"
    )
    test_images: int | None = _setting(
        None, "Number of test images. Default: the data's.", "--test-images", low=1, metavar="N"
    )
    split: float | None = _setting(
        None, "Share of the images of one folder that make the test.", "--split", low=0, high=1, metavar="SHARE"
    )
    skip_unreadable: bool = _setting(False, "Skip files that cannot be read.", "--skip-unreadable")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.split in (0, 1):
            raise InputError(f"{spelled('--split', 'split')} {self.split:g}: a share above 0 and below 1, e.g. 0.2")
        options = (("epochs", self.epochs), ("batch_size", self.batch_size))
        keys = [*(key for key, _ in self.recipe_set), *(key for key, value in options if value is not None)]
        for key in keys:
            if keys.count(key) > 1:
                raise InputError(f"{spelled('--recipe-set', 'recipe_set')} {key} is given twice")
