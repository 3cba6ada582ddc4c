"""Training on a CPU: what the depthwise weight gradient as a convolution gains, and what the loop costs.

    python benchmarks/training.py            # SCSC blocks, steps of whole networks, the loop, two jobs
    python benchmarks/training.py --quick    # without the whole network and the jobs

Both ways of the weight gradient are timed in pairs of random order, one thread; ratios are medians over the pairs with
their 95 % interval. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from scsc_lab.analysis.paired import compare
from scsc_lab.layers import depthwise
from scsc_lab.layers.scsc import SCSC
from scsc_lab.models.build import build
from scsc_lab.networks.network import Network
from scsc_lab.provenance import machine, versions
from scsc_lab.settings import Training
from scsc_lab.training import tasks
from scsc_lab.training.loop import make_optimizer, normalised, train
from scsc_lab.training.plan import Input, plan
from scsc_lab.training.run import prepared

STAGES = ((96, 56, (3, 9, 13)), (192, 28, (3, 7, 11)), (384, 14, (3, 5, 7)), (768, 7, (3, 5)))


@contextmanager
def autograds():
    """Leave the weight gradient to autograd."""
    chosen = depthwise._has_slow_weight_gradient
    depthwise._has_slow_weight_gradient = lambda *args: False
    try:
        yield
    finally:
        depthwise._has_slow_weight_gradient = chosen


def paired(step: Callable[[], float], pairs: int) -> str:
    """Return the times of a step with autograd's weight gradient and with ours, and their ratio."""
    random = np.random.default_rng(0)
    times: tuple[list[float], list[float]] = ([], [])
    with autograds():
        step()
    step()
    for _ in range(pairs):
        for ours in random.permutation(2):
            if ours:
                times[1].append(step())
            else:
                with autograds():
                    times[0].append(step())
    found = compare(*times)
    low, high = (f"{1 / end:.2f}" if end else "?" for end in (found.high, found.low))
    autograd, ours = (1e3 * float(np.median(own)) for own in times)
    return f"{autograd:8.1f} | {ours:8.1f} | {1 / found.ratio:.2f} ({low}–{high})"


def backward_of(module: torch.nn.Module, x: torch.Tensor) -> Callable[[], float]:
    """Return a function that times one backward pass, in seconds."""
    module = module.train().to(memory_format=torch.channels_last)

    def step() -> float:
        y = module(x)
        gradient = torch.ones_like(y)
        started = time.perf_counter()
        y.backward(gradient)
        return time.perf_counter() - started

    return step


def whole_step(name: str, batch: int, side: int) -> Callable[[], float]:
    """Return a function that times one training step of a network, in seconds."""
    network = build(Network.of(name), 0).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters())
    x = torch.randn(batch, 3, side, side).contiguous(memory_format=torch.channels_last)

    def step() -> float:
        started = time.perf_counter()
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()
        return time.perf_counter() - started

    return step


def loop_overhead(turns: int) -> str:
    """Return the time of an epoch in the loop over that of a bare loop on the same batches, in turns."""
    training = plan(Training(epochs=1, train_images=960, test_images=32))
    batches = prepared(training, Input((64, 64)), 0)
    goal = tasks.goal("classification", batches.data, training.recipe, 0)
    ours, bare = [], []
    for _ in range(turns):
        network = build(Network.of("scsc_swin_pico"), 0)
        started = time.perf_counter()
        train(network, goal.objective(20), batches, goal.judge)
        whole = time.perf_counter() - started
        network = build(Network.of("scsc_swin_pico"), 0).train().to(memory_format=torch.channels_last)
        objective = goal.objective(20)
        optimizer = make_optimizer(network, objective, training.recipe)
        started = time.perf_counter()
        for raw, labels in batches.training(0):
            loss = objective(network(normalised(raw, batches, "cpu")), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), training.recipe.clip)
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for raw, _ in batches.test():
                network(normalised(raw, batches, "cpu"))
        bare.append(time.perf_counter() - started)
        ours.append(whole)
    found = compare(bare, ours)
    interval = f"({found.low:.3f}–{found.high:.3f})" if found.low else ""
    return f"{np.median(bare):.2f} s bare, {np.median(ours):.2f} s in the loop: × {found.ratio:.3f} {interval}"


def jobs(number: int) -> float:
    """Return runs a minute of ``scsc-lab train`` with so many jobs, its start included."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", "swin_pico", "scsc_swin_pico", "--seeds", "2", "--epochs", "1", "--train-images", "960"]
        command = [sys.executable, "-m", "scsc_lab", *words, "--jobs", str(number), "--store", f"{folder}/rows.db"]
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[1])
        return 4 * 60 / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--pairs", type=int, default=24)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{machine()}\n{versions()}\n")
    print("| what | autograd's (ms) | ours (ms) | times as fast |\n|---|---|---|---|")
    for width, side, kernels in STAGES:
        x = torch.randn(4, width, side, side).contiguous(memory_format=torch.channels_last)
        print(f"| backward of SCSC {kernels}, 4×{width}×{side}² |", end=" ", flush=True)
        print(paired(backward_of(SCSC(width, width, kernels), x), given.pairs), "|", flush=True)
    for name, batch, side in [("scsc_swin_pico", 32, 64), *([] if given.quick else [("scsc_swin_tiny", 4, 224)])]:
        print(f"| step of {name}, batch {batch} |", end=" ", flush=True)
        print(paired(whole_step(name, batch, side), given.pairs if side < 100 else max(given.pairs // 2, 8)), "|")
    print(f"\nThe loop: {loop_overhead(8)}")
    if not given.quick:
        print(f"Runs a minute: {jobs(1):.2f} in one job, {jobs(2):.2f} in two")


if __name__ == "__main__":
    main()
