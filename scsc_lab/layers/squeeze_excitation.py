"""Squeeze-and-excitation, arXiv 1709.01507, in the form SCSC uses. Maps are ``(N, C, H, W)``."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate from the global average: Linear ``C → max(C // 16, 32)``, ReLU, Linear, sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // 16, 32)
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.excite = nn.Linear(hidden, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with its channels scaled, same shape."""
        return x * self.scale(x)

    def scale(self, x: Tensor) -> Tensor:
        """Return the scale of each channel, ``(N, C, 1, 1)``."""
        return torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean(dim=(2, 3))))))[:, :, None, None]
