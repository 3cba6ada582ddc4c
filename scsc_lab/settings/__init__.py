"""The settings of measurements and of their output: frozen classes, each field declared once.

Command-line options, Python arguments, store keys and the report's sentences on method come from these declarations.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scsc_lab.errors import InputError, nearest
from scsc_lab.settings import texts
from scsc_lab.settings.declaration import check, setting

DTYPES = ("float32", "bfloat16", "float16", "float64")
"""Element types that networks are timed in."""

MEMORY_FORMATS = ("auto", "contiguous", "channels_last")
"""Orders of an image's elements in memory; ``auto``: the one in which a network is faster, by :data:`LAYOUT_RULE`."""

LAYOUT_RULE = "the faster of the two by the median ratio of warm passes in both, tried by turns"
"""How the order of elements is chosen where it is not given."""

WARM_UP_RULE = "until three passes in a row are no longer faster, by 2 %, than the three before"
"""When a warm-up ends, unless its time is over first."""

FEWEST_RESAMPLES = 2000
"""Resamples below which a bootstrap interval is not reported."""

LARGEST_BATCH = 65536


@dataclass(frozen=True)
class Execution:
    """Where and how networks run.

    Raises:
        InputError: if a value is out of bounds.
    """

    device: str = setting(
        "auto", "Device: auto, cpu, cuda, cuda:N or mps.", "--device", metavar="NAME", parse=texts.device
    )
    dtype: str = setting("float32", "Element type of weights and input.", "--dtype", choices=DTYPES)
    memory_format: str = setting(
        "auto",
        "Order of the elements of weights and input. auto: the faster of the two.",
        "--memory-format",
        choices=MEMORY_FORMATS,
    )
    threads: int = setting(1, "Threads per operator on the CPU.", "--threads", low=1, high=4096, metavar="N")
    train: bool = setting(False, "Forward and backward pass, in training mode.", "--train")
    batch: int = setting(1, "Images per forward pass.", "--batch", low=1, high=LARGEST_BATCH, metavar="N")
    seed: int = setting(
        0, "Seed of everything drawn at random.", "--seed", low=0, high=999_999_999, metavar="N", phrase="seed {}"
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Output:
    """Where a table goes, and in which format.

    Raises:
        InputError: if a value is out of bounds.
    """

    format: str | None = setting(
        None,
        "Format of the table. Default: by the suffix of --output, else table.",
        "--format",
        choices="scsc_lab.report.render:FORMATS",
        panel="Output",
        decides=False,
    )
    output: Path | None = setting(
        None,
        "Write the table to this file. Its suffix chooses the format.",
        "-o/--output",
        metavar="FILE",
        panel="Output",
        decides=False,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Budget:
    """How long several runs are measured side by side; at least one round is always measured.

    Attributes:
        pairs: rounds wanted, in each of which every run is timed once.
        min_seconds: measure on until this much time has passed, even if the rounds are there.
        max_seconds: measure no further round after this much time, even if rounds are missing.

    Raises:
        InputError: if there are no pairs, or times are negative, not finite or the wrong way round.
    """

    pairs: int = 64
    min_seconds: float = 2.0
    max_seconds: float = 35.0

    def __post_init__(self) -> None:
        _at_least("pairs", self.pairs, 1)
        for name, seconds in (("least time", self.min_seconds), ("longest time", self.max_seconds)):
            if not (math.isfinite(seconds) and seconds >= 0):
                raise InputError(f"{name} {seconds:g}: a number of seconds from 0 up")
        if self.min_seconds > self.max_seconds:
            raise InputError(
                f"the least time, {self.min_seconds:g} s, is more than the longest, {self.max_seconds:g} s"
            )

    def done(self, rounds: int, seconds: float) -> bool:
        """Return whether to stop after this many rounds and seconds."""
        return seconds >= self.max_seconds or (rounds >= self.pairs and seconds >= self.min_seconds)

    def expected_seconds(self, round_seconds: float) -> float:
        """Return how long measuring takes if a round takes ``round_seconds``."""
        return min(max(self.pairs * round_seconds, self.min_seconds), max(self.max_seconds, round_seconds))


@dataclass(frozen=True)
class Plan:
    """Everything that a latency measurement is told.

    Attributes:
        execution: where and how networks run.
        budget: how long they are measured, for each batch size.
        batches: batch sizes, each measured by itself.
        seed: seed of inputs, random weights, order and bootstrap.
        delta: relative difference of two times that counts as none, for the verdict ``same``.
        resamples: resamples of the bootstrap.
        warm_up_seconds: longest warm-up of a network at a batch size, not counting its first pass.
        noise: whether the baseline is timed twice in every round, for a noise floor under the same conditions.
        runtimes: names of the runtimes that each network is timed in, all in the same rounds.
        versions: versions of the packages of those runtimes, which the times rest on; those of torch are known.

    Raises:
        InputError: if a value is out of bounds.
    """

    execution: Execution = field(default_factory=Execution)
    budget: Budget = field(default_factory=Budget)
    batches: tuple[int, ...] = (1,)
    seed: int = 0
    delta: float = 0.02
    resamples: int = 5000
    warm_up_seconds: float = 3.0
    noise: bool = False
    runtimes: tuple[str, ...] = ("torch",)
    versions: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.runtimes:
            raise InputError("no runtimes: name at least one, e.g. torch")
        if not self.batches:
            raise InputError("no batch sizes: name at least one")
        for batch in self.batches:
            _at_least("batch size", batch, 1)
        _at_least("seed", self.seed, 0)
        _at_least("resamples", self.resamples, FEWEST_RESAMPLES)
        if not (math.isfinite(self.delta) and 0 <= self.delta < 1):
            raise InputError(f"delta {self.delta:g}: a fraction from 0 to 1, e.g. 0.02")
        if not (math.isfinite(self.warm_up_seconds) and self.warm_up_seconds >= 0):
            raise InputError(f"warm-up {self.warm_up_seconds:g}: a number of seconds from 0 up")

    def identity(self) -> dict[str, Any]:
        """Return what decides the times, as plain data; in torch alone that which older rows were kept under."""
        found = asdict(self)
        runtimes, versions = found.pop("runtimes"), found.pop("versions")
        found["execution"] = {**found["execution"], "compile": tuple(runtimes) == ("compile",)}
        alone = tuple(runtimes) in (("torch",), ("compile",))
        return found if alone else {**found, "runtimes": runtimes, "versions": versions}


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


def _one_of(what: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise InputError(f"{what} {word!r}: one of {', '.join(known)}{nearest(word, known)}")


def _at_least(what: str, number: int, least: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise InputError(f"{what} {number!r}: a whole number from {least} up")
