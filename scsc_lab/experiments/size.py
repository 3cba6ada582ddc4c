"""The size of networks: parameters, MACs, activations, bytes, and fvcore's second opinion."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from scsc_lab.architectures.specs import TransplantSpec
from scsc_lab.counting.count import count
from scsc_lab.counting.crosscheck import cross_check
from scsc_lab.errors import InputError
from scsc_lab.models.subject import Subject
from scsc_lab.models.transplant import transplant
from scsc_lab.records import Count, CrossCheck, Probe, Row

_TRACE_BYTES_PER_ACTIVATION = 24
"""Bytes that tracing keeps for each activation, measured on resnet50 and swin_tiny and rounded up."""


@dataclass(frozen=True)
class Size:
    """One network, counted.

    Attributes:
        subject: the network.
        probe: the input it was counted at.
        count: what was counted.
        check: fvcore's count beside it, if it was asked for.
    """

    subject: Subject
    probe: Probe
    count: Count
    check: CrossCheck | None = None

    def row(self) -> Row:
        """Return it as one row of raw numbers."""
        check = self.check
        return {
            "model": self.subject.label,
            "resolution": list(self.probe.resolution),
            "batch": self.probe.batch,
            **self.count.row(),
            "fvcore_flops": check.flops if check else None,
            "check": check.verdict if check else "off",
            "check_failure": check.failure if check else "",
            "check_operators": [asdict(operator) for operator in check.operators] if check else [],
        }


def measure(subject: Subject, resolution: tuple[int, int] | None = None, batch: int = 1, *, check: bool = True) -> Size:
    """Count one network, at its native input unless told otherwise.

    Args:
        subject: the network.
        resolution: input height and width, in pixels.
        batch: images in the forward pass.
        check: whether fvcore counts it too.

    Raises:
        InputError: if the network does not take an input of this size, or its weights are wrong.
    """
    probe = Probe(resolution or subject.resolution, batch, subject.channels)
    subject.check_resolution(probe.resolution)
    if subject.weights:
        subject.make()  # so that a file of another network is an error here too
    counted = count_subject(subject, probe.shape)
    return Size(subject, probe, counted, _checked(subject, probe, counted) if check else None)


def count_subject(subject: Subject, shape: tuple[int, ...]) -> Count:
    """Count one network without weights; one from elsewhere that cannot run without values is built for real.

    Raises:
        InputError: if the network does not take an input of this shape.
    """
    try:
        return count(subject.make_empty("meta"), shape)
    except InputError:
        if subject.entry is not None:
            raise
        return count(subject.make(), shape)


def transplant_rows(subject: Subject, rules: TransplantSpec, probe: Probe) -> list[Row]:
    """Return what a transplant does, one row a spatial operator: parameters and MACs of the module before and after.

    The differences sum to those of the whole network.

    Raises:
        InputError: if no operator fits the rules, or the network does not take this input.
    """
    grafted, changes = transplant(subject.make_empty("meta"), rules, input_shape=probe.shape)
    before, after = (
        {part.name: part for part in count(model, probe.shape).by_module()}
        for model in (subject.make_empty("meta"), grafted)
    )
    rows = []
    for change in [*changes, None]:
        name = change.name if change else ""
        row: Row = {**(asdict(change) if change else {"name": "total"}), "model": subject.label}
        for key in ("params", "macs"):
            old, new = getattr(before[name], key), getattr(after[name], key)
            row |= {f"{key}_before": old, f"{key}_after": new, f"{key}_difference": new - old}
        rows.append(row)
    return rows


def _checked(subject: Subject, probe: Probe, counted: Count) -> CrossCheck:
    needed = counted.activations * _TRACE_BYTES_PER_ACTIVATION + 4 * counted.params
    available = _available_bytes()
    if available is not None and needed > available:
        return CrossCheck(
            None, failure=f"fvcore runs on real tensors: about {needed / 1e9:.0f} GB, {available / 1e9:.0f} GB are free"
        )
    return cross_check(subject.make_empty("cpu"), probe.shape, counted)


def _available_bytes() -> int | None:
    """Return the memory that can be had, where the system tells."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
