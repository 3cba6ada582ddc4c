"""The device that something is measured on: whether it is there, and its name."""

from __future__ import annotations

import torch

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
