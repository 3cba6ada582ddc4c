"""torch as it is, operator by operator: the runtime of every network, and the reference of the others."""

from __future__ import annotations

import functools
import time
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
        """Return what is less precise than its type says, and on the CPU how fast products are beside oneDNN's."""
        from scsc_lab.execution.passes import less_than_float32

        less = less_than_float32(self.execution)
        is_usual = self.execution.device == "cpu" and self.execution.dtype == "float32"
        speed = speed_of_products() if is_usual else None
        return ({"float32": less} if less else {}) | ({"products": speed} if speed else {})

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


@functools.cache
def speed_of_products() -> float | None:
    """Return the speed of torch's float32 products on the CPU as a share of oneDNN's; ``None`` without MKL or oneDNN.

    torch leaves linear layers, attention and 1×1 convolutions to MKL, which takes slower instructions on processors
    that are not Intel's. Compared is the processor time of one thread, of the fastest of twenty products of 134 million
    MACs each, in turn.
    """
    import torch

    from scsc_lab.execution.passes import using_threads

    if not torch.backends.mkl.is_available():  # then another library multiplies, of which nothing is known here
        return None
    x, weight = torch.ones(1024, 256), torch.ones(512, 256)

    def onednn() -> object:
        return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")

    def usual() -> object:
        return torch.nn.functional.linear(x, weight)

    seconds: dict[Callable[[], object], list[float]] = {usual: [], onednn: []}
    try:
        with torch.inference_mode(), using_threads(1):
            for product in (usual, onednn) * 20:
                started = time.thread_time()
                product()
                seconds[product].append(time.thread_time() - started)
    except (AttributeError, RuntimeError):
        return None
    fastest = min(seconds[usual])
    return min(seconds[onednn]) / fastest if fastest else None


class _Profile(Profile):
    """Passes under torch's profiler: the time of each operator without that of the operators inside it."""

    def __init__(self, run: Callable[[], object]) -> None:
        self._run = run
        self._passes: list[dict[str, float]] = []

    def run(self) -> float:
        import os

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
