"""Roofline: which share of its time a perfect implementation would need, and what bounds each kind of module."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from scsc_lab import units
from scsc_lab.metrics import Metric, Progress
from scsc_lab.metrics.parts import configure
from scsc_lab.metrics.size import counted, partial_counts
from scsc_lab.networks.network import Network
from scsc_lab.records import PARTIAL, Row
from scsc_lab.report.parts import BETWEEN, notes
from scsc_lab.report.tables import Column
from scsc_lab.settings import Settings


def measure(networks: Sequence[Network], settings: Settings, progress: Progress) -> list[Row]:
    """Return one row per network: its time, the least that the roofs allow, and the place of each kind of module.

    Raises:
        InputError: if a network does not take its input, or does not run.
    """
    from scsc_lab.models import build
    from scsc_lab.timing import breakdown, roofs
    from scsc_lab.timing.result import Candidate

    rows: list[Row] = []
    for network in networks:
        progress(f"the roofs of this machine, for {network}")
        machine = roofs.measure(settings.execution)
        batch = settings.batches[0]
        count, facts = counted(network, batch), build.facts(network)
        parts = roofs.groups(build.empty(network), count)
        progress(f"timing the modules of {network}", 0.3)
        make = functools.partial(build.build, network)
        candidate = Candidate(str(network), make, facts.resolution, facts.channels)
        (timed,) = breakdown.measure([candidate], settings, "module", [parts])
        by_part, total = timed.seconds, timed.latency.median_seconds
        row: Row = {"roofs": machine.row(), "roofline_status": timed.latency.status, "roof_seconds": total}
        row |= {key: timed.latency.row()[key] for key in ("device_name", "dtype", "threads", "batch", "is_busy")}
        if count.status == PARTIAL:
            row |= {"status": count.status, "unknown_operators": dict(count.unknown)}
        if total is not None:
            by_part[BETWEEN] = max(total - sum(by_part.values()), 0.0)
            places = roofs.places(by_part, parts, count, machine, BETWEEN)
            least = sum(place["least_seconds"] for place in places)
            row |= {"places": places, "least_seconds": least, "roof_share": least / total if total else None}
        rows.append(row)
    return rows


METRIC = Metric(
    name="roofline",
    columns=(
        Column(
            "roof_share",
            "of the roof",
            units.share,
            word="roof",
            name="share of the roof (%)",
            scale=1e2,
            better="higher",
        ),
    ),
    measure=measure,
    configure=configure,
    notes=lambda rows: [*notes(rows), *partial_counts(rows)],
    alone=True,
)
ORDER = 6
