"""Operators that know their own multiply-accumulates, whatever torch operators they are written with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, ParamSpec

from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

P = ParamSpec("P")


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
