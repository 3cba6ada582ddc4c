"""Recorder of a pass: the torch functions it calls, ATen's operators below them, and the current module."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from scsc_lab.analysis.count import BACKWARD
from scsc_lab.counting import names, operators, products, rules, shapes, terms
from scsc_lab.counting.tensors import META, check_strided, like, stored_bytes, tensors
from scsc_lab.errors import InputError
from scsc_lab.execution.passes import replaced
from scsc_lab.layers.operator import Operator


@dataclass
class _Entry:
    calls: int = 0
    macs: int = 0
    activations: int = 0
    bytes: int = 0
    fvcore: int = 0
    last_call: int = -1


class _Place(threading.local):
    """Position of a thread in the pass: its module and its torch function."""

    def __init__(self) -> None:
        self.modules: list[str] = [""]
        self.label = ""
        self.call = 0
        self.muted = False
        self.followed = False
        self.submitting = False
        self.autograd_functions = 0


class Tally:
    """Counts so far, and the position of the pass.

    Attributes:
        on_meta: whether the pass runs on the meta device.
        backward: whether gradients are wanted.
    """

    def __init__(self, *, on_meta: bool, backward: bool = False) -> None:
        self.on_meta = on_meta
        self.backward = backward
        self.entries: dict[tuple[str, str, str], _Entry] = {}
        self.unknown: Counter[str] = Counter()
        self.place = _Place()
        self.numbers = itertools.count(1)
        self.lock = threading.Lock()
        self.origins: dict[Any, tuple[str, str]] = {}

    def record(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, *, constant: bool = False
    ) -> None:
        """Add one ATen operator; of one on constants, only the arithmetic."""
        kind, place = operators.kind(func), self.place
        macs, activations = products.follow(func, kind, args, kwargs, out)
        if kind.is_view or (constant and kind.is_free and not macs):
            return
        operator = place.label or names.PRIMITIVES.get(kind.name, kind.name)
        if kind.rule is not None:
            macs = _checked(kind.rule(*args, **{**kwargs, "out": out}), kind.name)
            activations = _written(kind.name, args, out) if macs else 0
            operator = names.contraction_name(kind.name, place.label, args) or operator
        elif macs:
            operator = "multiply-sum"
        elif not kind.is_free:
            with self.lock:
                self.unknown[kind.name] += 1
        listed, fvcore = names.fvcore_rule(kind.name, place.label, args, out, macs)
        if any(x.is_complex() for x in tensors(out)):
            macs *= rules.COMPLEX
        self.add(operator, listed, macs, activations, _moved((args, kwargs), out), fvcore)

    def add(self, operator: str, listed: str, macs: int, activations: int, moved: int, fvcore: int) -> None:
        """Add the cost of one operator to the innermost module."""
        place, module = self.place, self.place.modules[-1]
        if place.autograd_functions:  # what they do is not in the graph that fvcore counts
            listed, fvcore = "autograd function", 0
        if self.backward and (node := torch._C._current_autograd_node()) is not None:
            module, operator, listed, fvcore = *self._origin(node, operator), "", 0
        with self.lock:
            entry = self.entries.setdefault((module, operator, listed), _Entry())
            if not place.label or entry.last_call != place.call:
                entry.calls += 1
                entry.last_call = place.call
            entry.macs += macs
            entry.activations += activations
            entry.bytes += moved
            entry.fvcore += fvcore

    def remember(self, out: Any) -> None:
        """Note which module and function made the nodes of the graph behind a result."""
        nodes = [x.grad_fn for x in tensors(out) if x.grad_fn is not None]
        while nodes:
            node = nodes.pop()
            if node not in self.origins and node.name() != "torch::autograd::AccumulateGrad":
                self.origins[node] = self.place.modules[-1], self.place.label
                nodes += [behind for behind, _ in node.next_functions if behind is not None]

    def _origin(self, node: Any, operator: str) -> tuple[str, str]:
        module, label = self.origins.get(node, ("", ""))
        keeps_operator = not label or operator.startswith(("multiply-sum", "conv"))
        return module, (operator.removesuffix("_backward") if keeps_operator else label) + BACKWARD


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
        place.label, place.call = names.spelled(func.__name__), next(tally.numbers)
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
                tally.add(place.label, listed, macs, written, _moved((args, kwargs), out), macs if listed else 0)
            elif place.label == "einsum" and isinstance(args[0], str):
                tally.add("einsum", "einsum", 0, 0, 0, names.fvcore_einsum(*args))
            elif place.label == "matmul":
                tally.add("matmul", "matmul", 0, 0, 0, names.fvcore_matmul(func.__name__, *args))
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


def _checked(macs: Any, name: str) -> int:
    if not isinstance(macs, int) or isinstance(macs, bool) or macs < 0:
        raise InputError(f"the rule of {name} gives {macs!r}; multiply-accumulates are a whole number from 0")
    return macs


def _own_cost(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> tuple[int, int]:
    """Return the multiply-accumulates of an operator that counts as one, and the elements it writes."""
    if isinstance(func, Operator):
        return func.macs(*args, **kwargs), out.numel()
    return rules.attention(*args, **kwargs)


def _written(name: str, args: tuple[Any, ...], out: Any) -> int:
    """Return the elements an operator with a rule writes; fused attention counts as its two products."""
    if name in rules.FUSED_ATTENTION:
        return rules.attention(*args)[1]
    if name.startswith("convolution_backward"):
        return sum(x.numel() for x in tensors(out[:2]))  # the gradients of the input and of the weight
    return next(tensors(out)).numel()


def _moved(inputs: Any, outputs: Any) -> int:
    return sum(map(stored_bytes, tensors([inputs, outputs])))


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
