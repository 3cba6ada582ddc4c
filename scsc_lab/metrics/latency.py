"""Latency: seconds of one forward pass, and their ratio to the baseline's, measured in pairs of random order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from scsc_lab import units
from scsc_lab.architectures.network import Network
from scsc_lab.metrics import Metric, Tell
from scsc_lab.metrics.size import counted
from scsc_lab.records import Row
from scsc_lab.report.tables import Change, Column
from scsc_lab.settings import Budget, Execution, Plan, Request

if TYPE_CHECKING:
    from torch import nn

    from scsc_lab.timing.breakdown import Breakdown
    from scsc_lab.timing.clock import Clock
    from scsc_lab.timing.latency import Candidate, Progress
    from scsc_lab.timing.result import Timing

BY = ("module", "stage")
"""What a network's time can be broken down by."""

_KEPT = (
    *("median_seconds", "iqr_seconds", "images_per_second", "samples_seconds", "ratio", "ratio_low", "ratio_high"),
    *("verdict", "pairs", "pairs_used", "repeats", "spread", "outliers", "drift", "drift_change", "noise_floor"),
    *("ordinary", "ordinary_ratio", "ordinary_ratio_low", "ordinary_ratio_high", "ordinary_verdict"),
    *("device", "device_name", "processor", "cores", "load", "load_before", "load_after", "dtype", "memory_format"),
    *("memory_format_asked", "threads", "compile", "mode", "seed"),
)


def configure(request: Request) -> Plan:
    """Return how networks are timed; with ``noise`` among the options the baseline against itself too."""
    return Plan(
        execution=Execution(device=request.device, threads=request.threads),
        budget=Budget(request.pairs, 0.0, request.max_seconds),
        batches=(request.batch,),
        seed=request.seed,
        noise="noise" in dict(request.options),
    )


def measure(networks: Sequence[Network], settings: Plan, tell: Tell) -> list[Row]:
    """Return one row a network, all timed side by side; the first is the baseline of the ratios."""
    tell("timing " + ", ".join(map(str, networks)))
    rows = [timing.row() for timing in timings(networks, settings)]
    return [{**{key: row[key] for key in _KEPT}, "latency_status": row["status"]} for row in rows]


def timings(
    networks: Sequence[Network],
    plan: Plan,
    *,
    baseline: int = 0,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> list[Timing]:
    """Return timings of networks beside what was counted, one a batch size and network.

    Args:
        networks: the networks; equal ones are one module, timed against itself.
        plan: what to measure.
        baseline: which of them the others are compared with.
        clock: in place of the device's own.
        progress: told what is being done.

    Raises:
        InputError: if a network does not take its input, or does not run.
    """
    from scsc_lab.timing import latency

    candidates = _candidates(networks)
    counts = [[counted(network, batch).count.macs for network in networks] for batch in plan.batches]
    found = latency.measure(candidates, plan, baseline=baseline, clock=clock, progress=progress)
    macs = [(own, row[baseline]) for row in counts for own in row]
    return [
        replace(timing, macs=own, macs_ratio=own / reference if timing.baseline and reference else None)
        for timing, (own, reference) in zip(found, macs, strict=True)
    ]


def breakdowns(
    networks: Sequence[Network],
    plan: Plan,
    by: str,
    *,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> list[Breakdown]:
    """Return where the time of networks goes, by ``stage`` or ``module``, one breakdown a network and batch size.

    Raises:
        InputError: as :func:`timings`, or if the plan is one of training or compiling.
    """
    from scsc_lab.models import build
    from scsc_lab.models.stages import stages
    from scsc_lab.timing import breakdown

    candidates = _candidates(networks)
    counts = [counted(network, batch).count for network in networks for batch in plan.batches]
    divided = []
    if by == "stage":
        for network, candidate in zip(networks, candidates, strict=True):
            divided.append(stages(build.empty(network), (candidate.channels, *candidate.resolution)))
    found = []
    timed = breakdown.measure(candidates, plan, by, divided, clock=clock, progress=progress)
    for index, (one, count) in enumerate(zip(timed, counts, strict=False)):
        parts = count.by_stage(divided[index // len(plan.batches)]) if by == "stage" else count.by_module()
        macs = {part.name: part.macs for part in parts}
        found.append(replace(one, whole=replace(one.whole, macs=count.macs), macs=macs))
    return found


def notes(rows: Sequence[Row]) -> list[str]:
    """Return how the times were taken, which are not whole, the layouts, the verdicts and what was odd."""
    timed = [row for row in rows if row.get("latency_status")]
    if not timed:
        return []
    first = timed[0]
    found = [
        f"Time: median of one forward pass, batch {first['batch']}, {first['dtype']}, threads: {first['threads']}, "
        f"{first['device_name']}; ×: time over the baseline's, measured in random-order pairs, with its "
        "95% interval; as by `scsc-lab latency`."
    ]
    unfinished = [row for row in timed if row["latency_status"] != "complete"]
    found += [f"{row['model']}: TIMING {str(row['latency_status']).upper()}." for row in unfinished]
    verdicts = [f"{row['model']} {row['verdict']}" for row in timed if row.get("verdict")]
    found += [f"Verdict on time: {', '.join(verdicts)}."] if verdicts else []
    last = [str(row["model"]) for row in timed if row.get("memory_format") == "channels_last"]
    found += [f"In channels-last layout, in which they are faster: {', '.join(last)}."] if last else []
    return found + machine_notes(timed)


def machine_notes(rows: Sequence[Row]) -> list[str]:
    """Return a line where other work on the machine shows in the rows, or nothing."""
    from scsc_lab.analysis.samples import RESTLESS

    signs = []
    spread = max((row.get("spread") or 1.0 for row in rows), default=1.0)
    if spread > RESTLESS:
        signs.append(f"a median is {spread:.2f} times the fastest sample")
    busy = max((row for row in rows if row.get("load") is not None), key=lambda row: row["load"], default=None)
    if busy and busy["load"] > busy["cores"]:
        signs.append(f"the load is {busy['load']:.1f} on {busy['cores']} cores")
    if not signs:
        return []
    return [f"BUSY MACHINE: {' and '.join(signs)}. Times are too long, and intervals of ratios too narrow."]


def _candidates(networks: Sequence[Network]) -> list[Candidate]:
    from scsc_lab.models import build
    from scsc_lab.timing.latency import Candidate

    makes: dict[Network, Callable[[], nn.Module]] = {}
    found = []
    for network in networks:
        known = build.facts(network)
        make = makes.setdefault(network, functools.partial(build.build, network))
        own = replace(network, form="ordinary")
        ordinary = networks.index(own) if network.form == "deploy" and own in networks else None
        found.append(Candidate(str(network), make, known.resolution, known.channels, network.form, ordinary))
    return found


METRIC = Metric(
    name="latency",
    columns=(
        Column(
            "median_seconds",
            "time (ms)",
            units.milliseconds,
            word="latency",
            scale=1e3,
            better="lower",
            question="Is it faster?",
            change=Change(
                Column(("ratio", "ratio_low", "ratio_high"), "time ×, 95%", units.ratio_interval),
                "measured",
                "time ×, 95%",
            ),
        ),
    ),
    measure=measure,
    configure=configure,
    notes=notes,
    where="alone",
    together=True,
)
ORDER = 2
