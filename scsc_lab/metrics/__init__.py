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
from typing import Any, Protocol

from scsc_lab.errors import InputError, nearest
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.report.tables import Column
from scsc_lab.settings import Settings

CUT_SHORT = "cut short"
"""Status, under ``<metric>_status``, of a row that an interrupt ended: it is shown and not kept."""

FAILED = "failed"
"""Status of a row of what could not be measured: it is shown and not kept, and the exit code is 1."""


class Progress(Protocol):
    """Called with a description and the share of the measurement that is done."""

    def __call__(self, description: str, share: float = 0.0, /) -> None:
        """Take a line of text and a share from 0 to 1."""


@dataclass(frozen=True)
class Parts:
    """Parts of a metric: measurements of another metric, each stored and resumed by itself.

    Attributes:
        metric: name of the other metric.
        split: takes a network and the settings; returns the settings of each part.
    """

    metric: str
    split: Callable[[Network, Any], list[Any]]


@dataclass(frozen=True)
class Metric:
    """One way of measuring networks.

    Attributes:
        name: its name in rows and keys.
        columns: the numbers it gives; each has a ``word`` that ``--with`` and ``--plot`` take.
        configure: returns those of all settings that decide its numbers, as frozen data; the others have no part in its
            key.
        measure: takes networks, the settings and a progress report; returns the rows of each network, in order. Where
            the networks are measured together the first is the baseline. ``None`` where it is made of parts.
        parts: names of the parts that it is made of, if it does not measure itself.
        rows_per_network: takes a network and the settings; returns the number of rows that ``measure`` gives of it.
        join: takes the rows of one network that are there, at least one; returns what one row says of all.
        notes: returns what must be known to read its columns, from rows.
        alone: whether nothing else may run on the machine.
        together: whether networks are measured side by side, in one task.
        default: words of the columns that a comparison shows if none are named.
        checkpoint_to: takes the settings and a folder; returns the settings with the folder as the place of the files
            that an interrupted measurement resumes from.
        clean_up: takes networks and settings; removes the files it would resume from: the rows are kept.
        is_incomplete: takes a kept row and settings; returns whether a file that is wanted beside it is missing. Such
            a row is measured again.
        extra_columns: returns the words of columns that options imply beside those that are named.
        table_rows: returns the rows of further tables of a report that a network's row holds, each with its ``table``.
        check: takes all networks and settings that are to be measured; raises InputError if some do not go together,
            before anything is measured.
    """

    name: str
    columns: tuple[Column, ...]
    configure: Callable[[Settings], Any]
    measure: Callable[[Sequence[Network], Any, Progress], list[Row]] | None = None
    parts: Parts | None = None
    rows_per_network: Callable[[Network, Any], int] = lambda network, settings: 1
    join: Callable[[Sequence[Row]], Row] = lambda rows: rows[0]
    notes: Callable[[Sequence[Row]], list[str]] = lambda rows: []
    alone: bool = False
    together: bool = False
    default: tuple[str, ...] = ()
    checkpoint_to: Callable[[Any, str], Any] | None = None
    clean_up: Callable[[Sequence[Network], Any], None] = lambda networks, settings: None
    is_incomplete: Callable[[Row, Any], bool] | None = None
    extra_columns: Callable[[Settings], Sequence[str]] = lambda settings: ()
    table_rows: Callable[[Row], list[Row]] = lambda row: []
    check: Callable[[Sequence[tuple[Sequence[Network], Any]]], None] | None = None


@functools.cache
def registry() -> dict[str, Metric]:
    """Return every metric by name: those of the modules of this folder that set ``METRIC``, in their ``ORDER``."""
    modules = [importlib.import_module(f"{__name__}.{name}") for name in _files()]
    metrics = [module for module in modules if isinstance(getattr(module, "METRIC", None), Metric)]
    metrics.sort(key=lambda module: getattr(module, "ORDER", 100))
    return {module.METRIC.name: module.METRIC for module in metrics}


@functools.cache
def find(name: str) -> Metric | None:
    """Return the metric of a name, which is that of its module, without importing the others; None if there is none."""
    metric = getattr(importlib.import_module(f"{__name__}.{name}"), "METRIC", None) if name in _files() else None
    return metric if isinstance(metric, Metric) else None


@functools.cache
def _files() -> list[str]:
    return [info.name for info in pkgutil.iter_modules(__path__)]


def columns() -> dict[str, Column]:
    """Return every column by its word."""
    return {column.word: column for metric in registry().values() for column in metric.columns}


def column_names() -> list[str]:
    """Return the names of all columns."""
    return list(columns())


_SYNONYMS = {
    "macs": "flops gflops gmacs mac flop madds cost",
    "latency": "time speed fps throughput seconds ms",
    "params": "parameters weights size param",
    "erf": "field receptive_field rf r(50%)",
    "top1": "published imagenet acc@1 top-1",
    "bytes": "traffic",
    "memory": "activation_memory ram peak",
    "accuracy": "acc trained",
}
"""Other names of quantities, by the word of the column."""


def meant(name: str) -> str:
    """Return ``"; did you mean macs?"`` for another name of a column or a mistyped one, or an empty string."""
    synonym = next((column for column, names in _SYNONYMS.items() if name.lower() in names.split()), "")
    return f"; did you mean {synonym}?" if synonym else nearest(name, columns())


def default_column_names() -> list[str]:
    """Return the words of the columns that a comparison shows if none are named."""
    return [column for metric in registry().values() for column in metric.default]


def chosen(column_names: Iterable[str]) -> list[Metric]:
    """Return the metrics that give the columns of some words, each once, in their order.

    Raises:
        InputError: if there is no such column.
    """
    names = set()
    for column_name in column_names:
        if column_name not in columns():
            raise InputError(f"unknown column {column_name!r}: one of {', '.join(columns())}{meant(column_name)}")
        names.add(column_name)
    return [metric for metric in registry().values() if names & {column.word for column in metric.columns}]


def with_extra_columns(column_names: Sequence[str], settings: Settings) -> list[str]:
    """Return words of columns with those that the options imply, behind the last of their metric.

    Raises:
        InputError: if there is no such column.
    """
    extended = list(column_names)
    for metric in chosen(column_names):
        last = max(
            at for at, column_name in enumerate(extended) if column_name in {column.word for column in metric.columns}
        )
        extended[last + 1 : last + 1] = [
            column_name for column_name in metric.extra_columns(settings) if column_name not in extended
        ]
    return extended


def notes(rows: Sequence[Row], column_names: Sequence[str]) -> list[str]:
    """Return what must be known to read the columns of some words, from rows."""
    return list(dict.fromkeys(note for metric in chosen(column_names) for note in metric.notes(rows)))
