"""The device that something is measured on, what else runs there, and the most memory that a run holds."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from scsc_lab.errors import InputError
from scsc_lab.provenance import machine


def find(name: str) -> torch.device:
    """Return a device by name; ``auto`` is the first there is of CUDA, MPS and the CPU.

    Raises:
        InputError: if it is not there.
    """
    if name == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(kind)
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {name!r}: this torch sees no CUDA device; --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {name!r}: there are {torch.cuda.device_count()} CUDA devices, from cuda:0 up")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device {name!r}: this torch sees no MPS device; --device cpu")
    return device


def describe(device: torch.device) -> str:
    """Return what a device is called: the GPU's or the processor's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(machine()["processor"])


def check_dtype(device: torch.device, dtype: torch.dtype) -> None:
    """Raise InputError if a device cannot convolve and multiply matrices in a type: both are tried, once."""
    try:
        x = torch.ones(1, 2, 4, 4, dtype=dtype, device=device)
        torch.nn.functional.conv2d(x, x.new_ones(2, 2, 3, 3))
        torch.nn.functional.layer_norm(x.flatten(2) @ x.flatten(2).mT, (2,))
    except (RuntimeError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        name = str(dtype).removeprefix("torch.")
        raise InputError(f"dtype {name!r}: {device} cannot compute in it ({reason}); --dtype float32") from None


_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_CGROUP = Path("/sys/fs/cgroup")
_LEFT_FREE = 0.05
_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc", "cannot allocate memory")


@dataclass(frozen=True)
class Memory:
    """Peak memory of one network: its weights, and what one pass needs beside them.

    Attributes:
        bytes: the peak; ``None`` where the system does not tell.
        method: how it was found, in words.
    """

    bytes: int | None
    method: str


def peak(run: Callable[[], object], device: torch.device, weights: int = 0) -> Memory:
    """Run once and return the most memory it held, input and weights included.

    Args:
        run: makes the input and passes it; whatever it has allocated before is not counted.
        device: where it runs.
        weights: bytes of the network's parameters and buffers, which are there already.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
        return Memory(torch.cuda.max_memory_allocated(device) - before + weights, "CUDA allocator's peak")
    if device.type != "cpu":
        run()
        return Memory(None, f"not measured on {device.type}")
    _trim()
    if not _reset_peak():
        run()
        return Memory(None, "not measured: this system does not report the peak of the resident set")
    resident = _status_bytes("VmRSS") or 0
    run()
    grown = (_status_bytes("VmHWM") or resident) - resident
    return Memory(max(grown, 0) + weights, "growth of the resident set in one pass, and the weights")


def weight_bytes(model: nn.Module) -> int:
    """Return the bytes of a network's parameters and buffers, shared ones once."""
    tensors = {id(x): x for x in (*model.parameters(), *model.buffers())}
    return sum(x.numel() * x.element_size() for x in tensors.values())


def is_exhausted(error: BaseException) -> bool:
    """Return whether an error says that there was not enough memory."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


@contextlib.contextmanager
def limited(device: torch.device, *, unless: bool = False) -> Iterator[None]:
    """Let an allocation that the machine cannot serve fail, where Linux would promise it and kill the process later."""
    limit = _allowed_bytes() if device.type == "cpu" and sys.platform == "linux" and not unless else None
    if limit is None:
        yield
        return
    import resource

    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    if (before != resource.RLIM_INFINITY and before <= limit) or (hard != resource.RLIM_INFINITY and hard < limit):
        yield
        return
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


def _allowed_bytes() -> int | None:
    """Return the address space this process may have: its own, and the free memory of the machine or its group."""
    virtual = _status_bytes("VmSize")
    free = [value for value in (available_bytes(), _group_free_bytes()) if value]
    return None if virtual is None or not free else virtual + int(min(free) * (1 - _LEFT_FREE))


def available_bytes() -> int | None:
    """Return the memory that the machine can give, or None where the system does not say."""
    return _file_bytes(Path("/proc/meminfo"), "MemAvailable")


def _group_free_bytes() -> int | None:
    try:
        most, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        cached = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())["inactive_file"]
    except (OSError, ValueError, KeyError):
        return None
    return max(int(most) - int(used) + int(cached), 1) if most.isdigit() else None


def _status_bytes(key: str) -> int | None:
    return _file_bytes(_STATUS, key)


def _file_bytes(path: Path, key: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)


def _trim() -> None:
    """Give memory that is free inside the allocator back to the system, so that using it shows as growth."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _reset_peak() -> bool:
    try:
        _RESET.write_text(_RESET_PEAK)
    except OSError:
        return False
    return _status_bytes("VmHWM") is not None


@dataclass(frozen=True)
class Load:
    """How many processes wanted a core, averaged over a minute, before and after a measurement.

    Attributes:
        before: when it began; ``None`` where the system does not tell.
        after: when it ended.
        cores: the machine's.
    """

    before: float | None
    after: float | None
    cores: int

    @property
    def most(self) -> float | None:
        """The larger of the two."""
        return max((load for load in (self.before, self.after) if load is not None), default=None)

    @property
    def is_busy(self) -> bool:
        """Whether more processes wanted a core than there are, so that intervals of ratios are too narrow."""
        return self.most is not None and self.most > self.cores


def load_average() -> float | None:
    """Return the load average over the last minute, or ``None`` where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def cores() -> int:
    """Return the cores of the machine, which its load average is of, whether or not this process may use them."""
    return os.cpu_count() or 1


def free_threads() -> int:
    """Return how many of torch's threads have a core that nobody else uses, at least one.

    Threads that share cores wait for each other, and use them up by waiting. Where the system does not tell, all count
    as free. Looking takes a tenth of a second.
    """
    most = torch.get_num_threads()
    before = _idle_seconds() if most > 1 else None
    if before is None:
        return most
    time.sleep(_LOOK_SECONDS)
    idle = (_idle_seconds() or before) - before
    return max(1, min(most, round(idle / _LOOK_SECONDS)))


def _idle_seconds() -> float | None:
    """Return how long the machine's cores have been idle, together."""
    try:
        ticks = Path("/proc/stat").read_text().partition("\n")[0].split()[4:6]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None


_LOOK_SECONDS = 0.1
