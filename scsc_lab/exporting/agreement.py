"""Whether what was exported computes what the module computes: run in its own runtime, on random inputs."""

from __future__ import annotations

import copy
import importlib.util
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from scsc_lab.errors import InputError, last_line
from scsc_lab.execution.passes import evaluating
from scsc_lab.exporting.onnx_graph import EXTRA
from scsc_lab.exporting.trace import quiet

TOLERANCE = 1e-5
"""Largest difference that is taken for rounding, over the largest magnitude of an output, in float32."""

_TIMES_OWN = 4.0
"""How much further from float64 than torch's own float32 a runtime's result may be, where both are beyond it."""

Run = Callable[[Sequence[Tensor]], list[Tensor]]
"""A pass in a runtime: from inputs to outputs, in order."""


@dataclass(frozen=True)
class Agreement:
    """How near a runtime's outputs are to torch's.

    Attributes:
        difference: the largest difference of any output, over that output's largest magnitude in torch.
        rounding: the same of torch's float32 against its float64, where the difference is beyond the tolerance.
        telling: whether different inputs gave different outputs; if not, agreement says little.
    """

    difference: float
    rounding: float | None = None
    telling: bool = True


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
    names = [given.name for given in session.get_inputs()]

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        fed = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
        return [torch.from_numpy(y) for y in session.run(None, fed)]

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
        raise InputError(f"torch.export refuses what it wrote itself: {last_line(error)}") from error

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        with quiet(), torch.no_grad():
            return _tensors(module(*inputs))

    return run


def agreement(run: Run, model: nn.Module, inputs: Sequence[Sequence[Tensor]]) -> Agreement:
    """Hold a runtime's outputs against those of the module, which is left as it is.

    Args:
        run: a pass in the runtime.
        model: the module.
        inputs: what several passes are fed, each with one tensor an argument.

    Raises:
        InputError: if the outputs differ by more than :data:`TOLERANCE` and by more than torch's float32 itself differs
            from its float64; or if the module's own outputs are not finite.
    """
    largest, rounding, first, telling = 0.0, None, None, False
    for given in inputs:
        expected = _outputs(model, given)
        if any(y.layout != torch.strided for y in expected):
            raise InputError("it returns a sparse tensor; what is written is compared where tensors are dense")
        if not all(bool(y.isfinite().all()) for y in expected):
            raise InputError("its own output on random input is not finite, so that nothing can be compared with it")
        try:
            found = run([x.clone() for x in given])
        except Exception as error:  # whatever the runtime raises
            raise InputError(f"what was written does not run: {last_line(error)}") from error
        if [y.shape for y in found] != [y.shape for y in expected]:
            shapes = ["×".join(map(str, y.shape)) for ys in (found, expected) for y in ys]
            raise InputError(f"what was written gives other shapes than torch: {', '.join(shapes)}")
        difference = _difference(found, expected)
        if not difference <= TOLERANCE:
            exact = _in_float64(model, given)
            rounding = max(rounding or 0.0, _difference(expected, exact)) if exact else rounding
            if exact is None or not _difference(found, exact) <= _TIMES_OWN * (rounding or 0.0):
                raise InputError(
                    f"what was written differs from torch by {difference:.1e} of the largest output, "
                    f"more than {TOLERANCE:.0e}"
                )
        largest = max(largest, difference)
        one = [y[:1] for y in expected if y.dim()]
        telling = telling or (first is not None and any(not torch.equal(a, b) for a, b in zip(first, one, strict=True)))
        first = first or one
    return Agreement(largest, rounding, telling)


def _outputs(model: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    with evaluating(model), torch.no_grad():
        return _tensors(model(*(x.clone() for x in inputs)))  # a network may change its input in place


def _tensors(value: Any) -> list[Tensor]:
    """Return the tensors in what a network returns, in the order in which ``torch.export`` lists them."""
    return [leaf for leaf in _pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


def _in_float64(model: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor] | None:
    """Return the outputs in float64, if the network can be copied and runs in it."""
    try:
        return _outputs(copy.deepcopy(model).double(), [x.double() if x.is_floating_point() else x for x in inputs])
    except Exception:  # whatever its own code says to another type
        return None


def _difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the largest difference of any output over that output's largest magnitude; NaN where one is."""
    worst = 0.0
    for a, b in zip(found, expected, strict=True):
        if not b.numel():
            continue
        a, b = a.double(), b.double()  # of truth values and whole numbers too
        largest = float(b.abs().max())
        own = float((a - b).abs().max()) / largest if largest else float(a.abs().max())
        worst = own if own != own else max(worst, own)
        if worst != worst:
            break
    return worst
