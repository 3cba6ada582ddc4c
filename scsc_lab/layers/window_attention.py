"""Shifted-window self-attention of Swin, arXiv 2103.14030. Token maps are ``(N, H, W, C)``."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scsc_lab.layers.tracing import keep_results


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows of ``window × window`` tokens, with relative position bias.

    The map is padded with zeros to whole windows, as Swin for detection does. A side of one window is not shifted.

    Args:
        channels: channels of the tokens; the heads divide them.
        heads: attention heads.
        window: side of a window, in tokens.
        shift: cyclic shift of the windows, in tokens; 0 for none.
    """

    def __init__(self, channels: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.shift = shift
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))

    def forward(self, x: Tensor) -> Tensor:
        """Return the attended map, ``(N, H, W, C)`` to the same."""
        height, width, window = x.shape[1], x.shape[2], self.window
        x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
        padded = (x.shape[1], x.shape[2])
        shifts = tuple(self.shift if side > window else 0 for side in padded)
        shifted = any(shifts)
        if shifted:
            x = torch.roll(x, (-shifts[0], -shifts[1]), dims=(1, 2))
        rows, columns = padded[0] // window, padded[1] // window
        tokens = x.unflatten(1, (rows, window)).unflatten(3, (columns, window)).transpose(2, 3)
        tokens = self._attend(tokens.reshape(-1, window * window, x.shape[3]), padded, shifts)
        x = tokens.view(-1, rows, columns, window, window, tokens.shape[2]).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        if shifted:
            x = torch.roll(x, shifts, dims=(1, 2))
        return x[:, :height, :width]

    def _attend(self, tokens: Tensor, padded: tuple[int, int], shifts: tuple[int, ...]) -> Tensor:
        """Attend within each window: ``(N·windows, window², C)`` to the same."""
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self._position_bias()
        if any(shifts):
            mask = shift_mask(padded, self.window, shifts, tokens.device, tokens.dtype)
            images = tokens.shape[0] // mask.shape[0]
            bias = (bias + mask.unsqueeze(1)).expand(images, -1, -1, -1, -1).flatten(0, 1)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        tokens = self.proj(attended.transpose(1, 2).flatten(2))
        return tokens

    def _position_bias(self) -> Tensor:
        """Return the relative position bias, ``(1, heads, window², window²)``."""
        table = self.relative_position_bias_table
        index = relative_position_index(self.window, table.device)
        bias = table[index].view(self.window**2, self.window**2, self.heads)
        return bias.permute(2, 0, 1).unsqueeze(0).contiguous()


@keep_results(256)
def shift_mask(
    padded: tuple[int, int], window: int, shifts: tuple[int, ...], device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Return what keeps tokens apart that a cyclic shift brought into one window: 0 or −100 (Swin's figure).

    Args:
        padded: height and width of the map, whole windows, in tokens.
        window: side of a window.
        shifts: shift of rows and columns.
        device: where the mask lives.
        dtype: its type.

    Returns:
        ``(windows, window², window²)``, added to the attention scores.
    """
    if device.type == "meta":
        count = (padded[0] // window) * (padded[1] // window)
        return torch.empty((count, window * window, window * window), device=device, dtype=dtype)
    regions = [_regions(side, window, shift) for side, shift in zip(padded, shifts, strict=True)]
    labels = regions[0][:, None] * 3 + regions[1][None, :]
    rows, columns = padded[0] // window, padded[1] // window
    windows = labels.reshape(rows, window, columns, window).swapaxes(1, 2).reshape(rows * columns, window * window)
    mask = np.where(windows[:, :, None] == windows[:, None, :], 0.0, -100.0)
    return _constant(mask, device, dtype)


@keep_results(64)
def relative_position_index(window: int, device: torch.device) -> Tensor:
    """Return the row of the bias table for every pair of tokens of a window, ``(window⁴,)``."""
    rows, columns = np.divmod(np.arange(window * window), window)
    offsets = [(side[:, None] - side[None, :]) + window - 1 for side in (rows, columns)]
    return _constant((offsets[0] * (2 * window - 1) + offsets[1]).reshape(-1), device, torch.int64)


def _regions(side: int, window: int, shift: int) -> np.ndarray:
    """Label the rows (or columns) of a shifted map: 0 untouched windows, 1 and 2 the two parts of the last one."""
    labels = np.zeros(side, dtype=np.int64)
    if shift:
        labels[-window:-shift] = 1
        labels[-shift:] = 2
    return labels


def _constant(values: np.ndarray, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return values as a tensor that any later pass may use, one with gradients too."""
    with torch.inference_mode(False):
        return torch.from_numpy(values).to(device=device, dtype=dtype)
