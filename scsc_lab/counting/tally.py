"""What has been counted of a pass so far: costs by module and operator, memory, and what modules returned."""

from __future__ import annotations

import functools
import itertools
import math
import threading
import weakref
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scsc_lab.analysis.count import BACKWARD
from scsc_lab.counting import operators, products, rules
from scsc_lab.counting.operators import Kind
from scsc_lab.counting.rules import FUSED_ATTENTION
from scsc_lab.errors import InputError
from scsc_lab.execution.passes import tensors


class Memory:
    """The bytes that are alive, and the most that were.

    Args:
        resident: tensors that are there all the time and do not count: weights and buffers.

    Attributes:
        alive: bytes of the tensors that are alive.
        peak: the most they have been.
    """

    def __init__(self, resident: Iterable[Tensor]) -> None:
        self.alive = self.peak = 0
        self._resident = {storage._cdata for storage in map(_storage, resident) if storage is not None}
        self._references: dict[int, Any] = {}

    def hold(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors from now on until they are freed."""
        for x in tensors:
            storage = _storage(x)
            if storage is None or storage._cdata in self._references or storage._cdata in self._resident:
                continue
            key, size = storage._cdata, storage.nbytes()
            self._references[key] = weakref.ref(storage, functools.partial(self._free, key, size))
            self.alive += size
            self.peak = max(self.peak, self.alive)

    def _free(self, key: int, size: int, _: object) -> None:
        del self._references[key]
        self.alive -= size


def _storage(x: Tensor) -> torch.UntypedStorage | None:
    """Return where a tensor's elements are; None where it has no memory of its own, as a sparse one."""
    try:
        return x.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return None


SOFTMAX = 5
"""Operations of a softmax for each element: maximum, difference, exponential, sum, quotient."""

_MOVES = frozenset("clone copy _to_copy where masked_fill fill zero dropout native_dropout bernoulli".split())
_BATCH_NORMS = frozenset(
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm "
    "miopen_batch_norm _batch_norm_with_update _batch_norm_no_update".split()
)
_WEIGHT_OF = {"native_layer_norm": 2, "native_group_norm": 1, "_fused_rms_norm": 2}
"""Which argument of a normalisation is its weight."""


_IN_RMS_NORM = frozenset({"pow", "mean", "mul"})
"""Operators of RMSNorm that read every element, as torch spells it out: squares, their mean, quotients, weights."""


def further_counts(
    kind: Kind, args: Sequence[Any], out: Any, macs: int, activations: int, label: str
) -> tuple[int, int]:
    """Return the elementwise operations and those of normalisation that an ATen operator does, inside a torch function.

    A product that a sum adds up is one of its multiply-accumulates, and so no longer an elementwise operation.
    """
    name = kind.name.removesuffix("_")
    if name in FUSED_ATTENTION:
        return 0, SOFTMAX * (activations - next(tensors(out)).numel())
    if name in _BATCH_NORMS:
        on_batch = next((arg for arg in args[3:] if isinstance(arg, bool)), name.endswith("with_update"))
        return 0, args[0].numel() * ((4 if on_batch else 1) + (args[1] is not None))
    if name in _WEIGHT_OF:
        has_weight = len(args) > _WEIGHT_OF[name] and args[_WEIGHT_OF[name]] is not None
        return 0, args[0].numel() * ((3 if name == "_fused_rms_norm" else 4) + has_weight)
    if label == "rms_norm":
        return 0, args[0].numel() if name in _IN_RMS_NORM else 0
    if name in ("_softmax", "_log_softmax", "_safe_softmax"):
        return 0, args[0].numel() * SOFTMAX
    if kind.rule is not None:
        return 0, 0
    is_elementwise = name == "glu" or (kind.is_pointwise and name not in _MOVES)
    written = next((x.numel() for x in tensors(out)), 0) if is_elementwise else 0
    return written - macs, 0


@dataclass
class _Entry:
    calls: int = 0
    macs: int = 0
    activations: int = 0
    bytes: int = 0
    fvcore: int = 0
    elementwise: int = 0
    norms: int = 0
    last_call: int = -1


class _Place(threading.local):
    """Where a thread of the pass stands: in which module, in which torch function."""

    def __init__(self) -> None:
        self.modules: list[str] = [""]
        self.label = ""
        self.call = 0
        self.muted = False
        self.followed = False
        self.submitting = False
        self.autograd_functions = 0


class Tally:
    """What has been counted so far, and where the pass stands.

    Attributes:
        on_meta: whether the pass runs on the meta device.
        backward: whether gradients are wanted.
        memory: the tensors that are alive.
        outputs: shapes of what each module returned first, by its name.
    """

    def __init__(self, memory: Memory, *, on_meta: bool, backward: bool = False) -> None:
        self.memory = memory
        self.outputs: dict[str, tuple[tuple[int, ...], ...]] = {}
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
        operator = place.label or operators.PRIMITIVES.get(kind.name, kind.name)
        if kind.rule is not None:
            macs = _checked(kind.rule(*args, **{**kwargs, "out": out}), kind.name)
            activations = _written(kind.name, args, out) if macs else 0
            operator = operators.contraction_name(kind.name, place.label, args) or operator
        elif macs:
            operator = "multiply-sum"
        elif not kind.is_free:
            with self.lock:
                self.unknown[kind.name] += 1
        listed, fvcore = operators.fvcore_rule(kind.name, place.label, args, out, macs)
        further = further_counts(kind, args, out, macs, activations, place.label)
        if any(x.is_complex() for x in tensors(out)):
            macs *= rules.COMPLEX
        self.add(operator, listed, macs, activations, moved((args, kwargs), out), fvcore, further)

    def add(
        self,
        operator: str,
        listed: str,
        macs: int,
        activations: int,
        moved: int,
        fvcore: int,
        further: tuple[int, int] = (0, 0),
    ) -> None:
        """Add the cost of one operator to the innermost module; ``further``: its elementwise and norm operations."""
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
            entry.elementwise += further[0]
            entry.norms += further[1]

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


def _checked(macs: Any, name: str) -> int:
    if not isinstance(macs, int) or isinstance(macs, bool) or macs < 0:
        raise InputError(f"the rule of {name} gives {macs!r}; multiply-accumulates are a whole number from 0")
    return macs


def _written(name: str, args: tuple[Any, ...], out: Any) -> int:
    """Return the elements an operator with a rule writes; fused attention counts as its two products."""
    if name in rules.FUSED_ATTENTION:
        return rules.attention(*args)[1]
    if name.startswith("convolution_backward"):
        return sum(x.numel() for x in tensors(out[:2]))  # the gradients of the input and of the weight
    return next(tensors(out)).numel()


def moved(inputs: Any, outputs: Any) -> int:
    """Return the bytes that an operator reads and writes."""
    return sum(map(_stored_bytes, tensors([inputs, outputs])))


def _stored_bytes(tensor: Tensor) -> int:
    """Return the bytes of the different elements of a tensor; zeros of a sparse one are not stored."""
    if tensor.layout is not torch.strided:
        return (tensor.numel() if tensor.is_mkldnn else tensor._nnz()) * tensor.element_size()
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride != 0)
    return math.prod(sizes) * tensor.element_size() if tensor.numel() else 0
