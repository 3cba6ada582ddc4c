"""How often a network is called faster or slower than itself: paired as `scsc-lab latency` does, and one after another.

    python benchmarks/aa.py                    # 200 trials of resnet18 at 64×64, some minutes
    python benchmarks/aa.py --trials 40 --model swin_tiny --resolution 224

Each trial times one network twice: on the path of `scsc-lab latency`, in pairs of random order, and in two blocks, one
after the other, with as many samples, judged by Welch's t-test and by Mann and Whitney's rank test at 95 %. Last comes
a known ratio: 2n equal layers against n. Nothing is asserted; the paired share should be at most 6 %.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist, fmean, median, variance

import numpy as np
import torch
from torch import nn

import scsc_lab
from scsc_lab.execution import passes
from scsc_lab.experiments import speed
from scsc_lab.models.subject import Subject, subjects
from scsc_lab.provenance import machine, versions
from scsc_lab.settings import Budget, Execution, Plan
from scsc_lab.timing import clock as clocks

Z = NormalDist().inv_cdf(0.975)


def welch(a: Sequence[float], b: Sequence[float]) -> bool:
    """Return whether Welch's t-test calls two series different at 95 %."""
    parts = [variance(times) / len(times) for times in (a, b)]
    freedom = sum(parts) ** 2 / sum(part**2 / (len(a) - 1) for part in parts)
    critical = Z + (Z**3 + Z) / (4 * freedom) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * freedom**2)
    return abs(fmean(a) - fmean(b)) > critical * math.sqrt(sum(parts))


def mann_whitney(a: Sequence[float], b: Sequence[float]) -> bool:
    """Return whether Mann and Whitney's rank test calls two series different at 95 %, by its normal approximation."""
    n, m = len(a), len(b)
    ranks = np.argsort(np.argsort(np.concatenate([a, b]))) + 1
    u = float(ranks[:n].sum()) - n * (n + 1) / 2
    return abs(u - n * m / 2) - 0.5 > Z * math.sqrt(n * m * (n + m + 1) / 12)


def trials(name: str, number: int, pairs: int, side: int, device: str) -> None:
    """Run A/A trials and print the shares called different."""
    execution = Execution(device=device)
    named = subjects([name])[0]
    model = passes.build(named, execution, 0)
    once = replace(named, make=lambda: model)
    twice = (once, replace(once, label=f"{name} (again)"))
    x = passes.random_input((1, named.channels, side, side), execution, 0)
    run, clock = passes.one_pass(model, x, execution), clocks.of(torch.device(device))
    called = {"paired": 0, "Welch": 0, "Mann–Whitney": 0}
    ratios: dict[str, list[float]] = {"paired": [], "sequential": []}
    missed = 0
    for trial in range(number):
        plan = Plan(execution, Budget(pairs, 0.0, 600.0), resolution=(side, side), seed=trial, warm_up_seconds=0.2)
        comparison = speed.measure(twice, plan)[1].comparison
        assert comparison is not None
        assert comparison.low is not None
        assert comparison.high is not None
        called["paired"] += comparison.verdict in ("faster", "slower")
        missed += not comparison.low <= 1 <= comparison.high
        ratios["paired"].append(comparison.ratio)
        with passes.using_threads(execution.threads):
            first, second = ([clock.time(run) for _ in range(pairs)] for _ in range(2))
        called["Welch"] += welch(first, second)
        called["Mann–Whitney"] += mann_whitney(first, second)
        ratios["sequential"].append(median(second) / median(first))
        if sys.stderr.isatty():
            print(f"\rtrial {trial + 1} of {number}", end="", file=sys.stderr, flush=True)
    print(f"\n{name} against itself, {side}×{side}, {number} trials of {pairs} pairs. Called faster or slower:")
    print(f"  in pairs of random order, scsc-lab latency  {called['paired'] / number:6.1%}   (goal: at most 6 %)")
    print(f"  one after the other, Welch                  {called['Welch'] / number:6.1%}")
    print(f"  one after the other, Mann–Whitney           {called['Mann–Whitney'] / number:6.1%}")
    print(f"Intervals that do not hold 1: {missed / number:.1%} (5 % are due). Ratios off by up to:")
    for what, found in ratios.items():
        print(f"  {what:<12}{max(abs(math.log(ratio)) for ratio in found):6.1%}")


def known_ratio(layers: int, device: str) -> None:
    """Time 2n equal layers against n, and print the ratio with its interval."""
    stacks = [nn.Sequential(*(nn.Conv2d(64, 64, 3, padding=1) for _ in range(n))) for n in (layers, 2 * layers)]
    found = [
        Subject(f"{len(stack)} layers", (32, 32), lambda s=stack: s, lambda _, s=stack: s, channels=64)
        for stack in stacks
    ]
    row = speed.measure(found, Plan(Execution(device=device), Budget(100, 0.0, 30.0)))[1].row()
    low, high = row["ratio_low"], row["ratio_high"]
    within = "within" if low >= 1.8 and high <= 2.2 else "NOT within"
    print(f"\n{2 * layers} equal layers against {layers}: ratio {row['ratio']:.3f}, {row['verdict']},")
    print(f"95 % interval {low:.3f} to {high:.3f}, {within} 2 ± 10 %.")


def main() -> None:
    """Run the trials and the known ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    print(f"scsc-lab {scsc_lab.__version__}, {machine()}, {versions()}")
    trials(options.model, options.trials, options.pairs, options.resolution, options.device)
    known_ratio(8, options.device)


if __name__ == "__main__":
    main()
