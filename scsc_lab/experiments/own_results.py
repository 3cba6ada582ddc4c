"""The user's own results: accuracies, or anything else that is measured elsewhere, from a CSV file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from scsc_lab import files
from scsc_lab.errors import InputError, nearest
from scsc_lab.networks import catalog
from scsc_lab.networks.network import Network

_COLUMNS = ("model", "metric", "value")


def read(path: Path, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the values by metric of every network, from a CSV file with the columns model, metric and value.

    Args:
        path: the file; other columns are left alone, and so are rows about other networks of the catalog.
        labels: the networks asked about, as they are called in tables.

    Returns:
        values by metric by label, metrics in the file's order.

    Raises:
        InputError: if the file is not such a table, a value is no number, or a network is given twice for a metric.
    """
    reader = csv.DictReader(io.StringIO(files.read_text(path, "utf-8-sig")), skipinitialspace=True)
    missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}: its first line must name model,metric,value")
    values: dict[str, dict[str, float]] = {label: {} for label in labels}
    try:
        rows = list(reader)
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV file: {error}") from None
    for number, row in enumerate(rows, start=2):
        label = _label(row, labels, f"{path}, line {number}")
        if label is None:
            continue
        metric = (row["metric"] or "").strip()
        if not metric:
            raise InputError(f"{path}, line {number}: no metric; write its name, e.g. top-1")
        if metric in values[label]:
            raise InputError(f"{path}, line {number}: {label} has a second {metric}")
        values[label][metric] = _number(row["value"], f"{path}, line {number}")
    return values


def metrics(values: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the metrics that any network has, in order."""
    return list(dict.fromkeys(metric for of_network in values.values() for metric in of_network))


def _label(row: Mapping[str, str | None], labels: Sequence[str], where: str) -> str | None:
    name = (row["model"] or "").strip()
    if name in labels:
        return name
    if not name:
        raise InputError(f"{where}: no model")
    if catalog.is_external(name):
        return None
    try:
        label = Network.read(name).text
    except InputError:
        raise InputError(f"{where}: unknown model {name!r}{nearest(name, [*labels, *catalog.CATALOG])}") from None
    return label if label in labels else None


def _number(text: str | None, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: value {text!r} is not a number")
    return value
