"""The record of a training run's data that goes with its weights: which images and classes they were trained on.

It is in the metadata of a ``.safetensors`` file, and in ``FILE.json`` beside a ``.pth`` file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scsc_lab import files
from scsc_lab.training.data import Data

KEY = "scsc_lab.trained_on"
"""Key of the record in the metadata of a ``.safetensors`` file."""


@dataclass(frozen=True)
class TrainedOn:
    """What weights were trained on.

    Attributes:
        data: name of the data set.
        classes: names of the classes of each task, in the order of the outputs.
        split: share of the images that was the test; 0: the data has splits of its own.
        seed: seed of the run, which divided the images.
        divided: digest of the divided images, as in :class:`scsc_lab.training.data.Data`.
    """

    data: str
    classes: tuple[tuple[str, ...], ...]
    split: float
    seed: int
    divided: str

    @classmethod
    def of(cls, data: Data, split: float, seed: int) -> TrainedOn:
        """Return the record of a run."""
        return cls(data.name, tuple(task.classes for task in data.tasks), split, seed, data.divided)

    def text(self) -> str:
        """Return the record as JSON."""
        return json.dumps(asdict(self))


def beside(weights: Path) -> Path:
    """Return the file of the record of weights whose own file has no place for it."""
    return weights.with_name(f"{weights.name}.json")


def write_beside(weights: Path, record: str) -> None:
    """Write the record of a ``.pth`` file."""
    files.write(beside(weights), record)


def read(weights: Path) -> TrainedOn | None:
    """Return the record of a file of weights, or None if it has none that can be read."""
    try:
        text = _metadata(weights) if weights.suffix == ".safetensors" else files.read_text(beside(weights))
        values: dict[str, Any] = json.loads(text)
        classes = tuple(tuple(map(str, names)) for names in values["classes"])
        return TrainedOn(
            str(values["data"]), classes, float(values["split"]), int(values["seed"]), str(values["divided"])
        )
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
        return None


def _metadata(weights: Path) -> str:
    """Return the record from the head of a ``.safetensors`` file: eight bytes of length, then JSON."""
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > 100_000_000:
            raise ValueError("no head of a .safetensors file")
        return str(json.loads(file.read(length))["__metadata__"][KEY])
