"""Names under which operators are listed."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from scsc_lab.counting import operators

PRIMITIVES = {"addmm": "linear", "mm": "linear"}
_REFLECTED = {"radd": "add", "iadd": "add", "rmul": "mul", "imul": "mul", "rsub": "sub", "isub": "sub"}
_SPELLINGS = {**_REFLECTED, "rmatmul": "matmul", "truediv": "div", "rtruediv": "div", "itruediv": "div"} | {
    "getitem": "index",
    "setitem": "index_put",
}


def spelled(name: str) -> str:
    """Return the name of a torch function, however an operator of Python spells it."""
    bare = name.strip("_")
    return _SPELLINGS.get(bare, bare)


def contraction_name(name: str, label: str, args: tuple[Any, ...]) -> str:
    """Return the name of an operator with a rule, where the torch function's own does not say enough."""
    if name in operators.CONVOLUTIONS:
        return _convolution_name(*args)
    if name.startswith("convolution_backward"):
        return _convolution_name(*args[1:10])
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
