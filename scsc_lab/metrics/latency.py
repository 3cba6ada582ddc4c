"""Latency: seconds of one forward pass, and their ratio to the baseline's, measured in pairs of random order."""

from __future__ import annotations

from collections.abc import Sequence

from scsc_lab import units
from scsc_lab.architectures.network import Network
from scsc_lab.metrics import Metric, Tell
from scsc_lab.records import Row
from scsc_lab.report.tables import Change, Column
from scsc_lab.settings import Budget, Execution, Plan, Request

_KEPT = (
    *("median_seconds", "iqr_seconds", "images_per_second", "samples_seconds", "ratio", "ratio_low", "ratio_high"),
    *("verdict", "device", "device_name", "dtype", "memory_format", "threads", "compile", "mode", "seed"),
)


def configure(request: Request) -> Plan:
    """Return how networks are timed."""
    return Plan(
        execution=Execution(device=request.device, threads=request.threads),
        budget=Budget(request.pairs, 0.0, request.max_seconds),
        batches=(request.batch,),
        seed=request.seed,
    )


def measure(networks: Sequence[Network], settings: Plan, tell: Tell) -> list[Row]:
    """Return one row a network, all timed side by side; the first is the baseline of the ratios."""
    from scsc_lab.experiments import speed
    from scsc_lab.models.subject import of

    tell("timing " + ", ".join(map(str, networks)))
    timings = speed.measure([of(network) for network in networks], settings)
    return [
        {**{key: row[key] for key in _KEPT}, "latency_status": row["status"]}
        for row in (timing.row() for timing in timings)
    ]


def notes(rows: Sequence[Row]) -> list[str]:
    """Return how the times were taken, which are not whole, and the verdicts."""
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
    return found + ([f"Verdict on time: {', '.join(verdicts)}."] if verdicts else [])


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
