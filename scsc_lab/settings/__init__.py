"""The settings of measurements and of their output: frozen classes, each field declared once. Checked where made.

Command-line options, Python arguments, store keys and the report's sentences on method come from these declarations.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scsc_lab.errors import InputError
from scsc_lab.settings import texts
from scsc_lab.settings.declaration import Declared, from_arguments, setting
from scsc_lab.settings.measuring import (
    CONTRIBUTIONS,
    DTYPES,
    FEWEST_RESAMPLES,
    LARGEST_BATCH,
    LAYOUT_RULE,
    LAYOUTS,
    MEMORY_FORMATS,
    METHODS,
    PERCENTILES,
    WARM_UP_RULE,
    Execution,
    Fields,
    Timing,
)

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
            raise InputError(f"{self.spelled('split')} {self.split:g}: a share above 0 and below 1, e.g. 0.2")
        for name in ("image_column", "label_column"):
            if getattr(self, name) is not None and not self.data.startswith(("csv:", "hf:")):
                raise InputError(f"{self.spelled(name)} is for tables, csv:FILE and hf:NAME, not {self.data}")
        for name in ("split", "skip_unreadable", "background"):
            if getattr(self, name) not in (None, False) and ":" not in self.data:
                listed = "imagefolder:DIR, csv:FILE and hf:NAME"
                raise InputError(f"{self.spelled(name)} is for images that are read, {listed}, not {self.data}")
        options = (("epochs", self.epochs), ("batch_size", self.batch_size))
        keys = [*(key for key, _ in self.recipe_set), *(key for key, value in options if value is not None)]
        for key in keys:
            if keys.count(key) > 1:
                raise InputError(f"{self.spelled('recipe_set')} {key} is given twice")


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
            raise InputError(f"{self.spelled('budgets')} {listed}: a budget occurs twice")
        if self.tune is None:
            for option, value in (("--tune-seeds", self.tune_seeds), ("--tune-epochs", self.tune_epochs)):
                if value is not None:
                    raise InputError(f"{option} goes with --tune")


PANELS = ("maps", "profiles", "both")
"""Parts of a figure of receptive fields."""


_output = functools.partial(setting, panel="Output", decides=False)


@dataclass(frozen=True)
class Output(Declared):
    """Files and formats of rows and tables.

    Raises:
        InputError: if a value is out of bounds.
    """

    format: str | None = _output(
        None,
        "Format of the table. Default: by the suffix of --output, else table.",
        "--format",
        choices="scsc_lab.report.render:FORMATS",
    )
    output: Path | None = setting(
        None,
        "Write the table to this file. Its suffix chooses the format.",
        "-o/--output",
        metavar="FILE",
        panel="Output",
        decides=False,
    )
    store: Path | None = setting(
        None,
        "Keep experiments and rows in this file, and skip measurements that it has.",
        "--store",
        metavar="FILE",
        panel="Output",
        decides=False,
    )
    caption: str = _output(
        "",
        "Caption of a LaTeX table. Default: one sentence from its content.",
        "--caption",
        metavar="TEXT",
    )
    tex_label: str = _output(
        "",
        "Label of a LaTeX table, for \\ref. Default: one from the caption.",
        "--tex-label",
        metavar="LABEL",
    )


@dataclass(frozen=True)
class PaperTable(Output):
    """Where the table of a comparison goes, and how LaTeX sets it."""

    bold_best: bool = _output(
        False,
        "Set the best value of each baseline's group in bold (LaTeX).",
        "--bold-best",
    )


@dataclass(frozen=True)
class Drawing(Declared):
    """Settings of a figure.

    Raises:
        InputError: if a value is out of bounds.
    """

    width: float | None = _output(
        None,
        "Width of figures: column (3.3 in), page (6.9 in), or a length such as 84mm.",
        "--width",
        low=texts.SMALLEST_INCHES,
        high=texts.LARGEST_INCHES,
        metavar="WIDTH",
        parse=texts.width,
    )
    titles: bool = _output(
        True,
        "Show titles in figures, or leave them to a caption.",
        "--titles/--no-titles",
    )
    panels: str = _output("both", "Parts of figures of receptive fields.", "--panels", choices=PANELS)


__all__ = [
    "CONTRIBUTIONS",
    "DTYPES",
    "FEWEST_RESAMPLES",
    "LARGEST_BATCH",
    "LAYOUTS",
    "LAYOUT_RULE",
    "MEMORY_FORMATS",
    "METHODS",
    "PANELS",
    "PERCENTILES",
    "TASKS",
    "WARM_UP_RULE",
    "Drawing",
    "Execution",
    "Fields",
    "Output",
    "PaperTable",
    "Schedule",
    "Settings",
    "Timing",
    "Training",
]


@dataclass(frozen=True)
class Settings:
    """All settings of a measurement. Each metric takes those that concern it.

    Attributes:
        versions: versions of packages that the numbers rest on, beside those that every measurement records.
    """

    execution: Execution = field(default_factory=Execution)
    timing: Timing = field(default_factory=Timing)
    fields: Fields = field(default_factory=Fields)
    training: Training = field(default_factory=Training)
    versions: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Settings:
        """Return settings from keyword arguments; each goes to the classes that declare its name.

        Raises:
            InputError: if no class declares an argument, or a value does not fit.
        """
        return cls(*from_arguments((Execution, Timing, Fields, Training), arguments))

    @property
    def batches(self) -> tuple[int, ...]:
        """Batch sizes of a timing, each measured by itself."""
        return tuple(dict.fromkeys(self.timing.batches)) or (self.execution.batch,)

    def identity(self) -> dict[str, Any]:
        """Return what decides the numbers, as plain data."""
        groups = {name: getattr(self, name).identity() for name in ("execution", "timing", "fields", "training")}
        return {**groups, "versions": self.versions}
