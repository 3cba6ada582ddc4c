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
    return all(one.meta["val"].dim() == _AXES for one in node.args[:3])


def _attend(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *rest: Any, **settings: Any
) -> Any:
    """Attend over four axes; ``NotImplemented`` leaves it to torch: they are four, or the leading ones not alike."""
    leading = query.shape[:-2]
    if query.dim() == _AXES or key.shape[:-2] != leading or value.shape[:-2] != leading:
        return NotImplemented
    heads = leading[-1] if query.dim() > _AXES else 1
    if attn_mask is not None:
        attn_mask = attn_mask.expand(*leading, *attn_mask.shape[-2:])

    def four(x: Tensor) -> Tensor:
        return x.reshape(-1, heads, *x.shape[-2:])

    mask = None if attn_mask is None else four(attn_mask)
    out = F.scaled_dot_product_attention(four(query), four(key), four(value), mask, *rest, **settings)
    return out.reshape(*leading, *out.shape[-2:])
