"""A network made ready to be timed: set up in its runtime, compared with torch, laid out and warmed up."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import log, sqrt
from statistics import fmean, median, stdev

import torch

from scsc_lab import runtimes
from scsc_lab.analysis.jackknife import student
from scsc_lab.errors import InputError, last_line
from scsc_lab.execution import hardware
from scsc_lab.execution.agreement import LARGEST_DIFFERENCE, difference, repeatable
from scsc_lab.execution.hardware import is_exhausted
from scsc_lab.execution.passes import Run
from scsc_lab.runtimes import Session
from scsc_lab.runtimes.source import Source
from scsc_lab.settings import Settings
from scsc_lab.timing.result import FAILED, OUT_OF_MEMORY, Latency
from scsc_lab.timing.rounds import Clock, WarmUp, common_repeats, warm_up


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
    memory_format = execution.memory_format if runtime.layouts else CONTIGUOUS
    passes = [run_in(CONTIGUOUS if memory_format == "auto" else memory_format)]
    first = clock.time(passes[0])  # pays for what is done only once, in memory too
    timing = replace(
        timing,
        setup_seconds=prepared + first,
        export_seconds=source.export_seconds if runtime.format == "onnx" else None,
        output_difference=None if timing.runtime == runtimes.USUAL else _checked(session, source, timing),
        runtime_details={"version": runtime.version, **session.describe(), "versions": dict(runtime.versions)},
    )
    tried = compare(run_in, clock, settings.timing.warm_up_limit) if memory_format == "auto" else Layouts()
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
    """Return how far a runtime's outputs are from torch's; ``None`` in training, and of an ONNX file, which has none.

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
    return None if isinstance(source.model, bytes) else error


def called(timing: Latency) -> str:
    """Return what messages call a network: with its runtime, where that is not torch."""
    return timing.model if timing.runtime == runtimes.USUAL else f"{timing.model} in {runtimes.title(timing.runtime)}"


CONTIGUOUS, CHANNELS_LAST = "contiguous", "channels_last"
"""The two orders of an image's elements in memory."""

_FEWEST_TURNS, _MOST_TURNS = 3, 15
_EVEN = 0.02
"""Difference that does not matter: ``same`` in a verdict."""


@dataclass
class Layouts:
    """A network in both layouts.

    Attributes:
        fastest: seconds of the fastest warm pass in each layout that the network runs in.
        ratios: its time channels-last over that contiguous, one of each turn.
        runs: passes that this took.
        seconds: time of those passes.
    """

    fastest: dict[str, float] = field(default_factory=dict)
    ratios: list[float] = field(default_factory=list)
    runs: int = 0
    seconds: float = 0.0

    @property
    def faster(self) -> str:
        """The one to take: see :data:`scsc_lab.settings.LAYOUT_RULE`."""
        return CHANNELS_LAST if self.ratios and median(self.ratios) < 1 else CONTIGUOUS

    @property
    def clear(self) -> bool:
        """Whether more turns would not matter: the ratio's 95 % interval is on one side of 1, or close to it."""
        number = len(self.ratios)
        if number < _FEWEST_TURNS:
            return False
        logs = [*map(log, self.ratios)]
        difference, error = abs(fmean(logs)), student(number - 1) * stdev(logs) / sqrt(number)
        return difference > error or difference + error < _EVEN


def compare(run_in: Callable[[str], Run], clock: Clock, max_seconds: float) -> Layouts:
    """Run a network in both layouts by turns.

    Where the two are close the choice must not be chance: turns go on until one is clearly faster, both are surely as
    fast, there are fifteen turns, or the time is over.

    Args:
        run_in: puts the network into a layout and returns its pass; left in either of them.
        clock: the clock of its device.
        max_seconds: time after which no further turn begins; each layout has one in any case.

    Returns:
        What each took. A network that does not run channels-last, because it views its maps as contiguous say, is one
        that runs contiguous.
    """
    layouts = Layouts()
    start = clock.now()
    repeats = common_repeats([run_in(CONTIGUOUS)], clock)
    for turn in range(_MOST_TURNS):
        times = {}
        for layout in (CONTIGUOUS, CHANNELS_LAST)[:: -1 if turn % 2 else 1]:
            try:
                times[layout] = _sample(run_in(layout), clock, repeats, layouts)
            except Exception as error:  # whatever the network's own code raises
                if layout == CONTIGUOUS or is_exhausted(error):
                    raise
                return Layouts({CONTIGUOUS: layouts.fastest[CONTIGUOUS]}, [], layouts.runs, layouts.seconds)
            layouts.fastest[layout] = min(times[layout], layouts.fastest.get(layout, times[layout]))
        if min(times.values()) > 0:
            layouts.ratios.append(times[CHANNELS_LAST] / times[CONTIGUOUS])
        if layouts.clear or clock.now() - start >= max_seconds:
            break
    return layouts


def _sample(run: Run, clock: Clock, repeats: int, layouts: Layouts) -> float:
    """Return the seconds of a warm pass, the faster of two samples."""
    times = [clock.time(run, repeats) for _ in range(2)]
    layouts.runs += len(times) * repeats
    layouts.seconds += sum(times) * repeats
    return min(times)
