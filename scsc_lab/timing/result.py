"""What timing one network gives: its samples and settings, and the row they become."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from scsc_lab.analysis import samples
from scsc_lab.analysis.paired import Comparison
from scsc_lab.execution.memory import Memory
from scsc_lab.provenance import machine, versions
from scsc_lab.records import Row, change
from scsc_lab.settings import Execution, Plan
from scsc_lab.timing.rounds import WarmUp

COMPLETE, CUT_SHORT, OUT_OF_MEMORY = "complete", "cut short", "out of memory"
"""What can become of a measurement."""


@dataclass(frozen=True)
class Timing:
    """One network, timed at one batch size.

    Attributes:
        model: its name.
        form: ``ordinary`` or ``deploy``.
        resolution: input height and width, in pixels.
        batch: images in one pass.
        execution: where and how it ran; the device is the one that ``auto`` stood for.
        device_name: what the device is called.
        clock: what time was measured with.
        plan: everything that the measurement was told.
        macs: multiply-accumulates of one forward pass.
        status: ``complete``, ``cut short`` (interrupted) or ``out of memory``.
        samples: seconds of each round, in the order in which they were taken.
        repeats: how often the pass was repeated inside each sample.
        warm_up: what was run before; ``None`` if it did not come to that.
        memory: its peak memory; likewise.
        baseline: name of the network it is compared with; empty for the baseline itself.
        macs_ratio: its MACs, divided by the baseline's.
        comparison: its time, divided by the baseline's; ``None`` for the baseline, or if either was not timed.
    """

    model: str
    form: str
    resolution: tuple[int, int]
    batch: int
    execution: Execution
    device_name: str
    clock: str
    plan: Plan
    macs: int
    status: str = COMPLETE
    samples: tuple[float, ...] = ()
    repeats: int = 1
    warm_up: WarmUp | None = None
    memory: Memory | None = None
    baseline: str = ""
    macs_ratio: float | None = None
    comparison: Comparison | None = None

    @property
    def median_seconds(self) -> float | None:
        """Median of the samples."""
        return samples.median(self.samples)

    def row(self) -> Row:
        """Return it as one row of raw numbers, with every sample and every setting."""
        middle, drift = self.median_seconds, samples.drift(self.samples)
        settings = {key: value for key, value in asdict(self.execution).items() if key != "train"}
        against, warm, peak = self.comparison, self.warm_up, self.memory
        return {
            "model": self.model,
            "form": self.form,
            "resolution": list(self.resolution),
            "batch": self.batch,
            **settings,
            "mode": "train" if self.execution.train else "eval",
            "status": self.status,
            "median_seconds": middle,
            "iqr_seconds": samples.interquartile_range(self.samples),
            "p90_seconds": samples.percentile(self.samples, 90),
            "images_per_second": self.batch / middle if middle else None,
            "peak_memory_bytes": peak.bytes if peak else None,
            "peak_memory_method": peak.method if peak else "",
            "samples": len(self.samples),
            "samples_seconds": list(self.samples),
            "repeats": self.repeats,
            "outliers": list(samples.outliers(self.samples)),
            "drift": drift.flagged,
            "drift_change": drift.change,
            "warm_up_runs": warm.runs if warm else 0,
            "warm_up_seconds": warm.seconds if warm else None,
            "warm_up_first_seconds": warm.first_seconds if warm else None,
            "warm_up_settled": warm.settled if warm else None,
            "macs": self.macs,
            "macs_ratio": self.macs_ratio,
            "macs_change": change(self.macs_ratio, 1.0),
            "baseline": self.baseline,
            "ratio": against.ratio if against else None,
            "ratio_low": against.low if against else None,
            "ratio_high": against.high if against else None,
            "time_change": change(against.ratio, 1.0) if against else None,
            "verdict": against.verdict if against else None,
            "seed": self.plan.seed,
            "delta": self.plan.delta,
            "resamples": self.plan.resamples,
            "pairs": self.plan.budget.pairs,
            "min_seconds": self.plan.budget.min_seconds,
            "max_seconds": self.plan.budget.max_seconds,
            "warm_up_max_seconds": self.plan.warm_up_seconds,
            "clock": self.clock,
            "device_name": self.device_name,
            "processor": machine()["processor"],
            "versions": versions(),
        }
