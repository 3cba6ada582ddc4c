"""A network made ready to be timed: set up in its runtime, compared with torch, laid out and warmed up."""

from __future__ import annotations

import gc
from dataclasses import replace

import torch

from scsc_lab import runtimes
from scsc_lab.errors import InputError, last_line
from scsc_lab.execution import hardware
from scsc_lab.execution.agreement import LARGEST_DIFFERENCE, difference, repeatable
from scsc_lab.execution.passes import Run
from scsc_lab.runtimes import Session
from scsc_lab.runtimes.source import Source
from scsc_lab.settings import Settings
from scsc_lab.timing import layouts
from scsc_lab.timing.clock import Clock
from scsc_lab.timing.result import FAILED, OUT_OF_MEMORY, Latency
from scsc_lab.timing.rounds import WarmUp, warm_up


def warmed_up(source: Source, timing: Latency, settings: Settings, clock: Clock) -> tuple[Session, Run, Latency]:
    """Return a network's session and pass, warmed up in the layout asked for or the faster one, and what that took.

    Raises:
        InputError: if the runtime computes something else than torch.
    """
    execution, runtime = timing.execution, runtimes.find(timing.runtime)
    start = clock.now()
    session = runtime.prepare(source, execution)
    prepared = clock.now() - start
    run_in = session.in_layout
    memory_format = execution.memory_format if runtime.layouts else layouts.CONTIGUOUS
    passes = [run_in(layouts.CONTIGUOUS if memory_format == "auto" else memory_format)]
    first = clock.time(passes[0])  # pays for what is done only once, in memory too
    timing = replace(
        timing,
        setup_seconds=prepared + first,
        export_seconds=source.export_seconds if runtime.format == "onnx" else None,
        output_difference=None if timing.runtime == runtimes.USUAL else _checked(session, source, timing),
        runtime_details={"version": runtime.version, **session.describe(), "versions": dict(runtime.versions)},
    )
    tried = (
        layouts.compare(run_in, clock, settings.timing.warm_up_limit) if memory_format == "auto" else layouts.Layouts()
    )
    layout = tried.faster if memory_format == "auto" else memory_format
    passes.clear()
    if runtime.format == "module":
        source.module.zero_grad(set_to_none=True)

    def fresh_pass() -> float:
        passes.append(run_in(layout))
        return clock.time(passes[0])

    if runtime.format == "module":
        peak = hardware.peak(fresh_pass, torch.device(execution.device), hardware.weight_bytes(source.module))
    else:  # what holds the memory was allocated with the session, beside all that is done once
        fresh_pass()
        peak = hardware.Memory(None, "")
    warm = warm_up(passes[0], clock, settings.timing.warm_up_limit)
    warm = WarmUp(warm.runs + tried.runs + 2, warm.seconds + tried.seconds + first, first, warm.settled)
    execution = replace(execution, memory_format=layout if runtime.layouts else "auto")
    return session, passes[0], replace(timing, execution=execution, tried=tried.fastest, memory=peak, warm_up=warm)


def failed(timing: Latency, error: BaseException) -> Latency:
    """Return a timing that says that memory ran out, or why the network does not run like this."""
    if hardware.is_exhausted(error):
        gc.collect()
        if timing.execution.device.startswith("cuda"):
            torch.cuda.empty_cache()
        return replace(timing, status=OUT_OF_MEMORY)
    reason = str(error)
    if not isinstance(error, InputError):
        reason = f"{called(timing)} fails at batch {timing.batch} in {timing.execution.dtype}: {last_line(error)}"
    return replace(timing, status=FAILED, failure=reason.rstrip("."))


def _checked(session: Session, source: Source, timing: Latency) -> float | None:
    """Return how far a runtime's outputs are from torch's; ``None`` in training, where nothing is compared.

    Raises:
        InputError: if they differ, or the network's outputs differ from pass to pass.
    """
    if timing.execution.train:
        return None
    most = LARGEST_DIFFERENCE[timing.execution.dtype]
    if isinstance(source.model, bytes) and "reference" not in vars(source):
        source.reference = repeatable(session.outputs, most, timing.model)  # torch runs no ONNX file
    outputs = session.outputs()
    error = difference(source.reference, outputs)
    if error is None or error > most:
        title = runtimes.title(timing.runtime)
        how = "of other shapes" if error is None else f"that differ by {error:.1%} of the largest, over {most:.2%}"
        reference = "the runtime before it" if isinstance(source.model, bytes) else "torch"
        raise InputError(f"{timing.model}: {title} computes something else than {reference}: outputs {how}")
    return error


def called(timing: Latency) -> str:
    """Return what messages call a network: with its runtime, where that is not torch."""
    return timing.model if timing.runtime == runtimes.USUAL else f"{timing.model} in {runtimes.title(timing.runtime)}"
