"""Operations other than multiply-accumulates: those on each element, and those of normalisations.

They are part of the FLOPs of ``--convention flops`` alone. An elementwise operator counts one for each element that it
writes. Normalisations count what fvcore gives them: 5 for each element of their input, 4 without weights; BatchNorm on
stored statistics 2, or 1. RMSNorm counts 4, or 3; softmax 5. Moving, pooling, resampling and reducing count nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scsc_lab.counting.operators import Kind
from scsc_lab.counting.rules import FUSED_ATTENTION
from scsc_lab.counting.tensors import tensors

SOFTMAX = 5
"""Operations of a softmax for each element: maximum, difference, exponential, sum, quotient."""

_MOVES = frozenset("clone copy _to_copy where masked_fill fill zero dropout native_dropout bernoulli".split())
_BATCH_NORMS = frozenset(
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm "
    "miopen_batch_norm _batch_norm_with_update _batch_norm_no_update".split()
)
_WEIGHT_OF = {"native_layer_norm": 2, "native_group_norm": 1, "_fused_rms_norm": 2}
"""Which argument of a normalisation is its weight."""


def further_counts(kind: Kind, args: Sequence[Any], out: Any, macs: int, activations: int) -> tuple[int, int]:
    """Return the elementwise operations and those of normalisation that an ATen operator does.

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
    if name in ("_softmax", "_log_softmax", "_safe_softmax"):
        return 0, args[0].numel() * SOFTMAX
    if kind.rule is not None:
        return 0, 0
    written = next((x.numel() for x in tensors(out)), 0) if kind.is_pointwise and name not in _MOVES else 0
    return written - macs, 0
