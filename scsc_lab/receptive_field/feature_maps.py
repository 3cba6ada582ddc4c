"""Which units' fields are measured: the feature maps of named layers, and the units in the middle of each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scsc_lab.errors import InputError, last_line, nearest
from scsc_lab.execution.memory import is_exhausted
from scsc_lab.execution.passes import evaluating
from scsc_lab.receptive_field import layout
from scsc_lab.receptive_field.layout import Layout


@dataclass(frozen=True)
class Seen:
    """The feature map of one layer, as one forward pass showed it.

    Attributes:
        layer: dotted name of the module.
        layout: how its output is a map.
        window: largest period of the attention windows before it, height and width, in pixels; ``None`` without
            windows, or where one covers the whole map.
    """

    layer: str
    layout: Layout
    window: tuple[float, float] | None


@dataclass(frozen=True)
class Unit:
    """One place on a feature map.

    Attributes:
        row, column: the place.
        weight: its weight in the mean; those of a map sum to 1.
        shift: rows and columns, in pixels, that move its field to the common centre.
    """

    row: int
    column: int
    weight: float
    shift: tuple[int, int] = (0, 0)


class _Done(Exception):  # noqa: N818
    """All layers have run: the rest of the forward pass is not needed."""


def run_to(model: nn.Module, x: Tensor, layers: Mapping[str, Callable[[Tensor], Any]]) -> dict[str, Any]:
    """Run a network until some layers have run once, and return what a function makes of the output of each.

    Raises:
        InputError: if the network fails on this input, a layer is not run, or puts out no tensor.
    """
    found: dict[str, Any] = {}

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def seen(module: nn.Module, args: Any, output: Any) -> None:
            if name in found:
                return
            while isinstance(output, (tuple, list)) and output:
                output = output[0]
            if not isinstance(output, Tensor):
                raise InputError(f"{name} puts out {type(output).__name__}, no tensor; name another --layer")
            found[name] = layers[name](output)
            if len(found) == len(layers):
                raise _Done

        return seen

    handles = [model.get_submodule(name).register_forward_hook(hook(name)) for name in layers]
    try:
        model(x)
    except _Done:
        pass
    except (InputError, MemoryError):
        raise
    except Exception as error:  # whatever the network's own code raises
        if is_exhausted(error):
            raise
        size = "×".join(map(str, x.shape))
        raise InputError(f"the network fails on an input of {size}: {last_line(error)}") from error
    finally:
        for handle in handles:
            handle.remove()
    missing = next((name for name in layers if name not in found), None)
    if missing is not None:
        raise InputError(f"layer {missing!r} is not run in the forward pass; name another --layer")
    return found


def stages_by_stride(model: nn.Module, shape: tuple[int, int, int], device: torch.device) -> dict[str, str]:
    """Return the last module that puts out a map of each stride, for a network that says nothing about its stages.

    Args:
        model: the network, on ``device``.
        shape: input of one image, ``(C, H, W)``.
        device: where it is.

    Returns:
        dotted names of modules by ``stride4``, ``stride8`` and so on, from the finest map to the coarsest.

    Raises:
        InputError: if the network fails on this input.
    """
    last: dict[int, str] = {}

    def look(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def seen(module: nn.Module, args: Any, output: Any) -> None:
            stride = _stride(module, output, (shape[1], shape[2]))
            if stride is not None:
                last[stride] = name

        return seen

    handles = [module.register_forward_hook(look(name)) for name, module in model.named_modules() if name]
    dtype = next((parameter.dtype for parameter in model.parameters()), torch.float32)
    try:
        with torch.no_grad(), evaluating(model):
            model(torch.zeros(1, *shape, dtype=dtype, device=device))
    except Exception as error:  # whatever the network's own code raises
        raise InputError(f"the network fails on an input of {'×'.join(map(str, shape))}: {last_line(error)}") from error
    finally:
        for handle in handles:
            handle.remove()
    return {f"stride{stride}": last[stride] for stride in sorted(last)}


def _stride(module: nn.Module, output: Any, resolution: tuple[int, int]) -> int | None:
    """Return the stride of a map, a power of two from 2 up, or ``None`` if an output is no such map."""
    if not isinstance(output, Tensor) or output.dim() != 4:
        return None
    first, last = tuple(output.shape[2:]), tuple(output.shape[1:3])
    for sides in {"nchw": (first,), "nhwc": (last,), None: (first, last)}[_order(module, output)]:
        stride: int = 1 << max(round(math.log2(resolution[0] / sides[0])), 0)
        if stride > 1 and min(sides) > 1 and all(-(-r // stride) == s for r, s in zip(resolution, sides, strict=True)):
            return stride
    return None


_CHANNELS_FIRST = (
    *(nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.PixelShuffle, nn.Upsample),
)
_CHANNELS_LAST = (nn.LayerNorm, nn.Linear)


def _order(module: nn.Module, output: Tensor) -> str | None:
    """Return the order of the axes of what torch's own layers put out, which they have whatever the shape."""
    if output.dim() != 4:
        return None
    return "nchw" if isinstance(module, _CHANNELS_FIRST) else "nhwc" if isinstance(module, _CHANNELS_LAST) else None


def survey(
    model: nn.Module, layers: Sequence[str], shape: tuple[int, int, int], given: str | None, device: torch.device
) -> list[Seen]:
    """Return the feature maps of layers, from one forward pass of one image.

    Args:
        model: the network.
        layers: dotted names of modules.
        shape: input channels, height and width.
        given: order of the axes, where a shape does not tell.
        device: where the network is.

    Raises:
        InputError: if there is no such layer, or its output is no map or an ambiguous one.
    """
    names = [name for name, _ in model.named_modules() if name]
    for layer in layers:
        if layer not in names:
            raise InputError(f"no layer {layer!r} in the network{nearest(layer, names)}")
    resolution = (shape[1], shape[2])
    prefix = getattr(model, "num_prefix_tokens", None)
    periods: list[tuple[float, float]] = []
    handles = [
        module.register_forward_pre_hook(_window_hook(periods, resolution))
        for module in model.modules()
        if _window(module) and not any(_window(child) for child in module.children())
    ]

    def look(layer: str) -> Callable[[Tensor], Seen]:
        def seen(output: Tensor) -> Seen:
            told = given or _order(model.get_submodule(layer), output)
            found = layout.find(tuple(output.shape), resolution, layer, told, prefix)
            window = (max(p[0] for p in periods), max(p[1] for p in periods)) if periods else None
            return Seen(layer, found, window)

        return seen

    dtype = next((parameter.dtype for parameter in model.parameters()), torch.float32)
    try:
        with torch.no_grad(), evaluating(model):
            found = run_to(model, torch.zeros(1, *shape, dtype=dtype, device=device), {n: look(n) for n in layers})
    finally:
        for handle in handles:
            handle.remove()
    return [found[layer] for layer in layers]


def units(
    size: tuple[int, int], stride: tuple[float, float], window: tuple[float, float] | None
) -> tuple[list[Unit], tuple[float, float]]:
    """Return the units in the middle of a map, and their mean place.

    Without windows it is the one in the middle, or on even sides the two or four; with windows one whole period of
    them, those at its rim with the part that lies inside. Each field is moved to the common centre where that is a
    whole number of pixels.

    Args:
        size: height and width of the map.
        stride: distance of units, in pixels.
        window: period of the windows, in pixels.
    """
    axes = []
    for side, step, period in zip(size, stride, window or (0.0, 0.0), strict=True):
        middle, reach = (side - 1) / 2, max(period / step, 1.0 if side % 2 else 2.0) / 2
        weights = {
            place: part
            for place in range(side)
            if (part := min(place + 0.5, middle + reach) - max(place - 0.5, middle - reach)) > 1e-9
        }
        total = sum(weights.values())
        axes.append([(place, part / total, (middle - place) * step) for place, part in weights.items()])
    whole = all(abs(move - round(move)) < 1e-3 for axis in axes for _, _, move in axis)
    found = [
        Unit(row, column, a * b, (round(down), round(right)) if whole else (0, 0))
        for (row, a, down), (column, b, right) in itertools.product(*axes)
    ]
    return found, ((size[0] - 1) / 2, (size[1] - 1) / 2)


def _window(module: nn.Module) -> tuple[int, int] | None:
    """Return the sides of the windows a module attends in, if it says so."""
    side = getattr(module, "window_size", getattr(module, "window", None))
    if isinstance(side, int) and not isinstance(side, bool) and side > 1:
        return side, side
    if isinstance(side, (tuple, list)) and len(side) == 2 and all(isinstance(s, int) and s > 1 for s in side):
        return side[0], side[1]
    return None


def _window_hook(periods: list[tuple[float, float]], resolution: tuple[int, int]) -> Callable[[nn.Module, Any], None]:
    def entered(module: nn.Module, args: Any) -> None:
        window = _window(module)
        if window is None or not args or not isinstance(args[0], Tensor):
            return
        shape = args[0].shape
        if len(shape) == 4 and shape[0] == 1:  # a whole map of tokens
            rows, columns = (math.ceil(shape[axis + 1] / window[axis]) for axis in (0, 1))
            strides = (resolution[0] / shape[1], resolution[1] / shape[2])
        elif len(shape) == 3 and shape[1] == window[0] * window[1]:  # cut into windows already
            rows = max(round(math.sqrt(shape[0] * resolution[0] * window[1] / (resolution[1] * window[0]))), 1)
            columns = max(shape[0] // rows, 1)
            strides = (resolution[0] / (rows * window[0]), resolution[1] / (columns * window[1]))
        else:
            return
        if rows > 1 or columns > 1:
            periods.append((window[0] * strides[0], window[1] * strides[1]))

    return entered
