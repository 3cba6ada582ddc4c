"""Tasks of a network, classification of images or verification of identities: losses, heads and accuracies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scsc_lab.analysis import verification
from scsc_lab.errors import InputError, first_line
from scsc_lab.training.data import Data
from scsc_lab.training.draws import Purpose, generator
from scsc_lab.training.recipes import Recipe


def as_tensor(output: object) -> Tensor:
    """Return a network's output if it is one tensor.

    Raises:
        InputError: if it is anything else: several heads, for example, that some networks have only in training.
    """
    if not isinstance(output, Tensor):
        raise InputError(f"the network returns a {type(output).__name__}, not one tensor of outputs")
    return output


class SummedCrossEntropy(nn.Module):
    """The sum of the tasks' cross-entropies.

    Args:
        classes: number of classes of each task; the outputs stand in this order.
        label_smoothing: share of each target that goes to all classes alike.
    """

    def __init__(self, classes: Sequence[int], label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.label_smoothing = label_smoothing

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss over the images, from ``(N, Σ classes)`` outputs and ``(N, tasks)`` labels."""
        parts = as_tensor(outputs).float().split(self.classes, dim=1)
        losses = [
            F.cross_entropy(part, labels[:, task], label_smoothing=self.label_smoothing)
            for task, part in enumerate(parts)
        ]
        return torch.stack(losses).sum()


class MarginLoss(nn.Module):
    """ArcFace (arXiv 1801.07698) or CosFace (arXiv 1801.09414) on embeddings, computed in float32.

    The cosine between an embedding and its identity's weight is made worse by a margin before the softmax:
    ``cos(θ + margin)`` for ArcFace, ``cos θ − margin`` for CosFace. Where ``θ + margin`` passes π, ArcFace continues
    linearly (as its released code does), so that the loss stays monotonic.

    Args:
        length: length of an embedding.
        identities: number of identities.
        kind: ``arcface`` or ``cosface``.
        margin: in radians for ArcFace (the papers: 0.5 and 0.35).
        scale: what the cosines are multiplied with (the papers: 64).
    """

    def __init__(
        self,
        length: int,
        identities: int,
        kind: Literal["arcface", "cosface"] = "arcface",
        margin: float = 0.5,
        scale: float = 64.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(identities, length))
        nn.init.xavier_uniform_(self.weight)
        self.kind = kind
        self.margin = margin
        self.scale = scale

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss from ``(N, …)`` embeddings, which are flattened, and ``(N, 1)`` identities."""
        identities = labels[:, :1]
        embeddings = as_tensor(embeddings).flatten(1)
        with torch.autocast(embeddings.device.type, enabled=False):
            cosines = F.normalize(embeddings.float()) @ F.normalize(self.weight.float()).t()
            targets = self._with_margin(cosines.gather(1, identities).clamp(-1 + 1e-7, 1 - 1e-7))
            return F.cross_entropy(self.scale * cosines.scatter(1, identities, targets), identities[:, 0])

    def _with_margin(self, cosine: Tensor) -> Tensor:
        if self.kind == "cosface":
            return cosine - self.margin
        angle = torch.acos(cosine)
        past = angle + self.margin > torch.pi
        beyond = cosine - self.margin * torch.sin(torch.tensor(self.margin, device=cosine.device))
        return torch.where(past, beyond, torch.cos(angle + self.margin))


Outputs = npt.NDArray[np.float32]
Accuracies = dict[str, float | None]


@dataclass(frozen=True)
class Goal:
    """A task made ready for a data set.

    Attributes:
        objective: the loss.
        judge: returns accuracies in percent by name, from the outputs for all test images; ``accuracy`` is the first.
            They are None if an output is not finite.
        outputs: outputs that a network needs; none: whatever embedding it has.
        chance: accuracy of a guess, in percent: of one of all classes, right in every task, or of one of two answers.
    """

    objective: Callable[[int], nn.Module]
    judge: Callable[[Outputs], Accuracies]
    outputs: int | None
    chance: float


def goal(task: str, data: Data, recipe: Recipe, seed: int) -> Goal:
    """Return a task made ready: ``classification`` or ``verification``.

    Raises:
        InputError: if the data is not for the task.
    """
    check(task, data)
    return (verification_of_pairs if data.open_set else classification)(data, recipe, seed)


def check(task: str, data: Data) -> None:
    """Raise InputError if data is not for a task."""
    if (task == "verification") != data.open_set:
        right_task = "verification" if data.open_set else "classification"
        raise InputError(f"--task {task}: {data.name} is data for {right_task}")


def classification(data: Data, recipe: Recipe, seed: int) -> Goal:
    """Return summed cross-entropy; top-1 of each task, and ``accuracy``: all tasks right on an image."""
    del seed
    classes = [len(task.classes) for task in data.tasks]

    def judge(outputs: Outputs) -> Accuracies:
        right = correct(outputs, data)
        accuracies: Accuracies = {"accuracy": 100 * float(right.all(axis=1).mean())}
        for index, task in enumerate(data.tasks):
            if task.name:
                accuracies[f"{task.name}_accuracy"] = 100 * float(right[:, index].mean())
        return dict.fromkeys(accuracies) if not_finite(outputs) else accuracies

    return Goal(
        lambda outputs: SummedCrossEntropy(classes, recipe.label_smoothing),
        judge,
        sum(classes),
        100 / math.prod(classes),
    )


def verification_of_pairs(data: Data, recipe: Recipe, seed: int) -> Goal:
    """Return a margin loss over the training identities; ten-fold accuracy and equal error rate on drawn pairs."""
    del recipe
    identities = data.test.labels[:, 0]
    pairs = verification.draw_pairs(identities, generator(seed, Purpose.PAIRS))
    count = len(data.tasks[0].classes)

    def judge(outputs: Outputs) -> Accuracies:
        if not_finite(outputs):
            return {"accuracy": None, "equal_error_rate": None}
        scores = verification.scores(outputs, pairs)
        return {
            "accuracy": verification.accuracy(scores, pairs),
            "equal_error_rate": verification.roc(scores, pairs.is_genuine).equal_error_rate,
        }

    return Goal(lambda length: MarginLoss(length, count, scale=32.0, margin=0.3), judge, None, 50.0)


def not_finite(outputs: Outputs) -> int:
    """Return the number of images whose outputs, ``(images, …)``, are not all finite."""
    return int((~np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1)).sum())


def correct(outputs: Outputs, data: Data, top: int = 1) -> npt.NDArray[np.bool_]:
    """Return whether each task's label is among the ``top`` highest outputs, ``(images, tasks)``.

    Of equal outputs that of the first class counts as the highest, as in ``argmax``.
    """
    right, start = [], 0
    for index, task in enumerate(data.tasks):
        part = outputs[:, start : start + len(task.classes)]
        labels = data.test.labels[:, index : index + 1]
        of_label = np.take_along_axis(part, labels, axis=1)
        before = (part > of_label) | ((part == of_label) & (np.arange(part.shape[1]) < labels))
        right.append(before.sum(axis=1) < top)
        start += len(task.classes)
    return np.stack(right, axis=1) & np.isfinite(outputs).all(axis=1, keepdims=True)


def fitted(network: nn.Module, outputs: int, size: tuple[int, int], channels: int = 3) -> str:
    """Give a network a head of as many outputs as the data needs; return a note on the change, empty without one.

    timm's networks do it themselves; else the last linear layer (or 1×1 convolution) that the network defines is
    replaced by a new one, with torch's random weights.

    Args:
        network: changed in place.
        outputs: outputs needed.
        size: height and width of an input, in pixels.
        channels: channels of an input.

    Raises:
        InputError: if the network's output cannot be made ``(N, outputs)``.
    """
    before = shape(network, size, channels)
    if before == (outputs,):
        return ""
    reset: Any = getattr(network, "reset_classifier", None)
    if callable(reset):
        reset(outputs)
    else:
        _replace_last(network, outputs)
    if shape(network, size, channels) != (outputs,):
        raise InputError(
            f"the head gives {'×'.join(map(str, before)) or 'one number'}, not the {outputs} outputs that are needed, "
            "and cannot be replaced"
        )
    return f"its head of {'×'.join(map(str, before)) or 'no'} outputs was replaced by a new one of {outputs}"


def shape(network: nn.Module, size: tuple[int, int], channels: int) -> tuple[int, ...]:
    """Return the shape of the network's output for one image in evaluation, without the batch.

    Raises:
        InputError: if the network fails, or the output is not one tensor with one entry per image.
    """
    training = network.training
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    with torch.no_grad():
        try:
            output = as_tensor(network.eval()(torch.zeros(1, channels, *size, device=device)))
        except InputError:
            raise
        except Exception as error:  # whatever the network's own code raises
            image_shape = "×".join(map(str, (channels, *size)))
            raise InputError(f"it does not take an image of {image_shape}: {first_line(error)}") from None
    network.train(training)
    if output.shape[:1] != (1,):
        raise InputError(f"the network returns a tensor of shape {tuple(output.shape)} for one image")
    return tuple(output.shape[1:])


def _replace_last(network: nn.Module, outputs: int) -> None:
    heads = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1))
    ]
    if not heads:
        raise InputError("the network has no linear head to replace")
    name, last = heads[-1]
    new: nn.Module
    if isinstance(last, nn.Linear):
        new = nn.Linear(last.in_features, outputs, bias=last.bias is not None)
    else:
        new = nn.Conv2d(last.in_channels, outputs, 1, bias=last.bias is not None)
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, new.to(next(last.parameters()).device))
