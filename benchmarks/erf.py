"""Effective receptive fields beside RepLKNet's way and `openerf`: images a second, and the same maps.

    python benchmarks/erf.py                        # resnet50 and swin_tiny at their own size, all four stages
    python benchmarks/erf.py --model resnet18 --resolution 64 --images 4 --rounds 1

RepLKNet's way: one image, one forward and one backward pass for each stage, as its script does it. Both sides take the
same unit of the same network on the same images; samples alternate. Nothing is asserted on time. With ``--threads 1``
seconds are the processor's, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from scsc_lab.models import build
from scsc_lab.models.stages import stage_maps
from scsc_lab.networks.network import Network
from scsc_lab.provenance import machine, versions
from scsc_lab.receptive_field.feature_maps import survey
from scsc_lab.receptive_field.gradients import Target, gradient_maps
from scsc_lab.receptive_field.images import synthetic


def one_by_one(model: nn.Module, images: np.ndarray, targets: Sequence[Target]) -> list[np.ndarray]:
    """Return the mean contributions of each stage: one image, one forward and one backward pass a stage."""
    means = []
    for target in targets:
        total = np.zeros(images.shape[2:])
        kept: dict[str, Any] = {}
        handle = model.get_submodule(target.layer).register_forward_hook(
            lambda module, args, output, kept=kept: kept.update(map=output)
        )
        for image in images:
            x = torch.from_numpy(image[None]).to(next(model.parameters()).dtype).requires_grad_(True)
            model(x)
            feature = target.layout.maps(kept["map"])
            unit = torch.relu(feature[:, :, feature.shape[2] // 2, feature.shape[3] // 2]).sum()
            grad = torch.autograd.grad(unit, x)[0]
            total += torch.relu(grad).sum((0, 1)).double().numpy()
        handle.remove()
        means.append(total / len(images))
    return means


def ours(model: nn.Module, images: np.ndarray, targets: Sequence[Target], batch: int | None) -> list[np.ndarray]:
    """Return the same, as this package takes them."""
    maps = gradient_maps(model, images, targets, contribution="relu", batch=batch)
    return [found[:, 0].mean(axis=0) for found in maps]


def difference(maps: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> float:
    """Return how far maps are apart at most, over their largest value."""
    return max(float(np.abs(a - b).max() / a.max()) for a, b in zip(maps, others, strict=True))


def open_erf(model: nn.Module, images: np.ndarray, targets: Sequence[Target]) -> Callable[[], Any] | str:
    """Return a call that runs `openerf` on every layer, one after another as it does, or why there is none."""
    try:
        import openerf
    except (ImportError, RuntimeError) as error:
        return f"cannot be imported: {str(error).splitlines()[0]}"
    folder = tempfile.mkdtemp()
    for index, image in enumerate(images):
        spread = 255 * (image - image.min()) / (image.max() - image.min())
        Image.fromarray(spread.astype(np.uint8).transpose(1, 2, 0)).save(f"{folder}/{index}.png")

    def run() -> None:
        for target in targets:
            openerf.compute_erf(model, image_dir=folder, target_layer=target.layer, device="cpu", show_progress=False)

    try:
        run()
    except Exception as error:  # whatever the peer raises on a network it was not made for
        return f"fails on this network: {type(error).__name__}: {str(error).splitlines()[0]}"
    return run


def alternate(calls: Sequence[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """Return the seconds of each call; they take turns, and every round starts with another."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: list[list[float]] = [[] for _ in calls]
    for round_ in range(rounds):
        for offset in range(len(calls)):
            index = (round_ + offset) % len(calls)
            start = clock()
            calls[index]()
            seconds[index].append(clock() - start)
    return seconds


def compare(name: str, resolution: int | None, count: int, rounds: int, batch: int | None) -> None:
    network = Network.read(name)
    known = build.facts(network)
    torch.manual_seed(0)
    model = build.build(network)
    size = (resolution, resolution) if resolution else known.resolution
    images = synthetic(count, size, known.mean, known.std, 0).pixels
    stages = stage_maps(model)
    seen = survey(model, list(stages.values()), (3, *size), None, torch.device("cpu"))
    targets = []
    for one in seen:
        middle = [side // 2 for side in one.layout.size]
        targets.append(Target(one.layer, one.layout, np.tile(np.array(middle), (count, 1, 1)), rectified=True))
    rough = difference(one_by_one(model, images, targets), ours(model, images, targets, batch))
    model.double()
    exact = difference(one_by_one(model, images, targets), ours(model, images, targets, batch))
    model.float()
    theirs, own = alternate(
        [lambda: one_by_one(model, images, targets), lambda: ours(model, images, targets, batch)], rounds
    )
    ratios = sorted(a / b for a, b in zip(theirs, own, strict=True))
    print(f"{network} at {size[0]}×{size[1]}, {count} images, {len(targets)} stages")
    print(f"  maps differ by {exact:.1e} of their largest value at most in float64, by {rough:.1e} in float32,")
    print("  where rounding in another order moves activations across the kink of a ReLU")
    print(f"  RepLKNet's way {count / statistics.median(theirs):8.2f} images a second (median of {rounds})")
    print(f"  scsc-lab       {count / statistics.median(own):8.2f} images a second")
    print(f"  ratio          {statistics.median(ratios):8.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f})")
    other = open_erf(model, images, targets)
    if isinstance(other, str):
        print(f"  openerf {other}")
        return
    theirs, own = alternate([other, lambda: ours(model, images, targets, batch)], rounds)
    ratios = sorted(a / b for a, b in zip(theirs, own, strict=True))
    print(f"  openerf        {count / statistics.median(theirs):8.2f} images a second, reading its images from files")
    print(f"  ratio          {statistics.median(ratios):8.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append")
    parser.add_argument("--resolution", type=int)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(f"torch {versions()['torch']}, {torch.get_num_threads()} threads, {machine()['processor']}")
    for name in arguments.model or ["resnet50", "swin_tiny"]:
        compare(name, arguments.resolution, arguments.images, arguments.rounds, arguments.batch)


if __name__ == "__main__":
    main()
