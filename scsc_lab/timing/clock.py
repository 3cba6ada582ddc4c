"""Clocks: the processor's, or the device's own events after a synchronise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

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


def of(device: torch.device) -> Clock:
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
