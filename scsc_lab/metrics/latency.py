"""Latency: seconds of one forward pass, and their ratio to the baseline's, measured in pairs of random order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scsc_lab import runtimes, units
from scsc_lab.errors import InputError
from scsc_lab.metrics import CUT_SHORT, FAILED, Metric
from scsc_lab.metrics import Progress as TaskProgress
from scsc_lab.metrics.latency_notes import notes
from scsc_lab.metrics.size import counted, stages_of
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.report.latency import key_in, pivoted
from scsc_lab.report.tables import Change, Column
from scsc_lab.settings import Settings

if TYPE_CHECKING:
    from torch import nn

    from scsc_lab.analysis.count import Count
    from scsc_lab.timing.breakdown import Breakdown
    from scsc_lab.timing.latency import Progress
    from scsc_lab.timing.result import Candidate, Latency

_OF_THE_COMPARISON = ("model", "baseline", "macs", "macs_ratio", "macs_change", "versions")
"""Keys of a timing that rows of a comparison have from elsewhere."""


def configure(settings: Settings) -> Settings:
    """Return the settings that concern times.

    Raises:
        InputError: if a runtime does not exist or is not installed.
    """
    return Settings(settings.execution, settings.timing, versions=_versions(settings.timing.runtimes))


@dataclass(frozen=True)
class Detailed(Settings):
    """Settings of a timing whose rows also hold each batch size and runtime by itself, or the parts of a network.

    Attributes:
        by: what to break the time of each network down by, as :func:`breakdowns` takes it; empty: by nothing.
    """

    by: str = ""

    def identity(self) -> dict[str, Any]:
        """Return what decides the numbers, as plain data."""
        return {**super().identity(), "detailed": True, "by": self.by}


def measure(networks: Sequence[Network], settings: Settings, progress: TaskProgress) -> list[Row]:
    """Return one row per network and runtime, network by network, all timed side by side; the first is the baseline.

    With :class:`Detailed` settings there is one row per network, with all its rows under ``timings``.
    """

    def report(description: str, seconds: float, left: float | None) -> None:
        progress(description, seconds / (seconds + left) if left and seconds + left else 0.0)

    report("timing " + ", ".join(map(str, networks)), 0.0, None)
    placements = _candidates(networks, settings.timing.runtimes)
    if isinstance(settings, Detailed):
        return _detailed(networks, settings, report)
    timed = sorted(
        zip(placements, timings(networks, settings, progress=report), strict=True), key=lambda pair: pair[0][0]
    )
    rows = [timing.row() for _, timing in timed]
    return [{key: value for key, value in row.items() if key not in _OF_THE_COMPARISON} for row in rows]


def _detailed(networks: Sequence[Network], settings: Detailed, progress: Progress) -> list[Row]:
    """Return one row per network: its first batch size in all runtimes, and ``timings``, without names of networks."""
    places = [at for at, _ in _candidates(networks, settings.timing.runtimes)]
    rows: list[Row] = [{"timings": []} for _ in networks]
    if settings.by:
        of_parts = [at for at in places for _ in settings.batches]
        for at, parts in zip(of_parts, breakdowns(networks, settings, settings.by, progress=progress), strict=False):
            rows[at]["timings"] += parts.rows()
    else:
        for number, timing in enumerate(timings(networks, settings, progress=progress)):
            rows[places[number % len(places)]]["timings"].append(timing.row())
    for row in rows:
        of_first = [timing for timing in row["timings"] if timing["batch"] == settings.batches[0]]
        row |= pivoted(of_first) if of_first and not settings.by else {}
        statuses = {timing["status"] for timing in row["timings"]}
        if not statuses.isdisjoint((FAILED, CUT_SHORT)):
            row["status"] = CUT_SHORT if CUT_SHORT in statuses else FAILED
        names = ("model", "baseline", "ordinary", "resolution")
        row["timings"] = [{key: value for key, value in each.items() if key not in names} for each in row["timings"]]
    return rows


def timings(
    networks: Sequence[Network],
    settings: Settings,
    *,
    baseline: int = 0,
    progress: Progress | None = None,
) -> list[Latency]:
    """Return timings of networks with their MACs, one per batch size, runtime and network, in this order.

    Args:
        networks: the networks; equal ones are one module, timed against itself.
        settings: how to measure.
        baseline: which of them the others are compared with, each in its own runtime.
        progress: told what is being done.

    Raises:
        InputError: if a network does not take its input, does not run, or a runtime computes something else than torch.
    """
    from scsc_lab.timing import latency

    runtimes.check(settings.timing.runtimes, settings.execution)
    placements = _candidates(networks, settings.timing.runtimes)
    counts = [
        [_macs(counted(network, batch, train=settings.execution.train)) for network in networks]
        for batch in settings.batches
    ]
    first = next(index for index, (at, _) in enumerate(placements) if at == baseline)
    candidates = [candidate for _, candidate in placements]
    measured = latency.measure(candidates, settings, baseline=first, progress=progress)
    macs = [(row[at], row[baseline]) for row in counts for at, _ in placements]
    return [
        replace(timing, macs=count, macs_ratio=count / reference if timing.baseline and count and reference else None)
        for timing, (count, reference) in zip(measured, macs, strict=True)
    ]


def _macs(count: Count) -> int | None:
    """Return the MACs of a count; None of a partial one, which is a lower bound."""
    return count.macs if count.status == "complete" else None


def breakdowns(
    networks: Sequence[Network],
    settings: Settings,
    by: str,
    *,
    progress: Progress | None = None,
) -> list[Breakdown]:
    """Return where the time of networks goes, by ``stage``, ``module`` or their runtime's ``operator``.

    Returns:
        One breakdown a runtime, network and batch size.

    Raises:
        InputError: as :func:`timings`, or in training mode; by stage or module, of another runtime than
            torch.
    """
    from scsc_lab.timing import breakdown

    placements = _candidates(networks, settings.timing.runtimes)
    candidates = [candidate for _, candidate in placements]
    counts = [counted(networks[at], batch) for at, _ in placements for batch in settings.batches]
    divided: list[Mapping[str, Sequence[str]]] = []
    if by == "stage":
        divided = [stages_of(networks[at]) for at, _ in placements]
    with_macs = []
    timed = breakdown.measure(candidates, settings, by, divided, progress=progress)
    for index, (of_network, count) in enumerate(zip(timed, counts, strict=False)):
        macs: dict[str, int] = {}  # an operator of a runtime may be several of those that were counted, fused
        if by != breakdown.OPERATOR:
            parts = count.by_stage(divided[index // len(settings.batches)]) if by == "stage" else count.by_module()
            macs = {part.name: part.macs for part in parts}
        with_macs.append(replace(of_network, latency=replace(of_network.latency, macs=_macs(count)), macs=macs))
    return with_macs


def with_runtimes(settings: Settings, column_names: Sequence[str]) -> Settings:
    """Return settings with the runtimes whose columns are named, beside those that are named themselves."""
    by_word = {column.word: name for name, column in _COLUMNS.items() if name != runtimes.USUAL}
    names = dict.fromkeys([*settings.timing.runtimes, *(by_word[word] for word in column_names if word in by_word)])
    return replace(settings, timing=replace(settings.timing, runtimes=tuple(names)))


def _versions(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the versions that the times of some runtimes rest on; that of torch, which all do, is known without."""
    versions = {name: version for runtime in names for name, version in runtimes.find(runtime).versions.items()}
    return tuple(sorted((name, version) for name, version in versions.items() if name != runtimes.USUAL))


def _candidates(networks: Sequence[Network], names: Sequence[str]) -> list[tuple[int, Candidate]]:
    """Return what is timed, runtime by runtime, each with the position of its network.

    An ONNX file takes part in those runtimes that run it.

    Raises:
        InputError: if none of the runtimes runs it.
    """
    from scsc_lab.models import build
    from scsc_lab.timing.result import Candidate

    makes: dict[Network, Callable[[], nn.Module | bytes]] = {}
    placements = [
        (at, network, name) for name in names for at, network in enumerate(networks) if _runs_in(network, name)
    ]
    for at, network in enumerate(networks):
        if not any(at == placed_at for placed_at, *_ in placements):
            able = [name for name, runtime in runtimes.registry().items() if runtime.format == "onnx"]
            raise InputError(f"{network} is an ONNX file, which runs in {' and '.join(able)}: --runtime {able[0]}")
    candidates = []
    for at, network, runtime in placements:
        file = functools.partial(Path.read_bytes, Path(network.name))
        make = makes.setdefault(network, file if network.is_onnx else functools.partial(build.build, network))
        plain = replace(network, form="ordinary")
        ordinary = None
        if network.form == "deploy" and plain in networks:
            ordinary = next(
                i for i, (*_, placed_at, used) in enumerate(placements) if (placed_at, used) == (plain, runtime)
            )
        inputs, resolution, channels = build.inputs(network), tuple[int, ...](), 0
        if build.takes_image(network):
            facts = build.facts(network)
            inputs, resolution, channels = (), facts.resolution, facts.channels
        candidate = Candidate(str(network), make, resolution, channels, inputs, network.form, ordinary, runtime)
        candidates.append((at, candidate))
    return candidates


def _runs_in(network: Network, runtime: str) -> bool:
    return not network.is_onnx or runtimes.find(runtime).format == "onnx"


def _rows_per_network(network: Network, settings: Settings) -> int:
    return 1 if isinstance(settings, Detailed) else sum(_runs_in(network, name) for name in settings.timing.runtimes)


def _column(runtime: str) -> Column:
    """Return the column of the time in one runtime, with that of its ratio to the baseline's."""
    title = runtimes.title(runtime)
    is_default = runtime == runtimes.USUAL
    ratio = tuple(key_in(runtime, key) for key in ("ratio", "ratio_low", "ratio_high", "baseline_seconds"))
    heading = "time ×, 95%" if is_default else f"{title} ×, 95%"
    return Column(
        key_in(runtime, "median_seconds"),
        "time" if is_default else title,
        units.milliseconds,
        optional=not is_default,
        unit="ms",
        word="latency" if is_default else f"latency_{runtime}",
        name="" if is_default else f"time in {title}",
        scale=1e3,
        better="lower",
        question="Is it faster?" if is_default else f"Is it faster in {title}?",
        change=Change(
            Column(ratio, heading, units.ratio_of_time, optional=not is_default),
            "measured",
            heading,
            verdict=key_in(runtime, "verdict"),
        ),
        apart=not is_default,
    )


_COLUMNS = {name: _column(name) for name in runtimes.registry()}

METRIC = Metric(
    name="latency",
    columns=tuple(_COLUMNS.values()),
    measure=measure,
    rows_per_network=_rows_per_network,
    join=lambda rows: rows[0] if "timings" in rows[0] else pivoted(rows),
    configure=configure,
    notes=notes,
    alone=True,
    together=True,
    default=("latency",),
    extra_columns=lambda settings: [_COLUMNS[name].word for name in settings.timing.runtimes],
)
ORDER = 2
