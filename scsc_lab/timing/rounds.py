"""Clocks, and times of things that run: warmed up by a stated rule, then side by side, in rounds of random order."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from scsc_lab.execution.passes import Run
from scsc_lab.settings import Timing

SHORTEST_SECONDS = 1e-3
"""Work shorter than this is repeated inside a sample: 10,000 times what reading a clock costs, and its resolution."""


def _nothing() -> None:
    """Wait for nothing: on the processor all is done when a call returns."""


@dataclass(frozen=True)
class Clock:
    """A way to take time; tests put their own in its place.

    Attributes:
        name: description of the clock.
        mark: returns the present moment, on a device without waiting for it.
        between: returns the seconds between two marks that have passed.
        synchronize: waits until the device has done all its work.
        now: returns seconds of the wall clock, for budgets.
        shortest_seconds: work shorter than this is repeated inside a sample.
    """

    name: str
    mark: Callable[[], Any]
    between: Callable[[Any, Any], float]
    synchronize: Callable[[], object] = _nothing
    now: Callable[[], float] = time.perf_counter
    shortest_seconds: float = SHORTEST_SECONDS

    def time(self, run: Callable[[], object], repeats: int = 1) -> float:
        """Return the seconds that a run takes, over some repeats without a pause: one run's share of them."""
        self.synchronize()
        start = self.mark()
        for _ in range(repeats):
            run()
        end = self.mark()
        self.synchronize()
        return self.between(start, end) / repeats


def clock_of(device: torch.device) -> Clock:
    """Return the clock of a device."""
    if device.type == "cuda":
        return _cuda(device)
    if device.type == "mps":

        def mark() -> int:
            torch.mps.synchronize()
            return time.perf_counter_ns()

        return Clock("perf_counter_ns after a synchronise", mark, _elapsed, torch.mps.synchronize)
    return Clock("perf_counter_ns", time.perf_counter_ns, _elapsed)


def _elapsed(start: int, end: int) -> float:
    return (end - start) / 1e9


def _cuda(device: torch.device) -> Clock:
    def mark() -> Any:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(device))
        return event

    return Clock(
        "CUDA events after a synchronise",
        mark,
        lambda start, end: float(start.elapsed_time(end)) / 1e3,
        lambda: torch.cuda.synchronize(device),
    )


Progress = Callable[[float, float], None]
"""Told the seconds that have passed and the seconds still expected."""

_WINDOW = 3
_STILL_FASTER = 0.98
_MOST_REPEATS = 100_000
_LOOKS = 5
_LONG = 10


@dataclass(frozen=True)
class WarmUp:
    """The passes before the first sample.

    Attributes:
        runs: number of passes.
        seconds: time they took together.
        first_seconds: time of the first, with everything that is done only once.
        settled: whether it ended by its rule, not because its time was over.
    """

    runs: int
    seconds: float
    first_seconds: float
    settled: bool


@dataclass(frozen=True)
class Rounds:
    """Samples of several runs, taken side by side.

    Attributes:
        samples: for each run its seconds, one of each round.
        orders: for each round the order in which the runs were timed.
        repeats: how often each run was repeated inside a sample.
        seconds: wall time of the whole.
        cut_short: whether it was interrupted; the round that was being measured then is left out.
    """

    samples: tuple[tuple[float, ...], ...]
    orders: tuple[tuple[int, ...], ...]
    repeats: int
    seconds: float
    cut_short: bool


def warm_up(run: Run, clock: Clock, max_seconds: float) -> WarmUp:
    """Run until it settles: see :data:`scsc_lab.settings.WARM_UP_RULE`.

    Args:
        run: what is timed.
        clock: the clock of its device.
        max_seconds: time after which it ends in any case, not counting the first pass (which may compile).
    """
    times = [clock.time(run)]
    start = clock.now()
    while not (settled := _settled(times)) and clock.now() - start < max_seconds:
        times.append(clock.time(run))
    return WarmUp(len(times), sum(times), times[0], settled)


def interleave(
    runs: Sequence[Run],
    timing: Timing,
    clock: Clock,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    is_clear: Callable[[Sequence[Sequence[float]]], bool] = lambda samples: False,
) -> Rounds:
    """Time several runs side by side: in every round each of them once, in an order drawn at random.

    Args:
        runs: what is timed, warmed up.
        timing: how long.
        clock: the clock of their device.
        seed: seed of the orders.
        progress: called with the seconds passed and those expected yet.
        is_clear: returns, at each look, whether the samples so far are enough.

    Returns:
        The samples; where a keyboard interrupt came in between, those of the rounds that were complete.
    """
    generator = random.Random(seed)
    samples: list[list[float]] = [[] for _ in runs]
    orders: list[tuple[int, ...]] = []
    repeats = 1
    start, cut_short = clock.now(), False
    try:
        repeats = common_repeats(runs, clock)
        start = clock.now()
        seconds = 0.0
        while not orders or not timing.is_done(len(orders), seconds):
            order = tuple(generator.sample(range(len(runs)), len(runs)))
            times = {index: clock.time(runs[index], repeats) for index in order}
            for index, time in times.items():
                samples[index].append(time)
            orders.append(order)
            seconds = clock.now() - start
            if timing.may_stop(len(orders), seconds) and is_clear(samples):
                break
            if progress:
                progress(seconds, max(timing.expected_seconds(seconds / len(orders)) - seconds, 0.0))
    except KeyboardInterrupt:
        cut_short = True
        rounds = min(map(len, samples))
        samples, orders = [times[:rounds] for times in samples], orders[:rounds]
    return Rounds(tuple(map(tuple, samples)), tuple(orders), repeats, clock.now() - start, cut_short)


def common_repeats(runs: Sequence[Run], clock: Clock) -> int:
    """Return how often each of several warm runs is repeated inside a sample: one number for all that are compared.

    The first pass after another network finds the caches cold; what is repeated once and what is repeated twice do not
    compare. The shortest run decides, by the fastest of several samples, so that its samples are as long as the clock
    needs; but a sample of the longest is not drawn out beyond ten times that.
    """
    repeats, most = 1, _MOST_REPEATS
    while repeats < most:
        samples = [_fastest(run, clock, repeats) for run in runs]
        shortest, longest = min(samples), max(samples)
        if shortest >= clock.shortest_seconds:
            break
        if longest > 0:
            most = max(min(most, int(_LONG * clock.shortest_seconds * repeats / longest)), 1)
        factor = clock.shortest_seconds / shortest if shortest > 0 else 10.0
        repeats = min(math.ceil(repeats * min(1.1 * factor, 10.0)), most)
    return repeats


def _settled(times: Sequence[float]) -> bool:
    if len(times) < 2 * _WINDOW:
        return False
    return median(times[-_WINDOW:]) >= _STILL_FASTER * median(times[-2 * _WINDOW : -_WINDOW])


def _fastest(run: Run, clock: Clock, repeats: int) -> float:
    """Return the seconds of a sample, the fastest of several; of one where it is far longer than the clock needs."""
    fastest = clock.time(run, repeats) * repeats
    for _ in range(_LOOKS - 1):
        if fastest >= _LONG * clock.shortest_seconds:
            break
        fastest = min(fastest, clock.time(run, repeats) * repeats)
    return fastest
