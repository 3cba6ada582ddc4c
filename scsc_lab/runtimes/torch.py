"""torch as it is, operator by operator: the runtime of every network, and the reference of the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from scsc_lab.runtimes import Profile, Runtime, Session
from scsc_lab.settings import DTYPES

if TYPE_CHECKING:
    from torch import nn

    from scsc_lab.runtimes.source import Source
    from scsc_lab.settings import Execution


class TorchSession(Session):
    """A module, and its pass in one layout after another."""

    def __init__(self, source: Source, execution: Execution, model: nn.Module | None = None) -> None:
        self.source, self.execution = source, execution
        self.model = model if model is not None else source.module
        self._run: Callable[[], object] | None = None
        self._layout = "contiguous"

    def in_layout(self, memory_format: str) -> Callable[[], object]:
        """Lay out weights and a new input for each stream, and return their passes as one."""
        from scsc_lab.execution import passes

        self._run, self._layout = None, memory_format
        passes.lay_out(self.model, memory_format)
        again = partial(self.source.input, memory_format)
        at_once = [passes.one_pass(self.model, again(), self.execution, again) for _ in range(self.execution.streams)]
        self._run = passes.together(at_once, self.execution)
        return self._run

    def run(self) -> object:
        """Make one pass in the layout that was last chosen."""
        return (self._run or self.in_layout("contiguous"))()

    def describe(self) -> dict[str, Any]:
        """Return what is less precise than its type says."""
        from scsc_lab.execution.passes import less_than_float32

        less = less_than_float32(self.execution)
        return {"float32": less} if less else {}

    def outputs(self) -> Sequence[Any]:
        """Return the output without gradients, in the layout that was last chosen."""
        import torch

        from scsc_lab.execution.passes import arrays

        with torch.inference_mode():
            positional, keywords = self.source.input(self._layout)
            return arrays(self.model(*positional, **keywords))

    def profile(self) -> Profile:
        """Return what makes passes under torch's own profiler."""
        return _Profile(self.run)


class _Profile(Profile):
    """Passes under torch's profiler: the time of each operator without that of the operators inside it."""

    def __init__(self, run: Callable[[], object]) -> None:
        self._run = run
        self._passes: list[dict[str, float]] = []

    def run(self) -> float:
        import os
        import time

        import torch
        from torch.profiler import ProfilerActivity, profile

        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it writes to the terminal when it starts and stops
        on_device = torch.cuda.is_available()
        with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_device else [])]) as profiler:
            start = time.perf_counter()
            self._run()
            if on_device:
                torch.cuda.synchronize()
            total_seconds = time.perf_counter() - start
        seconds: dict[str, float] = defaultdict(float)
        events = profiler.key_averages()
        device = sum(event.self_device_time_total for event in events) if on_device else 0
        for event in events:
            spent = event.self_device_time_total if device else event.self_cpu_time_total
            if spent > 0:
                seconds[event.key.removeprefix("aten::")] += spent / 1e6
        self._passes.append(dict(seconds))
        return total_seconds

    def operators(self) -> list[dict[str, float]]:
        return self._passes


RUNTIME = Runtime("torch", "torch", TorchSession, dtypes=DTYPES, trains=True, layouts=True)
ORDER = 0
