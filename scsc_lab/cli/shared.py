"""What several commands share: options that no settings class declares, selections of settings, and warnings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from scsc_lab import metrics
from scsc_lab.cli.parameters import Only, Reworded, option
from scsc_lab.metrics import accuracy
from scsc_lab.networks.network import Network
from scsc_lab.settings import Execution, Fields, Timing, Training, texts
from scsc_lab.training.plan import SEEDS

Columns = Annotated[
    tuple[str, ...],
    option(
        "Columns to measure, comma-separated.",
        "--with",
        metavar="COLUMNS",
        choices=tuple(metrics.words()),
        parse=texts.some_of(metrics.words),
    ),
]
Probe = Annotated[
    Path | None,
    option(
        "Show these rows of trained pico networks beside the claims about accuracy.",
        "--probe",
        metavar="FILE",
        panel="Output",
    ),
]
Store = Annotated[
    Path | None,
    option("Keep rows in this file, and skip measurements that it has.", "--store", metavar="FILE", panel="Output"),
]
Jobs = Annotated[
    int, option("Processes that count and train in parallel.", "--jobs", low=1, metavar="N", panel="Measurement")
]
Executor = Annotated[
    str,
    option(
        "Where to run: local, or a Dask scheduler, tcp://host:8786.",
        "--executor",
        metavar="ADDRESS",
        panel="Measurement",
    ),
]

MeasuredIn = Annotated[Execution, Only("device", "threads", "batch", "seed")]
"""Settings of execution in a command that measures several columns."""

Timed = Annotated[Timing, Only("pairs", "max_seconds", "delta", "runtimes")]
"""Settings of timing in such a command."""

Drawn = Annotated[
    Fields,
    Only("stages", "samples", "seeds"),
    Reworded(seeds="Training runs per network (default: 10), initialisations per field (default: 3)."),
]
"""Settings of receptive fields in such a command."""

Trained = Annotated[Training, Only("data", "recipe", "recipe_set", "seeds")]
"""Settings of training in such a command."""


def warn_of_few_seeds(tables: Iterable[Sequence[Network]], words: Sequence[str], seeds: int | None) -> None:
    """Print, before anything is trained, that networks cannot be told apart with so few seeds.

    Args:
        tables: networks of one table, those of each baseline behind it.
        words: what they are compared by; without accuracy, nothing is trained.
        seeds: runs of each network. Default: those of training.
    """
    for line in accuracy.shortage(tables, seeds or SEEDS) if "accuracy" in words else []:
        typer.echo(line, err=True)
