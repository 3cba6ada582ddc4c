"""What watches a forward pass: the torch functions it calls, ATen's operators under them, and the module it is in."""

from __future__ import annotations

import contextlib
import functools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from scsc_lab.counting import operators, shapes
from scsc_lab.layers.operator import Operator

META = torch.device("meta")


@dataclass
class _Entry:
    calls: int = 0
    macs: int = 0
    activations: int = 0
    bytes: int = 0
    fvcore: int = 0
    last_call: int = -1


class Tally:
    """What has been counted so far, and where the forward pass stands: in which module, in which torch function."""

    def __init__(self, *, on_meta: bool) -> None:
        self.on_meta = on_meta
        self.entries: dict[tuple[str, str, str], _Entry] = {}
        self.unknown: Counter[str] = Counter()
        self.modules: list[str] = [""]
        self.label = ""
        self.call = 0
        self.muted = False

    def record(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Add one ATen operator."""
        kind = _kind(func)
        if kind.is_view:
            if any(getattr(x, _PRODUCT, False) for x in operators.tensors(args)):
                _mark(out)
            return
        macs = activations = 0
        operator = self.label or _PRIMITIVES.get(kind.name, kind.name)
        if kind.rule is not None:
            macs = kind.rule(*args, **kwargs, out=out)
            activations = _written(kind.name, args, out)
            operator = _contraction_name(kind.name, self.label, args) or operator
        elif kind.name in ("mul", "mul_") and all(isinstance(x, Tensor) and x.numel() > 1 for x in args[:2]):
            _mark(out)
        elif kind.name == "sum" and getattr(args[0], _PRODUCT, False):
            macs, activations, operator = args[0].numel(), out.numel(), "multiply-sum"
        elif not kind.is_free:
            self.unknown[kind.name] += 1
        listed, fvcore = operators.fvcore_rule(kind.name, self.label, args, out, macs)
        self.add(operator, listed, macs, activations, _moved((args, kwargs), out), fvcore)

    def add(self, operator: str, listed: str, macs: int, activations: int, moved: int, fvcore: int) -> None:
        """Add the cost of one operator to the innermost module."""
        entry = self.entries.setdefault((self.modules[-1], operator, listed), _Entry())
        if not self.label or entry.last_call != self.call:
            entry.calls += 1
            entry.last_call = self.call
        entry.macs += macs
        entry.activations += activations
        entry.bytes += moved
        entry.fvcore += fvcore


class _FunctionHandler:
    """Name what the network calls; an operator that knows its own cost is counted here, as one."""

    tally: Tally

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tally = self.tally
        if tally.label or func.__name__ == "__get__":
            return func(*args, **kwargs)
        tally.label, tally.call = _spelled(func.__name__), tally.call + 1
        tally.muted = isinstance(func, Operator) or func is F.scaled_dot_product_attention
        try:
            if func is F.scaled_dot_product_attention and tally.on_meta:
                out = shapes.attention(*(_on_meta(x) for x in _qkv(*args, **kwargs)))
            else:
                out = func(*args, **kwargs)
            if tally.muted:
                macs, written = _own_cost(func, args, kwargs, out)
                tally.add(tally.label, "", macs, written, _moved((args, kwargs), out), 0)
            elif tally.label == "einsum" and isinstance(args[0], str):
                tally.add("einsum", "einsum", 0, 0, 0, operators.fvcore_einsum(*args))
        finally:
            tally.label, tally.muted = "", False
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
        if not self.tally.on_meta:
            out = func(*args, **kwargs)
        else:
            given = list(operators.tensors((args, kwargs)))
            if not any(x.device == META for x in given):
                return func(*args, **kwargs)  # allocates, or prepares a constant
            if _kind(func).name == "_to_copy":
                if not all(x.device == META for x in given):
                    return func(*args, **kwargs)
                kwargs = {key: value for key, value in kwargs.items() if key != "device"}
            if not all(x.device == META for x in given):
                args, kwargs = _on_meta(args), _on_meta(kwargs)
            out = shapes.result(_kind(func).name, func, args, kwargs)
        if not self.tally.muted:
            self.tally.record(func, args, kwargs, out)
        return out


class Dispatch(_DispatchHandler, TorchDispatchMode):
    """Counts ATen's operators.

    The handler stands in a base of its own because torch wraps one that is defined here, and so imports torch._dynamo.
    """

    def __init__(self, tally: Tally) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has not annotated it
        self.tally = tally


@contextlib.contextmanager
def followed(model: nn.Module, tally: Tally) -> Iterator[None]:
    """Keep track of the module that is running; the hooks are torch's global ones, so no module is touched."""
    names = {id(module): name for name, module in model.named_modules()}

    def enter(module: nn.Module, args: Any) -> None:
        tally.modules.append(names.get(id(module), tally.modules[-1]))

    def leave(module: nn.Module, args: Any, out: Any) -> None:
        tally.modules.pop()

    hooks = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@dataclass(frozen=True)
class _Kind:
    name: str
    rule: operators.Rule | None
    is_view: bool
    is_free: bool


@functools.cache
def _kind(func: Any) -> _Kind:
    name = func.overloadpacket.__name__
    return _Kind(name, operators.RULES.get(name), operators.is_view(func), operators.is_free(func))


_PRODUCT = "_is_product"
_PRIMITIVES = {"addmm": "linear", "mm": "linear"}
_REFLECTED = {"radd": "add", "iadd": "add", "rmul": "mul", "imul": "mul", "rsub": "sub", "isub": "sub"}
_SPELLINGS = {**_REFLECTED, "rmatmul": "matmul", "truediv": "div", "rtruediv": "div", "itruediv": "div"} | {
    "getitem": "index",
    "setitem": "index_put",
}


def _spelled(name: str) -> str:
    bare = name.strip("_")
    return _SPELLINGS.get(bare, bare)


def _contraction_name(name: str, label: str, args: tuple[Any, ...]) -> str:
    """Return the name of an operator with a rule, where the torch function's own does not say enough."""
    if name in operators.CONVOLUTIONS:
        return _convolution_name(*args)
    if name in operators.FUSED_ATTENTION:
        return "scaled_dot_product_attention"
    if label == "multi_head_attention_forward":
        return "linear" if name in ("addmm", "mm") else "scaled_dot_product_attention"
    return ""


def _convolution_name(
    x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, *rest: Any
) -> str:
    groups = rest[-1]
    name = f"conv{'_transpose' if transposed else ''}{x.dim() - 2}d"
    if groups > 1:
        return f"{name} {'depthwise' if groups == x.shape[1] else 'grouped'}"
    return f"{name} 1×1" if math.prod(weight.shape[2:]) == 1 else name


def _qkv(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
    return query, key, value


def _own_cost(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> tuple[int, int]:
    """Return the multiply-accumulates of an operator that counts as one, and the elements it writes."""
    if isinstance(func, Operator):
        return func.macs(*args, **kwargs), out.numel()
    return operators.attention(*args, **kwargs)


def _written(name: str, args: tuple[Any, ...], out: Any) -> int:
    """Return the elements an operator with a rule writes; fused attention counts as its two products."""
    written = next(operators.tensors(out)).numel()
    return operators.attention(*args)[1] if name in operators.FUSED_ATTENTION else written


def _moved(inputs: Any, outputs: Any) -> int:
    return sum(map(operators.stored_bytes, operators.tensors([inputs, outputs])))


def _mark(out: Any) -> None:
    """Mark a product of two tensors: summed, it is a contraction, whatever it is written with."""
    for x in operators.tensors(out):
        setattr(x, _PRODUCT, True)


def _on_meta(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value if value.device == META else shapes.like(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map(_on_meta, value))
    return {key: _on_meta(item) for key, item in value.items()} if isinstance(value, dict) else value
