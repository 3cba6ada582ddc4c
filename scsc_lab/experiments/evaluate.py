"""Trained networks on test images: top-1 and top-5, or verification, each with its interval; two of them by McNemar."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from scsc_lab.analysis import verification
from scsc_lab.analysis.paired_seeds import mcnemar_p, share_interval
from scsc_lab.errors import InputError
from scsc_lab.execution.device import find
from scsc_lab.metrics.training import own_input
from scsc_lab.models import build, checkpoints
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.training import heads, tasks
from scsc_lab.training.batches import Batches
from scsc_lab.training.data import Data, trained_on
from scsc_lab.training.data.encoded import Encoded
from scsc_lab.training.data.trained_on import TrainedOn
from scsc_lab.training.draws import Purpose, generator
from scsc_lab.training.loop import outputs
from scsc_lab.training.plan import Plan, Runs
from scsc_lab.training.run import first, prepared

Outputs = npt.NDArray[np.float32]

NOT_FINITE = "not finite"
"""What predictions hold in place of a class or a score."""


@dataclass(frozen=True)
class Evaluated:
    """Results of networks on the same test images.

    Attributes:
        rows: one per network; accuracies are None where ``not_finite`` counts images whose outputs are not finite.
        predictions: one row per image, with its labels and each network's predictions; in verification one per pair.
        curves: the false and true accept rates of each network, in verification; None if an output is not finite.
        notes: what a reader must know about data and outputs.
    """

    rows: tuple[Row, ...]
    predictions: tuple[Row, ...]
    curves: tuple[verification.Roc | None, ...] = ()
    notes: tuple[str, ...] = ()


def measure(
    networks: Sequence[Network],
    settings: Runs,
    *,
    baseline: int = 0,
    far: float = 0.01,
    batch: int = 64,
    tell: Callable[[str], None] = lambda what: None,
) -> Evaluated:
    """Evaluate networks as they are on the test images of a data set.

    Data that the seed divides is divided as in the training of the networks. A head of another size is replaced if the
    weights' file has one of the data's size, as those that ``train`` writes.

    Args:
        networks: the networks, with their weights.
        settings: data, task and where to run; nothing else of its recipe is used.
        baseline: which network the others are compared with, on the same images.
        far: false accept rate at which the true accept rate is reported, in verification.
        batch: images of a forward pass.
        tell: called with a description of each step.

    Raises:
        InputError: if a network was trained on the images that it would be evaluated on, or nothing says that it was
            not; if a head's classes are not those of the data; or if the impostor pairs cannot resolve the rate.
    """
    torch.set_num_threads(settings.threads)
    device, plan = find(settings.device), settings.plan
    records = {network: trained_on.read(Path(network.weights)) for network in networks if network.weights}
    seed = _seed_of_split(records, plan) if plan.split and records else settings.seeds[0]
    data: Data | None = None
    ready = []  # all of them before the first is evaluated: a mistake is reported at once
    for network in networks:
        batches = replace(prepared(plan, own_input(network), seed, data=data), test_size=batch)
        data, preparation = batches.data, batches.preparation
        if network in records:
            _check_record(network, records[network], data)
        goal = tasks.goal(plan.task, data, plan.recipe, settings.seeds[0])
        model = _built(network, batches, goal, settings.seeds[0])
        try:
            shape = heads.shape(model, preparation.size, len(preparation.mean))
        except InputError as error:
            raise InputError(f"{network}: {error}") from None
        if goal.outputs and shape != (data.outputs,):
            raise InputError(_mismatch(network, data, shape))
        ready.append((model, batches))
    assert data is not None
    results: list[Outputs] = []
    for network, (model, batches) in zip(networks, ready, strict=True):
        tell(f"evaluating {network}")
        results.append(outputs(model.to(device), batches, device))
    if data.open_set:
        return _verified(networks, data, results, settings.seeds[0], far)
    return _classified(networks, data, results, baseline)


def _seed_of_split(records: Mapping[Network, TrainedOn | None], plan: Plan) -> int:
    """Return the seed that divided the images when the networks were trained.

    Raises:
        InputError: if nothing says how they were divided, or if they were divided in another way or in several.
    """
    seeds: dict[int, Network] = {}
    for network, record in records.items():
        if record is None:
            raise InputError(
                f"--split: {network.weights} does not say which images {network} was trained on: evaluate weights of "
                "`scsc-lab train --write-weights`, or other images in folders train and val"
            )
        if record.split != plan.split:
            how = f"with --split {record.split:g}" if record.split else "on data with splits of its own"
            raise InputError(f"--split {plan.split:g}: {network} was trained {how}")
        seeds.setdefault(record.seed, network)
    if len(seeds) > 1:
        each = ", ".join(f"{network} with seed {seed}" for seed, network in seeds.items())
        raise InputError(f"--split: the networks were trained on different images ({each}): evaluate them one by one")
    return next(iter(seeds))


def _check_record(network: Network, record: TrainedOn | None, data: Data) -> None:
    """Raise InputError if a network was trained for other classes, or on divided images that are not these."""
    if record is not None and data.divided and record.divided != data.divided:
        raise InputError(
            f"--split: {network} was trained on {record.data}, whose images are not those of {data.name} now: "
            "nothing says which of these it was not trained on"
        )
    classes = tuple(task.classes for task in data.tasks)
    if record is not None and not data.open_set and record.classes != classes:
        ours, theirs = (_listed([name for names in part for name in names]) for part in (record.classes, classes))
        raise InputError(f"{network} was trained for {ours}; the classes of {data.name} are {theirs}")


def _built(network: Network, batches: Batches, goal: tasks.Goal, seed: int) -> nn.Module:
    """Return a network with its weights, in evaluation mode; see :func:`measure` for its head."""
    try:
        return build.build(network, seed)
    except InputError:
        if not (network.weights and goal.outputs):
            raise
    bare = replace(network, weights="")
    model, _ = first(lambda: build.build(bare), batches, goal, seed)
    checkpoints.load(model, Path(network.weights), resize=network.resize_weights)
    return model.eval()


def _mismatch(network: Network, data: Data, shape: tuple[int, ...]) -> str:
    classes = [name for task in data.tasks for name in task.classes]
    lacking = classes[shape[0] :] if len(shape) == 1 else []
    reason = f"no output for {', '.join(lacking[:3])}" if lacking else f"the data knows {_listed(classes)}"
    return f"{network} has {'×'.join(map(str, shape)) or 'no'} outputs, {data.name} {len(classes)} classes: {reason}"


def _listed(classes: Sequence[str]) -> str:
    return f"{', '.join(classes[:3])}{' …' if len(classes) > 3 else ''}"


def _classified(networks: Sequence[Network], data: Data, results: Sequence[Outputs], baseline: int) -> Evaluated:
    images = len(data.test.labels)
    right = [tasks.correct(result, data).all(axis=1) for result in results]
    failed = [tasks.not_finite(result) for result in results]
    rows: list[Row] = []
    for position, network in enumerate(networks):
        row: Row = {"model": str(network), "data": data.name, "test_images": images, "not_finite": failed[position]}
        row |= _shares(results[position], data)
        if position != baseline:
            comparable = not (failed[position] or failed[baseline])
            ours, reference = right[position], right[baseline]
            row["baseline"] = str(networks[baseline])
            row["only_baseline_right"] = int((reference & ~ours).sum()) if comparable else None
            row["only_this_right"] = int((ours & ~reference).sum()) if comparable else None
            row["mcnemar_p"] = mcnemar_p(reference, ours) if comparable else None
        rows.append(row)
    notes = (*data.notes, *_notes_on_failures(networks, failed, images))
    return Evaluated(tuple(rows), tuple(_predictions(networks, data, results)), notes=notes)


def _shares(result: Outputs, data: Data) -> Row:
    """Return the accuracies of one network, in percent, with their intervals; None if an output is not finite."""
    row: Row = {}
    images = len(result)
    for top in (1, 5):
        if top > 1 and min(len(task.classes) for task in data.tasks) <= top:
            continue
        number = int(tasks.correct(result, data, top).all(axis=1).sum())
        row[f"top{top}"] = 100 * number / images
        row[f"top{top}_low"], row[f"top{top}_high"] = share_interval(number, images)
    for index, task in enumerate(data.tasks):
        if task.name:
            row[f"{task.name}_accuracy"] = 100 * float(tasks.correct(result, data)[:, index].mean())
    return dict.fromkeys(row) if tasks.not_finite(result) else row


def _predictions(networks: Sequence[Network], data: Data, results: Sequence[Outputs]) -> list[Row]:
    """Return one row per image: its name, and per task its label and the class that each network predicts."""
    rows = []
    for image, labels in enumerate(data.test.labels):
        row: Row = {"image": data.test.name(image) if isinstance(data.test, Encoded) else str(image)}
        start = 0
        for label, task in zip(labels, data.tasks, strict=True):
            prefix = f"{task.name} " if task.name else ""
            row[f"{prefix}label"] = task.classes[label]
            for network, result in zip(networks, results, strict=True):
                best = int(result[image, start : start + len(task.classes)].argmax())
                row[f"{prefix}{network}"] = task.classes[best] if np.isfinite(result[image]).all() else NOT_FINITE
            start += len(task.classes)
        rows.append(row)
    return rows


def _notes_on_failures(networks: Sequence[Network], failed: Sequence[int], images: int) -> list[str]:
    return [
        f"NO ACCURACY for {network}: its outputs for {number} of {images} images are not finite"
        for network, number in zip(networks, failed, strict=True)
        if number
    ]


def _verified(networks: Sequence[Network], data: Data, results: Sequence[Outputs], seed: int, far: float) -> Evaluated:
    identities = data.test.labels[:, 0]
    pairs = verification.draw_pairs(identities, generator(seed, Purpose.PAIRS))
    failed = [tasks.not_finite(result) for result in results]
    scores = [None if bad else verification.scores(result, pairs) for result, bad in zip(results, failed, strict=True)]
    curves = [None if values is None else verification.roc(values, pairs.same) for values in scores]
    rows: list[Row] = []
    for network, values, curve, bad in zip(networks, scores, curves, failed, strict=True):
        row: Row = {"model": str(network), "data": data.name, "test_images": len(identities), "not_finite": bad}
        row |= {"pairs": len(pairs.same), "far": far}
        row |= dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "equal_error_rate", "tar_at_far"))
        if values is not None and curve is not None:
            row["accuracy"] = verification.accuracy(values, pairs)
            row["accuracy_low"], row["accuracy_high"] = verification.interval(values, pairs, identities)
            row["equal_error_rate"], row["tar_at_far"] = curve.equal_error_rate, curve.tar_at(far)
        rows.append(row)
    predictions = [
        {
            "first": int(pairs.first[pair]),
            "second": int(pairs.second[pair]),
            "same": bool(pairs.same[pair]),
            "fold": int(pairs.fold[pair]),
            **{
                str(network): NOT_FINITE if values is None else float(values[pair])
                for network, values in zip(networks, scores, strict=True)
            },
        }
        for pair in range(len(pairs.same))
    ]
    notes = (*data.notes, *_notes_on_failures(networks, failed, len(identities)))
    return Evaluated(tuple(rows), tuple(predictions), tuple(curves), notes)
