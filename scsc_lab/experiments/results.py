"""Experiments read back: a wide row per arm, with its changes against its baseline; the user's own results. No torch.

The same function serves new rows and the rows of a file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scsc_lab import files, metrics, units
from scsc_lab.errors import InputError, nearest
from scsc_lab.metrics import CUT_SHORT, published
from scsc_lab.networks import catalog
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.latency import key_in
from scsc_lab.report.tables import Change, Column
from scsc_lab.store import Store


@dataclass(frozen=True)
class Result:
    """An experiment with its rows.

    Attributes:
        experiment: its content, as :meth:`scsc_lab.experiments.experiment.Experiment.row` gives it.
        arms: its arms, as :meth:`scsc_lab.experiments.experiment.Arm.row` gives them.
        rows: one per arm, in order: its names, its numbers, and their changes against its baseline.
        further: rows of further tables of a report, each with its ``table``: receptive fields, parts, claims.
    """

    experiment: Row
    arms: tuple[Row, ...]
    rows: tuple[Row, ...]
    further: tuple[Row, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that are shown, the user's own among them."""
        registered = metrics.columns()
        return (
            *(registered[name] for name in self.experiment["columns"] if name in registered),
            *user_columns(self.rows),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for readers of the rows."""
        values = ", ".join(column.word for column in user_columns(self.rows))
        names = [name for name in self.experiment["columns"] if name in metrics.columns()]
        return (*metrics.notes(self.rows, names), *([f"Yours: {values}, from the file given."] if values else []))


def read(store: Store) -> list[Result]:
    """Return every experiment of a store, with the rows that are there."""
    rows = store.all_rows()
    return [result(content, arms, uses, rows) for content, arms, uses in store.experiments()]


def result(experiment: Row, arms: Sequence[Row], uses: Sequence[Row], rows: Mapping[str, Sequence[Row]]) -> Result:
    """Return an experiment with the rows of its arms.

    Args:
        experiment: its content.
        arms: its arms, in order.
        uses: the rows that its arms have, by the keys of measurements.
        rows: the rows of measurements, by key.
    """
    arms = _with_originals(arms) if experiment["kind"] == "comparison" else arms
    names = [_arm_names(arm, arms, experiment) for arm in arms]
    merged = [dict(name) for name in names]
    further: list[Row] = []
    parts: dict[tuple[int, str], list[Row]] = {}
    for use in uses:
        parts.setdefault((use["arm"], use["metric"]), []).append(use)
    for (at, name), needed in parts.items():
        metric = metrics.find(name)
        row = _joined(metric, needed, rows) if metric else {}
        if metric is None or not row:
            continue
        labels: Row = {key: names[at][key] for key in ("model", "network", "resolution", "inputs") if key in names[at]}
        further += [{"table": inner["table"], **labels, **inner} for inner in metric.table_rows(row)]
        if "runs" in row:
            pairs = (
                {"pair": run["seed"] - arms[at]["seed_shift"]} if arms[at]["seed_shift"] else {} for run in row["runs"]
            )
            row["runs"] = [
                {"model": labels["model"], **run, **pair} for run, pair in zip(row["runs"], pairs, strict=True)
            ]
        if metric.columns:
            merged[at] |= row
        if "published_top1" in row:
            merged[at] = published.at_its_own_size(merged[at])
    return Result(experiment, tuple(arms), tuple(with_changes(merged, experiment, arms)), tuple(further))


def with_changes(rows: Sequence[Row], experiment: Row, arms: Sequence[Row]) -> list[Row]:
    """Return rows with the change of every number against the row of each arm's baseline."""
    measured = map(metrics.find, experiment["metrics"])
    columns = [*(column for metric in measured if metric for column in metric.columns), *user_columns(rows)]
    changed: list[Row] = []
    for row, arm in zip(rows, arms, strict=True):
        baseline = row if arm["baseline"] is None else rows[arm["baseline"]]
        timed = _timed_against(row, baseline) if arm.get("timed_against") else row
        changed.append(tables.with_change(timed, baseline, columns))
    return tables.across(changed, columns)


def _with_originals(arms: Sequence[Row]) -> list[Row]:
    """Return arms in which a network with a module put in is compared with its own original, if that is among them.

    Where its time was paired with another network's, ``timed_against`` is true.
    """
    originals = {(arm["network"], tuple(arm["resolution"])): at for at, arm in enumerate(arms) if not arm["metrics"]}
    corrected = []
    for arm in arms:
        text, added, _ = arm["network"].partition(" + ")
        at = originals.get((text, tuple(arm["resolution"]))) if added else None
        moved = at is not None and arm["baseline"] == 0 == arms[at]["baseline"]  # timed in the same rounds
        corrected.append({**arm, "baseline": at, "timed_against": True} if moved else arm)
    return corrected


def _timed_against(row: Row, baseline: Row) -> Row:
    """Return a row with its times compared with those of a network in the same rounds, in each runtime."""
    from scsc_lab.analysis import paired

    added: Row = {}
    for runtime in row.get("runtimes") or ():
        keys = {
            key: key_in(runtime, key) for key in ("ratio", "ratio_low", "ratio_high", "verdict", "baseline_seconds")
        }
        times, reference = (each.get(key_in(runtime, "samples_seconds")) or () for each in (row, baseline))
        if row.get(keys["ratio"]) is None:
            continue
        if not times or len(times) != len(reference):
            added |= {key: None for name, key in keys.items() if name != "verdict"} | {keys["verdict"]: ""}
            continue
        margin = {key: row[key] for key in ("delta", "resamples", "seed", "confidence") if row.get(key) is not None}
        comparison = paired.compare(reference, times, **margin)
        verdict = "withheld" if row.get(keys["verdict"]) == "withheld" else comparison.verdict
        numbers = (comparison.ratio, comparison.low, comparison.high, verdict, comparison.baseline_time)
        added |= dict(zip(keys.values(), numbers, strict=True))
    return {**row, **added}


def user_columns(rows: Sequence[Row]) -> list[Column]:
    """Return the columns of the user's own metrics that any row has; nobody has said which way is better."""
    names = dict.fromkeys(key.removeprefix("user:") for row in rows for key in row if key.startswith("user:"))
    return [
        Column(
            f"user:{name}",
            f"{name}, yours",
            word=name,
            name=name,
            change=Change(Column(f"change_of_user:{name}", f"Δ {name}, yours", units.signed), "difference"),
        )
        for name in names
    ]


def _arm_names(arm: Row, arms: Sequence[Row], experiment: Row) -> Row:
    """Return the names of an arm: what a row says before any number."""
    baseline = arm if arm["baseline"] is None else arms[arm["baseline"]]
    study: dict[str, Any] = {"study": arm["study"], "variant": arm["variant"]} if arm["study"] else {}
    network = {"network": arm["network"]} if arm["network"] != arm["label"] else {}
    values = {f"user:{metric}": value for metric, value in arm["values"].items()}
    sizes: Row = {key: arm[key] for key in ("resolution", "inputs") if key in arm}
    names = {"model": arm["label"], **network, **sizes, "batch": experiment["batch"]}
    details = experiment["details"]
    renamed = {"delta": "accuracy_margin", "confidence": "accuracy_confidence"}
    margin = {key: details[name] for name, key in renamed.items() if name in details}
    return {**study, **names, **values, **margin, "baseline": baseline["label"]}


def _joined(metric: metrics.Metric, needed: Sequence[Row], rows: Mapping[str, Sequence[Row]]) -> Row:
    """Return what the rows that an arm has of a metric say together; empty without any."""
    measured = [dict(rows[use["key"]][use["position"]]) for use in needed if use["key"] in rows]
    if not measured:
        return {}
    cut_short = {} if len(measured) == len(needed) else {f"{metric.name}_status": CUT_SHORT}
    return {**metric.join(measured), **cut_short}


_COLUMNS = ("model", "metric", "value")


def read_own(path: Path, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the values by metric of every network, from a CSV file with the columns model, metric and value.

    Args:
        path: the file; other columns are left alone, and so are rows about other networks of the catalog.
        labels: the networks asked about, as they are called in tables.

    Returns:
        values by metric by label, metrics in the file's order.

    Raises:
        InputError: if the file is not such a table, a value is no number, or a network is given twice for a metric.
    """
    columns, rows = files.read_csv(path, str(path), skip_spaces=True)
    missing = [column for column in _COLUMNS if column not in columns]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}: its first line must name model,metric,value")
    values: dict[str, dict[str, float]] = {label: {} for label in labels}
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


def own_metrics(values: Mapping[str, Mapping[str, float]]) -> list[str]:
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
