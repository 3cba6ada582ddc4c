"""The memory of a pass: closed forms, and the CPU's own allocations."""

from __future__ import annotations

import sys
import threading

import pytest
import torch
from functions import Function
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from scsc_lab import api
from scsc_lab.cli import main
from scsc_lab.counting.count import count

SIDE = 16
MAP = 4 * 8 * SIDE * SIDE
"""Bytes of a map of eight channels."""


def chain(length: int = 3) -> nn.Module:
    return nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(length)))


def peak(model: nn.Module, shape: tuple[int, ...] = (1, 8, SIDE, SIDE), **options: object) -> int:
    return count(model, shape, **options).peak_bytes


def test_a_chain_holds_an_input_and_two_maps():
    assert peak(chain(1)) == 2 * MAP
    assert peak(chain(2)) == peak(chain(9)) == 3 * MAP  # the caller holds the input all the time
    assert peak(chain(3), (4, 8, SIDE, SIDE)) == 4 * 3 * MAP
    assert peak(chain(3).half()) == 3 * MAP // 2


def test_a_shortcut_is_alive_until_it_is_added():
    inner = chain(3)
    assert peak(Function(lambda net, x: x + net.inner(x), inner=inner)) == 3 * MAP
    kept = Function(lambda net, x: net.outer(x) + net.inner(net.outer(x)), inner=inner, outer=chain(1))
    assert peak(kept) == 5 * MAP


@pytest.mark.parametrize(
    ("function", "maps"),
    [
        (lambda net, x: x.relu_(), 1),
        (lambda net, x: x.relu(), 2),
        (lambda net, x: x.view(1, 8, -1).transpose(1, 2), 1),
        (lambda net, x: x.expand(4, 8, SIDE, SIDE), 1),
        (lambda net, x: torch.cat([x, x]), 3),
        (lambda net, x: net.weight * x.mean(), 1),
    ],
)
def test_tensors_that_share_memory_count_once(function, maps):
    network = Function(function, weight=nn.Parameter(torch.ones(()).expand(())))
    assert abs(peak(network) - maps * MAP) <= 16  # but for a single number


def test_a_profiler_in_another_thread_keeps_no_tensor_alive():
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(0.0005):
            held = sys._current_frames()
            ended.wait(0.0005)
            del held

    profiler = threading.Thread(target=sample)
    profiler.start()
    try:
        peaks = {api.count("swin_tiny").peak_bytes for _ in range(3)}
    finally:
        ended.set()
        profiler.join()
    assert peaks == {api.count("swin_tiny").peak_bytes}


def test_training_keeps_what_the_backward_pass_needs():
    length, weights = 5, 4 * 5 * 8 * 8 * 9
    held = peak(chain(length), backward=True)
    assert (length + 1) * MAP + weights / length <= held <= (length + 3) * MAP + weights
    assert count(chain(1), (1, 8, SIDE, SIDE)).trainable_params == 8 * 8 * 9


def allocated(model: nn.Module, x: torch.Tensor, *, backward: bool) -> int:
    """Return the most bytes that the CPU's allocator held beside the weights, by its own events."""
    step = model.train() if backward else model.eval()

    def run() -> object:
        out = step(x)
        return out.backward(torch.ones_like(out)) if backward else out

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        if backward:
            run()
        else:
            with torch.no_grad():
                run()
    held = most = 0
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most + x.nbytes


class Block(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + F.relu(self.norm(self.conv(x)))
        return x + self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(
    ("make", "workspaces"),
    [
        (lambda: nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64)), 0.0),
        (lambda: nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), Block(), Block()), 0.1),
    ],
)
def test_the_allocator_of_the_processor_holds_as_much(make, workspaces, backward):
    x = torch.randn(2, 8, 64, 64)
    counted = peak(make(), tuple(x.shape), backward=backward)
    assert counted == pytest.approx(allocated(make(), x, backward=backward), rel=0.001 + workspaces)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", ["resnet18", "swin_tiny", "scsc_resnet50"])
def test_the_allocator_of_cuda_holds_as_much(name, backward):
    from scsc_lab.execution.hardware import peak as measured

    device = torch.device("cuda")
    model = api.building.build(api.network(name), 0).to(device).train(backward)

    def run() -> None:
        out = model(torch.randn(2, 3, 224, 224, device=device))
        if backward:
            out.sum().backward()

    with torch.set_grad_enabled(backward):
        run()
        model.zero_grad(set_to_none=True)
        memory = measured(run, device)
    counted = api.count(name, batch=2, train=backward).peak_bytes
    assert counted == pytest.approx(memory.bytes, rel=0.25)


def test_columns(capsys):
    frame = api.compare("resnet18", "resnet34", metrics=["trainable", "memory", "training_memory"])
    assert list(frame["trainable_params"]) == list(api.compare("resnet18", "resnet34", metrics=["params"])["params"])
    assert (frame["training_peak_bytes"] > 3 * frame["peak_bytes"]).all()
    assert frame["peak_bytes"][0] == api.count("resnet18").peak_bytes
    assert main(["compare", "resnet18", "resnet34", "--with", "memory,training_memory"]) == 0
    assert "Memory: most bytes of tensors alive" in " ".join(capsys.readouterr().out.split())
