"""The settings of measurements and of their output: frozen classes, each field declared once. Checked where made.

Command-line options, Python arguments, store keys and the report's sentences on method come from these declarations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scsc_lab.settings.declaration import identity
from scsc_lab.settings.measuring import (
    CONTRIBUTIONS,
    DTYPES,
    FEWEST_RESAMPLES,
    LARGEST_BATCH,
    LAYOUT_RULE,
    LAYOUTS,
    MEMORY_FORMATS,
    METHODS,
    WARM_UP_RULE,
    Execution,
    Fields,
    Timing,
)
from scsc_lab.settings.showing import PANELS, Drawing, Output
from scsc_lab.settings.training import TASKS, Training

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
    "TASKS",
    "WARM_UP_RULE",
    "Drawing",
    "Execution",
    "Fields",
    "Output",
    "Request",
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
    versions: tuple[tuple[str, str], ...] = ()

    @property
    def batches(self) -> tuple[int, ...]:
        """Batch sizes of a timing, each measured by itself."""
        return self.timing.batches or (self.execution.batch,)

    def identity(self) -> dict[str, Any]:
        """Return what decides the numbers, as plain data."""
        groups = {name: identity(getattr(self, name)) for name in ("execution", "timing", "fields")}
        return {**groups, "versions": self.versions}


FIELD_WORDS = ("stage", "initialisations")
"""Further words of a request that are about fields: of which stage, over how many initialisations."""


@dataclass(frozen=True)
class Request:
    """What a command was told about measuring; each metric takes from it what concerns it.

    Attributes:
        batch: images in one pass.
        device: ``auto`` or a device's name.
        threads: threads of one operator on the CPU.
        max_seconds: longest time that networks are timed side by side.
        pairs: rounds wanted when networks are timed.
        samples: images for each receptive field.
        seed: seed of everything drawn at random.
        seeds: random initialisations, or training runs, of each network; the metric's own number if ``None``.
        options: further words of the user's, by key: :data:`FIELD_WORDS`; the others are about training.
        runtimes: names of the runtimes that networks are timed in.
    """

    batch: int = 1
    device: str = "auto"
    threads: int = 1
    max_seconds: float = 20.0
    pairs: int = 64
    samples: int = 16
    seed: int = 0
    seeds: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    runtimes: tuple[str, ...] = ("torch",)
    min_seconds: float | None = None
