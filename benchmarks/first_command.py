"""How long the README's first command takes, in forward passes of Swin-T on one thread that are timed beside it.

    python benchmarks/first_command.py              # three rounds
    python benchmarks/first_command.py --rounds 1

A round times some passes, runs `scsc-lab compare swin_tiny scsc_swin_tiny` as a process, and times passes again; then
come the parts of the command alone: counts, latency, receptive fields. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

import torch

from scsc_lab.models import build
from scsc_lab.networks.network import Network

PASSES = 10
NETWORKS = ("swin_tiny", "scsc_swin_tiny")
PARTS = {
    "the whole command": (),
    "counts": ("--with", "params,macs,activations,bytes"),
    "latency": ("--with", "latency"),
    "receptive fields": ("--with", "erf"),
}


def main() -> None:
    """Print one row for the command and for each of its parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network, image = build.build(Network.read("swin_tiny")).eval(), torch.randn(1, 3, 224, 224)
    print("| `scsc-lab compare swin_tiny scsc_swin_tiny` | seconds | processor's seconds | passes of Swin-T |")
    print("|:--|--:|--:|--:|")
    for part, words in PARTS.items():
        taken = [_round(network, image, words) for _ in range(options.rounds)]
        seconds, cpu, passes = (statistics.median(values) for values in zip(*taken, strict=True))
        print(f"| {part} | {seconds:.1f} | {cpu:.1f} | {passes:.0f} |", flush=True)


def _round(network: torch.nn.Module, image: torch.Tensor, words: tuple[str, ...]) -> tuple[float, float, float]:
    """Return a command's seconds, its processor's seconds, and how many passes around it took as long."""
    passes = _passes(network, image)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "scsc_lab", "compare", *NETWORKS, *words], check=True, capture_output=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, seconds / statistics.median(passes + _passes(network, image))


@torch.inference_mode()
def _passes(network: torch.nn.Module, image: torch.Tensor) -> list[float]:
    """Return the seconds of some forward passes."""
    seconds = []
    for _ in range(PASSES):
        start = time.perf_counter()
        network(image)
        seconds.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
