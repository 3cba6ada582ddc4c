"""Which axes of a feature map are its height and width."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from scsc_lab.errors import InputError

_MOST_PREFIX_TOKENS = 8
_CHANNELS_FIRST = (
    *(nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.PixelShuffle, nn.Upsample),
)
_CHANNELS_LAST = (nn.LayerNorm, nn.Linear)


@dataclass(frozen=True)
class Layout:
    """How a module's output is read as a map.

    Attributes:
        name: ``nchw``, ``nhwc``, ``nlc`` or ``ncl``.
        size: height and width of the map.
        prefix: tokens before those of the map (a class token, registers).
    """

    name: str
    size: tuple[int, int]
    prefix: int = 0

    def maps(self, x: Tensor) -> Tensor:
        """Return the output as ``(N, C, h, w)``, a view."""
        if self.name == "nchw":
            return x
        if self.name == "nhwc":
            return x.permute(0, 3, 1, 2)
        if self.name == "nlc":
            x = x.transpose(1, 2)
        maps: Tensor = x[:, :, self.prefix :].unflatten(2, self.size)
        return maps


def order(module: nn.Module, dimensions: int = 4) -> str | None:
    """Return the order of the axes of what torch's own layers put out, which they have whatever the shape."""
    if dimensions == 4 and isinstance(module, _CHANNELS_FIRST):
        return "nchw"
    return {4: "nhwc", 3: "nlc"}.get(dimensions) if isinstance(module, _CHANNELS_LAST) else None


def size_of_map(
    module: nn.Module, shape: tuple[int, ...], resolution: tuple[int, int], sizes: set[tuple[int, int]]
) -> tuple[int, int] | None:
    """Return height and width of a module's output if it is a map of an image of this resolution.

    What torch's own convolutions and pools put out is one, whatever its size, which is added to ``sizes``; other
    outputs are if they have one of these sizes, or the image's over a whole number, rounded up or down.
    """
    axis_order = order(module, len(shape))
    if axis_order == "nchw":
        sizes.add((shape[2], shape[3]))
        return shape[2], shape[3]
    if len(shape) == 4 and axis_order is None and (shape[2], shape[3]) in sizes:
        return shape[2], shape[3]
    fitting = [reading for reading in readings(shape, resolution, None) if axis_order in (None, reading.name)]
    return next((candidate.size for candidate in fitting if _has_whole_stride(candidate.size, resolution)), None)


def _has_whole_stride(size: tuple[int, int], resolution: tuple[int, int]) -> bool:
    strides = [
        {s for s in (length // side, length // side + 1) if side in (length // s, -(-length // s))}
        for length, side in zip(resolution, size, strict=True)
    ]
    return bool(strides[0] & strides[1])


def find(
    shape: tuple[int, ...], resolution: tuple[int, int], layer: str, name: str | None = None, prefix: int | None = None
) -> Layout:
    """Return how an output of this shape is a map of an image.

    Args:
        shape: shape of the output, batch first.
        resolution: input height and width, in pixels.
        layer: name of the module, for the message.
        name: the order of axes, if the user says it.
        prefix: tokens before those of the map, if the network says it.

    Raises:
        InputError: if it is no map, or could be read in two ways.
    """
    text = "×".join(map(str, shape))
    fitting = [layout for layout in readings(shape, resolution, prefix) if name in (None, layout.name)]
    if not fitting:
        how = f"as {name}" if name else "in any layout"
        raise InputError(f"{layer or 'the network'} returns {text}: not a spatial map {how}; name another --layer")
    if len(fitting) > 1:
        names = " or ".join(f"--layout {layout.name}" for layout in fitting)
        raise InputError(f"{layer} returns {text}, which can be read in two ways: name {names}")
    return fitting[0]


def order_of_grown(shape: tuple[int, ...], grown: tuple[int, ...]) -> str | None:
    """Return the order of the axes of an output from its shape for a larger image: the axes of the map have grown."""
    axes = tuple(axis for axis, (before, after) in enumerate(zip(shape, grown, strict=False)) if after > before)
    return {(4, (2, 3)): "nchw", (4, (1, 2)): "nhwc", (3, (1,)): "nlc", (3, (2,)): "ncl"}.get((len(shape), axes))


def readings(shape: tuple[int, ...], resolution: tuple[int, int], prefix: int | None) -> list[Layout]:
    """Return every way in which an output of this shape is a map of an image; see :func:`find`."""
    if len(shape) == 4:
        sizes = {"nchw": (shape[2], shape[3]), "nhwc": (shape[1], shape[2])}
        layouts = [Layout(name, size) for name, size in sizes.items() if _is_a_map(size, resolution)]
        if len(layouts) == 2 and shape[2] == shape[3] == 1 != shape[1]:
            return layouts[:1]
        return layouts
    if len(shape) == 3:
        read = {"nlc": _tokens(shape[1], resolution, prefix), "ncl": _tokens(shape[2], resolution, prefix)}
        return [Layout(name, *size) for name, size in read.items() if size is not None]
    return []


def _is_a_map(size: tuple[int, int], resolution: tuple[int, int]) -> bool:
    """Return whether a map of this size has one stride in both directions, up to rounding of the sides."""
    if not all(0 < side <= length for side, length in zip(size, resolution, strict=True)):
        return False
    if resolution[0] == resolution[1]:
        return size[0] == size[1]
    longer = 0 if resolution[0] > resolution[1] else 1
    expected = size[longer] * resolution[1 - longer] / resolution[longer]
    return abs(size[1 - longer] - expected) < 1


def _tokens(count: int, resolution: tuple[int, int], prefix: int | None) -> tuple[tuple[int, int], int] | None:
    """Return the size of a map of so many tokens, and the tokens before it."""
    for before in range(_MOST_PREFIX_TOKENS + 1) if prefix is None else (prefix,):
        tokens = count - before
        if tokens < 4 * before or tokens < 1:
            break
        height = max(round(math.sqrt(tokens * resolution[0] / resolution[1])), 1)
        size = (height, tokens // height)
        divides = all(length % side == 0 for side, length in zip(size, resolution, strict=True))
        if height * size[1] == tokens and divides and _is_a_map(size, resolution):
            return size, before
    return None
