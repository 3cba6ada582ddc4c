"""Whatever a network takes, and whatever goes wrong when it runs."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from functions import Function
from torch import nn
from torch.nn import functional as F

from scsc_lab import InputError
from scsc_lab.counting import rule
from scsc_lab.counting.count import count


def anchored(function, **members):
    return Function(function, anchor=nn.Linear(4, 5), **members)


TOKENS = torch.tensor([[3, 1, 2]])


@pytest.mark.parametrize(
    ("inputs", "keywords", "function", "macs"),
    [
        ((2, 3, 4), None, lambda net, x: net.anchor(x), 6 * 20),
        ([2, 3, 4], None, lambda net, x: net.anchor(x), 6 * 20),
        (torch.zeros(2, 4), None, lambda net, x: net.anchor(x), 2 * 20),
        (((2, 3), (3, 5)), None, lambda net, a, b: a @ b, 30),
        ([(2, 3), torch.zeros(3, 5)], None, lambda net, a, b: a @ b, 30),
        (([(2, 3), (3, 5)],), None, lambda net, pair: pair[0] @ pair[1], 30),
        (({"a": (2, 3), "b": [(3, 5)]},), None, lambda net, given: given["a"] @ given["b"][0], 30),
        ({"a": (2, 3), "b": (3, 5)}, None, lambda net, *, a, b: a @ b, 30),
        ((2, 3), {"b": (3, 5)}, lambda net, a, *, b: a @ b, 30),
        (None, {"a": (2, 3), "b": (3, 5)}, lambda net, *, a, b: a @ b, 30),
        (((2, 4), "text", None, True), None, lambda net, x, text, none, flag: net.anchor(x) if flag else x, 40),
        (TOKENS, None, lambda net, x: net.anchor(F.embedding(x, net.anchor.weight)), 3 * 20),
    ],
)
@pytest.mark.parametrize("real", [False, True])
def test_inputs_of_every_kind(inputs, keywords, function, macs, real):
    def forward(net, *args, **named):
        if real:
            float(net.anchor.bias.sum())
        return function(net, *args, **named)

    before = TOKENS.clone()
    counted = count(anchored(forward), inputs=inputs, keywords=keywords)
    assert (counted.macs, counted.status) == (macs, "complete")
    assert counted.device == ("cpu" if real else "meta")
    assert torch.equal(TOKENS, before)


def test_counts_in_threads_leave_torch_as_it_was():
    """Each changes switches of the process for its pass: the last to end must not put back what another had set."""
    first_is_inside, second_is_inside, first_has_ended = threading.Event(), threading.Event(), threading.Event()

    def slow(net, x):
        first_is_inside.set()
        second_is_inside.wait(0.2)  # never, if they take turns
        return net.anchor(x)

    def quick(net, x):
        second_is_inside.set()
        first_has_ended.wait(5)
        return net.anchor(x)

    start, mkldnn = threading.Thread.start, torch.backends.mkldnn.enabled
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(count, anchored(slow), (2, 4))
        first.add_done_callback(lambda _: first_has_ended.set())
        first_is_inside.wait()
        second = pool.submit(count, anchored(quick), (2, 4))
        assert first.result().macs == second.result().macs == 40
    assert (threading.Thread.start, torch.backends.mkldnn.enabled) == (start, mkldnn)


@pytest.mark.parametrize("inputs", [(), [], {}, None])
def test_no_input_is_a_mistake(inputs):
    with pytest.raises(InputError, match="give an input: a shape"):
        count(nn.Linear(2, 2), inputs=inputs)
    with pytest.raises(InputError, match="not both"):
        count(nn.Linear(2, 2), (1, 2), inputs=(1, 2))


def raising(error):
    def forward(net, x):
        raise error

    return forward


class Odd(BaseException):
    """What no one expects."""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (raising(SystemExit(0)), "SystemExit: 0"),
        (raising(Odd("two\nlines")), "Odd: lines"),
        (raising(RuntimeError()), "RuntimeError"),
        (lambda net, x: torch.cat([x, x[:, :1]], 0), "Sizes of tensors must match"),
        (lambda net, x: F.layer_norm(x, (4,), net.anchor.bias), "same shape"),
        (lambda net, x: F.linear(x, net.anchor.weight, net.anchor.weight[0]), "match"),
        (lambda net, x: x[:, :1].clone().add_(x), "output with shape"),
        (lambda net, x: x[:, :1].expand(3, 4).add_(1), "more than one element"),
        (lambda net, x: F.scaled_dot_product_attention(*[x[None]] * 3, attn_mask=net.anchor.weight), "must match"),
        (lambda net, x: F.batch_norm(x, torch.zeros(3), torch.ones(3)), "running_mean should contain 4 elements"),
        (lambda net, x: x @ net.anchor.weight.double().t(), "same dtype"),
    ],
)
def test_a_pass_that_fails_is_a_mistake_of_one_line(function, message):
    with pytest.raises(InputError, match="the network fails on an input of 3×4: ") as error:
        count(anchored(function), (3, 4))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_networks_that_cannot_be_counted_at_all():
    with pytest.raises(InputError, match="weight has no shape yet: run a lazy network once"):
        count(nn.Sequential(nn.LazyConv2d(4, 3)), (1, 3, 8, 8))
    locked = nn.Linear(4, 5)
    locked.lock = threading.Lock()
    with pytest.raises(InputError, match="cannot be copied: TypeError: cannot pickle"):
        count(locked, (1, 4))
    endless = nn.Sequential(nn.Linear(4, 4))
    endless.add_module("again", endless)
    with pytest.raises(InputError, match="module 'again' contains itself"):
        count(endless, (1, 4))


def test_an_interrupt_stays_one():
    with pytest.raises(KeyboardInterrupt):
        count(anchored(raising(KeyboardInterrupt())), (1, 4))


def test_a_network_made_in_inference_mode():
    with torch.inference_mode():
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    assert count(network, (1, 3, 8, 8)).macs == 27 * 4 * 36


def on_a_thread(net, x):
    found = []
    thread = threading.Thread(target=lambda: found.append(net.anchor(x) @ x.new_ones(5, 2)))
    thread.start()
    thread.join()
    return found[0]


def in_a_pool(net, x):
    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(net.anchor, [x, x]))


OLD_POOL = ThreadPoolExecutor(1)


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize(
    ("function", "macs"),
    [
        (on_a_thread, 3 * 4 * 5 + 3 * 5 * 2),
        (in_a_pool, 2 * 3 * 4 * 5),
        (lambda net, x: OLD_POOL.submit(net.anchor, x).result(), 3 * 4 * 5),
        (lambda net, x: OLD_POOL.submit(torch.matmul, x, x.t()).result(), 3 * 4 * 3),
    ],
)
def test_threads_are_watched(function, macs, real):
    def forward(net, x):
        if real:
            float(x.sum())
        return function(net, x)

    start, submit = threading.Thread.start, ThreadPoolExecutor.submit
    OLD_POOL.submit(int).result()
    counted = count(anchored(forward), (3, 4))
    assert (counted.macs, counted.status) == (macs, "complete")
    assert {cell.module for cell in counted.cells if cell.operator == "linear"} <= {"anchor"}
    assert (threading.Thread.start, ThreadPoolExecutor.submit) == (start, submit)
    assert OLD_POOL.submit(torch._C._len_torch_dispatch_stack).result() == 0


def test_modules_of_others_do_not_count():
    other = nn.Linear(4, 4)
    running, done = threading.Event(), threading.Event()

    def run():
        running.set()
        while not done.is_set():
            other(torch.zeros(1, 4))

    thread = threading.Thread(target=run)
    thread.start()
    running.wait()
    try:
        counted = count(anchored(lambda net, x: net.anchor(x)), (3, 4))
    finally:
        done.set()
        thread.join()
    assert counted.macs == 60


def test_products_of_tensors_that_are_no_buffers_count():
    network = anchored(
        lambda net, x: x @ net.keys.T + (net.keys @ net.keys.T).sum() + torch.ones(7) * net.keys.T[:4, :7]
    )
    network.keys = torch.ones(7, 4)
    assert count(network, (4, 4)).macs == 4 * 4 * 7 + 7 * 4 * 7


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_networks(kind, bidirectional):
    layer = kind(8, 6, num_layers=2, bidirectional=bidirectional, batch_first=True)
    gates, ways = {nn.GRU: 3, nn.LSTM: 4, nn.RNN: 1}[kind], 1 + bidirectional
    products = sum(ways * gates * 6 * (inputs + 6) for inputs in (8, 6 * ways))
    cells = 2 * ways * 2 * 6 if kind is nn.LSTM else 0  # f·c + i·g is a sum of two products
    counted = count(layer, (2, 5, 8))
    assert (counted.macs, counted.status) == (2 * 5 * (products + cells), "complete")


@pytest.fixture
def library():
    made = torch.library.Library("scsc_lab_tests", "DEF")
    made.define("rms_norm(Tensor x, Tensor w) -> Tensor")
    made.impl("rms_norm", lambda x, w: x @ w, "CPU")
    made.impl("rms_norm", lambda x, w: x.new_empty(x.shape[0], w.shape[1]), "Meta")
    yield made
    from scsc_lab.counting import operators

    operators.RULES.pop("scsc_lab_tests::rms_norm", None)
    operators.kind.cache_clear()
    made._destroy()


def test_an_operator_from_elsewhere_is_unknown_until_it_has_a_rule(library):
    network = anchored(lambda net, x: torch.ops.scsc_lab_tests.rms_norm(x, net.anchor.weight.t()))
    assert dict(count(network, (3, 4)).unknown) == {"scsc_lab_tests::rms_norm": 1}

    @rule("scsc_lab_tests::rms_norm")
    def _(x, w, *, out):
        return out.numel() * w.shape[0]

    counted = count(network, (3, 4))
    assert (counted.macs, counted.activations, counted.status) == (60, 15, "complete")
    with pytest.raises(InputError, match="has a rule"):
        rule("scsc_lab_tests::rms_norm")


@pytest.mark.parametrize("wrong", [-1, 1.5, None, True])
def test_a_rule_gives_a_whole_number(library, wrong):
    rule("scsc_lab_tests::rms_norm")(lambda x, w, *, out: wrong)
    network = anchored(lambda net, x: torch.ops.scsc_lab_tests.rms_norm(x, net.anchor.weight.t()))
    with pytest.raises(InputError, match="whole number"):
        count(network, (3, 4))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rms_norm", "not the full name of an operator"),
        ("nowhere::op", "there is no operator"),
        ("aten::mm", "has a rule"),
        ("aten::relu", "has a rule"),
    ],
)
def test_rules_are_for_operators_that_exist_and_have_none(name, message):
    with pytest.raises(InputError, match=message):
        rule(name)


def test_a_module_whose_errors_are_caught_leaves_its_place():
    def forward(net, x):
        with contextlib.suppress(RuntimeError):
            net.other(x)
        return x @ x.t()

    counted = count(anchored(forward, other=nn.Linear(9, 9)), (3, 4))
    assert {cell.module for cell in counted.cells if cell.macs} == {""}
