"""What a measurement is: raw numbers that know their unit, scope and provenance. No torch, no formatted text."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
"""One measured row: raw numbers by key; a key carries its unit where the number has one (``median_seconds``)."""

SCHEMA = 1
"""Version of the JSON that rows are written in."""

_LONGEST_NAME = 100


@dataclass(frozen=True)
class Probe:
    """What a network is fed and where it runs.

    Attributes:
        resolution: input height and width, in pixels.
        batch: images in one forward pass.
        channels: input channels.
        dtype: element type of input and weights.
        device: device of the measurement.
        seed: seed of everything drawn at random.
    """

    resolution: tuple[int, int]
    batch: int = 1
    channels: int = 3
    dtype: str = "float32"
    device: str = "cpu"
    seed: int = 0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Input shape, ``(N, C, H, W)``."""
        return (self.batch, self.channels, *self.resolution)


def change(value: float | None, baseline: float | None) -> float | None:
    """Return the change of ``value`` against ``baseline`` as a fraction (−0.25: a quarter less), if it is defined."""
    if value is None or not baseline:
        return None
    return value / baseline - 1.0


def with_changes(rows: Sequence[Row], keys: Iterable[str], baseline: int) -> list[Row]:
    """Return the rows with ``<key>_change`` against row ``baseline`` for every key; ``None`` in that row itself."""
    reference = rows[baseline]
    return [
        {**row, **{f"{key}_change": None if row is reference else change(row[key], reference[key]) for key in keys}}
        for row in rows
    ]


def file_name(label: str) -> str:
    """Return a network's label, or any other text, as part of a file's name.

    The name holds no separator, does not begin with a dot and is not too long for a file. Two texts have two names: one
    that had to be altered ends in a checksum of the whole text.
    """
    kept = re.sub(r"[^\w.=,+-]+", "_", label, flags=re.ASCII).strip("_").lstrip(".-")[:_LONGEST_NAME]
    if kept == label and kept:
        return kept
    return f"{kept or 'unnamed'}_{zlib.crc32(label.encode(errors='surrogatepass')):08x}"
