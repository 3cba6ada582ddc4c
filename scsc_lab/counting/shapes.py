"""Results of common ATen operators on the meta device: shape, strides and type, nothing else.

torch has its own, in Python; the first use of most of them imports sympy and torch._dynamo, which takes longer than the
rest of a count. What is not here goes to torch. What torch refuses is refused here too, in torch's words where it says
them without values. A test holds all of this against torch's own kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from scsc_lab.counting.tensors import is_channels_last, like, memory_format, new, suggests_channels_last


def _unary(x: Tensor, *rest: Any, **options: Any) -> Any:
    return like(x) if x.is_floating_point() else NotImplemented


def _in_place(x: Tensor, *rest: Any, **options: Any) -> Any:
    """Return the first operand, where it can hold the result: its own shape and type, no element twice."""
    operands = [operand for operand in rest if isinstance(operand, Tensor)]
    fits = all(_fits(operand.shape, x.shape) and operand.dtype == x.dtype for operand in operands)
    overlaps = any(stride == 0 and size > 1 for size, stride in zip(x.shape, x.stride(), strict=True))
    _demand(not overlaps, f"{_shape(x)} is expanded, and written to in place")
    return x if fits and x.is_floating_point() else NotImplemented


def _fits(shape: Sequence[int], into: Sequence[int]) -> bool:
    """Return whether a shape can be broadcast to another."""
    pairs = zip(reversed(shape), reversed(into), strict=False)
    return len(shape) <= len(into) and all(inner in (1, outer) for inner, outer in pairs)


def _elementwise(*args: Any, **options: Any) -> Any:
    operands = [arg for arg in args if isinstance(arg, Tensor)]
    dtype = operands[0].dtype
    if any(operand.dtype != dtype for operand in operands) or not dtype.is_floating_point:
        if len(args) > 2:
            return NotImplemented
        dtype = torch.result_type(*args)
    try:
        return like(*operands, dtype=dtype) if dtype.is_floating_point else NotImplemented
    except ValueError:  # the shapes do not go together: torch says it in its own words
        return NotImplemented


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    dims = x.dim() - 2
    if transposed or dims < 1 or not x.is_floating_point() or x.numel() == 0:
        return NotImplemented
    _demand(x.dim() == weight.dim(), f"a kernel of {_shape(weight)} for a map of {_shape(x)}")
    if x.shape[1] != weight.shape[1] * groups:
        return NotImplemented
    _demand(weight.shape[0] % groups == 0, f"{groups} groups do not divide {weight.shape[0]} channels")
    _demand(_same_type(x, weight, bias), _MIXED)
    if any(len(values) != dims or min(values) < low for values, low in ((stride, 1), (padding, 0), (dilation, 1))):
        return NotImplemented
    _demand(bias is None or bias.shape == weight.shape[:1], f"a bias of {_shape(bias)} for {weight.shape[0]} channels")
    sides = [
        (x.shape[2 + d] + 2 * padding[d] - dilation[d] * (weight.shape[2 + d] - 1) - 1) // stride[d] + 1
        for d in range(dims)
    ]
    _demand(min(sides) > 0, f"a kernel of {_shape(weight[0, 0])} does not fit a map of {_shape(x[0, 0])}")
    shape = (x.shape[0], weight.shape[0], *sides)
    return new(shape, x.dtype, memory_format(x))


_MIXED = "operands of different types"


def _demand(right: bool, mistake: str) -> None:
    if not right:
        raise RuntimeError(mistake)


def _shape(x: Tensor | None) -> str:
    return "×".join(map(str, x.shape)) if x is not None else ""


def _same_type(x: Tensor, *operands: Tensor | None) -> bool:
    return all(operand is None or operand.dtype == x.dtype for operand in operands)


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> Any:
    _, _, _, _, transposed, _, groups, is_wanted = rest
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    gradients = (like(x), like(weight), new((channels,), x.dtype))
    return tuple(gradient if wish else None for gradient, wish in zip(gradients, is_wanted, strict=True))


def _batch_norm(x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *rest: Any) -> Any:
    if x.dim() < 2 or x.numel() == 0 or not (x.is_contiguous() or is_channels_last(x)):
        return NotImplemented
    parameters = [value for value in (weight, bias, mean, var) if value is not None]
    _demand(all(value.numel() == x.shape[1] for value in parameters), f"BatchNorm of other channels than {x.shape[1]}")
    _demand(_same_type(x, *parameters) or x.element_size() == 2, _MIXED)
    if x.dtype not in (torch.float32, torch.float64) or not (training or len(parameters) > 1):
        return NotImplemented
    statistics = x.shape[1] if training else 0
    return like(x), new((statistics,), x.dtype), new((statistics,), x.dtype)


def _batch_norm_backward(grad: Tensor, x: Tensor, weight: Any, *rest: Any) -> Any:
    gradients = (like(x), new((x.shape[1],), x.dtype), new((x.shape[1],), x.dtype))
    return tuple(gradient if wish else None for gradient, wish in zip(gradients, rest[-1], strict=True))


def _layer_norm(x: Tensor, shape: Sequence[int], weight: Any, bias: Any, *rest: Any) -> Any:
    if not x.is_floating_point() or x.numel() == 0:
        return NotImplemented
    _demand(_same_type(x, weight, bias) or x.element_size() == 2, _MIXED)
    affine = [tuple(value.shape) for value in (weight, bias) if value is not None]
    last = tuple(x.shape[max(x.dim() - len(shape), 0) :])
    _demand(
        len(shape) > 0 and all(sides == last for sides in (tuple(shape), *affine)),
        f"LayerNorm of {shape} on {last}",
    )
    outer = tuple(x.shape[: x.dim() - len(shape)]) + (1,) * len(shape)
    return new(x.shape, x.dtype), new(outer, x.dtype), new(outer, x.dtype)


def _layer_norm_backward(grad: Tensor, x: Tensor, shape: Sequence[int], *rest: Any) -> Any:
    gradients = (like(x), new(shape, x.dtype), new(shape, x.dtype))
    return tuple(gradient if wish else None for gradient, wish in zip(gradients, rest[-1], strict=True))


def _product(dims: int) -> Callable[..., Any]:
    def result(a: Tensor, b: Tensor) -> Any:
        if not a.dim() == b.dim() == dims or a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
            return NotImplemented
        _demand(_same_type(a, b), _MIXED)
        return new((*a.shape[:-1], b.shape[-1]), a.dtype)

    return result


def _added_product(dims: int) -> Callable[..., Any]:
    def result(start: Tensor, a: Tensor, b: Tensor, **options: Any) -> Any:
        out = _product(dims)(a, b)
        if out is NotImplemented:
            return NotImplemented
        _demand(_same_type(start, out), _MIXED)
        _demand(_fits(start.shape, out.shape), f"{_shape(start)} cannot be added to a product of {_shape(out)}")
        return out

    return result


def _dims(x: Tensor, dims: Any) -> list[int] | None:
    """Return dimensions counted from the front, or nothing if one does not exist or comes twice."""
    every_dim = [dims] if isinstance(dims, int) else list(dims)
    if any(not -x.dim() <= dim < x.dim() for dim in every_dim) or len({dim % x.dim() for dim in every_dim}) < len(
        every_dim
    ):
        return None
    return [dim % x.dim() for dim in every_dim]


def _reduction(x: Tensor, dims: Any = None, keepdim: bool = False, **options: Any) -> Any:
    reduced_dims = None if dims is None else _dims(x, dims)
    if reduced_dims is None or not x.is_floating_point() or options.get("dtype") is not None:
        return NotImplemented
    reduced = set(reduced_dims) or set(range(x.dim()))
    sides = [1 if dim in reduced else size for dim, size in enumerate(x.shape)]
    return new(sides if keepdim else [side for dim, side in enumerate(sides) if dim not in reduced], x.dtype)


def _cat(xs: Sequence[Tensor], dim: int = 0) -> Any:
    first, place = xs[0], _dims(xs[0], dim)
    if place is None or any(x.dim() != first.dim() or x.dtype != first.dtype for x in xs):
        return NotImplemented
    if any(x.shape[d] != first.shape[d] for x in xs for d in range(x.dim()) if d != place[0]):
        return NotImplemented
    shape = list(first.shape)
    shape[dim] = sum(x.shape[dim] for x in xs)
    channels_last = all(map(suggests_channels_last, xs))
    return new(shape, first.dtype, torch.channels_last if channels_last else torch.contiguous_format)


def _max_pool(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int] = (), padding: Sequence[int] = (0,), *rest: Any
) -> Any:
    if rest or x.dim() != 4 or not x.is_floating_point() or x.numel() == 0:
        return NotImplemented
    pair = [list(values) * (2 // len(values)) for values in (kernel, stride or kernel, padding)]
    if min(*pair[0], *pair[1]) < 1 or any(not 0 <= 2 * pad <= side for pad, side in zip(pair[2], pair[0], strict=True)):
        return NotImplemented
    sides = [(x.shape[2 + d] + 2 * pair[2][d] - pair[0][d]) // pair[1][d] + 1 for d in (0, 1)]
    if min(sides) < 1:
        return NotImplemented
    shape = (*x.shape[:2], *sides)
    layout = torch.channels_last if suggests_channels_last(x) else torch.contiguous_format
    return new(shape, x.dtype, layout), new(shape, torch.int64, layout)


def _softmax(x: Tensor, dim: int, *rest: Any, **options: Any) -> Any:
    plain = x.is_contiguous() and x.is_floating_point() and not any(rest) and not options
    _demand(x.dim() == 0 or _dims(x, dim) is not None, f"no dimension {dim} in {_shape(x)}")
    return new(x.shape, x.dtype) if plain and x.dim() else NotImplemented


def _roll(x: Tensor, shifts: Sequence[int], dims: Sequence[int] = ()) -> Any:
    plain = x.is_contiguous() and len(shifts) == len(dims) > 0 and _dims(x, dims) is not None
    return new(x.shape, x.dtype) if plain else NotImplemented


def _clone(x: Tensor, *, memory_format: torch.memory_format | None = None) -> Any:
    if memory_format in (None, torch.preserve_format):
        return like(x)
    return new(x.shape, x.dtype, memory_format)


def _index(x: Tensor, indices: Sequence[Tensor | None]) -> Any:
    rows = indices[0]
    if len(indices) != 1 or not x.is_contiguous() or rows is None or rows.dtype not in (torch.int64, torch.int32):
        return NotImplemented
    return new((*rows.shape, *x.shape[1:]), x.dtype)


def is_plain_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> bool:
    """Return whether nothing is broadcast but the mask, and everything fits; what is not plain is torch's."""
    if not query.dim() == key.dim() == value.dim() > 2 or enable_gqa or not query.is_floating_point():
        return False
    outer, scores = query.shape[:-2], (*query.shape[:-1], key.shape[-2])
    masked = attn_mask is None or (
        not is_causal
        and attn_mask.dim() > 1
        and _fits(attn_mask.shape, scores)
        and attn_mask.dtype in (torch.bool, query.dtype)
    )
    fits = key.shape[:-2] == outer == value.shape[:-2] and key.shape[-2] == value.shape[-2]
    return fits and query.shape[-1] == key.shape[-1] and masked and _same_type(query, key, value)


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return the result of plain attention in the layout of torch's fused kernels: heads beside their channels."""
    *outer, tokens, _ = query.shape
    if len(outer) != 2:
        return new((*outer, tokens, value.shape[-1]), query.dtype)
    return new((outer[0], tokens, outer[1], value.shape[-1]), query.dtype).transpose(1, 2)


RESULTS: dict[str, Callable[..., Any]] = {
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "native_batch_norm": _batch_norm,
    "native_batch_norm_backward": _batch_norm_backward,
    "native_layer_norm": _layer_norm,
    "native_layer_norm_backward": _layer_norm_backward,
    "mm": _product(2),
    "bmm": _product(3),
    "addmm": _added_product(2),
    "baddbmm": _added_product(3),
    **dict.fromkeys(("gelu", "relu", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid"), _unary),
    **dict.fromkeys(("_softmax", "_safe_softmax"), _softmax),
    "roll": _roll,
    **dict.fromkeys(("relu_", "silu_", "hardswish_", "add_", "mul_", "div_", "addcmul_"), _in_place),
    **dict.fromkeys(("add", "sub", "mul", "div", "addcmul"), _elementwise),
    **dict.fromkeys(("mean", "sum"), _reduction),
    "cat": _cat,
    "max_pool2d_with_indices": _max_pool,
    "clone": _clone,
    "index": _index,
    "_nested_tensor_from_mask_left_aligned": lambda *args: False,  # the values of a mask: without them, not nested
}
"""Result of an operator by ATen name; ``NotImplemented`` where the case is torch's."""


def result(name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the result of an operator whose tensors are all on the meta device."""
    compute = RESULTS.get(name)
    if compute is not None and "out" not in kwargs:
        out = compute(*args, **kwargs)
        if out is not NotImplemented:
            return out
    return func(*args, **kwargs)
