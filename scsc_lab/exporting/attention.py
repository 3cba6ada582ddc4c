"""Attention over more or fewer than four axes, which torch's ONNX exporter refuses, as attention over four."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.nn import functional as F

_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
_AXES = 4


def of_four_axes(program: ExportedProgram) -> ExportedProgram:
    """Return a program in which queries, keys and values are ``(N, heads, positions, channels)`` wherever one attends.

    Windows and mask units stand as an axis of their own in Hiera, NesT, Twins and SAM, heads are left out in others:
    they are made one with the images, or one head, and parted again behind. Nothing else is changed; where nothing is
    to be done it is the same program.
    """
    if all(_has_four(node) for node in program.graph.nodes if node.target == _ATTENTION):
        return program
    changed: ExportedProgram = program.run_decompositions({_ATTENTION: _attend})
    return changed


def _has_four(node: Any) -> bool:
    return all(argument.meta["val"].dim() == _AXES for argument in node.args[:3])


def _attend(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *rest: Any, **settings: Any
) -> Any:
    """Attend over four axes; ``NotImplemented`` leaves it to torch: they are four, or heads share their keys."""
    operands = (query, key, value)
    if settings.get("enable_gqa") or all(operand.dim() == _AXES for operand in operands):
        return NotImplemented
    leading = torch.broadcast_shapes(*(operand.shape[:-2] for operand in operands))
    heads = leading[-1] if len(leading) > _AXES - 2 else 1

    def four(x: Tensor) -> Tensor:
        return x.expand(*leading, *x.shape[-2:]).reshape(-1, heads, *x.shape[-2:])

    mask = None if attn_mask is None else four(attn_mask)
    out = F.scaled_dot_product_attention(four(query), four(key), four(value), mask, *rest, **settings)
    return out.reshape(*leading, *out.shape[-2:])
