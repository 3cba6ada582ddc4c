"""Layers as a pass sees them: traced rather than run, or one operator that knows its own multiply-accumulates."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, cast

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

P = ParamSpec("P")
T = TypeVar("T")


def is_exporting() -> bool:
    """Return whether ``torch.export`` is tracing the network."""
    return bool(torch.compiler.is_exporting())


def is_traced() -> bool:
    """Return whether anything writes the pass down: ``torch.export``, ``torch.compile`` or ``torch.jit.trace``."""
    return torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None or is_exporting()


def is_transformed(*tensors: Tensor) -> bool:
    """Return whether a tensor is inside a transform of ``torch.func``, as ``vmap`` or ``grad``."""
    return any(map(torch._C._functorch.is_functorch_wrapped_tensor, tensors))


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


class Operator(Generic[P]):
    """A function of tensors that counts as one operator; made by :func:`operator`.

    Attributes:
        macs: returns the multiply-accumulates of a call, from its arguments.
    """

    def __init__(self, function: Callable[P, Tensor], macs: Callable[P, int]) -> None:
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self.macs = macs

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        """Call the function; a torch function mode sees this operator in place of its parts."""
        tensors: list[Any] = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if has_torch_function(tensors):
            return handle_torch_function(self, tensors, *args, **kwargs)
        return self.__wrapped__(*args, **kwargs)


def operator(macs: Callable[P, int]) -> Callable[[Callable[P, Tensor]], Operator[P]]:
    """Make a function of tensors one operator that costs ``macs(…)`` multiply-accumulates.

    Args:
        macs: takes the arguments of the function and returns the cost of the call.
    """
    return lambda function: Operator(function, macs)
