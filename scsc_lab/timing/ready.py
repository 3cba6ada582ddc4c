"""A network made ready to be timed: set up in its runtime, held against torch, laid out and warmed up."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from scsc_lab import runtimes
from scsc_lab.errors import InputError, last_line
from scsc_lab.execution import memory
from scsc_lab.execution.passes import Run
from scsc_lab.runtimes import Session
from scsc_lab.runtimes.source import Source
from scsc_lab.settings import Plan
from scsc_lab.timing import layouts
from scsc_lab.timing.clock import Clock
from scsc_lab.timing.result import OUT_OF_MEMORY, Timing
from scsc_lab.timing.rounds import WarmUp, warm_up

LARGEST_DIFFERENCE = {"float64": 1e-6, "float32": 1e-3, "float16": 0.05, "bfloat16": 0.1}
"""Difference of outputs, as a share of the largest, up to which two runtimes compute the same in an element type."""


def warmed_up(source: Source, timing: Timing, plan: Plan, clock: Clock) -> tuple[Session, Run, Timing]:
    """Return a network's session and pass, warmed up in the layout asked for or the faster one, and what that took.

    Raises:
        InputError: if the runtime computes something else than torch.
    """
    execution, runtime = timing.execution, runtimes.find(timing.runtime)
    start = clock.now()
    session = runtime.prepare(source, execution)
    prepared = clock.now() - start
    run_in = session.in_layout
    asked = execution.memory_format if runtime.layouts else layouts.CONTIGUOUS
    passes = [run_in(layouts.CONTIGUOUS if asked == "auto" else asked)]
    first = clock.time(passes[0])  # pays for what is done only once, in memory too
    timing = replace(
        timing,
        setup_seconds=prepared + first,
        export_seconds=source.export_seconds if runtime.takes == "onnx" else None,
        output_difference=None if timing.runtime == runtimes.USUAL else _checked(session, source, timing),
        runtime_details={"version": runtime.version, **session.describe(), "versions": dict(runtime.versions)},
    )
    tried = layouts.compare(run_in, clock, plan.warm_up_seconds) if asked == "auto" else layouts.Layouts()
    layout = tried.faster if asked == "auto" else asked
    passes.clear()
    if runtime.takes == "module":
        source.module.zero_grad(set_to_none=True)

    def fresh_pass() -> float:
        passes.append(run_in(layout))
        return clock.time(passes[0])

    if runtime.takes == "module":
        peak = memory.peak(fresh_pass, torch.device(execution.device), memory.weight_bytes(source.module))
    else:  # what holds the memory was allocated with the session, beside all that is done once
        fresh_pass()
        peak = memory.Memory(None, "")
    warm = warm_up(passes[0], clock, plan.warm_up_seconds)
    warm = WarmUp(warm.runs + tried.runs + 2, warm.seconds + tried.seconds + first, first, warm.settled)
    execution = replace(execution, memory_format=layout if runtime.layouts else "auto")
    return session, passes[0], replace(timing, execution=execution, tried=tried.fastest, memory=peak, warm_up=warm)


def failed(timing: Timing, error: BaseException) -> Timing:
    """Return a timing that says that memory ran out.

    Raises:
        InputError: if the error is another: the network does not run like this.
    """
    if memory.is_exhausted(error):
        gc.collect()
        if timing.execution.device.startswith("cuda"):
            torch.cuda.empty_cache()
        return replace(timing, status=OUT_OF_MEMORY)
    if isinstance(error, InputError):
        raise error
    raise InputError(
        f"{called(timing)} fails at batch {timing.batch} in {timing.execution.dtype}: {last_line(error)}"
    ) from error


def _checked(session: Session, source: Source, timing: Timing) -> float | None:
    """Return how far a runtime's outputs are from torch's; in training there is nothing to hold them against.

    Raises:
        InputError: if they are others.
    """
    if timing.execution.train:
        return None
    outputs = session.outputs()
    if isinstance(source.model, bytes) and "reference" not in vars(source):
        source.reference = list(outputs)  # torch does not run it: the first that does is what others are held against
    found = difference(source.reference, outputs)
    most = LARGEST_DIFFERENCE[timing.execution.dtype]
    if found is None or found > most:
        title = runtimes.title(timing.runtime)
        how = "of other shapes" if found is None else f"that differ by {found:.1%} of the largest, over {most:.2%}"
        other = "the runtime before it" if isinstance(source.model, bytes) else "torch"
        raise InputError(f"{timing.model}: {title} computes something else than {other}: outputs {how}")
    return found


def difference(reference: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float | None:
    """Return the largest difference of several outputs as a share of the largest of each; ``None`` if shapes differ.

    Where one is not a number, the other must not be one either: else the difference is infinite.
    """
    if [one.shape for one in reference] != [one.shape for one in found]:
        return None
    most = 0.0
    for one, other in zip(reference, found, strict=True):
        if not (np.isnan(one) == np.isnan(other)).all():
            return float("inf")
        with np.errstate(invalid="ignore"):  # the same infinity twice
            apart = np.where(one == other, 0.0, np.abs(one.astype(np.float64) - other))
        scale = float(np.nanmax(np.abs(one), initial=0.0))
        most = max(most, float(np.nanmax(apart, initial=0.0)) / (scale or 1.0))
    return most


def called(timing: Timing) -> str:
    """Return what messages call a network: with its runtime, where that is not torch."""
    return timing.model if timing.runtime == runtimes.USUAL else f"{timing.model} in {runtimes.title(timing.runtime)}"
