"""Settings of measurements: where networks run, how they are timed, and how their fields are measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scsc_lab.errors import InputError
from scsc_lab.settings import texts
from scsc_lab.settings.declaration import Declared, setting

DTYPES = ("float32", "bfloat16", "float16", "float64")
"""Element types that networks are timed in."""

MEMORY_FORMATS = ("auto", "contiguous", "channels_last")
"""Orders of an image's elements in memory; ``auto``: the one in which a network is faster, by :data:`LAYOUT_RULE`."""

LAYOUT_RULE = "the faster of the two by the median ratio of warm passes in both, tried by turns"
"""Rule for the order of elements where none is given."""

WARM_UP_RULE = "until three passes in a row are no longer faster, by 2 %, than the three before"
"""When a warm-up ends, unless its time is over first."""

FEWEST_RESAMPLES = 2000
"""Resamples below which a bootstrap interval is not reported."""

LOOKS = (12, 21, 36, 64, 112, 196, 343, 600)
"""Rounds after which a timing of no given length looks whether its intervals are narrow enough."""

LOOKS_FOR_VERDICT = 4
"""Number of looks where a clear verdict is enough."""

PERCENTILES = {90: 64, 95: 130, 99: 662}
"""Samples that a percentile needs, at 99 % confidence (the rule of MLPerf's LoadGen)."""

METHODS = ("linear", "replknet")
"""``linear``: the map as it is, each image normalised; ``replknet``: the published algorithm of arXiv 2203.06717."""

CONTRIBUTIONS = ("abs", "relu", "signed")
"""Treatment of a negative gradient: its absolute value, zero, or itself."""

LAYOUTS = ("nchw", "nhwc", "nlc", "ncl")
"""Orders of a feature map's axes: image, channels, height, width; ``l``: tokens, row by row."""

LARGEST_BATCH = 65536
"""Most images per pass."""


@dataclass(frozen=True)
class Execution(Declared):
    """Device, type, threads and batch of a forward pass.

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
    streams: int = setting(
        1,
        "Passes that run at once: throughput in place of latency.",
        "--streams",
        low=1,
        high=256,
        metavar="N",
        added=True,
    )
    train: bool = setting(False, "Forward and backward pass, in training mode.", "--train")
    batch: int = setting(1, "Images per forward pass.", "--batch", low=1, high=LARGEST_BATCH, metavar="N")
    seed: int = setting(
        0, "Seed of everything drawn at random.", "--seed", low=0, high=999_999_999, metavar="N", phrase="seed {}"
    )


@dataclass(frozen=True)
class Timing(Declared):
    """Settings of a latency measurement: length, runtimes and statistics.

    Raises:
        InputError: if a value is out of bounds, or the least time is more than the longest.
    """

    pairs: int | None = setting(
        None,
        "Rounds per batch size; a round times each network once. Default: until every verdict is clear, at most 64.",
        "--pairs",
        low=1,
        metavar="N",
        phrase="up to {} rounds",
    )
    min_seconds: float | None = setting(
        None,
        "Least time per batch size, in seconds. Default: 2, or --max-time if that is shorter.",
        "--min-time",
        low=0,
        metavar="SECONDS",
    )
    max_seconds: float = setting(
        20.0,
        "Time limit per batch size, in seconds.",
        "--max-time",
        low=0,
        metavar="SECONDS",
        phrase="up to {} s",
    )
    delta: float = setting(
        0.02,
        "Differences below this percentage count as equal.",
        "--delta",
        low=0,
        high=0.99,
        metavar="PERCENT",
        percent=True,
        phrase="“same” within ±{} %",
    )
    runtimes: tuple[str, ...] = setting(
        ("torch",),
        "Runtimes to time, comma-separated.",
        "--runtime",
        metavar="NAME,NAME",
        choices="scsc_lab.runtimes:registry",
        parse=texts.names,
    )
    batches: tuple[int, ...] = setting(
        (),
        "Batch sizes, comma-separated, e.g. 1,8,32. Default: 1.",
        "--batch-sizes",
        low=1,
        high=LARGEST_BATCH,
        metavar="N,N",
        parse=texts.numbers,
    )
    warm_up_seconds: float = setting(
        3.0,
        "Time limit of the warm-up per network and batch size, in seconds.",
        "--warm-up",
        low=0,
        metavar="SECONDS",
    )
    resamples: int = setting(
        5000,
        "Resamples of the bootstrap interval.",
        "--resamples",
        low=FEWEST_RESAMPLES,
        metavar="N",
        phrase="95 % intervals from {} bootstrap resamples",
    )

    percentiles: tuple[int, ...] = setting(
        (),
        "Percentiles to show, of 90, 95 and 99: at least 64, 130 or 662 rounds are timed.",
        "--percentiles",
        metavar="N,N",
        parse=texts.numbers,
        added=True,
    )
    precision: float | None = setting(
        None,
        "Time until every ratio's interval is within this percentage on both sides, at most 600 rounds.",
        "--precision",
        low=0.0001,
        high=0.99,
        metavar="PERCENT",
        percent=True,
        phrase="until intervals are within ±{} %",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for percent in self.percentiles:
            if percent not in PERCENTILES:
                raise InputError(f"{self.spelled('percentiles')} {percent}: one of 90, 95, 99")
        for name in ("pairs", "percentiles"):
            if getattr(self, name) and self.precision is not None:
                both = f"{self.spelled(name)} and {self.spelled('precision')}"
                raise InputError(f"{both} both decide how many rounds are timed: take one of them")
        if self.least_seconds > self.max_seconds:
            least, longest = self.spelled("min_seconds"), self.spelled("max_seconds")
            raise InputError(f"{least} {self.least_seconds:g} is more than {longest} {self.max_seconds:g}")

    @property
    def least_seconds(self) -> float:
        """Seconds to measure even if all rounds are done."""
        return min(2.0, self.max_seconds) if self.min_seconds is None else self.min_seconds

    @property
    def warm_up_limit(self) -> float:
        """Seconds after which a warm-up ends in any case; no longer than the measurement itself."""
        return min(self.warm_up_seconds, self.max_seconds)

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of rounds after which to look whether to stop, the last at the end; one with ``pairs``."""
        if self.pairs is not None:
            return (self.pairs,)
        if self.percentiles:
            return (max(PERCENTILES[percent] for percent in self.percentiles),)
        return LOOKS if self.precision is not None else LOOKS[:LOOKS_FOR_VERDICT]

    @property
    def confidence(self) -> float:
        """Level of the intervals: looks share an error of 5 % equally, so that all together miss with 5 % at most."""
        return 1 - 0.05 / len(self.looks)

    def is_done(self, rounds: int, seconds: float) -> bool:
        """Return whether to stop after this many rounds and seconds, whatever the times say."""
        return seconds >= self.max_seconds or (rounds >= self.looks[-1] and seconds >= self.least_seconds)

    def may_stop(self, rounds: int, seconds: float) -> bool:
        """Return whether to look, after this many rounds and seconds, if the intervals already allow to stop."""
        return rounds in self.looks[:-1] and seconds >= self.least_seconds

    def expected_seconds(self, round_seconds: float) -> float:
        """Return how long measuring takes at most if a round takes ``round_seconds``."""
        return min(max(self.looks[-1] * round_seconds, self.least_seconds), max(self.max_seconds, round_seconds))


@dataclass(frozen=True)
class Fields(Declared):
    """Settings of effective receptive fields.

    Raises:
        InputError: if a value is out of bounds, or two do not go together.
    """

    stages: tuple[str, ...] = setting(
        (), "Stage by name or number, or all. Repeatable. Default: the last.", "--stage", metavar="NAME"
    )
    layers: tuple[str, ...] = setting(
        (), "Module by dotted name, in place of a stage. Repeatable.", "--layer", metavar="NAME"
    )
    samples: int = setting(16, "Number of images per receptive field.", "--samples", low=1, high=100_000, metavar="N")
    images: Path | None = setting(
        None, "Folder to draw images from, evenly. Default: synthetic 1/f images.", "--images", metavar="FOLDER"
    )
    method: str = setting(
        "linear", "Map of each image. replknet: the published algorithm.", "--method", choices=METHODS
    )
    contribution: str = setting("abs", "Treatment of negative gradients.", "--contribution", choices=CONTRIBUTIONS)
    layout: str | None = setting(
        None, "Order of the map's axes, where its shape is ambiguous.", "--layout", choices=LAYOUTS
    )
    seeds: int | None = setting(
        None,
        "Random initialisations to average. Default: 3, or 1 with trained weights.",
        "--seeds",
        low=1,
        high=1000,
        metavar="N",
    )
    chunk: int | None = setting(
        None,
        "Images per pass. Default: as many as the memory allows.",
        "--batch",
        low=1,
        high=LARGEST_BATCH,
        metavar="N",
        decides=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stages and self.layers:
            raise InputError(f"{self.spelled('stages')} and {self.spelled('layers')}: take one of them")
        if self.method == "replknet" and self.contribution == "signed":
            method, contribution = self.spelled("method"), self.spelled("contribution")
            raise InputError(f"{method} replknet drops negative gradients, as published: leave {contribution} out")

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide the numbers, as plain data: of a folder of images its files' names and sizes.

        Raises:
            InputError: if the folder is not there.
        """
        identity = super().identity()
        if self.images is not None:
            if not self.images.is_dir():
                raise InputError(f"no folder {str(self.images)!r}")
            files = (path for path in sorted(self.images.rglob("*")) if path.is_file())
            identity["images"] = [(str(path.relative_to(self.images)), path.stat().st_size) for path in files]
        return identity
