"""Our results on the meta device against what torch's kernels give on a CPU, over random arguments, good and bad."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from scsc_lab.counting import shapes

aten = torch.ops.aten
SIDES = st.integers(1, 4)


@st.composite
def near(draw, *shape, dtype=torch.float32):
    """Draw a tensor of a shape, in any layout, which is now and then another shape, or of another type."""
    shape = [draw(SIDES) if draw(st.integers(0, 9)) == 0 else side for side in shape]
    if draw(st.integers(0, 14)) == 0:
        shape = shape[1:] if draw(st.booleans()) else [1, *shape]
    x = torch.zeros(shape, dtype=torch.float64 if draw(st.integers(0, 14)) == 0 else dtype)
    layout = draw(st.sampled_from(["contiguous", "contiguous", "channels_last", "transposed", "sliced"]))
    if layout == "channels_last" and x.dim() == 4:
        return x.to(memory_format=torch.channels_last)
    if layout == "transposed" and x.dim() > 1:
        return x.transpose(-1, -2).contiguous().transpose(-1, -2)
    if layout == "sliced" and x.dim():
        return x.new_zeros(*x.shape[:-1], x.shape[-1] + 2)[..., 1:-1]
    return x


UNARY = "gelu relu silu sigmoid tanh hardswish hardsigmoid clone relu_ silu_ hardswish_".split()


def a_unary(draw, n, c, h, w):
    dtype = draw(st.sampled_from([torch.float32, torch.bfloat16]))
    return getattr(aten, draw(st.sampled_from(UNARY))).default, [draw(near(*(n, c, h, w)[: draw(SIDES)], dtype=dtype))]


def a_cat(draw, n, c, h, w):
    return aten.cat.default, [[draw(near(n, c, h, w)), draw(near(n, draw(SIDES), h, w))], draw(st.integers(-3, 4))]


def a_convolution(draw, n, c, h, w):
    groups, k = draw(st.sampled_from([1, 1, 1, 2, 3])), draw(SIDES)
    weight = draw(near(draw(SIDES) * groups, c, k, k)).contiguous()  # of other layouts, some backends keep theirs
    bias = draw(st.none() | near(weight.shape[0]))
    bias = bias if bias is None else bias.to(weight.dtype)  # of another type: some of torch's kernels take it
    pairs = [[draw(st.integers(low, 2))] * 2 for low in (1, 0, 1)]
    return aten.convolution.default, [draw(near(n, c * groups, h, w)), weight, bias, *pairs, False, [0, 0], groups]


def a_layer_norm(draw, n, c, h, w):
    own = [draw(st.none() | near(w)) for _ in range(2)]
    return aten.native_layer_norm.default, [draw(near(n, h, w)), [w if draw(st.integers(0, 9)) else 3], *own, 1e-5]


def a_batch_norm(draw, n, c, h, w):
    own = [draw(near(c)).reshape(-1) for _ in range(4)]
    x = draw(near(n, c, h, w))
    x = x if all(value.dtype == x.dtype for value in own) else x.contiguous()  # else torch fails within
    return torch.batch_norm, [x, *own, n * h * w > 1 and draw(st.booleans()), 0.1, 1e-5, False]


def a_binary(draw, n, c, h, w):
    name = draw(st.sampled_from("add sub mul div add_ mul_ div_".split()))
    a, b = draw(near(n, c, h, w)), draw(near(*draw(st.sampled_from([(n, c, h, w), (1, c, 1, w), (w,), (n, c, 1, 1)]))))
    if draw(st.integers(0, 4)) == 0:
        a = a[:1].expand(n, *a.shape[1:])
    if draw(st.integers(0, 9)) == 0:
        return getattr(aten, name).Tensor, [a, 2.0]
    return getattr(aten, name).Tensor, [a, b] if draw(st.booleans()) else [b, a]


def an_addcmul(draw, n, c, h, w):
    name = draw(st.sampled_from(["addcmul", "addcmul_"]))
    return getattr(aten, name).default, [draw(near(n, c, 1)), draw(near(n, 1, h)), draw(near(n, c, h))]


def a_product(draw, n, c, h, w):
    name = draw(st.sampled_from("mm bmm addmm baddbmm".split()))
    outer = (n,) if name.endswith("bmm") else ()
    args = [draw(near(*outer, c, h)), draw(near(*outer, h, w))]
    start = [draw(near(w))] if "add" in name else []
    return getattr(aten, name).default, start + args


def a_pool(draw, n, c, h, w):
    sizes = [[draw(st.integers(low, 3))] * 2 for low in (1, 1, 0)]
    return aten.max_pool2d_with_indices.default, [draw(near(n, c, h, w)), *sizes]


def a_reduction(draw, n, c, h, w):
    dims = draw(st.lists(st.integers(-4, 3), max_size=3))
    operator = draw(st.sampled_from([aten.mean.dim, aten.sum.dim_IntList]))
    return operator, [draw(near(n, c, h)), dims, draw(st.booleans())]


def a_softmax(draw, n, c, h, w):
    name = draw(st.sampled_from(["_softmax", "_safe_softmax"]))
    return getattr(aten, name).default, [draw(near(n, c, h)), draw(st.integers(-4, 4)), *[False] * (name == "_softmax")]


def a_roll(draw, n, c, h, w):
    dims = draw(st.lists(st.integers(-3, 3), min_size=1, max_size=2))
    return aten.roll.default, [draw(near(n, c, h)), [1] * draw(st.integers(1, 2)), dims]


def an_index(draw, n, c, h, w):
    index = torch.zeros(draw(st.lists(SIDES, max_size=2)), dtype=draw(st.sampled_from([torch.int64, torch.int32])))
    return aten.index.Tensor, [draw(near(n, c, h)), [index]]


CASES = [
    a_unary,
    a_cat,
    a_convolution,
    a_layer_norm,
    a_batch_norm,
    a_binary,
    an_addcmul,
    a_product,
    a_pool,
    a_reduction,
    a_softmax,
    a_roll,
    an_index,
]


def on_meta(value):
    """Return arguments with their tensors on the meta device, layout kept."""
    if isinstance(value, torch.Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    return [on_meta(item) for item in value] if isinstance(value, (list, tuple)) else value


def attempt(function, *args):
    try:
        return function(*args)
    except Exception as error:
        return error


class Shapes(TorchDispatchMode):
    """Every operator's result is ours, or torch's where we have none."""

    is_ours = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.partition("::")[2]
        compute = shapes.RESULTS.get(name)
        self.is_ours = compute is not None and compute(*args, **(kwargs or {})) is not NotImplemented
        return shapes.result(name, func, args, kwargs or {})


def strides(x):
    """Return strides with those of single elements, which mean nothing, left out."""
    return [stride for size, stride in zip(x.shape, x.stride(), strict=True) if size > 1]


def is_ambiguous(*values):
    """Return whether a map lies in both orders at once, of which torch's kernels take one or the other."""
    maps = [x for x in values if isinstance(x, torch.Tensor) and x.dim() == 4 and x.is_contiguous()]
    return any(x.is_contiguous(memory_format=torch.channels_last) for x in maps)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_results_are_those_of_torch_and_what_torch_refuses_is_refused(case, data):
    func, args = case(data.draw, *(data.draw(SIDES) for _ in range(4)))
    theirs = attempt(func, *args)
    with Shapes() as mode:
        ours = attempt(func, *on_meta(args))
    assert isinstance(ours, Exception) == isinstance(theirs, Exception), (ours, theirs)
    if isinstance(ours, Exception):
        return
    for own, other in zip(*(x if isinstance(x, tuple) else (x,) for x in (ours, theirs)), strict=True):
        assert (own.shape, own.dtype) == (other.shape, other.dtype)
        assert not mode.is_ours or is_ambiguous(*args) or strides(own) == strides(other)
