"""The metrics that networks are measured by: one file each in this folder, and the registry that finds them.

A file of this folder that sets ``METRIC`` is a metric: comparisons, ablations, reports, plots, ``--with`` and its help
read it here and name none. Its mechanism is imported inside ``measure``: columns, notes and help need no torch.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from scsc_lab.architectures.network import Network
from scsc_lab.errors import InputError, nearest
from scsc_lab.records import Row
from scsc_lab.report.tables import Column
from scsc_lab.settings import Request


class Tell(Protocol):
    """Told what is being done, and which share of the measurement is."""

    def __call__(self, what: str, share: float = 0.0, /) -> None:
        """Take a line of text and a share from 0 to 1."""


def nothing_more(request: Request) -> list[str]:
    """Return no words."""
    return []


def no_notes(rows: Sequence[Row]) -> list[str]:
    """Return no notes."""
    return []


def nothing_lacks(row: Row, settings: Any) -> bool:
    """Return that a row lacks nothing."""
    return False


@dataclass(frozen=True)
class Parts:
    """What a metric is made of: measurements of another metric, each kept and gone on from by itself.

    Attributes:
        metric: name of the other metric.
        split: takes a network and the settings; returns the settings of each part.
        join: takes the rows of the parts that are there, at least one, and returns the network's row.
    """

    metric: str
    split: Callable[[Network, Any], list[Any]]
    join: Callable[[Sequence[Row]], Row]


@dataclass(frozen=True)
class Metric:
    """One way of measuring networks.

    Attributes:
        name: what it is called in rows and keys.
        columns: the numbers it gives; each has a ``word`` that ``--with`` and ``--plot`` take.
        configure: returns the settings, frozen data, from what a command was told.
        measure: takes networks, the settings and what to tell; returns one row a network, in order. Where the
            networks are measured together the first is the baseline. ``None`` where it is made of parts.
        parts: what it is made of, if it does not measure itself.
        notes: returns what must be known to read its columns, from rows.
        where: ``anywhere``; ``alone``: nothing else may run on the machine; ``accelerator``.
        together: whether networks are measured side by side, in one go.
        kept: whether a store keeps its rows; what costs nothing need not be kept.
        usual: whether a comparison shows it unless told otherwise.
        seldom: words of the columns that it does not show even then.
        placed: takes the settings and a folder; returns the settings with the folder as the place of whatever a
            measurement that was killed goes on from.
        tidy: takes networks and settings; removes what was there to go on from: the rows are kept.
        lacks: takes a row that is kept and settings; returns whether a file is gone, or was never written, that the
            settings want beside the row. Such a row is measured again.
        more: returns the words of columns that a request gives beside those that are asked for by word.
        check: takes all networks and settings that are to be measured; raises InputError if some do not go together,
            so that this is known before anything is measured.
    """

    name: str
    columns: tuple[Column, ...]
    configure: Callable[[Request], Any]
    measure: Callable[[Sequence[Network], Any, Tell], list[Row]] | None = None
    parts: Parts | None = None
    notes: Callable[[Sequence[Row]], list[str]] = no_notes
    where: Literal["anywhere", "alone", "accelerator"] = "anywhere"
    together: bool = False
    kept: bool = True
    usual: bool = True
    seldom: tuple[str, ...] = ()
    placed: Callable[[Any, Path], Any] | None = None
    tidy: Callable[[Sequence[Network], Any], None] | None = None
    lacks: Callable[[Row, Any], bool] = nothing_lacks
    more: Callable[[Request], Sequence[str]] = nothing_more
    check: Callable[[Sequence[tuple[Sequence[Network], Any]]], None] | None = None


@functools.cache
def registry() -> dict[str, Metric]:
    """Return every metric by name: those of the modules of this folder that set ``METRIC``, in their ``ORDER``."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    metrics = [module for module in modules if isinstance(getattr(module, "METRIC", None), Metric)]
    metrics.sort(key=lambda module: getattr(module, "ORDER", 100))
    return {module.METRIC.name: module.METRIC for module in metrics}


def columns() -> dict[str, Column]:
    """Return every column by its word."""
    return {column.word: column for metric in registry().values() for column in metric.columns}


def words(usual: bool = False) -> list[str]:
    """Return the words of all columns, or of those that a comparison shows unless told otherwise."""
    return [
        column.word
        for metric in registry().values()
        for column in metric.columns
        if not usual or (metric.usual and column.word not in metric.seldom)
    ]


def chosen(given: Iterable[str]) -> list[Metric]:
    """Return the metrics that give the columns of some words, each once, in their order.

    Raises:
        InputError: if a word is none.
    """
    wanted = set()
    for word in given:
        if word not in columns():
            raise InputError(f"unknown column {word!r}: one of {', '.join(columns())}{nearest(word, columns())}")
        wanted.add(word)
    return [metric for metric in registry().values() if wanted & {column.word for column in metric.columns}]


def asked(given: Sequence[str], request: Request) -> list[str]:
    """Return the words of the columns that are asked for: by word, and by what a request says of their metrics.

    Raises:
        InputError: if a word is none.
    """
    found = list(given)
    for metric in chosen(given):
        last = max(at for at, word in enumerate(found) if word in {column.word for column in metric.columns})
        found[last + 1 : last + 1] = [word for word in metric.more(request) if word not in found]
    return found


def notes(rows: Sequence[Row], given: Sequence[str]) -> list[str]:
    """Return what must be known to read the columns of some words, from rows."""
    return [note for metric in chosen(given) for note in metric.notes(rows)]
