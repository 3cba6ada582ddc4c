"""The rows of a report's tables, read from experiments of any store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from scsc_lab import metrics
from scsc_lab.errors import InputError
from scsc_lab.experiments import train, tuning
from scsc_lab.experiments.results import Result
from scsc_lab.metrics import claims
from scsc_lab.provenance import RunInfo
from scsc_lab.records import SCHEMA, Row
from scsc_lab.report import tables


def rows(results: Sequence[Result], run: RunInfo) -> list[Row]:
    """Return the rows of a report's tables, the run's first: each with the ``table`` that it belongs to.

    Args:
        results: the experiments that the report is about, of any number of stores.
        run: how the report is made.

    Raises:
        InputError: if there is nothing to report on.
    """
    if not results:
        raise InputError("no experiment to report on: name stores or rows of compare, ablate, train or report")
    results = _latest(results)
    shorter = [result for result in results if _is_shorter(result)]
    compared = [row for result in results if result not in shorter for row in _compared(result)]
    compared += [{**row, "table": "budget"} for rows in _by_budget(results) for row in rows]
    adjusted = tables.across([row for row in compared if row["table"] in ACROSS], list(metrics.columns().values()))
    judged = iter(adjusted)
    compared = [next(judged) if row["table"] in ACROSS else row for row in compared]
    further = [row for result in results if result.experiment["kind"] not in _KINDS for row in result.further]
    with_runs = [{"network": row["model"], **row} for row in compared if row["table"] in ACROSS and row.get("runs")]
    with_runs += [row for result in results for row in result.experiment["details"].get("probe", ())]
    claimed = claims.with_probe([row for row in further if row["table"] == "claim"], with_runs)
    return [
        _header(results, run),
        *claimed,
        *compared,
        *_unique(row for row in further if row["table"] != "claim"),
        *_unique(
            {"table": "missing", **row} for result in results for row in result.experiment["details"].get("missing", ())
        ),
        *(
            {"table": kind, **row}
            for kind, rows_of in _KINDS.items()
            for result in results
            if result.experiment["kind"] == kind and result.rows
            for row in rows_of(result)
        ),
    ]


ACROSS = ("comparison", "budget")
"""Tables whose p values are adjusted together."""


def _accuracy(result: Result) -> Row:
    """Return the settings of an experiment's training runs; empty if it has none."""
    return dict(result.experiment["settings"].get("accuracy") or {})


def _epochs(result: Result) -> int:
    return int(_accuracy(result)["plan"]["recipe"]["epochs"])


def _is_shorter(result: Result) -> bool:
    """Return whether an experiment is one of several budgets, and not the largest."""
    return bool(_accuracy(result)) and _epochs(result) < (_accuracy(result).get("last_budget") or 0)


def _by_budget(results: Sequence[Result]) -> list[list[Row]]:
    """Return the rows of networks side by side that were trained for several budgets, at each of them."""
    families: dict[str, list[Result]] = {}
    for result in results:
        if result.experiment["kind"] == "comparison" and _accuracy(result).get("last_budget"):
            arms = [[arm["label"], _comparable(arm["settings"]["accuracy"], "epochs")] for arm in result.arms]
            families.setdefault(json.dumps(arms, sort_keys=True, default=str), []).append(result)
    return [rows for family in families.values() for rows in train.summaries(sorted(family, key=_epochs))]


def _latest(results: Sequence[Result]) -> list[Result]:
    """Return results without experiments that a later one repeats, with other seeds or more metrics."""
    latest: list[tuple[Result, str, dict[str, str]]] = []
    for result in reversed(results):
        experiment = result.experiment
        names = [[arm[key] for key in ("label", "network", "resolution", "baseline", "variant")] for arm in result.arms]
        whose = json.dumps([experiment["kind"], experiment["batch"], names])
        settings_of_arm = {
            metric: json.dumps(
                _comparable([settings, [arm["settings"].get(metric) for arm in result.arms]]), sort_keys=True
            )
            for metric, settings in experiment["settings"].items()
        }
        if not any(whose == known_arm and settings_of_arm.items() <= later.items() for _, known_arm, later in latest):
            latest.append((result, whose, settings_of_arm))
    return [result for result, *_ in reversed(latest)]


_PLACES = ("seeds", "weights", "suffix", "checkpoints", "threads", "workers")
"""Settings of training runs in which experiments on the same networks may differ."""


def _comparable(value: Any, *ignored: str) -> Any:
    """Return settings without the places of training runs, and without what is empty, as new ones are in old rows."""
    if isinstance(value, dict):
        left_out = (*ignored, *(_PLACES if "plan" in value else ()))
        return {
            key: _comparable(inner, *ignored)
            for key, inner in value.items()
            if key not in left_out and not (inner is False or inner in ("", None))
        }
    return [_comparable(inner, *ignored) for inner in value] if isinstance(value, (list, tuple)) else value


def _compared(result: Result) -> list[Row]:
    """Return the rows of networks side by side, of their deploy forms, and of the noise floor."""
    kind = result.experiment["kind"]
    if kind == "noise":
        return [{"table": "noise", **row} for row in result.rows]
    if kind != "comparison":
        return []
    labels = {arm["network"]: arm["label"] for arm in result.arms}
    table_rows = []
    for arm, row in zip(result.arms, result.rows, strict=True):
        if arm["metrics"]:  # the deploy form of another arm, timed beside it
            ordinary = labels[arm["network"].removesuffix(" (deploy)")]
            table_rows.append({"table": "deploy", **row, "form": "deploy", "ordinary": ordinary})
        else:
            table_rows.append({"table": "comparison", **row})
    return table_rows


def _ablated(result: Result) -> list[Row]:
    module = result.experiment["details"].get("module", "")
    return [{**row, **({"module": module} if row["variant"] == "full" and module else {})} for row in result.rows]


_KINDS: dict[str, Callable[[Result], list[Row]]] = {
    "ablation": _ablated,
    "tuning": tuning.rows,
    "difficulty": train.summaries_by_difficulty,
}
"""Kinds of experiments whose rows have tables of their own."""


def _unique(table_rows: Iterable[Row]) -> list[Row]:
    return [*{json.dumps(row, sort_keys=True, default=str): row for row in table_rows}.values()]


def _header(results: Sequence[Result], run: RunInfo) -> Row:
    """Return the row of the run: of the experiments' own, where one run made them all, on one machine."""
    runs = [result.experiment["run"] for result in results]
    first = runs[0]
    gathered = any(header.get(key) != first.get(key) for header in runs for key in _PROVENANCE)
    merged = {**run.row(), **first}
    if gathered:
        is_resumed = all(header["command"] == first["command"] for header in runs)
        merged = run.row() | ({"command": first["command"]} if is_resumed else {}) | {"versions": _versions(runs)}
    settings = {
        metric: values for result in reversed(results) for metric, values in result.experiment["settings"].items()
    }
    timed = next((row for result in results for row in result.rows if "device_name" in row), {})
    where: Row = {key: timed[key] for key in ("device", "device_name") if key in timed}
    compared = [result.experiment["columns"] for result in results if result.experiment["kind"] == "comparison"]
    commits = sorted({str(header.get("commit", "")) for header in runs} - {""})
    return {
        "table": "run",
        "schema": SCHEMA,
        **merged,
        "settings": {metric: settings[metric] for metric in ("latency", "erf") if settings.get(metric)},
        "columns": list(dict.fromkeys(column for columns in compared for column in columns)),
        **where,
        **({"gathered": True, "commits": commits} if gathered else {}),
    }


_PROVENANCE = ("command", "commit", "machine", "versions")
"""Keys of a run in which the runs that one report is of may differ."""


def _versions(runs: Sequence[Row]) -> dict[str, str]:
    """Return the versions that several runs used, by name: ``2.12.0 and 2.13.0`` where they differ."""
    names = dict.fromkeys(name for header in runs for name in header.get("versions", {}))
    used = {name: dict.fromkeys(header.get("versions", {}).get(name) for header in runs) for name in names}
    return {name: " and ".join(filter(None, versions)) for name, versions in used.items()}
