"""Counting beside the peers: as whole processes, and as calls in a warm process; with the count each gives.

    python -m venv peers && peers/bin/pip install -c constraints.txt . -r benchmarks/requirements.txt
    peers/bin/python benchmarks/counting.py

Every tool builds the network from its name with random weights and counts one forward pass at 224×224. Rounds alternate
over the tools in random order; figures are medians. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import logging
import os
import random
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    Network = str | nn.Module
    Shape = tuple[int, ...]

SHAPE = (1, 3, 224, 224)
MODELS = ("resnet50", "swin_tiny", "scsc_swin_tiny")
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def ours(network: Network, shape: Shape, tells: bool) -> float:
    import scsc_lab

    counted = scsc_lab.count(network) if isinstance(network, str) else scsc_lab.count(network, input_shape=shape)
    if tells:
        print(counted.status, counted.unknown)
    return counted.macs


def ours_checked(network: Network, shape: Shape, tells: bool) -> float:
    from scsc_lab.metrics.size import Counting, measure
    from scsc_lab.networks.network import Network

    assert isinstance(network, str)
    (row,) = measure([Network.read(network)], Counting(check=True), lambda *_: None)
    return row["macs"]


def built(network: Network) -> nn.Module:
    import scsc_lab

    return scsc_lab.build(network) if isinstance(network, str) else network


def fvcore(network: Network, shape: Shape, tells: bool) -> float:
    import torch
    from fvcore.nn import FlopCountAnalysis

    return FlopCountAnalysis(built(network), torch.zeros(shape)).total()


def flop_counter_mode(network: Network, shape: Shape, tells: bool) -> float:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model = built(network)
    with torch.no_grad(), FlopCounterMode(display=tells) as counter:
        model(torch.zeros(shape))
    return counter.get_total_flops() / 2


def ptflops(network: Network, shape: Shape, tells: bool) -> float:
    from ptflops import get_model_complexity_info

    plain = {"as_strings": False, "print_per_layer_stat": False, "verbose": tells}
    return get_model_complexity_info(built(network), shape[1:], **plain)[0]


def thop(network: Network, shape: Shape, tells: bool) -> float:
    import torch
    from thop import profile

    return profile(built(network), (torch.zeros(shape),), verbose=tells)[0]


def torchinfo(network: Network, shape: Shape, tells: bool) -> float:
    from torchinfo import summary

    return summary(built(network), input_size=shape, verbose=2 if tells else 0).total_mult_adds


def calflops(network: Network, shape: Shape, tells: bool) -> float:
    from calflops import calculate_flops

    told = {"print_results": tells, "print_detailed": tells}
    return calculate_flops(built(network), input_shape=shape, output_as_string=False, **told)[1]


TOOLS: dict[str, Callable[[Network, Shape, bool], float]] = {
    "scsc-lab": ours,
    "scsc-lab, cross-checked": ours_checked,
    "fvcore": fvcore,
    "FlopCounterMode": flop_counter_mode,
    "ptflops": ptflops,
    "thop": thop,
    "torchinfo": torchinfo,
    "calflops": calflops,
}


def unruled() -> nn.Module:
    """Return a network whose matrix inverse no tool here has a rule for; its three products are 122,880 MACs."""
    import torch
    from torch import nn

    class Inverse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 64)
            self.weight = nn.Parameter(torch.eye(64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x) @ self.weight @ torch.linalg.inv(self.weight)

    return Inverse()


def partial() -> None:
    """Print what each peer counts of a network that holds an operator without a rule, and whether it names it."""
    print("\nA matrix inverse among three products of 122,880 MACs in all; is the inverse named?\n")
    print("| tool | MACs | names the inverse |\n|:--|--:|:--|")
    for tool, function in TOOLS.items():
        if function is ours_checked:
            continue
        told = io.StringIO()
        handler = logging.StreamHandler(told)
        logging.getLogger().addHandler(handler)
        try:
            with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                macs = f"{function(unruled(), (1, 10, 64), True):,.0f}"
        except Exception as error:  # a peer that does not import here, or cannot count this at all
            macs = f"fails: {type(error).__name__}"
        logging.getLogger().removeHandler(handler)
        print(f"| {tool} | {macs} | {'yes' if 'linalg_inv' in told.getvalue() else 'no'} |", flush=True)


def quietly(tool: Callable[[Network, Shape, bool], float], name: str) -> float:
    """Return a tool's count without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        return float(tool(name, SHAPE, False))


def processes(name: str, rounds: int) -> None:
    """Time whole processes: interpreter, imports, building, counting."""
    import shutil

    command = shutil.which("scsc-lab", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert command
    this = str(Path(__file__).resolve())
    runs = {
        "import torch (the floor)": [sys.executable, "-c", "import torch"],
        "scsc-lab flops --no-check": [command, "flops", name, "--no-check"],
        "scsc-lab flops": [command, "flops", name],
        **{tool: [sys.executable, this, "--one", tool, name] for tool in list(TOOLS)[2:]},
        "scsc-lab --help": [command, "--help"],
        "scsc-lab models": [command, "models"],
    }
    seconds: dict[str, list[float]] = {run: [] for run in runs}
    failed: set[str] = set()
    for number in range(rounds + 1):
        for run in random.sample(list(runs), len(runs)):
            started = time.perf_counter()
            code = subprocess.run(runs[run], check=False, **QUIET).returncode
            if code:
                failed.add(run)
            if number:  # the first round only warms the file cache
                seconds[run].append(time.perf_counter() - started)
    floor = statistics.median(seconds["import torch (the floor)"])
    print(f"\nWhole processes, {name}, median of {rounds}:\n")
    print("| process | seconds | × import torch |\n|:--|--:|--:|")
    for run, times in seconds.items():
        median = statistics.median(times)
        cells = "fails | " if run in failed else f"{median:.2f} | {median / floor:.2f}"
        print(f"| {run} | {cells} |", flush=True)


def calls(name: str, rounds: int) -> None:
    """Time calls in this process, once everything is imported; and print each tool's count and its error."""
    seconds: dict[str, list[float]] = {}
    counts: dict[str, float | str] = {}
    for tool, function in TOOLS.items():
        try:
            counts[tool], seconds[tool] = quietly(function, name), []
        except Exception as error:  # a peer that cannot count this network at all
            counts[tool] = f"{type(error).__name__}"
    for _ in range(rounds):
        for tool in random.sample(list(seconds), len(seconds)):
            started = time.perf_counter()
            quietly(TOOLS[tool], name)
            seconds[tool].append(time.perf_counter() - started)
    own, true = statistics.median(seconds["scsc-lab"]), counts["scsc-lab"]
    print(f"\nBuilding and counting {name} in a warm process, median of {rounds}; true MACs {true:,.0f}:\n")
    print("| tool | ms | × scsc-lab | count (G) | error |\n|:--|--:|--:|--:|--:|")
    for tool, counted in counts.items():
        if isinstance(counted, str):
            print(f"| {tool} | fails: {counted} | | | |")
            continue
        median = statistics.median(seconds[tool])
        error = f"{100 * (counted / true - 1):+.1f} %"
        print(f"| {tool} | {1e3 * median:.0f} | {median / own:.1f} | {counted / 1e9:.3f} | {error} |", flush=True)


def grid(size: int) -> None:
    """Count a grid of SCSC specs in one process: specs a second, and how memory grows."""
    from scsc_lab.counting.count import count
    from scsc_lab.models import construct
    from scsc_lab.networks import catalog
    from scsc_lab.networks.specs import SwinSpec

    spec = catalog.find("scsc_swin_tiny").spec
    assert isinstance(spec, SwinSpec)
    kernels = [(3,), (3, 5), (3, 7), (3, 5, 7), (3, 9, 13)]
    made = [
        replace(spec, scsc=tuple(replace(m, kernels=k, groups=g, se=se, shuffle=s) for m in spec.scsc), drop_path=d)
        for k in kernels
        for g in (1, 2, 4, 8, 16)
        for se in (True, False)
        for s in (True, False)
        for d in (0.0, 0.1, 0.2, 0.3, 0.4)
    ][:size]
    count(construct.empty(spec), SHAPE)
    marks, started = [], time.perf_counter()
    for number, one in enumerate(made, start=1):
        count(construct.empty(one), SHAPE)
        if number % (size // 5) == 0:
            gc.collect()
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
            marks.append(f"{number}: {resident / 2**20:.0f}")
    elapsed = time.perf_counter() - started
    print(f"\nA grid of {len(made)} specs of SCSC-Swin-T in one process: {len(made) / elapsed:.1f} specs a second.")
    print(f"Resident memory after so many (MiB): {', '.join(marks)}.")


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", nargs=2, metavar=("TOOL", "MODEL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(quietly(TOOLS[options.one[0]], options.one[1]))
        return
    from scsc_lab.provenance import machine, versions

    print(machine(), versions())
    partial()
    processes("resnet50", options.rounds)
    for name in MODELS:
        calls(name, options.rounds)
    grid(500)


if __name__ == "__main__":
    main()
