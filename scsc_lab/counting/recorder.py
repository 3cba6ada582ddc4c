"""Recorder of a pass: the torch functions it calls, ATen's operators below them, and the current module."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, cast

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from scsc_lab.counting import operators, rules, shapes, terms
from scsc_lab.counting.tally import SOFTMAX, Tally, moved
from scsc_lab.counting.tensors import META, check_strided, like, tensors
from scsc_lab.errors import InputError
from scsc_lab.execution.passes import replaced
from scsc_lab.layers.tracing import Operator


def run_inside(func: HigherOrderOperator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a higher-order operator (cond, scan, flex_attention, …) as the operators and functions inside it.

    torch has a kernel that does so, which refuses to run while a mode watches.
    """
    kernel: Any = func.py_kernels[torch._C.DispatchKey.CompositeExplicitAutograd]
    module = sys.modules[kernel.__module__]
    if not hasattr(module, "_get_current_dispatch_mode"):
        return kernel(*args, **kwargs)
    with replaced(module, "_get_current_dispatch_mode", lambda: None):
        return kernel(*args, **kwargs)


def watching(mode: Any) -> contextlib.AbstractContextManager[Any]:
    """Return a handler as the mode that inherits it."""
    return cast("contextlib.AbstractContextManager[Any]", mode)


class _FunctionHandler:
    """Name what the network calls; an operator that knows its own cost is counted here, as one."""

    tally: Tally

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tally, place = self.tally, self.tally.place
        if isinstance(func, HigherOrderOperator):
            with watching(self):
                return run_inside(func, args, kwargs)
        if place.label or func.__name__ == "__get__":
            return func(*args, **kwargs)
        place.label, place.call = operators.spelled(func.__name__), next(tally.numbers)
        if func is F.interpolate and "area" in (*args[3:4], kwargs.get("mode")):
            place.label = f"adaptive_avg_pool{args[0].dim() - 2}d"
        place.muted = _counts_as_one(func, tally, args, kwargs)
        try:
            if place.muted and func is F.scaled_dot_product_attention:
                out = shapes.attention(*(_on_meta(x) for x in _qkv(*args, **kwargs)))
            else:
                out = func(*args, **kwargs)
            if place.muted:
                macs, written = _own_cost(func, args, kwargs, out)
                listed = "" if isinstance(func, Operator) else "bmm"
                norms = SOFTMAX * (written - out.numel()) if listed else 0
                read_and_written = moved((args, kwargs), out)
                tally.add(place.label, listed, macs, written, read_and_written, macs if listed else 0, (0, norms))
            elif place.label == "einsum" and isinstance(args[0], str):
                tally.add("einsum", "einsum", 0, 0, 0, operators.fvcore_einsum(*args))
            elif place.label == "matmul":
                tally.add("matmul", "matmul", 0, 0, 0, operators.fvcore_matmul(func.__name__, *args))
            if tally.backward:
                tally.remember(out)
        finally:
            place.label, place.muted = "", False
        return out


class Functions(_FunctionHandler, TorchFunctionMode):
    """Names what ATen's operators do after the torch functions that the network calls."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.tally = tally


class _DispatchHandler:
    """See every ATen operator; on the meta device, give its result without torch's slow-to-import decompositions."""

    tally: Tally

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        operands, constant = list(tensors((args, kwargs))), False
        if any(type(x).__torch_dispatch__ is not Tensor.__torch_dispatch__ for x in operands):
            return NotImplemented  # a tensor made of others, which says itself what is done with those
        if isinstance(func, HigherOrderOperator):
            with watching(self):
                return run_inside(func, args, kwargs)
        _refuse_nested(operands)
        if operators.is_composite(func):  # torch decomposes it above this place, but not in inference mode
            with watching(self):
                return func._op_dk(torch._C.DispatchKey.CompositeImplicitAutograd, *args, **kwargs)
        if not self.tally.on_meta:
            out = func(*args, **kwargs)
        elif not any(x.device == META for x in operands):
            out, constant = func(*args, **kwargs), True  # allocates, or prepares a constant
        else:
            name, target = operators.kind(func).name, args[0] if args else None
            if name == "_to_copy":
                kwargs = {key: value for key, value in kwargs.items() if key != "device"}
            if name == "_pack_padded_sequence":
                args = (_on_meta(args[0]), *args[1:])  # the lengths are read
            elif not all(x.device == META for x in operands):
                args, kwargs = _on_meta(args), _on_meta(kwargs)
            out = shapes.result(name, func, args, kwargs)
            if args and out is args[0] and out is not target:  # in place, on a constant
                args = (target, *args[1:])
                out = target
        _refuse_nested(out)
        self.tally.memory.hold([*operands, *tensors(out)])  # operands too: constants of an earlier pass
        if not self.tally.place.muted:
            self.tally.record(func, args, kwargs, out, constant=constant)
        return out


class Dispatch(_DispatchHandler, TorchDispatchMode):
    """Counts ATen's operators.

    The handler stands in a base of its own because torch wraps one that is defined here, and so imports torch._dynamo.
    """

    supports_higher_order_operators = True

    def __init__(self, tally: Tally) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has not annotated it
        self.tally = tally


def _qkv(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
    return query, key, value


def _counts_as_one(func: Any, tally: Tally, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether a call is counted at its torch function; elsewhere its parts count, to the same."""
    if any(torch._C._functorch.is_functorch_wrapped_tensor(x) for x in tensors((args, kwargs))):
        return False  # batched by vmap: its shapes are those of one example
    if func is F.scaled_dot_product_attention:
        return tally.on_meta and not tally.backward and shapes.is_plain_attention(*args, **kwargs)
    return isinstance(func, Operator)


def _refuse_nested(value: Any) -> None:
    if any(x.is_nested for x in tensors(value)):
        raise InputError(
            "tensors of torch.nested are counted in the layout torch.jagged, and outside attention: pad them"
        )


def _own_cost(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> tuple[int, int]:
    """Return the multiply-accumulates of an operator that counts as one, and the elements it writes."""
    if isinstance(func, Operator):
        return func.macs(*args, **kwargs), out.numel()
    return rules.attention(*args, **kwargs)


def _on_meta(value: Any) -> Any:
    if isinstance(value, Tensor):
        if value.device == META:
            return value
        check_strided(value)
        stand_in = like(value)
        terms.carry(value, stand_in)
        return stand_in
    if isinstance(value, (list, tuple)):
        return type(value)(map(_on_meta, value))
    return {key: _on_meta(item) for key, item in value.items()} if isinstance(value, dict) else value
