"""Whether something else computes what a network computes: both run on the same random inputs."""

from __future__ import annotations

import contextlib
import copy
import math
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from scsc_lab.errors import InputError, last_line
from scsc_lab.execution.passes import arrays, evaluating

TOLERANCE = 1e-5
"""Largest difference that is taken for rounding, over the largest magnitude of an output, in float32."""

LARGEST_DIFFERENCE = {"float64": 1e-6, "float32": 1e-3, "float16": 0.05, "bfloat16": 0.1}
"""Difference of outputs, as a share of the largest, up to which two runtimes compute the same in an element type."""

_TIMES_ROUNDING = 4.0
"""How many times torch's own rounding the difference may be, where both are beyond the tolerance."""

_NOISE = {torch.float64: 1e-10, torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 1e-2}
"""Relative change of the inputs that shows how a network amplifies rounding in its own element type."""

_LARGEST_ROUNDING = 0.01
"""Difference between element types, over the largest output, that is no rounding."""

_PASSES = 8
"""Passes of a network that draws random numbers but gave the same output twice."""

GradMode = Callable[[], contextlib.AbstractContextManager[Any]]
"""``torch.no_grad``, ``torch.enable_grad`` or ``torch.inference_mode``."""

Run = Callable[[Sequence[Tensor]], Sequence[Any]]
"""A pass in another form or runtime: from inputs to outputs, as NumPy arrays, in order."""


@dataclass(frozen=True)
class Agreement:
    """How near a form's or a runtime's outputs are to those of the network in torch.

    Attributes:
        difference: the largest difference of any output, over that output's largest magnitude in torch.
        rounding: the same of torch's rounding alone, where the difference is beyond the tolerance.
        depends_on_input: whether different inputs gave different outputs; if not, agreement says little.
    """

    difference: float
    rounding: float | None = None
    depends_on_input: bool = True


class DisagreementError(InputError):
    """Outputs that differ by more than rounding."""


def agreement(
    run: Run,
    model: nn.Module,
    inputs: Sequence[Sequence[Tensor]],
    subject: str,
    reference: str = "torch",
    tolerance: float = TOLERANCE,
    mode: GradMode = torch.no_grad,
) -> Agreement:
    """Compare the outputs of another form or runtime with those of a network, which is left as it is.

    Args:
        run: a pass of the other.
        model: the network.
        inputs: inputs of several passes, each with one tensor per argument.
        subject: what messages call the other.
        reference: what messages call the network.
        tolerance: largest difference that counts as rounding without a look at torch's own.
        mode: whether the network computes with gradients.

    Raises:
        DisagreementError: if the other does not run, or its outputs differ by more than the tolerance and by more than
            four times torch's own rounding.
        InputError: if the network's outputs are not finite, or differ between two passes on one input.
    """
    largest, rounding, first, differs_by_input = 0.0, None, None, False
    for arguments in inputs:
        expected = repeatable(partial(outputs, model, arguments, mode), tolerance)
        if not all(np.isfinite(y).all() for y in expected):
            raise InputError("its output on random input is not finite: nothing can be compared with it")
        try:
            other_outputs = list(run([x.clone() for x in arguments]))
        except InputError:
            raise
        except Exception as error:  # whatever the other raises
            raise DisagreementError(f"{subject} does not run: {last_line(error)}") from error
        apart = difference(expected, other_outputs)
        if apart is None:
            shapes = ["×".join(map(str, y.shape)) for ys in (other_outputs, expected) for y in ys]
            raise DisagreementError(f"{subject} gives other shapes than {reference}: {', '.join(shapes)}")
        if apart > tolerance:
            exact, moved = _rounding(model, arguments, expected, mode)
            if moved > _LARGEST_ROUNDING:
                raise InputError(
                    f"its output in float64 differs from that in float32 by {moved:.1e} of the largest: it is "
                    "chaotic or computes something else there, so that nothing can be compared with it"
                )
            rounding = max(rounding or 0.0, moved)
            if not (difference(exact, other_outputs) or 0.0) <= _TIMES_ROUNDING * rounding:
                raise DisagreementError(
                    f"{subject} differs from {reference} by {apart:.1e} of the largest output, "
                    f"more than {tolerance:.0e}"
                )
        largest = max(largest, apart)
        images = [y[:1] for y in expected if y.ndim]
        differs_by_input = differs_by_input or (first is not None and not all(map(np.array_equal, first, images)))
        first = first or images
    return Agreement(largest, rounding, differs_by_input)


def repeatable(
    run: Callable[[], Sequence[Any]], tolerance: float = TOLERANCE, subject: str = "the network"
) -> list[Any]:
    """Return the outputs of a pass that gives the same in every pass on one input.

    It is run twice, and more often where it draws random numbers and yet gave the same outputs, as with layers that are
    seldom dropped. In the second pass, memory that nothing has written yet holds NaN.

    Raises:
        InputError: if it gives other outputs in another pass: the network is random by itself, keeps a state, or reads
            memory before it is written, as of ``torch.empty``.
    """
    before = _generators()
    expected = [np.array(y) for y in run()]  # a copy: a network may return a buffer that its next pass changes
    for number in range(1 if before == _generators() else _PASSES):
        with _filled_memory() if number == 0 else contextlib.nullcontext():
            again = list(run())
        apart = difference(expected, again)
        if apart is None or apart > tolerance:
            how = "of other shapes" if apart is None else f"that differ by {apart:.1e} of the largest"
            raise InputError(
                f"two passes of {subject} on one input give outputs {how}: it is random by itself, keeps a state or "
                "reads memory that nothing wrote, so that nothing can be compared with it"
            )
    return expected


def _generators() -> tuple[Any, ...]:
    """Return the states of the generators that a network may draw from."""
    legacy: Any = np.random.get_state()  # noqa: NPY002  # other people's code draws from it
    return torch.get_rng_state().tolist(), random.getstate(), legacy[1].tolist(), legacy[2]


@contextlib.contextmanager
def _filled_memory() -> Iterator[None]:
    """Let torch fill new memory, with NaN or the largest whole number, until something is written there."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filling: Any = torch.utils.deterministic
    fills = filling.fill_uninitialized_memory
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of operators that have no deterministic form
            torch.use_deterministic_algorithms(True, warn_only=True)
            filling.fill_uninitialized_memory = True
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        filling.fill_uninitialized_memory = fills


def outputs(model: nn.Module, inputs: Sequence[Tensor], mode: GradMode = torch.no_grad) -> list[Any]:
    """Return the tensors that a network returns, as NumPy arrays, in the order in which ``torch.export`` lists them.

    Raises:
        InputError: if one is sparse.
    """
    with evaluating(model), mode():
        returned = model(*(x.clone() for x in inputs))  # a network may change its input in place
    leaves = [leaf for leaf in _pytree.tree_leaves(returned) if isinstance(leaf, Tensor)]
    if any(leaf.layout != torch.strided for leaf in leaves):
        raise InputError("it returns a sparse tensor; only dense tensors are compared")
    return arrays(leaves)


def difference(reference: Sequence[Any], outputs: Sequence[Any]) -> float | None:
    """Return the largest difference of several outputs as a share of the largest finite one; ``None`` if shapes differ.

    Where one is not a number, the other must not be one either: else the difference is infinite.
    """
    if [y.shape for y in reference] != [y.shape for y in outputs]:
        return None
    most = 0.0
    for y, output in zip(reference, outputs, strict=True):
        if not (np.isnan(y) == np.isnan(output)).all():
            return math.inf
        wide = np.result_type(y, np.float64)  # of truth values and whole numbers too
        with np.errstate(invalid="ignore"):  # the same infinity twice
            apart = np.where(y == output, 0.0, np.abs(y.astype(wide) - output))
        scale = float(np.abs(y[np.isfinite(y)]).max(initial=0.0))
        most = max(most, float(np.nanmax(apart, initial=0.0)) / (scale or 1.0))
    return most


def _rounding(
    model: nn.Module, inputs: Sequence[Tensor], expected: Sequence[Any], mode: GradMode
) -> tuple[Sequence[Any], float]:
    """Return a network's exact outputs, and how far rounding moves those that it gave.

    Exact is float64. What is in float64 already, or does not run in it, is compared with itself on inputs with a little
    noise: some parts compute in float32 whatever they are fed.
    """
    if not any(x.dtype == torch.float64 for x in inputs):
        with contextlib.suppress(Exception):  # whatever its own code says to another type
            wide = [x.double() if x.is_floating_point() else x for x in inputs]
            exact = outputs(copy.deepcopy(model).double(), wide, mode)
            return exact, difference(exact, expected) or 0.0
    noisy = [x * (1 + _NOISE[x.dtype] * torch.randn_like(x)) if x.dtype in _NOISE else x for x in inputs]
    return expected, difference(expected, outputs(model, noisy, mode)) or 0.0
