"""MACs and time of a network's stages and modules. The metric has no column: reports have tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scsc_lab import runtimes
from scsc_lab.errors import InputError
from scsc_lab.metrics import Metric, Progress, latency
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.settings import Settings

KINDS = ("stage", "module")
"""Kinds of parts of a network."""

_KEPT = ("by", "name", "macs", "macs_share", "median_seconds", "iqr_seconds", "time_share", "samples", "memory_format")


def configure(settings: Settings) -> Settings:
    """Return how the parts are timed: in torch, whose modules they are."""
    return latency.configure(replace(settings, timing=replace(settings.timing, runtimes=(runtimes.USUAL,))))


def measure(networks: Sequence[Network], settings: Settings, progress: Progress) -> list[Row]:
    """Return one row per network, with one per part under ``parts``, or a reason under ``parts_failure``.

    A part is one of :data:`KINDS`, which its ``by`` says; of each kind the last two are what no part explains and the
    total. See :func:`scsc_lab.metrics.latency.breakdowns`.
    """
    rows: list[Row] = []
    for network in networks:
        row: Row = {"parts": [], "parts_status": "complete"}
        for by in KINDS:
            progress(f"timing the {by}s of {network}")
            try:
                (broken_down,) = latency.breakdowns([network], settings, by)
            except InputError as error:  # a network without parts has all the rest
                row["parts_failure"] = str(error)
                continue
            if broken_down.latency.status != "complete":
                row["parts_status"] = broken_down.latency.status
            row["parts"] += [{key: part[key] for key in _KEPT} for part in broken_down.rows()]
        rows.append(row)
    return rows


def table_rows(row: Row) -> list[Row]:
    """Return a row of the table of parts for each part of a network, or why it has none."""
    if "parts_failure" in row:
        return [{"table": "missing", "what": "MACs and time by part", "reason": row["parts_failure"]}]
    return [{"table": "part", **part} for part in row.get("parts", ())]


METRIC = Metric(name="parts", columns=(), measure=measure, configure=configure, alone=True, table_rows=table_rows)
