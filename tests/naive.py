"""A deliberately naive SCSC module: loops over every output value, float64, nothing shared with the package."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

EPSILON = 1e-5


def scsc(
    x: np.ndarray,
    weights: Mapping[str, np.ndarray],
    kernels: tuple[int, ...],
    groups: int,
    stride: int,
    *,
    shuffle: bool,
    gates: bool,
    se: bool,
    activation: bool,
) -> np.ndarray:
    """Return the module's output, ``(N, C_out, H', W')``; the BatchNorm of step 3 is in the order after the shuffle."""
    return np.stack(
        [
            _one(image, weights, kernels, groups, stride, shuffle, gates, se, activation)
            for image in x.astype(np.float64)
        ]
    )


def _one(x, weights, kernels, groups, stride, shuffle, gates, se, activation):  # type: ignore[no-untyped-def]
    m = len(kernels)
    # 1. reduce
    r = _gelu(_norm(_pointwise(x, weights["reduce.weight"]), weights, "reduce_norm"))
    c = r.shape[0]
    # 2. every kernel on the same r
    scales = [_depthwise(r, weights[f"encoder.{i}.weight"], k, stride) for i, k in enumerate(kernels)]
    concatenated = np.concatenate(scales)
    # 3. shuffle: channel i to (i mod m)·c + i // m
    shuffled = np.empty_like(concatenated)
    for i in range(m * c):
        shuffled[(i % m) * c + i // m if shuffle else i] = concatenated[i]
    slices = _gelu(_norm(shuffled, weights, "encoder_norm"))
    # 4. gates, one a position, slice j and group q, at gate channel j·g + q
    height, width = slices.shape[1:]
    out = np.zeros((c, height, width))
    for row in range(height):
        for column in range(width):
            here = r[:, row * stride, column * stride]
            for q in range(groups):
                for p in range(c // groups):
                    for j in range(m):
                        gate = 1.0
                        if gates:
                            logit = float(weights["embed.gates.weight"][j * groups + q, :, 0, 0] @ here)
                            gate = _sigmoid(logit)
                        channel = q * (c // groups) + p
                        out[channel, row, column] += gate * slices[j * c + channel, row, column]
    # 5. recover
    y = _norm(_pointwise(out, weights["recover.weight"]), weights, "recover_norm")
    if activation:
        y = _gelu(y)
    # 6. squeeze-and-excitation
    if se:
        pooled = y.mean(axis=(1, 2))
        hidden = np.maximum(weights["se.squeeze.weight"] @ pooled, 0.0)
        scale = _sigmoid(weights["se.excite.weight"] @ hidden)
        y = y * scale[:, None, None]
    return y


def _pointwise(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.einsum("oc,chw->ohw", weight[:, :, 0, 0], x)


def _depthwise(x: np.ndarray, weight: np.ndarray, k: int, stride: int) -> np.ndarray:
    channels, height, width = x.shape
    pad = k // 2
    rows, columns = -(-height // stride), -(-width // stride)
    out = np.zeros((channels, rows, columns))
    for row in range(rows):
        for column in range(columns):
            for dy in range(k):
                for dx in range(k):
                    y, z = row * stride + dy - pad, column * stride + dx - pad
                    if 0 <= y < height and 0 <= z < width:
                        out[:, row, column] += weight[:, 0, dy, dx] * x[:, y, z]
    return out


def _norm(x: np.ndarray, weights: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    mean, var = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
    gamma, beta = weights[f"{name}.weight"], weights[f"{name}.bias"]
    scale = gamma / np.sqrt(var + EPSILON)
    return x * scale[:, None, None] + (beta - mean * scale)[:, None, None]


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))


def _sigmoid(x):  # type: ignore[no-untyped-def]
    return 0.5 * (1.0 + np.tanh(0.5 * x))  # 1 / (1 + exp(-x)), without its overflow
