"""What a report rests on: the claims, comparisons, ablations, fields and the noise floor, measured as rows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

from scsc_lab import metrics, runtimes
from scsc_lab.architectures.network import Network
from scsc_lab.errors import InputError
from scsc_lab.experiments import ablate, paper, runner, variants
from scsc_lab.experiments.runner import Progress, Task
from scsc_lab.metrics import Metric
from scsc_lab.provenance import RunInfo
from scsc_lab.records import SCHEMA, Row
from scsc_lab.report.tables import across, with_changes
from scsc_lab.settings import Request
from scsc_lab.store import RowStore

PAIRS = (("resnet50", "scsc_resnet50"), ("swin_tiny", "scsc_swin_tiny"), ("faceresnet", "scsc_faceresnet"))
"""Each SCSC network of the default report behind its baseline."""

ABLATED = ("scsc_swin_tiny", "scsc_resnet50", "scsc_faceresnet")
"""The networks of the default report that are ablated; the first in full view, the others folded away."""

COMPARED = ("params", "macs", "activations", "latency", "erf", "top1")
"""What networks are compared by."""

_COUNTED = ("params", "macs", "activations", "bytes")
_TIMED_STUDIES = ("components", "kernels")
"""Studies of the first network whose variants are timed, and their fields measured, too: all would take an hour."""

_FIELD = "erf"
_TIME = "latency"
_SIZE = "size"
_PARTS = "parts"


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        request: what is said about measuring.
        studies: ablations that are made of networks with SCSC, if any.
        words: what networks are compared by: words of :func:`scsc_lab.metrics.words`.
        forms: whether the networks of the paper are timed in their deploy forms too.
        timed: what is said about timing and fields in the main studies of the first network that is ablated; ``None``:
            there, too, costs are counted alone.
        within: whether to tell what is inside each network: the MACs and time of its parts, the fields of all stages.
    """

    request: Request
    studies: tuple[str, ...]
    words: tuple[str, ...] = COMPARED
    forms: bool = False
    timed: Request | None = None
    within: bool = False


QUICK = Effort(Request(pairs=24, max_seconds=5.0, samples=6), ("components",))
"""Under two minutes on two cores."""

FULL = Effort(
    Request(pairs=100, max_seconds=60.0, samples=32),
    tuple(variants.STUDIES),
    forms=True,
    timed=Request(pairs=24, max_seconds=8.0, samples=8),
)
"""Some twenty minutes on two cores."""


@dataclass(frozen=True)
class _Ablation:
    """Studies of one network, what their variants are compared by, and how that is measured."""

    variants: tuple[variants.Variant, ...]
    words: tuple[str, ...]
    request: Request


@dataclass(frozen=True)
class _Plan:
    """All that is to be measured, as tasks."""

    comparisons: tuple[tuple[tuple[Network, ...], tuple[Network, ...], tuple[Task, ...]], ...]
    noise: tuple[Task, ...]
    parts: tuple[Task, ...]
    fields: tuple[Task, ...]
    ablations: tuple[_Ablation, ...]

    def tasks(self) -> list[Task]:
        """Return every task, what may run beside others first."""
        studied = [task for own in self.ablations for task in ablate.tasks(own.variants, own.words, own.request)]
        return [
            *studied,
            *(task for *_, own in self.comparisons for task in own),
            *self.noise,
            *self.parts,
            *self.fields,
        ]


def measure(
    run: RunInfo,
    effort: Effort,
    store: RowStore,
    folder: Path,
    groups: Sequence[Sequence[Network]] | None = None,
    trained: Sequence[Row] = (),
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> list[Row]:
    """Measure all of a report and return its rows; what the store has is not measured again.

    Args:
        run: how the report is made; its row comes first.
        effort: how much is measured.
        store: where rows are kept as they are measured, so that an interrupted report goes on where it was.
        folder: where the maps of receptive fields go, each in a file that its row names.
        groups: networks that are compared, the baseline first in each; without them the networks of the paper, and
            its claims too.
        trained: rows of pico networks with their runs, shown beside the claims about accuracy.
        executor: where that is measured which may run anywhere; this process without one.
        progress: told what is being measured, the number of tasks done and to do.

    Raises:
        InputError: if a network does not take its input, or two of a group have one name.
        KeyboardInterrupt: if it was interrupted; what was measured is in the store.
    """
    for group in groups or ():
        runner.check_names(group)
    plan = _plan(effort, groups, folder)
    measured = runner.run(plan.tasks(), store, executor, progress)
    if measured.interrupted:
        raise KeyboardInterrupt
    rows = _in_table("claim", paper.claim_rows(trained)) if groups is None else []
    compared: list[Row] = []
    for networks, forms, own in plan.comparisons:
        found = _compared([*networks, *forms], {task: measured.rows[task] for task in own}, effort)
        compared += found[: len(networks)]
        for network, row in zip(forms, found[len(networks) :], strict=True):
            ordinary = str(replace(network, form="ordinary"))
            rows += _in_table("deploy", [{**row, "form": "deploy", "ordinary": ordinary}])
    rows += _in_table("comparison", across(compared, list(metrics.columns().values())))
    if plan.noise:
        rows += _not_timed(effort.request)
    for task in plan.noise:
        names = [str(task.networks[0]), f"{task.networks[0]}, again"]
        found = [{"model": name, **row} for name, row in zip(names, measured.rows[task], strict=True)]
        rows += _in_table("noise", [{"batch": effort.request.batch, **row} for row in found])
    for task in plan.parts:
        rows += [part for row in measured.rows[task] for part in _within(str(task.networks[0]), row)]
    for task in plan.fields:
        rows += [_field(task.networks[0], row, effort.request) for row in measured.rows[task]]
    for own_studies in plan.ablations:
        found, _ = ablate.run(own_studies.variants, own_studies.words, own_studies.request, store)
        rows += _in_table("ablation", [{**row, **_settings(row, own_studies)} for row in found])
    settings = {
        word: _plain(dataclasses.asdict(metrics.registry()[metric].configure(effort.request)))
        for word, metric in (("plan", _TIME), ("protocol", _FIELD))
    }
    timed = next((row for row in rows if row["table"] == "comparison" and "device" in row), {})
    device_name = {"device_name": timed["device_name"]} if "device_name" in timed else {}
    run = replace(run, settings=settings, device=str(timed.get("device", run.device)))
    return [{"table": "run", "schema": SCHEMA, **run.row(), **device_name}, *rows]


def default_groups() -> list[list[Network]]:
    """Return the networks of the paper, the baseline first in each pair."""
    return [[Network.read(name) for name in pair] for pair in PAIRS]


def _plan(effort: Effort, groups: Sequence[Sequence[Network]] | None, folder: Path) -> _Plan:
    ablated = [network for group in groups or () for network in group if effort.studies]
    ours = groups is None
    if groups is None:
        groups = default_groups()
        ablated = [Network.read(name) for name in ABLATED]
    chosen = metrics.chosen(effort.words)
    wanted = [metric for metric in chosen if metric.name != _FIELD]
    drawn, timed = (any(metric.name == name for metric in chosen) for name in (_FIELD, _TIME))
    how = dataclasses.replace(metrics.registry()[_FIELD].configure(effort.request), maps=folder / "fields")
    how = replace(how, stages=("all",)) if effort.within else how
    alone = metrics.registry()[_TIME].configure(replace(effort.request, runtimes=(runtimes.USUAL,)))
    taken_apart = metrics.registry()[_PARTS].configure(effort.request)
    every = [network for group in groups for network in group]
    studied = [network for network in ablated if variants.has_scsc(network)]
    return _Plan(
        tuple(_comparison(group, wanted, effort, forms=timed and ours and effort.forms) for group in groups),
        (Task(_TIME, (groups[0][0], groups[0][0]), alone),) if timed else (),
        tuple(Task(_PARTS, (network,), taken_apart) for network in every if timed and effort.within),
        tuple(Task(_FIELD, (network,), how) for network in every if drawn),
        tuple(found for network in studied for found in _ablations(network, effort, timed=network is studied[0])),
    )


def _comparison(
    group: Sequence[Network], wanted: Sequence[Metric], effort: Effort, *, forms: bool
) -> tuple[tuple[Network, ...], tuple[Network, ...], tuple[Task, ...]]:
    """Return networks, the deploy forms that are timed beside them, and the tasks of both."""
    fused: list[Network] = []
    if forms:
        from scsc_lab.models import names

        fused = [network for network in names.with_deploy_forms(group) if network not in group]
    own = runner.tasks([metric for metric in wanted if metric.name != _TIME], group, effort.request)
    own += runner.tasks([metric for metric in wanted if metric.name == _SIZE], fused, effort.request) if fused else []
    timing = [metric for metric in wanted if metric.name == _TIME]
    own += runner.tasks(timing, [*group, *fused], effort.request)
    return tuple(group), tuple(fused), tuple(own)


def _not_timed(request: Request) -> list[Row]:
    """Return a row for each runtime in which nothing was timed, with the reason."""
    return [
        {
            "table": "missing",
            "model": "every network",
            "what": f"latency in {runtime.title}",
            "reason": f"not asked for: --runtime {name}" if runtime.installed else runtime.missing,
        }
        for name, runtime in runtimes.registry().items()
        if name not in request.runtimes
    ]


def _ablations(network: Network, effort: Effort, *, timed: bool) -> list[_Ablation]:
    """Return a network's studies: first those whose variants are timed, too, if any are."""
    extra = [word for word in (_TIME, _FIELD) if word in effort.words and effort.timed is not None and timed]
    beside = [study for study in effort.studies if study in _TIMED_STUDIES and extra]
    counted = [study for study in effort.studies if study not in beside]
    base = effort.request
    how = replace(effort.timed or base, seed=base.seed, device=base.device, threads=base.threads, options=base.options)
    found = []
    for studies, words, request in ((beside, (*_COUNTED, *extra), how), (counted, _COUNTED, base)):
        if studies:
            found.append(_Ablation(_variants(network, studies), words, request))
    return found


def _settings(row: Row, studies: _Ablation) -> Row:
    """Return the settings of the full network's modules, in words, for its row."""
    if row["variant"] != "full":
        return {}
    return {"module": variants.settings(studies.variants[0].network)}


def _variants(network: Network, studies: Sequence[str]) -> tuple[variants.Variant, ...]:
    """Return the variants of built-in studies, without those in which the rules of a transplant find nothing."""
    from scsc_lab.models import build

    found = []
    for variant in variants.built_in(network, studies):
        if variant.network.transplant is not None and variant.network != network:
            try:
                build.empty(variant.network)
            except InputError:
                continue
        found.append(variant)
    return tuple(found)


def with_mixers(networks: Sequence[Network]) -> list[list[Network]]:
    """Return a group a network, itself first: every mixer in its places, and those that it was given with.

    Raises:
        InputError: if a network has SCSC of its own.
    """
    found: dict[str, list[Network]] = {}
    for network in networks:
        found.setdefault(replace(network, transplant=None, label="").text, []).append(network)
    studies = (variants.built_in(own[0], [variants.MIXERS], own) for own in found.values())
    return [[variant.network for variant in study] for study in studies]


def _compared(networks: Sequence[Network], measured: Mapping[Task, Sequence[Row]], effort: Effort) -> list[Row]:
    rows = runner.merged(measured, networks, effort.request)
    columns = [column for word, column in metrics.columns().items() if word in effort.words]
    changed = with_changes([{**row, "baseline": str(networks[0])} for row in rows], columns, 0)
    return changed


def _field(network: Network, row: Row, request: Request) -> Row:
    if "erf_failure" in row:
        reason = str(row["erf_failure"])
        return {"table": "missing", "model": str(network), "what": "receptive field", "reason": reason}
    stages = {"stages": [{**stage, **_map_file(stage)} for stage in row["stages"]]} if "stages" in row else {}
    size = {"resolution": list(runner.resolution(network))}
    return {"table": "field", "model": str(network), **row, **size, **_map_file(row), **stages}


def _map_file(row: Row) -> Row:
    return {"map_file": f"fields/{row['map_file']}"} if "map_file" in row else {}


def _within(model: str, row: Row) -> list[Row]:
    if "parts_failure" in row:
        return [{"table": "missing", "model": model, "what": "MACs and time by part", "reason": row["parts_failure"]}]
    return _in_table("part", [{"model": model, **part} for part in row["parts"]])


def _in_table(table: str, rows: Sequence[Row]) -> list[Row]:
    return [{"table": table, **row} for row in rows]


def _plain(value: dict[str, object]) -> dict[str, object]:
    found: dict[str, object] = json.loads(json.dumps(value, default=str))
    return found
