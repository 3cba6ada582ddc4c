"""Our results on the meta device against what torch's kernels give on a CPU, over random arguments."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from scsc_lab.counting import shapes

aten = torch.ops.aten
DTYPES = (torch.float32, torch.bfloat16)


@st.composite
def drawn(draw, dims=(1, 4), dtype=None, shape=None):
    """Draw a tensor, sometimes channels-last, transposed or sliced."""
    if shape is None:
        shape = draw(st.lists(st.integers(1, 5), min_size=dims[0], max_size=dims[1]))
    x = torch.zeros(tuple(shape), dtype=dtype or draw(st.sampled_from(DTYPES)))
    layout = draw(st.sampled_from(["contiguous", "channels_last", "transposed", "sliced"]))
    if layout == "channels_last" and x.dim() == 4:
        x = x.to(memory_format=torch.channels_last)
    if layout == "transposed" and x.dim() > 1:
        x = torch.zeros((*tuple(shape[:-2]), shape[-1], shape[-2]), dtype=x.dtype).transpose(-1, -2)
    if layout == "sliced":
        x = torch.zeros((*shape[:-1], shape[-1] + 2), dtype=x.dtype)[..., 1:-1]
    return x


def strides(x):
    """Return strides with those of single elements, which mean nothing, left out."""
    return [stride for size, stride in zip(x.shape, x.stride(), strict=True) if size > 1]


def on_meta(value):
    """Return arguments with their tensors on the meta device, layout kept."""
    if isinstance(value, torch.Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    return [on_meta(item) for item in value] if isinstance(value, (list, tuple)) else value


def same(name, operator, *args, **kwargs):
    ours = shapes.RESULTS[name](*on_meta(args), **kwargs)
    if ours is NotImplemented:
        return
    theirs = operator(*args, **kwargs)
    for own, other in zip(*(x if isinstance(x, tuple) else (x,) for x in (ours, theirs)), strict=True):
        assert (own.shape, own.dtype, strides(own)) == (other.shape, other.dtype, strides(other)), name


UNARY = "gelu relu silu sigmoid tanh hardswish hardsigmoid clone".split()


@pytest.mark.parametrize("name", UNARY)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_unary(name, data):
    same(name, getattr(aten, name).default, data.draw(drawn()))


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(["add", "sub", "mul", "div"]))
def test_binary(data, name):
    a = data.draw(drawn())
    kind = data.draw(st.sampled_from(["same", "broadcast", "scalar"]))
    if kind == "scalar":
        same(name, getattr(aten, name).Scalar if name == "div" else getattr(aten, name).Tensor, a, 2.0)
        return
    shape = [side if kind == "same" or data.draw(st.booleans()) else 1 for side in a.shape]
    b = data.draw(drawn(shape=shape))
    same(name, getattr(aten, name).Tensor, *((a, b) if data.draw(st.booleans()) else (b, a)))


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(["mean", "sum"]))
def test_reductions(data, name):
    x = data.draw(drawn())
    dims = data.draw(st.lists(st.integers(0, x.dim() - 1), min_size=1, max_size=x.dim(), unique=True))
    operator = aten.mean.dim if name == "mean" else aten.sum.dim_IntList
    same(name, operator, x, dims, data.draw(st.booleans()))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_convolution(data):
    groups = data.draw(st.integers(1, 2))
    x = data.draw(drawn(shape=[2, 2 * groups, data.draw(st.integers(5, 9)), data.draw(st.integers(5, 9))]))
    kernel = data.draw(st.integers(1, 4))
    weight = torch.zeros(4, 2, kernel, kernel, dtype=x.dtype)
    stride, pad, dilation = (data.draw(st.integers(low, 2)) for low in (1, 0, 1))
    if dilation * (kernel - 1) >= 5:
        return
    args = (x, weight, None, [stride] * 2, [pad] * 2, [dilation] * 2, False, [0, 0], groups)
    same("convolution", aten.convolution.default, *args)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_norms(data):
    x = data.draw(drawn(dims=(4, 4)))
    channels = [torch.zeros(x.shape[1], dtype=x.dtype) for _ in range(4)]
    same("native_batch_norm", aten.native_batch_norm.default, x, *channels, False, 0.1, 1e-5)
    weight = torch.zeros(x.shape[-1], dtype=torch.float32)
    y = torch.zeros(x.shape)
    same("native_layer_norm", aten.native_layer_norm.default, y, [x.shape[-1]], weight, weight, 1e-5)
    same("_softmax", aten._softmax.default, x, -1, False)


@settings(max_examples=30, deadline=None)
@given(*(st.integers(1, 5) for _ in range(4)))
def test_products(batch, n, k, m):
    a, b = torch.zeros(batch, n, k), torch.zeros(batch, k, m)
    same("bmm", aten.bmm.default, a, b)
    same("mm", aten.mm.default, a[0], b[0])
    same("addmm", aten.addmm.default, torch.zeros(m), a[0], b[0])
    same("baddbmm", aten.baddbmm.default, torch.zeros(batch, n, m), a, b)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_moves(data):
    x = data.draw(drawn(dims=(4, 4)))
    y = data.draw(drawn(shape=list(x.shape), dtype=x.dtype))
    same("roll", aten.roll.default, x, [1, 1], [1, 2])
    dim = data.draw(st.integers(-4, 3))
    if x.is_contiguous() and y.is_contiguous():
        same("cat", aten.cat.default, [x, y], dim)
    ambiguous = torch.empty_strided((1, 1, 1, 2), (2, 1, 2, 1))
    same("cat", aten.cat.default, [ambiguous.zero_()] * 2, 1)
    same("clone", aten.clone.default, x, memory_format=torch.contiguous_format)
    same("index", aten.index.Tensor, x, [torch.zeros(6, dtype=torch.int64)])
    same("addcmul", aten.addcmul.default, x, y, x)


@settings(max_examples=30, deadline=None)
@given(st.data(), st.integers(1, 3), st.integers(1, 2), st.integers(0, 1))
def test_max_pool(data, kernel, stride, pad):
    x = data.draw(drawn(shape=[1, 3, data.draw(st.integers(3, 8)), 5]))
    if 2 * pad <= kernel and x.is_contiguous():
        operator = aten.max_pool2d_with_indices.default
        same("max_pool2d_with_indices", operator, x, [kernel] * 2, [stride] * 2, [pad] * 2)


def test_channels_last_is_kept_where_torch_keeps_it():
    x = torch.zeros(2, 4, 6, 8).to(memory_format=torch.channels_last)
    same("cat", aten.cat.default, [x, x], 1)
    same("max_pool2d_with_indices", aten.max_pool2d_with_indices.default, x, [3, 3], [2, 2], [1, 1])
    weight = torch.zeros(5, 4, 3, 3)
    args = (x, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1)
    same("convolution", aten.convolution.default, *args)


BACKWARD = {"convolution_backward", "native_batch_norm_backward", "native_layer_norm_backward"}


def test_every_result_has_a_test():
    """In-place operators return their input."""
    x = torch.zeros(2)
    tested = set(UNARY) | {"add", "sub", "mul", "div", "addcmul", "mean", "sum", "convolution", "native_batch_norm"}
    tested |= {"native_layer_norm", "_softmax", "_safe_softmax", "bmm", "mm", "addmm", "baddbmm", "roll", "cat"}
    tested |= {"index", "max_pool2d_with_indices", "_nested_tensor_from_mask_left_aligned"}
    for name in set(shapes.RESULTS) - tested - BACKWARD:
        assert name.endswith("_")
        assert shapes.RESULTS[name](x, x) is x


SIDES = st.integers(1, 4)


@st.composite
def near(draw, *shape, dtype=torch.float32):
    """Draw a tensor of a shape, which is now and then another one, or of another type."""
    shape = [draw(SIDES) if draw(st.integers(0, 9)) == 0 else side for side in shape]
    if draw(st.integers(0, 14)) == 0:
        shape = shape[1:] if draw(st.booleans()) else [1, *shape]
    return torch.zeros(shape, dtype=torch.float64 if draw(st.integers(0, 14)) == 0 else dtype)


def a_cat(draw, n, c, h, w):
    return aten.cat.default, [[draw(near(n, c, h, w)), draw(near(n, draw(SIDES), h, w))], draw(st.integers(-3, 4))]


def a_convolution(draw, n, c, h, w):
    groups, k = draw(st.sampled_from([1, 1, 1, 2, 3])), draw(SIDES)
    weight = draw(near(draw(SIDES) * groups, c, k, k))
    bias = draw(st.none() | near(weight.shape[0]))
    bias = bias if bias is None else bias.to(weight.dtype)  # of another type: some of torch's kernels take it
    pairs = [[draw(st.integers(low, 2))] * 2 for low in (1, 0, 1)]
    return aten.convolution.default, [draw(near(n, c * groups, h, w)), weight, bias, *pairs, False, [0, 0], groups]


def a_layer_norm(draw, n, c, h, w):
    own = [draw(st.none() | near(w)) for _ in range(2)]
    return aten.native_layer_norm.default, [draw(near(n, h, w)), [w if draw(st.integers(0, 9)) else 3], *own, 1e-5]


def a_batch_norm(draw, n, c, h, w):
    own = [draw(near(c)).reshape(-1) for _ in range(4)]
    return torch.batch_norm, [draw(near(n, c, h, w)), *own, draw(st.booleans()), 0.1, 1e-5, False]


def a_binary(draw, n, c, h, w):
    name = draw(st.sampled_from("add sub mul div add_ mul_ div_".split()))
    a, b = draw(near(n, c, h)), draw(near(*draw(st.sampled_from([(n, c, h), (1, c, 1), (h,), (n, c, 1)]))))
    if draw(st.integers(0, 4)) == 0:
        a = a[:1].expand(n, *a.shape[1:])
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
    return draw(st.sampled_from([aten.mean.dim, aten.sum.dim_IntList])), [draw(near(n, c, h)), dims]


def a_softmax(draw, n, c, h, w):
    return aten._softmax.default, [draw(near(n, c, h)), draw(st.integers(-4, 4)), False]


def a_roll(draw, n, c, h, w):
    dims = draw(st.lists(st.integers(-3, 3), min_size=1, max_size=2))
    return aten.roll.default, [draw(near(n, c, h)), [1] * draw(st.integers(1, 2)), dims]


def attempt(function, *args):
    try:
        return function(*args)
    except Exception as error:
        return error


class Shapes(TorchDispatchMode):
    """Every operator's result is ours."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return shapes.result(func._schema.name.partition("::")[2], func, args, kwargs or {})


CASES = [
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
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@settings(max_examples=250, deadline=None)
@given(st.data())
def test_what_torch_refuses_is_refused(case, data):
    """Valid and invalid arguments alike: the same result as torch's kernel, or an error where it has one."""
    func, args = case(data.draw, *(data.draw(SIDES) for _ in range(4)))
    theirs = attempt(func, *args)
    with Shapes():
        ours = attempt(func, *on_meta(args))
    assert isinstance(ours, Exception) == isinstance(theirs, Exception), (ours, theirs)
    if not isinstance(ours, Exception):
        for own, other in zip(*(x if isinstance(x, tuple) else (x,) for x in (ours, theirs)), strict=True):
            assert (own.shape, own.dtype) == (other.shape, other.dtype)
