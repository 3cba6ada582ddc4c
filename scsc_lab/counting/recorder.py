"""A pass as it is recorded: the functions and operators it calls, the module that is running, the threads it starts."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from scsc_lab.counting import operators, rules, shapes, terms
from scsc_lab.counting.tally import SOFTMAX, Tally, moved
from scsc_lab.counting.tensors import META, check_strided, like
from scsc_lab.errors import InputError
from scsc_lab.execution.passes import replaced, tensors
from scsc_lab.layers.tracing import Operator, is_transformed


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


class _Handler:
    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.tally = tally


class _FunctionHandler(_Handler):
    """Name what the network calls; an operator that knows its own cost is counted here, as one."""

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


class _DispatchHandler(_Handler):
    """See every ATen operator; on the meta device, give its result without torch's slow-to-import decompositions."""

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


def _qkv(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
    return query, key, value


def _counts_as_one(func: Any, tally: Tally, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether a call is counted at its torch function; elsewhere its parts count, to the same."""
    if is_transformed(*tensors((args, kwargs))):
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


@contextlib.contextmanager
def watched(tally: Tally) -> Iterator[None]:
    """Watch what this thread does."""
    if tally.place.followed:
        yield
        return
    with torch.set_grad_enabled(tally.backward), Dispatch(tally), Functions(tally):
        tally.place.followed = True
        try:
            yield
        finally:
            tally.place.followed = False


@contextlib.contextmanager
def followed(model: nn.Module, tally: Tally) -> Iterator[None]:
    """Watch a pass, on every thread that it uses, and keep track of the module that is running.

    The hooks are torch's global ones, so no module is touched.
    """
    names = {id(module): name for name, module in model.named_modules()}
    begun: dict[tuple[int, int], contextlib.ExitStack] = {}

    def enter(module: nn.Module, args: Any) -> None:
        place = tally.place
        if not place.followed:
            if id(module) not in names:
                return
            stack = begun[threading.get_ident(), len(place.modules)] = contextlib.ExitStack()
            stack.enter_context(watched(tally))
        place.modules.append(names.get(id(module), place.modules[-1]))

    def leave(module: nn.Module, args: Any, out: Any) -> None:
        place = tally.place
        if not place.followed:
            return
        if id(module) in names:
            tally.outputs.setdefault(names[id(module)], tuple(tuple(x.shape) for x in tensors(out)))
        place.modules.pop()
        stack = begun.pop((threading.get_ident(), len(place.modules)), None)
        if stack is not None:
            stack.close()

    hooks = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)]
    try:
        with watched(tally), threads_watched(tally), autograd_functions_noted(tally), any_machine():
            yield
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def any_machine() -> Iterator[None]:
    """Keep networks and torch off paths that are for one machine: special processors, fused kernels, compiled code."""
    flex = sys.modules.get("torch.nn.attention.flex_attention")
    with (
        replaced(flex, "_validate_device", lambda *args: None) if flex else contextlib.nullcontext(),
        replaced(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT"),
        replaced(torch, "compile", lambda model=None, **options: model or (lambda function: function)),
        replaced(torch.backends.mkldnn, "enabled", False),  # its LSTM is one operator
        replaced(torch.backends.cudnn, "enabled", False),
    ):
        yield


@contextlib.contextmanager
def autograd_functions_noted(tally: Tally) -> Iterator[None]:
    """Keep track of whether the pass is inside an autograd function."""
    apply = vars(torch.autograd.Function)["apply"].__func__

    def noted(function: type[torch.autograd.Function], *args: Any, **options: Any) -> Any:
        tally.place.autograd_functions += 1
        try:
            return apply(function, *args, **options)
        finally:
            tally.place.autograd_functions -= 1

    with replaced(torch.autograd.Function, "apply", classmethod(noted)):
        yield


@contextlib.contextmanager
def threads_watched(tally: Tally) -> Iterator[None]:
    """Watch the threads that a watched thread starts, and the work that it gives to pools."""
    start, submit = threading.Thread.start, ThreadPoolExecutor.submit

    def watching(function: Callable[..., Any], module: str) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            with watched(tally):
                tally.place.modules[:] = [module]
                return function(*args, **kwargs)

        return run

    def start_watched(thread: threading.Thread) -> None:
        if tally.place.followed and not tally.place.submitting:
            # of this one thread: the class's own method stays as it is, which mypy takes for the only place
            thread.run = watching(thread.run, tally.place.modules[-1])  # type: ignore[method-assign]
        start(thread)

    def submit_watched(
        pool: ThreadPoolExecutor, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        place = tally.place
        if not place.followed:
            return submit(pool, function, *args, **kwargs)
        place.submitting = True  # the pool may start a thread that outlives the pass
        try:
            return submit(pool, watching(function, place.modules[-1]), *args, **kwargs)
        finally:
            place.submitting = False

    with replaced(threading.Thread, "start", start_watched), replaced(ThreadPoolExecutor, "submit", submit_watched):
        yield
