"""Passes of exported files, each in its runtime."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

from scsc_lab.errors import InputError, last_line
from scsc_lab.execution.agreement import Run
from scsc_lab.execution.passes import arrays
from scsc_lab.exporting.onnx_graph import EXTRA
from scsc_lab.exporting.trace import quiet


def in_onnxruntime(data: bytes) -> Run:
    """Return passes of an ONNX file's bytes in ONNX Runtime, on the CPU.

    Raises:
        InputError: if it is not installed, or refuses the file.
    """
    require_onnxruntime()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no public parent
        raise InputError(f"ONNX Runtime refuses what torch's exporter wrote: {last_line(error)}") from error
    names = [x.name for x in session.get_inputs()]

    def run(inputs: Sequence[Tensor]) -> Sequence[Any]:
        fed = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
        return list(session.run(None, fed))

    return run


def require_onnxruntime() -> None:
    """Raise InputError if ONNX Runtime is not installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise InputError(f"onnxruntime is not installed: {EXTRA}")


def in_torch(data: bytes) -> Run:
    """Return passes of a ``.pt2`` file's bytes, loaded by ``torch.export``.

    Raises:
        InputError: if it cannot load them.
    """
    try:
        with quiet():
            module: Any = torch.export.load(io.BytesIO(data)).module()
    except Exception as error:  # what its own format cannot hold shows here
        raise InputError(f"torch.export refuses its own file: {last_line(error)}") from error

    def run(inputs: Sequence[Tensor]) -> Sequence[Any]:
        with quiet(), torch.no_grad():
            return arrays(_pytree.tree_leaves(module(*inputs)))

    return run
