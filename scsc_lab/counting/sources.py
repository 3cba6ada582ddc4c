"""Sources of tensors: two functions of the same elements share one, and their product is no product of two tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from torch import Tensor
from torch.utils import _pytree

from scsc_lab.counting.tensors import tensors
from scsc_lab.counting.terms import viewed

Relation: TypeAlias = Literal["elementwise", "view", "move", "other"]
"""How a result comes from its operands."""

_SOURCE = "_scsc_lab_source"


class Source:
    """Identity of a tensor's values; a view or a move has a source derived from it, one per way."""

    def __init__(self) -> None:
        self._derived: dict[object, Source] = {}

    def derived(self, key: object) -> Source:
        """Return the source of values derived in one way, the same each time."""
        return self._derived.setdefault(key, Source())


def source(x: Tensor) -> Source:
    """Return the source of the tensor that ``x`` is an elementwise function of: its own if of no other."""
    if not hasattr(x, _SOURCE):
        setattr(x, _SOURCE, Source())
    shared: Source = getattr(x, _SOURCE)
    return shared


def keep(func: Any, arguments: Any, operands: Sequence[Tensor], out: Any, relation: Relation) -> None:
    """Remember the tensor of which a result is an elementwise function, a view or a move, if any.

    Args:
        func: the operator.
        arguments: its arguments.
        operands: the tensors among them.
        out: its result.
        relation: its relation to them.
    """
    inputs = [x for x in operands if x.numel() > 1]
    is_function = relation == "elementwise" and len({id(source(x)) for x in inputs}) == 1
    for at, y in enumerate(tensors(out)):
        root = viewed(y) if relation == "view" else None
        if is_function and all(x.shape == y.shape for x in inputs):
            setattr(y, _SOURCE, source(inputs[0]))
        elif root is not None:
            is_same = _geometry(y) == _geometry(root)
            setattr(y, _SOURCE, source(root) if is_same else source(root).derived(_geometry(y)))
        elif inputs and relation in ("elementwise", "move") and not any(y is x for x in operands):
            parts = [source(x) if isinstance(x, Tensor) else repr(x) for x in _pytree.tree_leaves(arguments)]
            setattr(y, _SOURCE, source(inputs[0]).derived((func, at, *parts)))
        elif hasattr(y, _SOURCE):
            delattr(y, _SOURCE)


def _geometry(x: Tensor) -> tuple[object, ...]:
    return x.storage_offset(), x.shape, x.stride(), x.dtype
