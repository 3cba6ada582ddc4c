"""One training run: a network trained and judged with one seed. It has no column: accuracy is made of runs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scsc_lab.errors import InputError, imported, located
from scsc_lab.metrics import Metric, Progress
from scsc_lab.networks.network import Network
from scsc_lab.provenance import versions
from scsc_lab.records import Row, file_name
from scsc_lab.settings import Settings
from scsc_lab.training.plan import SEEDS, Input, Plan, Runs, plan

if TYPE_CHECKING:
    from torch import nn

    from scsc_lab.training.data import Data
    from scsc_lab.training.loop import Report

_TOLD_EVERY = 10


def configure(settings: Settings) -> Runs:
    """Return the runs of a network that settings ask for, one per seed from ``seed`` up."""
    execution = settings.execution
    seeds = tuple(range(execution.seed, execution.seed + (settings.training.seeds or SEEDS)))
    return Runs(plan(settings.training), seeds, execution.device, execution.threads)


def measure(networks: Sequence[Network], settings: Runs, progress: Progress) -> list[Row]:
    """Return one row per network: its run with the first seed."""
    from scsc_lab.execution.passes import using_threads

    with using_threads(settings.threads):
        return [run(network, settings, settings.seeds[0], progress) for network in networks]


def run(network: Network, settings: Runs, seed: int, progress: Progress) -> Row:
    """Return the row of one run: see :func:`scsc_lab.training.run.run`, with ``train_macs`` and ``versions``.

    ``train_macs`` are those of all steps: three times the forward pass's, since the gradients of inputs and of weights
    cost as much again each, less the first layer's, whose input needs no gradient.

    Raises:
        InputError: if network, data and recipe do not go together.
    """
    from scsc_lab.counting.count import count
    from scsc_lab.execution.hardware import find, is_exhausted
    from scsc_lab.models import build
    from scsc_lab.training import batches
    from scsc_lab.training import run as training

    device = find(settings.device)
    report = _report(network, seed, progress)
    name = weights_name(network, settings, seed) if settings.weights else ""  # of the network as it is now
    place = training.Place(
        str(device),
        settings.workers,
        _checkpoint(network, settings, settings.identity()),
        _checkpoint(network, settings, settings.chain()),
        batches.shard(),
        report,
    )
    progress(f"{network}, seed {seed}")
    try:
        trained, module, row = training.run(
            lambda: build.build(network), own_input(network), settings.plan, seed, place
        )
    except InputError as error:
        raise InputError(f"{network}: {error}") from None
    except (Exception, SystemExit) as error:  # whatever the network's own code raises
        if is_exhausted(error):
            raise
        raise InputError(f"{network} fails in training: {located(error)}") from error
    counted = count(module.cpu(), (1, *row.pop("input")))
    first = next((cell.macs for cell in counted.cells if cell.macs), 0)
    images = len(trained.curve) * (row["train_images"] // row["batch_size"]) * row["batch_size"]
    record = row.pop("trained_on")
    if settings.weights and trained.status == "complete":
        row["weights_file"] = name
        save(module, Path(settings.weights) / name, record)
    return {**row, "train_macs": images * (3 * counted.macs - first), "device": str(device), "versions": versions()}


def check(experiments: Sequence[tuple[Sequence[Network], Runs]]) -> None:
    """Raise InputError if networks, data and recipe of some runs do not go together; data is read once a plan."""
    from scsc_lab.models import build
    from scsc_lab.training import run as training
    from scsc_lab.training.tasks import goal

    plans: dict[Plan, dict[Network, int]] = {}
    for networks, settings in experiments:
        for network in networks:
            plans.setdefault(settings.plan, {}).setdefault(network, settings.seeds[0])
    for shared, seeds in plans.items():
        data: Data | None = None
        for network, seed in seeds.items():
            try:
                batches = training.prepared(shared, own_input(network), seed, data=data)
                batches.check()
                data = batches.data
                make = functools.partial(build.build, network)
                training.first(make, batches, goal(shared.task, data, shared.recipe, seed).outputs, seed)
            except InputError as error:
                raise InputError(f"{network}: {error}") from None


def weights_name(network: Network, settings: Runs, seed: int) -> str:
    """Return the name of the file that a run's weights are written to: that of another recipe has another."""
    digest = "" if not network.is_named else f"-{_digest(network, settings.identity(), seed)[:8]}"
    return f"{file_name(str(network))}-{file_name(settings.plan.data)}-{seed}{digest}{settings.suffix}"


def weights_file(network: Network, settings: Runs, seed: int) -> Path | None:
    """Return the file of a run's weights, or None if it is not there."""
    path = Path(settings.weights) / weights_name(network, settings, seed)
    return path if path.is_file() else None


def checkpoint_to(settings: Runs, folder: str) -> Runs:
    """Return the settings with a folder for the checkpoints that runs resume from."""
    return dataclasses.replace(settings, checkpoints=folder)


def clean_up(networks: Sequence[Network], settings: Runs) -> None:
    """Remove the checkpoints of runs, and their folder with the last of them."""
    for network in networks:
        shared = settings.chain() if settings.plan.recipe.epochs == settings.last_budget else None
        for identity in (settings.identity(), shared):
            path = _checkpoint(network, settings, identity)
            if path is not None:
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # it does not exist, or holds files of other runs
                    path.parent.rmdir()


def is_incomplete(row: Row, settings: Runs) -> bool:
    """Return whether weights are wanted that are not in their folder; a run that diverged has none."""
    if not settings.weights or row.get("status") != "complete":
        return False
    return not (Path(settings.weights) / str(row.get("weights_file", ""))).is_file()


def own_input(network: Network) -> Input:
    """Return what a network says of its input and first weights, and the crop and filter of timm and torchvision."""
    from scsc_lab.models import build, in_hand

    facts = build.facts(network)
    config = getattr(build.empty(network), "pretrained_cfg", None) or {}
    share, resampling = config.get("crop_pct"), config.get("interpolation")
    if not config and network.entry is None and network.module is None:
        share, resampling = build.origin(network).crop or (None, None)
    return Input(
        facts.resolution,
        facts.mean,
        facts.std,
        float(share or Input.crop_share),
        str(resampling or Input.interpolation),
        facts.channels,
        in_hand.whose_weights(network) == "random",
        config.get("crop_mode") == "squash",
    )


def save(module: nn.Module, path: Path, trained_on: str) -> None:
    """Write a network's weights, whole or not at all, to ``.safetensors`` or ``.pth``, as ``--weights`` takes them.

    Args:
        module: the network.
        path: the file.
        trained_on: the record of :mod:`scsc_lab.training.data.trained_on` that goes with the weights.
    """
    import io

    import torch

    from scsc_lab import files
    from scsc_lab.training.data import trained_on as records

    state = {key: value.contiguous() for key, value in module.state_dict().items()}
    if path.suffix == ".safetensors":
        hint = "writing .safetensors needs safetensors: pip install 'scsc-lab[safetensors]'"
        files.write(path, imported("safetensors.torch", hint).save(state, {records.KEY: trained_on}))
        return
    files.write(records.record_path(path), trained_on)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    files.write(path, buffer.getvalue())


def _checkpoint(network: Network, settings: Runs, identity: dict[str, Any] | None) -> Path | None:
    if not settings.checkpoints or not network.is_named or identity is None:
        return None
    return Path(settings.checkpoints) / f"{_digest(network, identity, settings.seeds[0])}.pth"


def _digest(network: Network, identity: dict[str, Any], seed: int) -> str:
    """Return what tells a run, or the epochs that several runs share, apart from all others."""
    identity = {**identity, "seeds": seed, "network": network.identity()}
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _report(network: Network, seed: int, progress: Progress) -> Report:
    def report(step: int, steps: int, loss: float, rate: float, waiting: float) -> None:
        if step % _TOLD_EVERY == 0 or step == steps:
            description = f"loss {loss:.3f}, {rate:.0f} images/s, waiting {waiting:.0%}: {network}, seed {seed}"
            progress(description, step / steps)

    return report


METRIC = Metric(
    name="training",
    columns=(),
    measure=measure,
    configure=configure,
    checkpoint_to=checkpoint_to,
    clean_up=clean_up,
    is_incomplete=is_incomplete,
    check=check,
)
