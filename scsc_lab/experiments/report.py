"""The experiments of a report, and the rows of its tables, read from experiments of any store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scsc_lab import metrics, runtimes
from scsc_lab.errors import InputError
from scsc_lab.experiments import difficulty, paper, train, tuning, variants
from scsc_lab.experiments.compare import ablation, measures
from scsc_lab.experiments.experiment import Arm, Experiment, Measure, check_names, comparison
from scsc_lab.experiments.results import Result
from scsc_lab.metrics import claims
from scsc_lab.networks.network import Network
from scsc_lab.provenance import RunInfo
from scsc_lab.records import SCHEMA, Row
from scsc_lab.report import tables
from scsc_lab.settings import Fields, Settings, Timing

PAIRS = (("resnet50", "scsc_resnet50"), ("swin_tiny", "scsc_swin_tiny"), ("faceresnet", "scsc_faceresnet"))
"""Each SCSC network of the default report behind its baseline."""

ABLATED = ("scsc_swin_tiny", "scsc_resnet50", "scsc_faceresnet")
"""The networks of the default report that are ablated; the first in full view, the others folded away."""

COMPARED = ("params", "macs", "activations", "latency", "erf", "top1")
"""Columns that networks are compared by."""

_COUNTED = ("params", "macs", "activations", "bytes")
_TIMED_STUDIES = ("components", "kernels")
"""Studies of the first network whose variants are also timed, and their fields measured: all would take an hour."""

_FIELD, _TIME, _SIZE, _PARTS = "erf", "latency", "size", "parts"


@dataclass(frozen=True)
class Effort:
    """Extent of a report's measurements.

    Attributes:
        settings: measurement settings.
        studies: ablations of networks with SCSC, if any.
        columns: columns that networks are compared by; see :func:`scsc_lab.metrics.column_names`.
        forms: whether the networks of the paper are also timed in their deploy forms.
        timed: measurement settings of timing and fields in the main studies of the first network that is ablated;
            ``None``: costs alone are counted there, too.
        with_parts: whether to show the MACs and time of each network's parts, and the fields of all stages.
    """

    settings: Settings
    studies: tuple[str, ...]
    columns: tuple[str, ...] = COMPARED
    forms: bool = False
    timed: Settings | None = None
    with_parts: bool = False


QUICK = Effort(Settings(timing=Timing(24, max_seconds=5.0), fields=Fields(samples=6)), ("components",))
"""Under two minutes on two cores."""

FULL = Effort(
    Settings(timing=Timing(100, max_seconds=60.0), fields=Fields(samples=32)),
    tuple(variants.STUDIES),
    forms=True,
    timed=Settings(timing=Timing(24, max_seconds=8.0), fields=Fields(samples=8)),
)
"""Some twenty minutes on two cores."""


def experiments(
    effort: Effort, groups: Sequence[Sequence[Network]] | None = None, probe: Sequence[Row] = ()
) -> list[Experiment]:
    """Return the experiments of a report.

    Args:
        effort: how much is measured.
        groups: networks that are compared, the baseline first in each; without them the networks of the paper, and
            its claims.
        probe: rows of trained pico networks, shown beside the claims about accuracy.

    Raises:
        InputError: if two networks of a group have one name, or there is no such column.
    """
    ours = groups is None
    if groups is None:
        groups = default_groups()
        ablated = [Network.read(name) for name in ABLATED]
    else:
        ablated = [network for group in groups for network in group if effort.studies]
    studied = [network for network in ablated if variants.has_scsc(network)]
    planned = [paper.experiment(probe)] if ours else []
    planned += [study for network in studied for study in _ablations(network, effort, timed=network is studied[0])]
    planned += [_comparison(group, effort, forms=ours and effort.forms) for group in groups]
    if _TIME in effort.columns:
        planned.append(_noise(groups[0][0], effort))
    return planned


def default_groups() -> list[list[Network]]:
    """Return the networks of the paper, the baseline first in each pair."""
    return [[Network.read(name) for name in pair] for pair in PAIRS]


def _comparison(group: Sequence[Network], effort: Effort, *, forms: bool) -> Experiment:
    """Return a group of networks side by side, and behind them their deploy forms, timed in the same rounds."""
    check_names(group)
    settings = effort.settings
    if effort.with_parts:
        settings = replace(settings, fields=replace(settings.fields, stages=("all",)))
    column_names = metrics.with_extra_columns(effort.columns, settings)
    measured = measures(column_names, settings)
    if effort.with_parts and _TIME in effort.columns:
        measured.append(Measure(_PARTS, metrics.registry()[_PARTS].configure(settings)))
    base = comparison(
        group, column_names, measured, batch=settings.execution.batch, details={"missing": _not_timed(effort)}
    )
    if not (forms and _TIME in effort.columns):
        return base
    from scsc_lab.models import names

    fused = [network for network in names.with_deploy_forms(group) if network not in group]
    deployed = tuple(Arm(network, 0, metrics=(_SIZE, _TIME)) for network in fused)
    return replace(base, arms=(*base.arms, *deployed))


def _noise(network: Network, effort: Effort) -> Experiment:
    """Return a network timed against itself: the noise floor of the machine."""
    settings = replace(effort.settings, timing=replace(effort.settings.timing, runtimes=(runtimes.USUAL,)))
    again = replace(network, label=f"{network}, again")
    column_names = (_TIME,)
    return comparison(
        [network, again], column_names, measures(column_names, settings), batch=settings.execution.batch, kind="noise"
    )


def _not_timed(effort: Effort) -> list[Row]:
    """Return a row for each runtime in which nothing is timed, with the reason."""
    if _TIME not in effort.columns:
        return []
    return [
        {
            "model": "every network",
            "what": f"latency in {runtime.title}",
            "reason": f"not requested: --runtime {name}" if runtime.installed else runtime.missing,
        }
        for name, runtime in runtimes.registry().items()
        if name not in effort.settings.timing.runtimes
    ]


def _ablations(network: Network, effort: Effort, *, timed: bool) -> list[Experiment]:
    """Return a network's studies: first those whose variants are also timed, if any are."""
    extra = [column for column in (_TIME, _FIELD) if column in effort.columns and effort.timed is not None and timed]
    in_time = [study for study in effort.studies if study in _TIMED_STUDIES and extra]
    in_counts = [study for study in effort.studies if study not in in_time]
    base = effort.settings
    timed_settings = effort.timed or base
    fields = replace(base.fields, samples=timed_settings.fields.samples)
    timing = replace(base, timing=replace(timed_settings.timing, runtimes=(runtimes.USUAL,)), fields=fields)
    groups = ((in_time, (*_COUNTED, *extra), timing), (in_counts, _COUNTED, base))
    details = {"module": variants.settings(network)}
    return [
        ablation(_variants(network, studies), column_names, settings, details)
        for studies, column_names, settings in groups
        if studies
    ]


def _variants(network: Network, studies: Sequence[str]) -> tuple[variants.Variant, ...]:
    """Return the variants of built-in studies, without those in which the rules of a transplant find nothing."""
    from scsc_lab.models import build

    expanded = []
    for variant in variants.built_in(network, studies):
        if variant.network.transplant is not None and variant.network != network:
            try:
                build.empty(variant.network)
            except InputError:
                continue
        expanded.append(variant)
    return tuple(expanded)


def with_mixers(networks: Sequence[Network]) -> list[list[Network]]:
    """Return a group per network, itself first: every mixer in its places, and those that it was given with.

    Raises:
        InputError: if a network has SCSC of its own.
    """
    by_base: dict[str, list[Network]] = {}
    for network in networks:
        by_base.setdefault(replace(network, transplant=None, label="").text, []).append(network)
    studies = (variants.built_in(group[0], [variants.MIXERS], group) for group in by_base.values())
    return [[variant.network for variant in study] for study in studies]


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
        *(row for result in results for row in _ablated(result)),
        *(
            {"table": kind, **row}
            for result in results
            for kind, rows_of in _KINDS.items()
            if result.experiment["kind"] == kind and rows_of is not None and result.rows
            for row in rows_of(result)
        ),
    ]


ACROSS = ("comparison", "budget")
"""Tables whose p values are adjusted together."""

_KINDS: dict[str, Callable[[Result], list[Row]] | None] = {
    "ablation": None,
    "tuning": tuning.rows,
    "difficulty": difficulty.summaries,
}
"""Kinds of experiments whose rows have tables of their own; those of an ablation are further below."""


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
            arms = [[arm["label"], _without(arm["settings"]["accuracy"], "epochs", *_PLACES)] for arm in result.arms]
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
                _without([settings, [arm["settings"].get(metric) for arm in result.arms]], *_PLACES), sort_keys=True
            )
            for metric, settings in experiment["settings"].items()
        }
        if not any(whose == known_arm and settings_of_arm.items() <= later.items() for _, known_arm, later in latest):
            latest.append((result, whose, settings_of_arm))
    return [result for result, *_ in reversed(latest)]


_PLACES = ("seeds", "weights", "suffix", "checkpoints", "threads", "workers")
"""Settings of training in which experiments on the same networks may differ."""


def _without(value: Any, *names: str) -> Any:
    """Return plain data without some keys, and without what is empty, as new settings are in old rows."""
    if isinstance(value, dict):
        return {
            key: _without(inner, *names)
            for key, inner in value.items()
            if key not in names and not (inner is False or inner in ("", None))
        }
    return [_without(inner, *names) for inner in value] if isinstance(value, (list, tuple)) else value


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
    if result.experiment["kind"] != "ablation":
        return []
    module = result.experiment["details"].get("module", "")
    return [
        {"table": "ablation", **row, **({"module": module} if row["variant"] == "full" and module else {})}
        for row in result.rows
    ]


def _unique(table_rows: Iterable[Row]) -> list[Row]:
    return [*{json.dumps(row, sort_keys=True, default=str): row for row in table_rows}.values()]


def _header(results: Sequence[Result], run: RunInfo) -> Row:
    """Return the row of the run: of the experiments' own, where one run made them all."""
    runs = [result.experiment["run"] for result in results]
    first = runs[0]
    merged = {**run.row(), **first} if all(header["command"] == first["command"] for header in runs) else run.row()
    settings = {
        metric: values for result in reversed(results) for metric, values in result.experiment["settings"].items()
    }
    timed = next((row for result in results for row in result.rows if "device_name" in row), {})
    where: Row = {key: timed[key] for key in ("device", "device_name") if key in timed}
    compared = [result.experiment["columns"] for result in results if result.experiment["kind"] == "comparison"]
    commits = sorted({str(header.get("commit", "")) for header in runs} - {""})
    gathered = len({header["command"] for header in runs}) > 1
    return {
        "table": "run",
        "schema": SCHEMA,
        **merged,
        "settings": {metric: settings[metric] for metric in (_TIME, _FIELD) if settings.get(metric)},
        "columns": list(dict.fromkeys(column for columns in compared for column in columns)),
        **where,
        **({"gathered": True, "commits": commits} if gathered else {}),
    }
