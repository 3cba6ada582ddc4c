"""Memory of a pass: the bytes of the tensors that are alive at one time, beside the weights.

A tensor lives from the operator that makes it until nothing refers to it, as in torch without a compiler: the network's
own variables refer to it, and so does autograd to what a backward pass needs. Tensors that share memory count once.
What an operator uses inside itself (workspaces of convolutions) and what an allocator rounds up do not count.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


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
