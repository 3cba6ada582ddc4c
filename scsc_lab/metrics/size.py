"""Size: parameters, multiply-accumulates, activations and bytes of one forward pass, from one count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scsc_lab.analysis.count import Count, CrossCheck
from scsc_lab.errors import InputError
from scsc_lab.metrics import Metric, Progress
from scsc_lab.networks.network import Network
from scsc_lab.records import Probe, Row
from scsc_lab.report import tables

if TYPE_CHECKING:
    from scsc_lab.models.transplant import Change

_TRACE_BYTES_PER_ACTIVATION = 24
"""Bytes that tracing keeps for each activation, measured on resnet50 and swin_tiny and rounded up."""


@dataclass(frozen=True)
class Counting:
    """How networks are counted.

    Attributes:
        batch: images in the forward pass.
    """

    batch: int = 1


@dataclass(frozen=True)
class Size:
    """One network, counted.

    Attributes:
        network: the network.
        probe: the input it was counted at.
        resolution_assumed: whether nothing says the network's resolution, so that 224×224 was taken.
        count: what was counted.
        check: fvcore's count beside it, if it was asked for; of the forward pass alone.
        train: whether a training step was counted: forward and backward.
    """

    network: Network
    probe: Probe
    resolution_assumed: bool
    count: Count
    check: CrossCheck | None = None
    train: bool = False

    def row(self) -> Row:
        """Return it as one row of raw numbers."""
        check = self.check
        own: Row = {"network": self.network.text} if self.network.label else {}
        return {
            "model": str(self.network),
            **own,
            "resolution": list(self.probe.resolution),
            "batch": self.probe.batch,
            **self.count.row(),
            **(self._step() if self.train else {}),
            "fvcore_flops": check.flops if check else None,
            "check": check.verdict if check else "off",
            "check_failure": check.failure if check else "",
            "check_operators": [asdict(operator) for operator in check.operators] if check else [],
        }

    def _step(self) -> Row:
        backward = self.count.backward_macs
        return {"train": True, "forward_macs": self.count.macs - backward, "backward_macs": backward}


def counted(network: Network, batch: int = 1, *, check: bool = False, train: bool = False) -> Size:
    """Count one network at the input it is measured at, without weights, on the meta device.

    Args:
        network: the network; one from elsewhere that cannot run without values is built for real.
        batch: images in the forward pass.
        check: whether fvcore counts the forward pass too.
        train: whether a training step is counted, forward and backward, in place of a forward pass.

    Raises:
        InputError: if the network does not take an input of this size, or its weights are wrong.
    """
    from scsc_lab.models import build

    known = build.facts(network)
    probe = Probe(known.resolution, batch, known.channels)
    if train and network.is_onnx:
        build.build(network)  # which says that it has no gradients
    if network.weights:
        build.build(network)  # so that a file of another network is an error here too
    count = counted_at(network, probe.shape)
    checked = _checked(network, probe, count) if check else None
    if train:
        count = counted_at(network, probe.shape, train=True)
    return Size(network, probe, known.resolution_assumed, count, checked, train)


def counted_at(network: Network, shape: Sequence[int], *, train: bool = False) -> Count:
    """Return the count of one network at an input shape, ``(N, C, H, W)``: forward, or forward and backward.

    Raises:
        InputError: if the network does not take an input of this shape.
    """
    from scsc_lab.counting.count import count
    from scsc_lab.models import build

    try:
        return count(build.empty(network), shape, backward=train)
    except InputError:
        if network.in_catalog or network.is_onnx:
            raise
        return count(build.build(network), shape, backward=train)


def ledger(network: Network) -> list[Row]:
    """Return what a transplant does, one row a spatial operator: parameters and MACs of the module before and after.

    The differences sum to those of the whole network, which is the last row.

    Raises:
        InputError: if no operator fits the rules, or the network does not take this input.
    """
    from scsc_lab.counting.count import count
    from scsc_lab.models import build
    from scsc_lab.models.transplant import transplant

    assert network.transplant is not None
    known = build.facts(network)
    shape = (1, known.channels, *known.resolution)
    original = replace(network, transplant=None)
    grafted, changes = transplant(build.empty(original), network.transplant, input_shape=shape)
    before, after = (
        {part.name: part for part in count(model, shape).by_module()} for model in (build.empty(original), grafted)
    )
    rows = []
    found: list[Change | None] = [*changes, None]
    for change in found:
        name = change.name if change else ""
        row: Row = {**(asdict(change) if change else {"name": "total"}), "model": str(original)}
        for key in ("params", "macs"):
            old, new = getattr(before[name], key), getattr(after[name], key)
            row |= {f"{key}_before": old, f"{key}_after": new, f"{key}_difference": new - old}
        rows.append(row)
    return rows


def measure(networks: Sequence[Network], settings: Counting, progress: Progress) -> list[Row]:
    """Return one row a network, counted without weights on the meta device."""
    rows = []
    for network in networks:
        progress(f"counting {network}")
        found = counted(network, settings.batch)
        row = found.count.row()
        rows.append({key: row[key] for key in ("params", "macs", "activations", "bytes", "status")})
        rows[-1] |= {"resolution_assumed": found.resolution_assumed, "batch": settings.batch}
    return rows


def notes(rows: Sequence[Row]) -> list[str]:
    """Return what MACs are, which counts are partial, and where the input size was assumed."""
    found = ["MACs: multiply-accumulates, which papers print as FLOPs; counted as by `scsc-lab flops`."]
    found += [f"{row['model']}: PARTIAL count." for row in rows if row.get("status") == "partial"]
    return found + assumed(row["model"] for row in rows if row.get("resolution_assumed"))


def assumed(labels: Iterable[object]) -> list[str]:
    """Return the note on networks whose input size nothing says."""
    named = ", ".join(dict.fromkeys(map(str, labels)))
    says = "say" if ", " in named else "says"
    return [f"Input 224×224 was taken for {named}, which {says} none; --resolution sets it."] if named else []


def _checked(network: Network, probe: Probe, counted: Count) -> CrossCheck:
    from scsc_lab.counting.crosscheck import cross_check
    from scsc_lab.models import build

    if network.is_onnx:
        return CrossCheck(None, failure="it counts modules of torch, not ONNX files")
    needed = counted.activations * _TRACE_BYTES_PER_ACTIVATION + 4 * counted.params
    available = _available_bytes()
    if available is not None and needed > available:
        return CrossCheck(
            None, failure=f"fvcore runs on real tensors: about {needed / 1e9:.0f} GB, {available / 1e9:.0f} GB are free"
        )
    return cross_check(build.empty(network, "cpu"), probe.shape, counted)


def _available_bytes() -> int | None:
    """Return the memory that can be had, where the system tells."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


METRIC = Metric(
    name="size",
    columns=(tables.PARAMS, tables.MACS, tables.ACTIVATIONS, tables.BYTES),
    measure=measure,
    configure=lambda settings: Counting(settings.execution.batch),
    notes=notes,
    default=("params", "macs", "activations"),
)
ORDER = 1
