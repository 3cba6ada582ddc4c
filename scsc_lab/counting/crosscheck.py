"""A second opinion: fvcore counts the same network on real tensors, and the difference is explained by operator.

What fvcore should say follows from its rules and the operators of our own pass. Every operator must agree to the last
operation; anything else is unexplained.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from scsc_lab.analysis.count import Count, CrossCheck, OperatorCheck
from scsc_lab.counting.recorder import any_machine
from scsc_lab.counting.rules import COMPLEX
from scsc_lab.errors import last_line
from scsc_lab.execution.passes import evaluating, replaced

_PADDED_BY_NAME = "conv with padding='same' or 'valid'"
DIFFERENCES = {
    "einsum": "fvcore takes NumPy's estimate, which counts products without a sum too, to four digits",
    "batch_norm": "outside the MACs: fvcore gives it 2 per element, 1 without weights; 5 and 4 on a batch's statistics",
    "layer_norm": "outside the MACs: fvcore gives it 5 per element, 4 without weights",
    "group_norm": "outside the MACs: fvcore gives it 5 per element, 4 without weights",
    "instance_norm": "outside the MACs: fvcore gives it 5 per element, 4 without weights",
    "adaptive_avg_pool2d": "outside the MACs: fvcore gives it 1 per input element",
    "upsample_nearest2d": "outside the MACs: fvcore gives it 1 per output element",
    "upsample_bilinear2d": "outside the MACs: fvcore gives it 4 per output element",
    "grid_sampler": "outside the MACs: fvcore gives it 4 per output element",
}
"""Reasons why fvcore's number for an operator differs from its MACs."""

NO_RULE = "fvcore has no rule for it and counts 0"


def cross_check(model: nn.Module, inputs: Sequence[int] | Tensor | Sequence[Any], count: Count) -> CrossCheck:
    """Count a network with fvcore and hold it against our count, operator by operator.

    Args:
        model: the network that was counted, with real tensors; its mode is put back, its statistics do not move.
        inputs: the input, or its shape (zeros are fed then); or several of them. A tensor on the meta device stands
            for its shape and type.
        count: our count at this input.
    """
    try:
        analysis = _analysis(model, inputs)
    except Exception as error:  # tracing runs the network's own code, and fvcore asserts its expectations
        return CrossCheck(None, failure=last_line(error))
    flops = Counter({name: int(value) for name, value in analysis.by_operator().items()})
    macs: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    skipped = _skipped(analysis, model)
    for cell in count.cells:
        listed, expected = cell.fvcore_operator or cell.operator, cell.fvcore
        if listed == "conv" and "aten::_convolution_mode" in skipped[cell.module]:
            listed, expected = _PADDED_BY_NAME, 0
        macs[listed] += cell.macs
        predicted[listed] += expected
    rows = []
    for operator in sorted({*macs, *flops}, key=lambda name: (-macs[name], -flops[name])):
        if macs[operator] or flops[operator] or predicted[operator]:
            reason = _reason(operator, macs[operator], predicted[operator], flops[operator])
            rows.append(OperatorCheck(operator, macs[operator], predicted[operator], flops[operator], reason))
    return CrossCheck(sum(flops.values()), tuple(rows))


def _reason(operator: str, macs: int, predicted: int, counted: int) -> str:
    if predicted != counted:
        return f"unexplained: fvcore's rules give {predicted}"
    if macs == counted:
        return "equal"
    if macs and not counted:
        return NO_RULE
    if macs == COMPLEX * counted:
        return f"fvcore gives a complex multiply-accumulate 1, not {COMPLEX}"
    return DIFFERENCES.get(operator, "outside the MACs")


def _analysis(model: nn.Module, inputs: Sequence[int] | Tensor | Sequence[Any]) -> Any:
    """Return fvcore's analysis, done; the network's mode, its statistics and the random state are left alone."""
    with warnings.catch_warnings(), _quiet(), spelled_out_attention(), any_machine():
        warnings.simplefilter("ignore")
        from fvcore.nn.flop_count import FlopCountAnalysis

        reference = next((x for x in model.parameters() if x.is_floating_point()), torch.empty(0))
        values = [inputs] if isinstance(inputs, Tensor) or isinstance(inputs[0], int) else inputs
        analysis = FlopCountAnalysis(model, tuple(_zeros(value, reference) for value in values))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(model):
            analysis.total()
        return analysis


def _zeros(value: Any, reference: Tensor) -> Tensor:
    """Return a tensor with values as it is; zeros for a shape, or for a tensor without values."""
    if not isinstance(value, Tensor):
        return reference.new_zeros(*value)
    return torch.zeros(value.shape, dtype=value.dtype) if value.is_meta else value


def _skipped(analysis: Any, model: nn.Module) -> dict[str, set[str]]:
    """Return the operators without a rule in fvcore that each module called itself, not its children."""
    skipped = {}
    for name, module in model.named_modules():
        called = Counter(analysis.unsupported_ops(name))
        for child, _ in module.named_children():
            called.subtract(analysis.unsupported_ops(f"{name}.{child}" if name else child))
        skipped[name] = {operator for operator, calls in called.items() if calls > 0}
    return skipped


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)


class _SpelledOut(TorchFunctionMode):
    """Spells fused attention out as its two products, which a graph shows and fvcore counts."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (_attention if func is _FUSED else func)(*args, **(kwargs or {}))


@contextlib.contextmanager
def spelled_out_attention() -> Iterator[None]:
    """Have attention traced as two batched products, wherever it is called from.

    nn.MultiheadAttention is kept off its fused fast path, and what torch's own functions call is replaced.
    """
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with replaced(F, "scaled_dot_product_attention", _attention), _SpelledOut():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


_FUSED = F.scaled_dot_product_attention


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return ``softmax(q·kᵀ·scale + mask)·v``, in torch's terms."""
    if enable_gqa:
        repeats = query.shape[-3] // key.shape[-3], query.shape[-3] // value.shape[-3]
        key, value = (x.repeat_interleave(n, -3) for x, n in zip((key, value), repeats, strict=True))
    scores = _product(query * (query.shape[-1] ** -0.5 if scale is None else scale), key.transpose(-2, -1))
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        masks = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, float("-inf")) if masks else scores + attn_mask
    return _product(scores.softmax(dim=-1), value)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b`` as one batched product."""
    outer = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    pair = [x.expand(*outer, *x.shape[-2:]).reshape(-1, *x.shape[-2:]) for x in (a, b)]
    return torch.bmm(*pair).view(*outer, a.shape[-2], b.shape[-1])
