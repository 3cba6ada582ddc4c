"""The feature maps of named layers, and the units in the middle of each whose fields are measured."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from scsc_lab.errors import InputError, located_by_user, nearest
from scsc_lab.execution import layout
from scsc_lab.execution.hardware import is_exhausted
from scsc_lab.execution.layout import Layout
from scsc_lab.execution.passes import evaluating


@dataclass(frozen=True)
class FeatureMap:
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
    outputs: dict[str, Any] = {}

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep_output(module: nn.Module, args: Any, output: Any) -> None:
            if name in outputs:
                return
            while isinstance(output, (tuple, list)) and output:
                output = output[0]
            if not isinstance(output, Tensor):
                raise InputError(f"{name} returns {type(output).__name__}, not a tensor; name another --layer")
            outputs[name] = layers[name](output)
            if len(outputs) == len(layers):
                raise _Done

        return keep_output

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
        raise InputError(f"the network fails on an input of {size}: {located_by_user(error)}") from error
    finally:
        for handle in handles:
            handle.remove()
    missing = next((name for name in layers if name not in outputs), None)
    if missing is not None:
        raise InputError(f"layer {missing!r} is not run in the forward pass; name another --layer")
    return outputs


def survey(
    model: nn.Module, layers: Sequence[str], shape: tuple[int, int, int], layout_name: str | None, device: torch.device
) -> list[FeatureMap]:
    """Return the feature maps of layers, from one forward pass of one image.

    Args:
        model: the network.
        layers: dotted names of modules.
        shape: input channels, height and width.
        layout_name: order of the axes, where a shape does not tell.
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

    def look(output: Tensor) -> tuple[tuple[int, ...], tuple[float, float] | None]:
        window = (max(p[0] for p in periods), max(p[1] for p in periods)) if periods else None
        return tuple(output.shape), window

    try:
        observed = _on_black_image(model, shape, dict.fromkeys(layers, look), device)
    finally:
        for handle in handles:
            handle.remove()
    orders = {name: layout_name or layout.order(model.get_submodule(name), len(observed[name][0])) for name in layers}
    unclear = [n for n in layers if orders[n] is None and len(layout.readings(observed[n][0], resolution, prefix)) > 1]
    if unclear:
        try:  # the axes of the map are those that grow with the image
            step = max(round(max(resolution) / 128), 1) * 32
            larger = (shape[0], shape[1] + step, shape[2] + step)
            grown = _on_black_image(model, larger, dict.fromkeys(unclear, lambda output: tuple(output.shape)), device)
            orders |= {name: layout.order_of_grown(observed[name][0], grown[name]) for name in unclear}
        except InputError:
            pass  # a network of one input size
    return [
        FeatureMap(name, layout.find(observed[name][0], resolution, name, orders[name], prefix), observed[name][1])
        for name in layers
    ]


def _on_black_image(
    model: nn.Module, shape: Sequence[int], layers: Mapping[str, Callable[[Tensor], Any]], device: torch.device
) -> dict[str, Any]:
    """Return what functions make of the outputs of layers for one black image."""
    dtype = next((parameter.dtype for parameter in model.parameters()), torch.float32)
    with torch.no_grad(), evaluating(model):
        return run_to(model, torch.zeros(1, *shape, dtype=dtype, device=device), layers)


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
    pairs = [*itertools.product(*axes)]
    candidates = [Unit(row, column, a * b) for (row, a, _), (column, b, _) in pairs]
    moves = [(down, right) for (*_, down), (*_, right) in pairs]
    return _moved(candidates, moves), ((size[0] - 1) / 2, (size[1] - 1) / 2)


def centred(units: Sequence[Unit], middles: Sequence[tuple[float, float]]) -> list[Unit]:
    """Return units, each moved from the middle of its own field to the mean of all, in pixels."""
    pairs = [*zip(units, middles, strict=True)]
    row, column = (math.fsum(unit.weight * middle[axis] for unit, middle in pairs) for axis in (0, 1))
    return _moved(units, [(row - middle[0], column - middle[1]) for middle in middles])


def _moved(units: Sequence[Unit], moves: Sequence[tuple[float, float]]) -> list[Unit]:
    """Return units with their shifts in whole pixels; none is moved where a shift is none."""
    is_whole = all(abs(move - round(move)) < 1e-3 for pair in moves for move in pair)
    shifts = [(round(down), round(right)) if is_whole else (0, 0) for down, right in moves]
    return [replace(unit, shift=shift) for unit, shift in zip(units, shifts, strict=True)]


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
