"""How often a network is called faster or slower than itself: paired as `scsc-lab latency` does, and one after another.

    python benchmarks/aa.py                    # 200 trials of resnet18 at 64×64, some minutes
    python benchmarks/aa.py --trials 40 --model swin_tiny --resolution 224

Each trial times one network twice: on the path of `scsc-lab latency`, in pairs of random order, and in two blocks, one
after the other, with as many samples, judged by Welch's t-test and by Mann and Whitney's rank test at 95 %. So it goes
for networks near a millisecond too, where passes are repeated inside a sample. Last come known ratios: 44 equal layers
against 40, and 16 against 8. Nothing is asserted; the paired share should be at most 6 %.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist, fmean, median, variance

import numpy as np
import torch
from torch import nn

import scsc_lab
from scsc_lab.execution import passes
from scsc_lab.provenance import machine, versions
from scsc_lab.settings import Execution, Settings, Timing
from scsc_lab.timing import latency
from scsc_lab.timing.result import Candidate, made
from scsc_lab.timing.rounds import clock_of

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


def trials(what: str, pair: Sequence[Candidate], number: int, pairs: int, execution: Execution) -> None:
    """Run A/A trials of two candidates that are alike, and print the shares called different."""
    first, clock = pair[0], clock_of(torch.device(execution.device))
    laid_out = replace(execution, memory_format="contiguous")
    model = made(first, laid_out, 0)
    assert isinstance(model, torch.nn.Module)
    (image,) = first.tensors(1)
    x = passes.random_input(image, laid_out, torch.Generator().manual_seed(0))
    run = passes.one_pass(model, ((x,), {}), laid_out)
    called = {"paired": 0, "Welch": 0, "Mann–Whitney": 0}
    ratios: dict[str, list[float]] = {"paired": [], "sequential": []}
    missed, repeats, medians = 0, Counter[int](), []
    for trial in range(number):
        settings = Settings(replace(execution, seed=trial), Timing(pairs, 0.0, 600.0, warm_up_seconds=0.2))
        found = latency.measure(pair, settings)[1]
        comparison = found.comparison
        assert comparison is not None
        assert comparison.low is not None
        assert comparison.high is not None
        called["paired"] += comparison.verdict in ("faster", "slower")
        missed += not comparison.low <= 1 <= comparison.high
        repeats[found.repeats] += 1
        medians.append(found.median_seconds or 0.0)
        ratios["paired"].append(comparison.ratio)
        with passes.using_threads(execution.threads):
            one, other = ([clock.time(run) for _ in range(pairs)] for _ in range(2))
        called["Welch"] += welch(one, other)
        called["Mann–Whitney"] += mann_whitney(one, other)
        ratios["sequential"].append(median(other) / median(one))
        if sys.stderr.isatty():
            print(f"\rtrial {trial + 1} of {number}", end="", file=sys.stderr, flush=True)
    print(f"\n{what}, {1e3 * median(medians):.2f} ms, {number} trials of {pairs} pairs. Called faster or slower:")
    print(f"  in pairs of random order, scsc-lab latency  {called['paired'] / number:6.1%}   (goal: at most 6 %)")
    print(f"  one after the other, Welch                  {called['Welch'] / number:6.1%}")
    print(f"  one after the other, Mann–Whitney           {called['Mann–Whitney'] / number:6.1%}")
    print(f"Intervals that do not hold 1: {missed / number:.1%} (5 % are due). Ratios off by up to:")
    for how, found_ratios in ratios.items():
        print(f"  {how:<12}{max(abs(math.log(ratio)) for ratio in found_ratios):6.1%}")
    times = ", ".join(f"{count} × {times}" for times, count in sorted(repeats.items()))
    print(f"Repeats inside a sample, the same for both (trials × repeats): {times}.")


def stack(layers: int, channels: int, side: int) -> Candidate:
    """Return a stack of equal layers."""
    model = nn.Sequential(*(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(layers)))
    return Candidate(f"{layers} layers", lambda: model, (side, side), channels)


def known_ratio(layers: tuple[int, int], device: str, trials: int = 1) -> None:
    """Time two numbers of equal layers, and print the ratio with its interval."""
    held = 0
    for trial in range(trials):
        pair = [stack(number, 64, 32) for number in layers]
        settings = Settings(Execution(device=device, seed=trial), Timing(100, 0.0, 30.0))
        row = latency.measure(pair, settings)[1].row()
        held += row["ratio_low"] <= layers[1] / layers[0] <= row["ratio_high"]
        print(
            f"{layers[1]} equal layers against {layers[0]}: {row['ratio']:.3f} "
            f"({row['ratio_low']:.3f} to {row['ratio_high']:.3f}), {row['verdict']}; "
            f"median over fastest {row['spread']:.2f}, load {row['load']:.1f} on {row['cores']} cores"
        )
    print(f"Intervals that hold {layers[1] / layers[0]:.2f}: {held} of {trials}.")


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
    execution = Execution(device=options.device)
    network = scsc_lab.build(options.model)
    side = (options.resolution, options.resolution)
    one = Candidate(options.model, lambda: network, side)
    what = f"{options.model} against itself, {options.resolution}×{options.resolution}"
    trials(what, (one, replace(one, label="again")), options.trials, options.pairs, execution)
    for layers, what in (
        (2, "a network under a millisecond against itself"),
        (4, "two equal networks near a millisecond"),
    ):
        short = stack(layers, 64, 16)
        other = replace(short, label="again") if layers == 2 else stack(layers, 64, 16)
        trials(what, (short, other), options.trials, options.pairs, execution)
    known_ratio((40, 44), options.device, 10)
    known_ratio((8, 16), options.device)


if __name__ == "__main__":
    main()
