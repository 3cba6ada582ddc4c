"""Whether two tensors hold functions of the same elements: their product is then no product of two tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from torch import Tensor
from torch.utils import _pytree

from scsc_lab.counting.tensors import tensors
from scsc_lab.counting.terms import whole

Relation: TypeAlias = Literal["elementwise", "view", "move", "other"]
"""How a result comes from its operands."""

_SOURCE = "_scsc_lab_source"


class Source:
    """What stands for the values of a tensor; those of its views and of what moves it are found by what was done."""

    def __init__(self) -> None:
        self._derived: dict[object, Source] = {}

    def derived(self, key: object) -> Source:
        """Return the source of what was made of these values in one way, the same each time."""
        return self._derived.setdefault(key, Source())


def source(x: Tensor) -> Source:
    """Return what stands for the tensor that ``x`` is an elementwise function of: itself, if of no other."""
    if not hasattr(x, _SOURCE):
        setattr(x, _SOURCE, Source())
    known: Source = getattr(x, _SOURCE)
    return known


def keep(func: Any, arguments: Any, operands: Sequence[Tensor], out: Any, relation: Relation) -> None:
    """Remember of which tensor a result is an elementwise function, a view or a move, if of one.

    Args:
        func: the operator.
        arguments: its arguments.
        operands: the tensors among them.
        out: its result.
        relation: how it comes from them.
    """
    several = [x for x in operands if x.numel() > 1]
    is_function = relation == "elementwise" and len({id(source(x)) for x in several}) == 1
    for at, y in enumerate(tensors(out)):
        root = whole(y) if relation == "view" else None
        if is_function and all(x.shape == y.shape for x in several):
            setattr(y, _SOURCE, source(several[0]))
        elif root is not None:
            is_same = _geometry(y) == _geometry(root)
            setattr(y, _SOURCE, source(root) if is_same else source(root).derived(_geometry(y)))
        elif several and relation in ("elementwise", "move") and not any(y is x for x in operands):
            words = [source(x) if isinstance(x, Tensor) else repr(x) for x in _pytree.tree_leaves(arguments)]
            setattr(y, _SOURCE, source(several[0]).derived((func, at, *words)))
        elif hasattr(y, _SOURCE):
            delattr(y, _SOURCE)


def _geometry(x: Tensor) -> tuple[object, ...]:
    return x.storage_offset(), x.shape, x.stride(), x.dtype
