"""The modules that are timed, each for its runtime, and the result of timing one: samples, settings, and its row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from scsc_lab import runtimes
from scsc_lab.analysis import paired
from scsc_lab.analysis.paired import Comparison
from scsc_lab.errors import InputError, last_line
from scsc_lab.execution import hardware
from scsc_lab.execution.hardware import Load, Memory
from scsc_lab.execution.passes import dtype_of, prepare
from scsc_lab.networks.values import InputTensor
from scsc_lab.provenance import machine, versions
from scsc_lab.records import Row, change
from scsc_lab.settings import PERCENTILES, Execution, Settings
from scsc_lab.timing.rounds import Clock, WarmUp

COMPLETE, CUT_SHORT, OUT_OF_MEMORY, FAILED = "complete", "cut short", "out of memory", "failed"
"""Outcomes of a measurement."""


@dataclass(frozen=True, repr=False)
class Latency:
    """One network, timed at one batch size.

    Attributes:
        model: its name.
        form: ``ordinary`` or ``deploy``.
        resolution: input height and width, in pixels; empty where it takes other inputs than one image.
        batch: images in one pass.
        execution: where and how it ran; device and memory format are those that ``auto`` stood for.
        device_name: what the device is called.
        clock: what time was measured with.
        settings: settings of the measurement.
        status: ``complete``, ``cut short`` (interrupted), ``out of memory`` or ``failed``.
        failure: why it failed, in one line.
        samples: seconds of each round, in the order in which they were taken.
        repeats: how often the pass was repeated inside each sample, as that of all it is compared with.
        tried: seconds of its fastest pass in each layout, where the faster one was looked for.
        warm_up: the passes before; ``None`` if there were none.
        memory: its peak memory; likewise.
        load: how busy the machine was; ``None`` if it did not come to that.
        baseline: name of the network it is compared with; empty for the baseline itself.
        comparison: its time, divided by the baseline's; ``None`` for the baseline, or if either was not timed.
        ordinary: name of the ordinary form that a deploy form is compared with too.
        against_ordinary: its time, divided by that one's.
        runtime: name of its runtime.
        runtime_details: what that ran with: versions, provider, precision.
        setup_seconds: seconds until the first result (session and first pass), without making the ONNX model.
        export_seconds: what making the ONNX model took, which all runtimes that run it share; ``None`` where none was.
        output_difference: largest difference of its outputs to torch's, as a share of the largest output; ``None``
            where it is torch, or there is none.
        against_torch: its time, divided by that of the same network in torch, where that was timed beside it.
        macs: multiply-accumulates of one pass, as it is timed; ``None`` where nobody counted all.
        macs_ratio: its MACs, divided by the baseline's.
    """

    model: str
    form: str
    resolution: tuple[int, ...]
    batch: int
    execution: Execution
    device_name: str
    clock: str
    settings: Settings
    status: str = COMPLETE
    failure: str = ""
    samples: tuple[float, ...] = ()
    repeats: int = 1
    tried: Mapping[str, float] = field(default_factory=dict)
    warm_up: WarmUp | None = None
    memory: Memory | None = None
    load: Load | None = None
    baseline: str = ""
    comparison: Comparison | None = None
    ordinary: str = ""
    against_ordinary: Comparison | None = None
    runtime: str = "torch"
    runtime_details: Mapping[str, Any] = field(default_factory=dict)
    setup_seconds: float | None = None
    export_seconds: float | None = None
    output_difference: float | None = None
    against_torch: Comparison | None = None
    macs: int | None = None
    macs_ratio: float | None = None

    @property
    def median_seconds(self) -> float | None:
        """Median of the samples."""
        return paired.median(self.samples)

    def __repr__(self) -> str:
        """Return the median and its ratio to the baseline, not the samples."""
        middle = self.median_seconds
        text = f"{self.status}" if middle is None else f"{1e3 * middle:.4g} ms, {len(self.samples)} samples"
        if self.comparison is not None:
            text += f", {self.comparison.ratio:.3f} × {self.baseline}, {self.comparison.verdict}"
        return f"Latency({self.model}, batch {self.batch}: {text})"

    def row(self) -> Row:
        """Return it as one row of raw numbers, with every sample and every setting."""
        middle, drift = self.median_seconds, paired.drift(self.samples)
        execution = {key: getattr(self.execution, key) for key in ("device", "dtype", "memory_format", "threads")}
        warm, peak = self.warm_up, self.memory
        memory_format_asked = self.settings.execution.memory_format
        return {
            "model": self.model,
            "form": self.form,
            "runtime": self.runtime,
            "runtime_title": runtimes.title(self.runtime),
            "resolution": list(self.resolution),
            "batch": self.batch,
            **execution,
            "compile": self.runtime == "compile",
            "memory_format": None if execution["memory_format"] == "auto" else execution["memory_format"],
            "memory_format_asked": memory_format_asked,
            "memory_format_seconds": dict(self.tried),
            "mode": "train" if self.execution.train else "eval",
            "status": self.status,
            **({"failure": self.failure} if self.failure else {}),
            "median_seconds": middle,
            "iqr_seconds": paired.interquartile_range(self.samples),
            **{f"p{percent}_seconds": paired.percentile(self.samples, percent) for percent in PERCENTILES},
            "streams": self.execution.streams,
            "images_per_second": self.batch * self.execution.streams / middle if middle else None,
            "peak_memory_bytes": peak.bytes if peak else None,
            "peak_memory_method": peak.method if peak else "",
            "samples": len(self.samples),
            "samples_seconds": list(self.samples),
            "repeats": self.repeats,
            "spread": paired.spread(self.samples),
            "outliers": list(paired.outliers(self.samples)),
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
            **_compared("", self.comparison),
            "ordinary": self.ordinary,
            **_compared("ordinary_", self.against_ordinary),
            **_compared("torch_", self.against_torch),
            "setup_seconds": self.setup_seconds,
            "export_seconds": self.export_seconds,
            "output_difference": self.output_difference,
            "runtime_details": dict(self.runtime_details),
            "load": self.load.most if self.load else None,
            "load_before": self.load.before if self.load else None,
            "load_after": self.load.after if self.load else None,
            "cores": self.load.cores if self.load else None,
            "is_busy": self.load.is_busy if self.load else None,
            "seed": self.settings.execution.seed,
            "delta": self.settings.timing.delta,
            "resamples": self.settings.timing.resamples,
            "pairs": self.settings.timing.looks[-1],
            "confidence": self.settings.timing.confidence,
            "precision": self.settings.timing.precision,
            "pairs_used": self.comparison.pairs if self.comparison else None,
            "min_seconds": self.settings.timing.least_seconds,
            "max_seconds": self.settings.timing.max_seconds,
            "warm_up_max_seconds": self.settings.timing.warm_up_limit,
            "clock": self.clock,
            "device_name": self.device_name,
            "processor": machine()["processor"],
            "versions": versions(),
        }


def _compared(prefix: str, against: Comparison | None) -> Row:
    return {
        f"{prefix}ratio": against.ratio if against else None,
        f"{prefix}ratio_low": against.low if against else None,
        f"{prefix}ratio_high": against.high if against else None,
        f"{prefix}time_change": change(against.ratio, 1.0) if against else None,
        f"{prefix}verdict": against.verdict if against else None,
        f"{prefix}baseline_seconds": against.baseline_time if against else None,
    }


@dataclass(frozen=True)
class Candidate:
    """A module to be timed.

    Attributes:
        label: its name in tables.
        make: returns it with weights, random ones from torch's global generator; or an ONNX file's bytes.
        resolution: input height and width, in pixels; empty where it takes other inputs than one image.
        channels: input channels.
        inputs: its input tensors, where they are not one image.
        form: ``ordinary`` or ``deploy``.
        ordinary: position of its ordinary form among those it is timed with, which it is compared with too.
        runtime: name of its runtime.
    """

    label: str
    make: Callable[[], nn.Module | bytes]
    resolution: tuple[int, ...]
    channels: int = 3
    inputs: tuple[InputTensor, ...] = ()
    form: str = "ordinary"
    ordinary: int | None = None
    runtime: str = runtimes.USUAL

    @property
    def module(self) -> object:
        """Key that candidates of one module share."""
        return self.make, self.resolution, self.channels, self.inputs

    def tensors(self, batch: int) -> tuple[InputTensor, ...]:
        """Return its input tensors for a batch of so many images."""
        return self.inputs or (InputTensor((batch, self.channels, *self.resolution)),)

    @property
    def pass_(self) -> object:
        """Key that candidates of one pass share: the module and its runtime."""
        return self.module, self.runtime

    def twin(self, candidates: Sequence[Candidate], runtime: str) -> int | None:
        """Return which of several candidates is this one in another runtime, if any is."""
        twin = replace(self, runtime=runtime, ordinary=None)
        return next((at for at, candidate in enumerate(candidates) if replace(candidate, ordinary=None) == twin), None)


def settled(execution: Execution) -> tuple[torch.device, Execution]:
    """Return the device that is meant, and the execution with its name, if it can compute in the type."""
    device = hardware.find(execution.device)
    hardware.check_dtype(device, dtype_of(execution))
    return device, replace(execution, device=str(device))


def made(candidate: Candidate, execution: Execution, seed: int) -> nn.Module | bytes:
    """Return a module as it runs, with weights, random ones seeded; or the bytes of an ONNX file.

    Raises:
        InputError: if it cannot be made, or its weights have no sizes yet.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            model = candidate.make()
        if isinstance(model, bytes):
            return model
        tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
        if any(is_lazy(tensor) for tensor in tensors):
            raise InputError(f"{candidate.label} has lazy modules, of no size before their first input: run it once")
        if any(tensor.is_inference() for tensor in tensors):
            raise InputError(f"{candidate.label} was made in inference mode: make it outside of torch.inference_mode()")
        return prepare(model, execution)
    except (KeyboardInterrupt, InputError):
        raise
    except BaseException as error:  # whatever the module's own code raises, an exit too
        raise InputError(f"{candidate.label} cannot be made: {last_line(error)}") from error


def blank(candidate: Candidate, batch: int, settings: Settings, execution: Execution, clock: Clock) -> Latency:
    """Return a timing with everything but the time."""
    name = hardware.describe(torch.device(execution.device))
    return Latency(
        candidate.label,
        candidate.form,
        candidate.resolution,
        batch,
        execution,
        name,
        clock.name,
        settings,
        CUT_SHORT,
        runtime=candidate.runtime,
    )
