"""The record of a training run's data that goes with its weights: which images and classes they were trained on.

It is in the metadata of a ``.safetensors`` file, and in ``FILE.json`` beside a ``.pth`` file.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scsc_lab import files
from scsc_lab.errors import InputError
from scsc_lab.training.data import Data, Split
from scsc_lab.training.data.encoded import Encoded

KEY = "scsc_lab.trained_on"
"""Key of the record in the metadata of a ``.safetensors`` file."""

_SAMPLED = 64
"""Training images that a record tells from others."""


@dataclass(frozen=True)
class TrainedOn:
    """Training data of weights.

    Attributes:
        data: name of the data set.
        classes: names of the classes of each task, in the order of the outputs.
        split: share of the images that was the test; 0: the data has splits of its own.
        seed: seed of the run, which divided the images.
        divided: digest of the divided images, as in :class:`scsc_lab.training.data.Data`.
        sample: digests of up to 64 training images that are files or rows, each with its folder and name.
    """

    data: str
    classes: tuple[tuple[str, ...], ...]
    split: float
    seed: int
    divided: str
    sample: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: Data, split: float, seed: int) -> TrainedOn:
        """Return the record of a run."""
        classes, count = tuple(task.classes for task in data.tasks), len(data.train.labels)
        places = range(0, count, max(-(-count // _SAMPLED), 1))
        sample = filter(None, (_key(data.train, at) for at in places)) if isinstance(data.train, Encoded) else ()
        return cls(data.name, classes, split, seed, data.divided, tuple(sample))

    def among(self, split: Split) -> int:
        """Return how many images of the sample are in a split."""
        if not isinstance(split, Encoded):
            return 0
        names = {key.partition(" ")[2] for key in self.sample}
        keys = {_key(split, at) for at in range(len(split.labels)) if _name(split, at) in names}
        return len(keys & set(self.sample))

    def text(self) -> str:
        """Return the record as JSON."""
        return json.dumps(asdict(self))


def _key(split: Encoded, at: int) -> str:
    """Return the digest of an image's content, with its folder and name if it is a file; empty if it is gone."""
    try:
        source, _ = split.sources.source(int(split.indices[at]))
        content = source if isinstance(source, bytes) else source.read_bytes()
    except (InputError, OSError):
        return ""
    return f"{hashlib.sha256(content).hexdigest()[:16]} {_name(split, at)}"


def _name(split: Encoded, at: int) -> str:
    source, _ = split.sources.source(int(split.indices[at]))
    return "" if isinstance(source, bytes) else "/".join(source.parts[-2:])


def record_path(weights: Path) -> Path:
    """Return the file of the record of a ``.pth`` file, which has no place for it."""
    return weights.with_name(f"{weights.name}.json")


def read(weights: Path) -> TrainedOn | None:
    """Return the record of a file of weights, or None if it has none that can be read."""
    try:
        text = _metadata(weights) if weights.suffix == ".safetensors" else files.read_text(record_path(weights))
        values: dict[str, Any] = json.loads(text)
        classes = tuple(tuple(map(str, names)) for names in values["classes"])
        return TrainedOn(
            str(values["data"]),
            classes,
            float(values["split"]),
            int(values["seed"]),
            str(values["divided"]),
            tuple(map(str, values.get("sample", ()))),
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
