"""What several commands share: options that no settings class declares, and warnings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from scsc_lab.architectures.network import Network
from scsc_lab.cli.parameters import option
from scsc_lab.metrics import accuracy
from scsc_lab.training.plan import SEEDS

Probe = Annotated[
    Path | None,
    option(
        "Show these rows of trained pico networks beside the claims about accuracy.", "--probe", metavar="ROWS.jsonl"
    ),
]


def warn_of_few_seeds(tables: Iterable[Sequence[Network]], words: Sequence[str], seeds: int | None) -> None:
    """Print, before anything is trained, that networks cannot be told apart with so few seeds.

    Args:
        tables: networks of one table, those of each baseline behind it.
        words: what they are compared by; without accuracy, nothing is trained.
        seeds: runs of each network. Default: those of training.
    """
    for line in accuracy.shortage(tables, seeds or SEEDS) if "accuracy" in words else []:
        typer.echo(line, err=True)
