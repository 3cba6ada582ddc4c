"""Roofline: which share of its time a perfect implementation would need, and what bounds each kind of module."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

from scsc_lab import runtimes, units
from scsc_lab.metrics import Metric, Progress, latency
from scsc_lab.metrics.size import counted
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.report.tables import Column
from scsc_lab.settings import Settings

BETWEEN = "between modules"
"""What runs between the modules that are timed: additions, activations, moves."""


def configure(settings: Settings) -> Settings:
    """Return the settings that concern times; modules are torch's."""
    return latency.configure(replace(settings, timing=replace(settings.timing, runtimes=(runtimes.USUAL,))))


def measure(networks: Sequence[Network], settings: Settings, progress: Progress) -> list[Row]:
    """Return one row per network: its time, the least that the roofs allow, and the place of each kind of module.

    Raises:
        InputError: if a network does not take its input, or does not run.
    """
    from scsc_lab.analysis import samples
    from scsc_lab.models import build
    from scsc_lab.timing import breakdown, roofs
    from scsc_lab.timing.latency import Candidate

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
        by_part = {part: samples.median(seconds) or 0.0 for part, seconds in timed.parts.items()}
        total = timed.whole.median_seconds
        row: Row = {"roofs": machine.row(), "roofline_status": timed.whole.status, "roof_seconds": total}
        row |= {key: timed.whole.row()[key] for key in ("device_name", "dtype", "threads", "batch", "is_busy")}
        if total is not None:
            by_part[BETWEEN] = max(total - sum(by_part.values()), 0.0)  # of passes that nothing watches
            places = roofs.places(by_part, parts, count, machine, BETWEEN)
            least = sum(place["least_seconds"] for place in places)
            row |= {"places": places, "least_seconds": least, "roof_share": least / total if total else None}
        rows.append(row)
    return rows


def notes(rows: Sequence[Row]) -> list[str]:
    """Return one sentence per network on what bounds its time, and how the roofs were measured."""
    rows_with_places = [row for row in rows if row.get("places")]
    lines = [sentence(row) for row in rows_with_places]
    if rows_with_places:
        first = rows_with_places[0]
        peak, moved = (first["roofs"][key]["median"] for key in ("macs_per_second", "bytes_per_second"))
        lines.append(
            f"Roofs, measured here: {units.significant(peak / 1e9, 3)} GMAC/s by a matrix product, "
            f"{units.significant(moved / 1e9, 3)} GB/s by a copy; {first['dtype']}, threads: {first['threads']}, "
            f"{first['device_name']}. Bytes are counted per operator, nothing fused or cached: caches served what is "
            "above 100 % of a roof. Overhead: below 20 % of both roofs."
        )
    return lines


def sentence(row: Row) -> str:
    """Return what bounds a network's time: ``61 % of its time is memory-bound; its … reach 12 % of the roof``."""
    places, total = row["places"], sum(place["seconds"] for place in row["places"])
    shares = dict.fromkeys(("compute", "memory", "overhead"), 0.0)
    for place in places:
        shares[place["bound"]] += place["seconds"] / total
    bound, share = max(shares.items(), key=lambda item: item[1])
    spent = {"compute": "compute-bound", "memory": "memory-bound", "overhead": "overhead, near neither roof"}[bound]
    lost = max(places, key=lambda place: place["seconds"] - place["least_seconds"])
    attained = f"{100 * (lost['attained'] or 0):.0f} %"
    return f"{row['model']}: {100 * share:.0f} % of its time is {spent}; {_whose(lost['part'])} {attained} of the roof."


def _whose(part: str) -> str:
    """Return a kind of module as the subject of a sentence."""
    if part == BETWEEN:
        return "what runs between its modules reaches"
    return f"its {part} {'reach' if part.endswith('s') else 'reaches'}"


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
    notes=notes,
    alone=True,
)
ORDER = 6
