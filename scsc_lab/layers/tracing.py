"""Detection of a pass that is traced or exported rather than run.

What layers do for the sake of torch's own kernels on a CPU (memory order, wider kernels of zeros, tensors kept between
passes) has no place in a graph that something else will run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import torch

P = ParamSpec("P")
T = TypeVar("T")


def is_exporting() -> bool:
    """Return whether ``torch.export`` is tracing the network; never with a torch before 2.7, which cannot tell."""
    is_torch_exporting = getattr(torch.compiler, "is_exporting", None)
    return is_torch_exporting is not None and bool(is_torch_exporting())


def is_traced() -> bool:
    """Return whether anything writes the pass down: ``torch.export``, ``torch.compile`` or ``torch.jit.trace``."""
    return torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None or is_exporting()


def keep_results(number: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Keep the last results of a function, but none of an export: those are stand-ins that hold no values.

    Args:
        number: how many are kept.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        cached = cast(Callable[P, T], functools.lru_cache(number)(function))

        @functools.wraps(function)
        def result(*args: P.args, **kwargs: P.kwargs) -> T:
            return function(*args, **kwargs) if is_exporting() else cached(*args, **kwargs)

        return result

    return decorate
