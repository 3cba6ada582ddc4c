"""Trained networks on test images: top-1 and top-5, or verification, each with its interval; two of them by McNemar."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from scsc_lab.analysis import verification
from scsc_lab.analysis.paired_seeds import mcnemar_p, share_interval
from scsc_lab.errors import InputError
from scsc_lab.execution.hardware import find
from scsc_lab.metrics import Progress
from scsc_lab.metrics.evaluation import NOT_FINITE, Evaluation, class_maps
from scsc_lab.metrics.evaluation.class_maps import listed
from scsc_lab.metrics.training import own_input
from scsc_lab.models import build, checkpoints
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.training import tasks
from scsc_lab.training.batches import Batches
from scsc_lab.training.data import Data, trained_on
from scsc_lab.training.data.encoded import Encoded
from scsc_lab.training.data.trained_on import TrainedOn
from scsc_lab.training.draws import Purpose, generator
from scsc_lab.training.loop import outputs
from scsc_lab.training.plan import Input, Plan
from scsc_lab.training.run import first, prepared

Outputs = npt.NDArray[np.float32]


def evaluate(networks: Sequence[Network], settings: Evaluation, progress: Progress) -> list[Row]:
    """Evaluate networks as they are on the test images of a data set; return one row per network.

    Data that the seed divides is divided as in the training of the networks. A head of another size is replaced if the
    weights' file has one of the data's size, as those that ``train`` writes.

    A row has accuracies in percent with their intervals, or None where ``not_finite`` counts images whose outputs are
    not finite; ``predictions`` by image or pair; and in verification the ``curve`` of accept rates.

    Args:
        networks: the networks, with their weights; the others are compared with the first on the same images.
        settings: how to evaluate.
        progress: called with the progress.

    Raises:
        InputError: if a network was trained on the images that it would be evaluated on, or nothing says that it was
            not; if a head's classes are not those of the data; or if the impostor pairs cannot resolve the rate.
    """
    runs = settings.runs
    device, plan, seed = find(runs.device), replace(runs.plan, evaluated=True), runs.seeds[0]
    records = {network: trained_on.read(Path(network.weights)) for network in networks if network.weights}
    split_seed = _seed_of_split(records, plan) if plan.split and records else seed
    data: Data | None = None
    mapped: Data | None = None
    class_map = None if settings.class_map is None else dict(settings.class_map)
    ready: list[tuple[nn.Module, Batches]] = []  # all before the first is evaluated: a mistake is reported at once
    for network in networks:
        batches = replace(prepared(plan, own_input(network), split_seed, data=data), test_size=settings.batch)
        data, preparation = batches.data, batches.preparation
        if network in records:
            _check_record(network, records[network], data, plan, class_map is None)
        tasks.check(plan.task, data)
        needed = None if data.open_set or class_map is not None else data.outputs
        model = _built(network, batches, needed, seed)
        try:
            shape = tasks.shape(model, preparation.size, preparation.channels)
        except InputError as error:
            raise InputError(f"{network}: {error}") from None
        if class_map is not None and mapped is None:
            mapped = class_maps.apply(data, class_map, math.prod(shape))
        if not data.open_set and shape != ((mapped or data).outputs,):
            raise InputError(_mismatch(network, mapped or data, shape))
        ready.append((_Mirrored(model) if settings.flip else model, batches))
    assert data is not None
    results: list[Outputs] = []
    for at, (network, (model, batches)) in enumerate(zip(networks, ready, strict=True)):
        progress(f"evaluating {network}", at / len(ready))
        results.append(outputs(model.to(device), batches, device))
    if data.open_set:
        identities = data.test.labels[:, 0]
        if settings.pairs:
            pairs = verification.read_pairs(settings.pairs, _numbered_images(data))
        else:
            pairs = verification.draw_pairs(identities, generator(seed, Purpose.PAIRS))
        rows = _verified(data, results, pairs, settings.far)
    else:
        data = mapped or data
        rows = [_classified(data, result, results[0] if at else None) for at, result in enumerate(results)]
    prepared_notes = _preparations(networks, [batches.preparation for _, batches in ready], data)
    shared = {"data": data.name, "test_images": len(data.test.labels), "notes": [*data.notes, *prepared_notes]}
    return [
        {**shared, "not_finite": tasks.not_finite(result), **row} for row, result in zip(rows, results, strict=True)
    ]


def _preparations(networks: Sequence[Network], inputs: Sequence[Input], data: Data) -> list[str]:
    """Return how images become inputs, one note for all networks that share one; none if they have the inputs' size."""
    notes: dict[str, list[str]] = {}
    for network, preparation in zip(networks, inputs, strict=True):
        if data.size != preparation.size:
            notes.setdefault(preparation.in_words(), []).append(str(network))
    if len(notes) == 1:
        return [f"{note[0].upper()}{note[1:]}." for note in notes]
    return [f"{', '.join(names)}: {note}." for note, names in notes.items()]


class _Mirrored(nn.Module):
    """A network whose embeddings are the sums of those of an image and of its mirror image."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        embeddings: Tensor = self.network(images).flatten(1) + self.network(images.flip(-1)).flatten(1)
        return embeddings


def _numbered_images(data: Data) -> dict[tuple[str, int], int]:
    """Return the index of each test image by its identity and number.

    The number is that of its name, or its place from 1 if a name of the identity has none. Images that share a number
    are left out.
    """
    if not isinstance(data.test, Encoded):
        raise InputError(f"--pairs names image files; {data.name} has none")
    images: dict[str, list[tuple[int, re.Match[str] | None]]] = {}
    for index, (label,) in enumerate(data.test.labels):
        match = re.search(r"_(\d+)\.\w+$", data.test.name(index))
        images.setdefault(data.tasks[0].classes[label], []).append((index, match))
    index_of: dict[tuple[str, int], int] = {}
    for identity, matches in images.items():
        numbers = [int(match[1]) for _, match in matches if match]
        numbers = numbers if len(numbers) == len(matches) else list(range(1, len(matches) + 1))
        for (index, _), number in zip(matches, numbers, strict=True):
            if numbers.count(number) == 1:
                index_of[identity, number] = index
    return index_of


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


def _check_record(network: Network, record: TrainedOn | None, data: Data, plan: Plan, same_classes: bool) -> None:
    """Raise InputError if a network was trained for other classes, on these images, or on a part of unknown ones."""
    is_whole = bool(data.divided) and not plan.split
    if (
        record is not None
        and record.split
        and is_whole
        and (record.data == data.name or record.divided == data.divided)
    ):
        raise InputError(
            f"{network} was trained on a part of {data.name}: --split {record.split:g} evaluates it on the others"
        )
    if record is not None and plan.split and record.divided != data.divided:
        raise InputError(
            f"--split: {network} was trained on {record.data}, whose images are not those of {data.name} now: "
            "the images that it was not trained on are unknown"
        )
    classes = tuple(task.classes for task in data.tasks)
    if record is not None and same_classes and not data.open_set and record.classes != classes:
        ours, theirs = (listed([name for names in part for name in names]) for part in (record.classes, classes))
        raise InputError(f"{network} was trained for {ours}; the classes of {data.name} are {theirs}")
    is_its_test = record is not None and record.data == data.name and not (record.split or data.divided)
    if record is None or is_its_test or plan.split:
        return
    if (again := record.among(data.test)) > len(record.sample) / 2:
        raise InputError(
            f"{network} was trained on images of {data.name} ({again} of {len(record.sample)} that were compared): "
            f"evaluate it on the test images of {record.data}, or on others"
        )


def _built(network: Network, batches: Batches, outputs: int | None, seed: int) -> nn.Module:
    """Return a network with its weights, in evaluation mode; see :func:`measure` for its head."""
    try:
        return build.build(network, seed)
    except InputError:
        if not (network.weights and outputs):
            raise
    bare = replace(network, weights="")
    model, _ = first(lambda: build.build(bare), batches, outputs, seed)
    checkpoints.load(model, Path(network.weights), resize=network.resize_weights)
    return model.eval()


def _mismatch(network: Network, data: Data, shape: tuple[int, ...]) -> str:
    classes = [name for task in data.tasks for name in task.classes]
    lacking = classes[shape[0] :] if len(shape) == 1 else []
    reason = f"no output for {', '.join(lacking[:3])}" if lacking else f"the data has {listed(classes)}"
    return f"{network} has {'×'.join(map(str, shape)) or 'no'} outputs, {data.name} {len(classes)} classes: {reason}"


def _classified(data: Data, result: Outputs, baseline: Outputs | None) -> Row:
    """Return the accuracies of one network, and McNemar's test against the baseline where it is not the baseline."""
    row = {**_shares(result, data), "predictions": _predictions(data, result)}
    if baseline is not None:
        ours, reference = (tasks.correct(each, data).all(axis=1) for each in (result, baseline))
        comparable = not (tasks.not_finite(result) or tasks.not_finite(baseline))
        row["only_baseline_right"] = int((reference & ~ours).sum()) if comparable else None
        row["only_this_right"] = int((ours & ~reference).sum()) if comparable else None
        row["mcnemar_p"] = mcnemar_p(reference, ours) if comparable else None
    return row


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


def _predictions(data: Data, result: Outputs) -> dict[str, list[str]]:
    """Return the name of each image, and per task its label and the class that the network predicts."""
    test = data.test
    columns = {"image": [test.name(at) if isinstance(test, Encoded) else str(at) for at in range(len(test.labels))]}
    finite: npt.NDArray[np.bool_] = np.all(np.isfinite(result), axis=1)
    start = 0
    for index, task in enumerate(data.tasks):
        prefix = f"{task.name} " if task.name else ""
        best = result[:, start : start + len(task.classes)].argmax(axis=1)
        columns[f"{prefix}label"] = [task.classes[label] for label in test.labels[:, index]]
        columns[f"{prefix}predicted"] = [
            task.classes[at] if sound else NOT_FINITE for at, sound in zip(best, finite, strict=True)
        ]
        start += len(task.classes)
    return columns


def _verified(data: Data, results: Sequence[Outputs], pairs: verification.Pairs, far: float) -> list[Row]:
    identities = data.test.labels[:, 0]
    columns = {"first": pairs.first, "second": pairs.second, "same": pairs.is_genuine, "fold": pairs.fold}
    shared = {key: values.tolist() for key, values in columns.items()}
    rows: list[Row] = []
    for result in results:
        row: Row = {"pairs": len(pairs.is_genuine), "folds": len(set(shared["fold"])), "far": far, "curve": None}
        row |= dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "equal_error_rate", "tar_at_far"))
        predicted: list[float | str] = [NOT_FINITE] * len(pairs.is_genuine)
        if not tasks.not_finite(result):
            scores = verification.scores(result, pairs)
            curve = verification.roc(scores, pairs.is_genuine)
            row["accuracy"] = verification.accuracy(scores, pairs)
            row["accuracy_low"], row["accuracy_high"] = verification.interval(scores, pairs, identities)
            row["equal_error_rate"], row["tar_at_far"] = curve.equal_error_rate, curve.tar_at(far)
            row["curve"] = {"far": curve.far.tolist(), "tar": curve.tar.tolist()}
            predicted = [float(score) for score in scores]
        rows.append({**row, "predictions": {**shared, "predicted": predicted}})
    return rows
