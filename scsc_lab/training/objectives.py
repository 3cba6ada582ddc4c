"""Losses: summed cross-entropy over the tasks of the data, or a margin loss over identities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scsc_lab.errors import InputError


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
