"""Settings of training runs, and of the data that networks are trained and evaluated on."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from scsc_lab.errors import InputError
from scsc_lab.settings import texts
from scsc_lab.settings.declaration import Declared, setting, spelled

TASKS = ("classification", "verification")
"""Tasks of training and evaluation."""

BACKGROUNDS = ("white", "black")
"""Colours that can be put behind transparent pixels."""

_setting = functools.partial(setting, panel="Training")


@dataclass(frozen=True)
class Training(Declared):
    """Settings of training and its data.

    Raises:
        InputError: if a value is out of bounds, or a setting of the recipe is named twice.
    """

    data: str = _setting(
        "navon", "Data set: navon, faces, imagefolder:DIR, csv:FILE or hf:NAME_OR_PATH.", "--data", metavar="NAME"
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
    image_column: str | None = _setting(
        None, "Column of images of csv: or hf:. Default: by its type or name.", "--image-column", metavar="NAME"
    )
    label_column: str | None = _setting(
        None, "Column of labels of csv: or hf:. Default: by its type or name.", "--label-column", metavar="NAME"
    )
    background: str | None = _setting(
        None,
        "Colour behind transparent pixels of folders and tables. Default: transparency is dropped.",
        "--background",
        choices=BACKGROUNDS,
    )
    skip_unreadable: bool = _setting(False, "Skip files that cannot be read.", "--skip-unreadable")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.split in (0, 1):
            raise InputError(f"{spelled('--split', 'split')} {self.split:g}: a share above 0 and below 1, e.g. 0.2")
        for option, argument in (("--image-column", "image_column"), ("--label-column", "label_column")):
            if getattr(self, argument) is not None and not self.data.startswith(("csv:", "hf:")):
                raise InputError(f"{spelled(option, argument)} is for tables, csv:FILE and hf:NAME, not {self.data}")
        for option, argument in (
            ("--split", "split"),
            ("--skip-unreadable", "skip_unreadable"),
            ("--background", "background"),
        ):
            if getattr(self, argument) not in (None, False) and ":" not in self.data:
                listed = "imagefolder:DIR, csv:FILE and hf:NAME"
                raise InputError(f"{spelled(option, argument)} is for images that are read, {listed}, not {self.data}")
        options = (("epochs", self.epochs), ("batch_size", self.batch_size))
        keys = [*(key for key, _ in self.recipe_set), *(key for key, value in options if value is not None)]
        for key in keys:
            if keys.count(key) > 1:
                raise InputError(f"{spelled('--recipe-set', 'recipe_set')} {key} is given twice")


@dataclass(frozen=True)
class Schedule(Declared):
    """Budgets of training in epochs, and the tuning before it.

    Raises:
        InputError: if a value is out of bounds, a budget occurs twice, or settings of a tuning lack it.
    """

    budgets: tuple[int, ...] = _setting(
        (),
        "Evaluate shorter runs of these epochs, too. They branch off one run.",
        "--budgets",
        low=1,
        metavar="N,N",
        parse=texts.numbers,
    )
    tune: tuple[str, str] | None = _setting(
        None,
        "Choose a value per network on held-out images, e.g. lr=3e-4,1e-3,3e-3.",
        "--tune",
        metavar="KEY=V,V",
        parse=texts.assignment,
    )
    tune_seeds: int | None = _setting(
        None, "Seeds per value of --tune. Default: 2.", "--tune-seeds", low=1, high=1000, metavar="N"
    )
    tune_epochs: int | None = _setting(
        None, "Epochs of --tune. Default: the largest budget.", "--tune-epochs", low=1, metavar="N"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.budgets)) < len(self.budgets):
            listed = ",".join(map(str, self.budgets))
            raise InputError(f"{spelled('--budgets', 'budgets')} {listed}: a budget occurs twice")
        if self.tune is None:
            for option, value in (("--tune-seeds", self.tune_seeds), ("--tune-epochs", self.tune_epochs)):
                if value is not None:
                    raise InputError(f"{option} goes with --tune")
