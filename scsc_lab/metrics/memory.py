"""Memory: the most bytes of tensors alive in a forward pass, and in a training step, counted without weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scsc_lab.errors import InputError
from scsc_lab.metrics import Metric, Progress
from scsc_lab.metrics.size import Counting, counted
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.report import parts, tables


def measure(networks: Sequence[Network], settings: Counting, progress: Progress) -> list[Row]:
    """Return one row per network; one that cannot be trained says why under ``training_memory_failure``."""
    rows: list[Row] = []
    for network in networks:
        progress(f"counting the memory of {network}")
        row: Row = {"peak_bytes": counted(network, settings.batch).peak_bytes}
        try:
            row["training_peak_bytes"] = counted(network, settings.batch, train=True).peak_bytes
        except InputError as error:  # an ONNX file, say; its forward pass has all the rest
            row["training_memory_failure"] = str(error).rstrip(".")
        rows.append(row)
    return rows


def notes(rows: Sequence[Row]) -> list[str]:
    """Return what counts as memory, and which networks cannot be trained."""
    failures = [row for row in rows if row.get("training_memory_failure")]
    return [
        f"{parts.MEMORY_RULE}; of a training step with gradients, without optimizer.",
        *(f"No training memory for {row['model']}: {row['training_memory_failure']}." for row in failures),
    ]


TRAINING_MEMORY = replace(
    tables.measured(
        "training_peak_bytes", "training memory", "MB", parts.MEMORY.text, "training_memory", 1e-6, "lower"
    ),
    name="peak memory of a training step",
    question="Does training need less memory?",
)

METRIC = Metric(
    name="memory",
    columns=(parts.MEMORY, TRAINING_MEMORY),
    measure=measure,
    configure=lambda settings: Counting(settings.execution.batch),
    notes=notes,
)
ORDER = 2
