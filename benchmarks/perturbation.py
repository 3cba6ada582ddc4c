"""How far a perturbation of 1e-7 grows in one epoch of the probe's recipe: the largest change of the loss of a step.

    python benchmarks/perturbation.py                 # the probe's networks, 62 steps, the recipe's learning rate
    python benchmarks/perturbation.py --lr 3e-3 --seeds 1

Each network is trained twice from one seed on one CPU thread; before the second run, normal noise of deviation 1e-7 is
added to every weight. A recipe in which this changes the loss by percents measures rounding, not networks.
"""

from __future__ import annotations

import argparse
import contextlib
import math

import torch

from scsc_lab.metrics.training import own_input
from scsc_lab.models import build
from scsc_lab.networks.network import Network
from scsc_lab.settings import Training
from scsc_lab.training import run as training
from scsc_lab.training.loop import train
from scsc_lab.training.plan import plan
from scsc_lab.training.tasks import goal, shape

NETWORKS = {
    "swin_pico": "navon",
    "scsc_swin_pico": "navon",
    "resnet_pico": "navon",
    "scsc_resnet_pico": "navon",
    "faceresnet_pico": "faces",
    "scsc_faceresnet_pico": "faces",
}
"""The probe's networks, with their data."""


class EpochEndError(Exception):
    """Ends a run after its first epoch."""


def losses(network: Network, data: str, seed: int, lr: str, perturbation: float) -> list[float]:
    """Return the loss of every step of a run's first epoch, from weights with noise of a deviation."""
    shared = plan(Training(data=data, recipe_set=(("lr", lr),) if lr else ()))
    batches = training.prepared(shared, own_input(network), seed)
    objective = goal(shared.task, batches.data, shared.recipe, seed)
    module, _ = training.first(lambda: build.build(network), batches, objective.outputs, seed)
    training.start_from_shortcuts(module)
    length = objective.outputs or math.prod(shape(module, batches.preparation.size, batches.preparation.channels))
    loss = objective.objective(length)
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += perturbation * torch.randn(parameter.shape, generator=noise)
    values: list[float] = []

    def report(step: int, steps: int, value: float, rate: float, waiting: float) -> None:
        values.append(value)
        if step == batches.steps:
            raise EpochEndError

    with contextlib.suppress(EpochEndError):
        train(module, loss, batches, objective.judge, report=report)
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lr", default="", help="learning rate; the recipe's without it")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--perturbation", type=float, default=1e-7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| network | seed | steps | largest change of a step's loss (%) | of the last step's |\n|:--|--:|--:|--:|--:|"
    )
    for name, data in NETWORKS.items():
        for seed in range(options.seeds):
            plain, perturbed = (
                losses(Network.read(name), data, seed, options.lr, noise) for noise in (0.0, options.perturbation)
            )
            changes = [100 * abs(two - one) / one for one, two in zip(plain, perturbed, strict=True)]
            print(f"| {name} | {seed} | {len(changes)} | {max(changes):.2g} | {changes[-1]:.2g} |", flush=True)


if __name__ == "__main__":
    main()
