"""Stochastic depth, arXiv 1603.09382."""

from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    """Drop a whole residual branch of a sample with a probability while training; scale the share ones up."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``, some of its samples zeroed while training."""
        if not self.training or self.probability == 0.0:
            return x
        share = 1.0 - self.probability
        mask = x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(share)
        return x * mask.div_(share)

    def extra_repr(self) -> str:
        """Return the probability, for ``print(model)``."""
        return f"{self.probability:g}"
