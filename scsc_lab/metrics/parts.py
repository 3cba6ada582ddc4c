"""Where MACs and time go inside a network: its stages and its modules. It has no column: reports have tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scsc_lab import runtimes
from scsc_lab.architectures.network import Network
from scsc_lab.errors import InputError
from scsc_lab.metrics import Metric, Tell, latency
from scsc_lab.records import Row
from scsc_lab.settings import Plan, Request

KINDS = ("stage", "module")
"""What a network is taken apart into."""

_KEPT = ("by", "name", "macs", "macs_share", "median_seconds", "iqr_seconds", "time_share", "samples", "memory_format")


def configure(request: Request) -> Plan:
    """Return how the parts are timed: in torch, whose modules they are."""
    return latency.configure(replace(request, runtimes=(runtimes.USUAL,)))


def measure(networks: Sequence[Network], settings: Plan, tell: Tell) -> list[Row]:
    """Return one row a network, with a row a part under ``parts``; one that has none says why under ``parts_failure``.

    A part is one of :data:`KINDS`, which its ``by`` says; of each kind the last two are what no part explains and the
    total. See :func:`scsc_lab.metrics.latency.breakdowns`.
    """
    found: list[Row] = []
    for network in networks:
        row: Row = {"parts": [], "parts_status": "complete"}
        for by in KINDS:
            tell(f"timing the {by}s of {network}")
            try:
                (broken_down,) = latency.breakdowns([network], settings, by)
            except InputError as error:  # a network without parts has all the rest
                row["parts_failure"] = str(error)
                continue
            if broken_down.whole.status != "complete":
                row["parts_status"] = broken_down.whole.status
            row["parts"] += [{key: part[key] for key in _KEPT} for part in broken_down.rows()]
        found.append(row)
    return found


METRIC = Metric(name="parts", columns=(), measure=measure, configure=configure, where="alone", usual=False)
