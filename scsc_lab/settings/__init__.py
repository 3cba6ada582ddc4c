"""The settings of measurements and of their output: frozen classes, each field declared once. Checked where made.

Command-line options, Python arguments, store keys and the report's sentences on method come from these declarations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scsc_lab.settings.arguments import from_arguments
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
from scsc_lab.settings.showing import PANELS, Drawing, Output, PaperTable
from scsc_lab.settings.training import TASKS, Schedule, Training

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
