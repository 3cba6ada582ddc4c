"""Roofs of a machine, measured on the spot, and the parts of a network that are held to them (the roofline model).

Source: Williams, Waterman, Patterson, "Roofline", CACM 52 (4), 2009. A part cannot be done in less time than its
multiply-accumulates take at the peak of a matrix product, nor than its bytes take at the bandwidth of a large copy.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from scsc_lab.analysis.count import Count
from scsc_lab.analysis.paired import bootstrap_medians
from scsc_lab.execution import hardware
from scsc_lab.execution.passes import dtype_of, using_threads
from scsc_lab.records import Row
from scsc_lab.settings import Execution
from scsc_lab.timing.rounds import Clock, clock_of

SIDE = 1024
"""Side of the square matrices whose product gives the peak."""

COPIED_BYTES = 256 * 2**20
"""Bytes of the tensor that is copied: larger than the caches of today's processors."""

FAR = 0.2
"""Share of the roof below which neither roof explains a part's time: overhead."""

_CONVOLVED = (32, 32)
_SAMPLES = 9
_RESAMPLES = 2000


@dataclass(frozen=True)
class Rate:
    """Something per second: the median of some runs, with its 95 % bootstrap interval."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Roofs:
    """The two roofs of a machine with a number of threads and an element type.

    Attributes:
        macs: multiply-accumulates per second of a large matrix product, or of a convolution where that is faster.
        bytes: bytes per second, read and written, of a large copy.
    """

    macs: Rate
    bytes: Rate

    def row(self) -> Row:
        """Return them as plain data."""
        return {"macs_per_second": asdict(self.macs), "bytes_per_second": asdict(self.bytes)}

    def least_seconds(self, macs: int, bytes_: int) -> float:
        """Return the time that a perfect implementation would need."""
        return max(macs / self.macs.median, bytes_ / self.bytes.median)

    def bound(self, macs: int, bytes_: int, seconds: float) -> str:
        """Return what a part's time is bound by: ``compute``, ``memory``, or ``overhead`` where neither is near."""
        if seconds <= 0 or self.least_seconds(macs, bytes_) < FAR * seconds:
            return "overhead"
        return "compute" if macs / self.macs.median >= bytes_ / self.bytes.median else "memory"


def measure(execution: Execution, *, clock: Clock | None = None, side: int = 0, copied_bytes: int = 0) -> Roofs:
    """Measure the roofs: the product of square matrices or, on a CPU, a convolution, whichever is faster; and a copy.

    All are in the execution's type and threads.

    Args:
        execution: device, dtype and threads.
        clock: in place of the device's own.
        side: side of the matrices. 0: :data:`SIDE`.
        copied_bytes: bytes that are copied. 0: :data:`COPIED_BYTES`.
    """
    side, copied_bytes = side or SIDE, copied_bytes or COPIED_BYTES
    device = hardware.find(execution.device)
    clock = clock or clock_of(device)
    dtype = dtype_of(execution)
    with torch.inference_mode(), using_threads(execution.threads):
        left, right = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))
        product = torch.empty_like(left)
        source = torch.ones(copied_bytes // left.element_size(), dtype=dtype, device=device)
        target = torch.empty_like(source)
        rates = [_rate(lambda: torch.mm(left, right, out=product), side**3, clock, execution.seed)]
        if device.type == "cpu":  # MKL, which torch.mm calls, may be half as fast as oneDNN, which convolves
            channels = side // 4
            image = torch.ones(1, channels, *_CONVOLVED, dtype=dtype).contiguous(memory_format=torch.channels_last)
            kernels = torch.ones(channels, channels, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
            work = 9 * channels**2 * math.prod(length - 2 for length in _CONVOLVED)
            rates.append(_rate(lambda: functional.conv2d(image, kernels), work, clock, execution.seed))
        macs = max(rates, key=lambda rate: rate.median)
        moved = _rate(lambda: target.copy_(source), 2 * source.numel() * source.element_size(), clock, execution.seed)
    return Roofs(macs, moved)


def _rate(run: Callable[[], object], work: int, clock: Clock, seed: int) -> Rate:
    run()
    seconds = np.array([max(clock.time(run), 1e-12) for _ in range(_SAMPLES)])
    low, high = np.percentile(bootstrap_medians(seconds, _RESAMPLES, seed), (2.5, 97.5))
    return Rate(work / float(np.median(seconds)), work / float(high), work / float(low))


def groups(model: nn.Module, count: Count) -> dict[str, tuple[str, ...]]:
    """Return the modules that are timed, by kind: leaves, and modules that multiply on their own, as attention does.

    Args:
        model: the network.
        count: its count, whose modules are the network's.
    """
    multiplying = {cell.module for cell in count.cells if cell.macs}
    busy = {cell.module for cell in count.cells if cell.bytes}
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in _units(model, "", multiplying):
        if not any(module == name or module.startswith(f"{name}.") for module in busy):
            continue  # DropPath, say, outside of training
        kinds[kind_of(model.get_submodule(name))].append(name)
    return {kind: tuple(names) for kind, names in kinds.items()}


def _units(module: nn.Module, name: str, multiplying: set[str]) -> Iterator[str]:
    children = list(module.named_children())
    if name and (not children or name in multiplying):
        yield name
        return
    for child_name, child in children:
        yield from _units(child, f"{name}.{child_name}" if name else child_name, multiplying)


def kind_of(module: nn.Module) -> str:
    """Return what a module is called among its like: ``depthwise convolutions``, or its class."""
    if isinstance(module, nn.Conv2d):
        if module.groups == module.in_channels > 1:
            return "depthwise convolutions"
        return "1×1 convolutions" if module.kernel_size == (1, 1) else "convolutions"
    if isinstance(module, nn.Linear):
        return "linear layers"
    if isinstance(module, (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)):
        return "norms"
    return type(module).__name__


def places(
    seconds: Mapping[str, float], parts: Mapping[str, tuple[str, ...]], count: Count, roofs: Roofs, rest: str
) -> list[Row]:
    """Return the place of each part under the roofs, the longest first.

    Args:
        seconds: time of each part, and of what is between them.
        parts: names of the modules of each.
        count: counts of the network at the batch that was timed.
        roofs: the machine's.
        rest: name of what is between the parts.

    Returns:
        Rows with ``part``, ``seconds``, ``macs``, ``bytes``, ``least_seconds``, ``attained`` (least over measured time:
        above 1 where the caches serve traffic that was counted as memory) and ``bound``.
    """
    owner = {name: part for part, names in parts.items() for name in names}
    work: dict[str, list[int]] = {part: [0, 0] for part in seconds}
    for cell in count.cells:
        part = _owner(cell.module, owner) or rest
        if part in work:
            work[part][0] += cell.macs
            work[part][1] += cell.bytes
    rows = []
    for part, (macs, bytes_) in work.items():
        least, spent = roofs.least_seconds(macs, bytes_), seconds[part]
        row: Row = {"part": part, "seconds": spent, "macs": macs, "bytes": bytes_, "least_seconds": least}
        rows.append(
            {**row, "attained": least / spent if spent > 0 else None, "bound": roofs.bound(macs, bytes_, spent)}
        )
    return sorted(rows, key=lambda row: -row["seconds"])


def _owner(module: str, owner: Mapping[str, str]) -> str:
    while module:
        if module in owner:
            return owner[module]
        module = module.rpartition(".")[0]
    return ""
