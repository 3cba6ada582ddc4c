"""One computation has one count in every spelling: products added to parts of a tensor, by random programs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from functions import Function
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from scsc_lab.counting.count import count

ROWS, COLUMNS = 6, 4


def counted(function, *parts, real=False):
    network = Function(lambda net, x, w: function(x, w, *parts), real)
    result = count(network, inputs=((ROWS, COLUMNS), (ROWS, COLUMNS)))
    assert result.status == "complete"
    assert result.device == ("cpu" if real else "meta")
    return result.macs


def zeros(x):
    return torch.zeros(ROWS, COLUMNS, device=x.device)


def padded(x, w, parts):
    return sum(F.pad(x[a:b] * w[a:b], (0, 0, a, ROWS - b)) for a, b in parts)


def joined(x, w, parts):
    out = zeros(x)
    for a, b in parts:
        out = torch.cat([out[:a], out[a:b] + x[a:b] * w[a:b], out[b:]])
    return out


def stacked(x, w, parts):
    return torch.stack([torch.cat([zeros(x)[:a], x[a:b] * w[a:b], zeros(x)[b:]]) for a, b in parts]).sum(0)


def in_place(x, w, parts):
    out = zeros(x)
    for a, b in parts:
        out[a:b] += x[a:b] * w[a:b]
    return out


def assigned(x, w, parts):
    out = torch.empty_like(x).zero_()
    for a, b in parts:
        out[a:b] = x[a:b] * w[a:b] + out[a:b]
    return out


def transposed(x, w, parts):
    out = x.new_zeros(COLUMNS, ROWS)
    for a, b in parts:
        out[:, a:b].add_((x[a:b] * w[a:b]).t())
    return out.t()


def added_products(x, w, parts):
    out = zeros(x)
    for a, b in parts:
        out[a:b].addcmul_(x[a:b], w[a:b])
    return out


def by_row(x, w, parts):
    out = zeros(x)
    for a, b in parts:
        for row in range(a, b):
            out[row] += x[row] * w[row]
    return out


def views_before(x, w, parts):
    out = zeros(x)
    views = [out.view(-1)[a * COLUMNS : b * COLUMNS].view(b - a, COLUMNS) for a, b in parts]
    for view, (a, b) in zip(views, parts, strict=True):
        view.add_(x[a:b] * w[a:b])
    return out


def scattered(x, w, parts):
    out = zeros(x)
    for a, b in parts:
        out = torch.slice_scatter(out, out[a:b] + x[a:b].mul(w[a:b]), 0, a, b)
    return out


def into_a_result(x, w, parts):
    out = zeros(x)
    for a, b in parts:
        torch.add(out[a:b], x[a:b] * w[a:b], out=out[a:b])
    return out


def reversed_twice(x, w, parts):
    out = zeros(x)
    for a, b in parts:
        part = F.pad((x[a:b] * w[a:b]).flip(0), (0, 0, ROWS - b, a)).flip(0)
        out = out + part.clone().double().float().reshape(-1).view(ROWS, COLUMNS) * 2
    return out


SPELLINGS = [
    padded,
    joined,
    stacked,
    in_place,
    assigned,
    transposed,
    added_products,
    by_row,
    views_before,
    scattered,
    into_a_result,
    reversed_twice,
]
PARTS = st.lists(
    st.tuples(st.integers(0, ROWS - 1), st.integers(1, ROWS)).map(lambda ab: (min(ab[0], ab[1] - 1), max(ab))),
    min_size=1,
    max_size=4,
)


@settings(max_examples=12, deadline=None)
@given(PARTS, st.booleans())
def test_products_added_to_parts_cost_the_same_in_every_spelling(parts, real):
    number = np.zeros(ROWS, int)
    for a, b in parts:
        number[a:b] += 1
    macs = int(number[number > 1].sum()) * COLUMNS
    assert {spelling.__name__: counted(spelling, parts, real=real) for spelling in SPELLINGS} == {
        spelling.__name__: macs for spelling in SPELLINGS
    }


def indices(x, sizes):
    return [torch.arange(size, device=x.device) for size in sizes]


def put(x, w, sizes):
    out = zeros(x)
    for index in indices(x, sizes):
        out[index] += x[: len(index)] * w[: len(index)]
    return out


def put_and_accumulated(x, w, sizes):
    out = zeros(x)
    for index in indices(x, sizes):
        out.index_put_((index,), x[: len(index)] * w[: len(index)], accumulate=True)
    return out


def index_added(x, w, sizes):
    out = zeros(x)
    for index in indices(x, sizes):
        out.index_add_(0, index, x[: len(index)] * w[: len(index)], alpha=2)
    return out


def scatter_added(x, w, sizes):
    out = zeros(x)
    for index in indices(x, sizes):
        out = out.scatter_add(0, index[:, None].expand(-1, COLUMNS), x[: len(index)] * w[: len(index)])
    return out


def scatter_reduced(x, w, sizes):
    out = zeros(x)
    for index in indices(x, sizes):
        places = index[:, None].expand(-1, COLUMNS)
        out = out.scatter_reduce(0, places, x[: len(index)] * w[: len(index)], "sum")
    return out


def copied(x, w, sizes):
    out = zeros(x)
    for index in indices(x, sizes):
        out = out.index_copy(0, index, out.index_select(0, index) + x[: len(index)] * w[: len(index)])
    return out


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, ROWS), min_size=1, max_size=4), st.booleans())
def test_indexed_additions_fill_up_what_has_least(sizes, real):
    """Six rows take six products before any takes two: what an index is not known to repeat, it does not repeat."""
    all_, more = divmod(sum(sizes), ROWS)
    number = np.array([all_ + (row < more) for row in range(ROWS)])
    macs = int(number[number > 1].sum()) * COLUMNS
    spellings = [put, put_and_accumulated, index_added, scatter_added, scatter_reduced, copied]
    assert {spelling.__name__: counted(spelling, sizes, real=real) for spelling in spellings} == {
        spelling.__name__: macs for spelling in spellings
    }


def test_the_same_index_adds_to_the_same_rows():
    def forward(x, w):
        index, out = torch.arange(3, device=x.device), zeros(x)
        out[index] += x[:3] * w[:3]
        out[index] += x[3:] * w[3:]
        return out.index_add(0, index, x[:3] * w[3:])

    assert counted(forward) == counted(forward, real=True) == 3 * 3 * COLUMNS


MASKED = {
    "plain": lambda x, w: (x * w).sum(0),
    "where": lambda x, w: torch.where(x > 0, x * w, 0.0).sum(0),
    "filled": lambda x, w: (x * w).masked_fill(x > 0, 0.0).sum(0),
    "filled in place": lambda x, w: (x * w).masked_fill_(x > 0, 0.0).sum(0),
    "multiplied": lambda x, w: (x * w * (x > 0)).sum(0),
    "multiplied by numbers": lambda x, w: (x * w * (x > 0).float()).sum(0),
    "scaled": lambda x, w: ((x > 0).to(x.dtype) / 0.5 * (x * w)).sum(0),
    "dropped": lambda x, w: F.dropout(x * w, 0.5, True).sum(0),
    "drawn": lambda x, w: (x * w * torch.rand_like(x).add(0.5).floor()).sum(0),
}


@pytest.mark.parametrize("spelling", MASKED)
def test_masks_are_free(spelling):
    assert counted(MASKED[spelling]) == counted(MASKED[spelling], real=True) == ROWS * COLUMNS


def test_a_mask_alone_is_no_factor_but_a_random_projection_is():
    assert counted(lambda x, w: (x * (w > 0)).sum(0) + (x * (w > 0).float() / 0.3).mean(0)) == 0
    assert counted(lambda x, w: (x * torch.bernoulli(w.sigmoid())).sum(0)) == 0
    assert counted(lambda x, w: (x * torch.randn_like(x)).sum(0)) == ROWS * COLUMNS


def experts(number, top):
    def forward(x, w):
        gates, out = (x @ w.t()).softmax(-1), zeros(x)
        for expert in range(number):
            rows = slice(None) if top > 1 else slice(expert, None, number)
            out[rows] += gates[rows, :1] * (x[rows] @ w[:COLUMNS])
        return out

    return forward


def test_a_mixture_of_experts_counts_its_experts():
    router, expert = ROWS * ROWS * COLUMNS, ROWS * COLUMNS * COLUMNS
    assert counted(experts(3, 1)) == router + expert
    assert counted(experts(3, 2)) == router + 3 * expert + 3 * ROWS * COLUMNS


def test_overlapping_patches_are_sums_where_they_overlap():
    def folded(x, w):
        return F.fold((x * w).reshape(1, 4, 6)[:, :2], (1, 7), (1, 2))

    assert counted(folded) == 10  # of seven places the five inner ones add two


CORNERS = {
    "triangle": (lambda x, w: (x * w)[:4].tril().sum(0), 9),
    "triangle in place": (lambda x, w: (x * w)[:4].clone().triu_().sum(0), 9),
    "trace": (lambda x, w: (x * w).trace() + 0, 4),
    "diagonal": (lambda x, w: (x * w).diagonal().sum(), 4),
    "copied diagonal": (lambda x, w: torch.diag(x * w).sum(), 4),
    "blocks": (lambda x, w: torch.block_diag(x * w, x).sum(0), 24),
    "nothing": (lambda x, w: (x * w)[:0].sum(0), 0),
    "circular": (lambda x, w: F.pad((x * w)[None], (1, 1), mode="circular").sum(-1), 36),
    "real part": (lambda x, w: torch.complex(x * w, x).real.sum(0), 0),
    "pairs": (lambda x, w: torch.view_as_real(torch.complex(x, x) * torch.complex(w, w)).sum(0), 48),
    "joined into": (lambda x, w: torch.cat([x * w], 0, out=torch.empty(6, 4, device=x.device)).sum(0), 24),
    "interpolated": (lambda x, w: torch.lerp(x, w, w.sigmoid()).sum(0), 24),
    "index reduced": (lambda x, w: x.new_zeros(2, 4).index_reduce(0, (x[:, 0] * 0).long(), x * w, "mean"), 24),
    "by element": (lambda x, w: (x * w).take(torch.arange(5, device=x.device)).sum(), 5),
    "by a mask": (lambda x, w: (x * w).masked_fill(x[:1] > 0, 0.0).view(2, 12).unbind(0)[0].sum(), 12),
}


@pytest.mark.filterwarnings("ignore:index_reduce")
@pytest.mark.parametrize("name", CORNERS)
def test_corners(name):
    function, macs = CORNERS[name]
    assert counted(function) == counted(function, real=True) == macs


SQUARES = {
    "one name": lambda x, w: (x * x).sum(1),
    "two views": lambda x, w: sum(x[:, at] * x[:, at] for at in range(COLUMNS)),
    "addcmul": lambda x, w: torch.addcmul(x[:, 0] * x[:, 0], x[:, 1], x[:, 1]),
    "detached": lambda x, w: (x.detach() * x).sum(1),
    "turned twice": lambda x, w: (x.t().t() * x).sum(1),
    "chunks": lambda x, w: (x.chunk(2, 1)[0] * x.chunk(2, 1)[0]).sum(1),
    "cast twice": lambda x, w: (x.double() * x.double()).sum(1),
    "padded twice": lambda x, w: (F.pad(x, (1, 1)) * F.pad(x, (1, 1))).sum(1),
    "joined twice": lambda x, w: (torch.cat([x, w]) * torch.cat([x, w])).sum(1),
    "centred twice": lambda x, w: ((x - w) * (x - w)).sum(1),
}


@pytest.mark.parametrize("name", SQUARES)
def test_a_tensor_with_itself_is_no_product_however_it_is_taken(name):
    assert counted(SQUARES[name]) == 0


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: sum(x[:, at] * x[:, at - 1] for at in range(COLUMNS)),
        lambda x, w: (x * x.flip(0)).sum(1),
        lambda x, w: (F.pad(x, (1, 0))[:, :COLUMNS] * F.pad(x, (0, 1))[:, :COLUMNS]).sum(1),
        lambda x, w: ((x - w) * (w - x)).sum(1),
    ],
)
def test_other_elements_of_one_tensor_are_another_factor(function):
    assert counted(function) == ROWS * COLUMNS
