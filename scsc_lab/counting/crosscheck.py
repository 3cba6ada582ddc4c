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

from scsc_lab.errors import last_line
from scsc_lab.execution.passes import evaluating
from scsc_lab.records import Count, CrossCheck, OperatorCheck

_ATTENTION = "scaled_dot_product_attention"
_PADDED_BY_NAME = "conv with padding='same' or 'valid'"
DIFFERENCES = {
    "einsum": "fvcore takes NumPy's estimate, which counts products without a sum too, to four digits",
    "batch_norm": "outside the MACs: fvcore gives it 2 an element, 1 without weights; 5 and 4 on a batch's statistics",
    "layer_norm": "outside the MACs: fvcore gives it 5 an element, 4 without weights",
    "group_norm": "outside the MACs: fvcore gives it 5 an element, 4 without weights",
    "instance_norm": "outside the MACs: fvcore gives it 5 an element, 4 without weights",
    "adaptive_avg_pool2d": "outside the MACs: fvcore gives it 1 an input element",
    "upsample_nearest2d": "outside the MACs: fvcore gives it 1 an output element",
    "upsample_bilinear2d": "outside the MACs: fvcore gives it 4 an output element",
    "grid_sampler": "outside the MACs: fvcore gives it 4 an output element",
}
"""Why fvcore gives an operator another number than its MACs."""

NO_RULE = "fvcore has no rule for it and counts 0"


def cross_check(model: nn.Module, inputs: Sequence[int] | Tensor, count: Count) -> CrossCheck:
    """Count a network with fvcore and hold it against our count, operator by operator.

    Args:
        model: the network that was counted, with real tensors; its mode is put back, its statistics do not move.
        inputs: the input, or its shape (zeros are fed then).
        count: our count at this input.
    """
    try:
        analysis = _analysis(model, inputs)
    except Exception as error:  # tracing runs the network's own code, and fvcore asserts what it expects of it
        return CrossCheck(None, failure=last_line(error))
    flops = Counter({name: int(value) for name, value in analysis.by_operator().items()})
    macs: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    skipped = _skipped(analysis, model)
    for cell in count.cells:
        listed, expected = cell.fvcore_operator or cell.operator, cell.fvcore
        if cell.operator == _ATTENTION:
            fused = f"aten::{_ATTENTION}" in skipped[cell.module]
            listed = _ATTENTION if fused else cell.fvcore_operator or "matmul"
            expected = 0 if fused else cell.macs  # the graph has attention's two products, or one operator
        elif listed == "conv" and "aten::_convolution_mode" in skipped[cell.module]:
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
    return DIFFERENCES.get(operator, "outside the MACs")


def _analysis(model: nn.Module, inputs: Sequence[int] | Tensor) -> Any:
    """Return fvcore's analysis, done; the network's mode, its statistics and the random state are left alone."""
    with warnings.catch_warnings(), _quiet(), _spelled_out_attention():
        warnings.simplefilter("ignore")
        from fvcore.nn.flop_count import FlopCountAnalysis

        reference = next(model.parameters(), torch.empty(0))
        x = inputs if isinstance(inputs, Tensor) else torch.zeros(*inputs, device=reference.device)
        analysis = FlopCountAnalysis(model, x)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(model):
            analysis.total()
        return analysis


def _skipped(analysis: Any, model: nn.Module) -> dict[str, set[str]]:
    """Return the operators without a rule in fvcore that each module called itself, not its children."""
    own = {}
    for name, module in model.named_modules():
        called = Counter(analysis.unsupported_ops(name))
        for child, _ in module.named_children():
            called.subtract(analysis.unsupported_ops(f"{name}.{child}" if name else child))
        own[name] = {operator for operator, calls in called.items() if calls > 0}
    return own


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def _spelled_out_attention() -> Iterator[None]:
    """Keep nn.MultiheadAttention off its fused fast path, which a graph shows as one operator that fvcore skips."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
