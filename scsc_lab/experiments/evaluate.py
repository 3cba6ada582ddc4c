"""Trained networks on test images: top-1 and top-5, or verification, each with its interval; two of them by McNemar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from scsc_lab.analysis import verification
from scsc_lab.analysis.paired_seeds import mcnemar_p, share_interval
from scsc_lab.architectures.network import Network
from scsc_lab.errors import InputError
from scsc_lab.execution.device import find
from scsc_lab.metrics.training import own_input
from scsc_lab.models import build
from scsc_lab.records import Row
from scsc_lab.training import heads, tasks
from scsc_lab.training.data import Data
from scsc_lab.training.draws import Purpose, generator
from scsc_lab.training.loop import outputs
from scsc_lab.training.plan import Training
from scsc_lab.training.run import prepared

Outputs = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Evaluated:
    """What networks do on the same test images.

    Attributes:
        rows: one a network.
        predictions: one row an image: its labels, and what each network says.
        curves: the false and true accept rates of each network, in verification.
        notes: of the data.
    """

    rows: tuple[Row, ...]
    predictions: tuple[Row, ...]
    curves: tuple[verification.Roc, ...] = ()
    notes: tuple[str, ...] = ()


def measure(
    networks: Sequence[Network],
    settings: Training,
    *,
    baseline: int = 0,
    far: float = 0.01,
    tell: Callable[[str], None] = lambda what: None,
) -> Evaluated:
    """Evaluate networks as they are on the test images of a data set.

    Args:
        networks: the networks, with their weights.
        settings: data, task and where to run; the recipe's batch size is the only thing of it that is used.
        baseline: which network the others are compared with, on the same images.
        far: false accept rate at which the true accept rate is told, in verification.
        tell: told what is being done.

    Raises:
        InputError: if a head's classes are not those of the data, or the impostor pairs cannot resolve the rate.
    """
    torch.set_num_threads(settings.threads)
    device = find(settings.device)
    ready = []  # all of them before the first is judged: what does not fit is said at once
    for network in networks:
        batches = prepared(settings.plan, own_input(network), settings.seeds[0])
        model = build.build(network, settings.seeds[0])
        data, goal = batches.data, tasks.goal(settings.plan.task, batches.data, settings.plan.recipe, settings.seeds[0])
        if goal.outputs:
            _check_head(model, network, data, batches.preparation.size, len(batches.preparation.mean))
        ready.append((model, batches))
    found: list[Outputs] = []
    for network, (model, batches) in zip(networks, ready, strict=True):
        tell(f"evaluating {network}")
        found.append(outputs(model.to(device), batches, device))
    if data.open_set:
        return _verified(networks, data, found, settings.seeds[0], far)
    return _classified(networks, data, found, baseline)


def _check_head(model: torch.nn.Module, network: Network, data: Data, size: tuple[int, int], channels: int) -> None:
    shape = heads.shape(model, size, channels)
    if shape == (data.outputs,):
        return
    classes = [name for task in data.tasks for name in task.classes]
    given = shape[0] if len(shape) == 1 else "×".join(map(str, shape))
    more = (
        f"no output for {', '.join(classes[shape[0] :][:3])}"
        if len(shape) == 1 and shape[0] < len(classes)
        else f"the data knows {', '.join(classes[:3])} …"
    )
    raise InputError(f"{network} has {given} outputs, {data.name} {len(classes)} classes: {more}")


def _classified(networks: Sequence[Network], data: Data, found: Sequence[Outputs], baseline: int) -> Evaluated:
    labels = data.test.labels
    right = [tasks.correct(own, data).all(axis=1) for own in found]
    rows: list[Row] = []
    for network, own, ours in zip(networks, found, right, strict=True):
        row: Row = {"model": str(network), "data": data.name, "test_images": len(labels)}
        for top in (1, 5):
            if top > 1 and min(len(task.classes) for task in data.tasks) <= top:
                continue
            number = int(tasks.correct(own, data, top).all(axis=1).sum())
            row[f"top{top}"] = 100 * number / len(labels)
            row[f"top{top}_low"], row[f"top{top}_high"] = share_interval(number, len(labels))
        for index, task in enumerate(data.tasks):
            if task.name:
                row[f"{task.name}_accuracy"] = 100 * float(tasks.correct(own, data)[:, index].mean())
        reference = right[baseline]
        if ours is not reference:
            row["baseline"] = str(networks[baseline])
            row["only_baseline_right"] = int((reference & ~ours).sum())
            row["only_this_right"] = int((ours & ~reference).sum())
            row["mcnemar_p"] = mcnemar_p(reference, ours)
        rows.append(row)
    predictions = []
    for image, own_labels in enumerate(labels):
        line: Row = {"image": _named(data.test, image)}
        start = 0
        for index, task in enumerate(data.tasks):
            prefix = f"{task.name} " if task.name else ""
            line[f"{prefix}label"] = task.classes[own_labels[index]]
            for network, own in zip(networks, found, strict=True):
                best = int(own[image, start : start + len(task.classes)].argmax())
                line[f"{prefix}{network}"] = task.classes[best]
            start += len(task.classes)
        predictions.append(line)
    return Evaluated(tuple(rows), tuple(predictions), notes=data.notes)


def _verified(networks: Sequence[Network], data: Data, found: Sequence[Outputs], seed: int, far: float) -> Evaluated:
    identities = data.test.labels[:, 0]
    pairs = verification.draw_pairs(identities, generator(seed, Purpose.PAIRS))
    rows: list[Row] = []
    scores = [verification.scores(own, pairs) for own in found]
    curves = [verification.roc(own, pairs.same) for own in scores]
    for network, own, curve in zip(networks, scores, curves, strict=True):
        low, high = verification.interval(own, pairs, identities, seed=seed)
        rows.append(
            {
                "model": str(network),
                "data": data.name,
                "test_images": len(identities),
                "pairs": len(pairs.same),
                "accuracy": verification.accuracy(own, pairs),
                "accuracy_low": low,
                "accuracy_high": high,
                "equal_error_rate": curve.equal_error_rate,
                "far": far,
                "tar_at_far": curve.tar_at(far),
            }
        )
    predictions = [
        {
            "first": int(pairs.first[i]),
            "second": int(pairs.second[i]),
            "same": bool(pairs.same[i]),
            "fold": int(pairs.fold[i]),
            **{str(network): float(own[i]) for network, own in zip(networks, scores, strict=True)},
        }
        for i in range(len(pairs.same))
    ]
    return Evaluated(tuple(rows), tuple(predictions), tuple(curves), data.notes)


def _named(split: Any, index: int) -> str:
    """Return what an image is called: its file, where it has one."""
    paths = getattr(split, "paths", None)
    return str(paths[index]) if paths else str(index)
