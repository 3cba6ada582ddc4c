"""The stages of a network: the modules that make them up, and the modules that give their maps.

A stage is what works on maps of one stride. Our own networks say theirs; every other network shows them in one forward
pass: containers, and modules whose insides put out maps of several strides, are opened until what is left has one
stride, and consecutive modules of one stride are a stage. Stages count from 1 behind the stem.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scsc_lab.errors import InputError, located_by_user, nearest
from scsc_lab.execution import layout
from scsc_lab.execution.passes import evaluating
from scsc_lab.models.declared import USUAL_RESOLUTION, Declared, declared

STEM, HEAD = "stem", "head"

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_STEM_WORDS = ("stem", "embed")


def stages(model: nn.Module, input_shape: Sequence[int] | None = None) -> Mapping[str, tuple[str, ...]]:
    """Return the names of the modules that make up each stage, in the order in which they run.

    Args:
        model: the network, on any device; it is left as it is.
        input_shape: input of one image, ``(C, H, W)``, or of a batch. Default: what the network declares, else 224.

    Returns:
        ``stem`` and ``head`` where there are any, ``stage1``, ``stage2`` and so on between them. No module is inside
        another. A network that shows no maps, or fails on this input, has its children in place of stages.
    """
    attribute = getattr(model, "stages", None)
    if isinstance(attribute, Mapping):
        return attribute
    try:
        divided = _divided(model, _trace(model, input_shape))
    except InputError:
        divided = {}
    return {stage: tuple(part.name for part in parts) for stage, parts in divided.items()} or {
        name: (name,) for name, _ in model.named_children()
    }


def stage_maps(model: nn.Module, input_shape: Sequence[int] | None = None) -> Mapping[str, str]:
    """Return the module whose output is the feature map of each stage, in order; none if there are no maps.

    Where timm's ``feature_info`` names a module of every stage, and of no other stride, that is taken; else it is the
    last module of the stage that puts out a map.

    Args:
        model: the network, on any device; it is left as it is.
        input_shape: input of one image, ``(C, H, W)``, or of a batch. Default: what the network declares, else 224.

    Raises:
        InputError: if the network fails on this input.
    """
    attribute = getattr(model, "stage_maps", None)
    if isinstance(attribute, Mapping):
        return attribute
    trace = _trace(model, input_shape)
    divided = _divided(model, trace)
    stem = [part.name for part in divided.pop(STEM, ())]
    divided.pop(HEAD, None)
    maps = {stage: [part for part in parts if part.octave is not None] for stage, parts in divided.items()}
    feature_names = {trace[name]: name for name in _feature_info(model) if name in trace and name not in stem}
    octaves = [parts[-1].octave for parts in maps.values()]
    if len(set(octaves)) == len(octaves) and set(octaves) <= set(feature_names):
        return {stage: feature_names[octave] for stage, octave in zip(maps, octaves, strict=True)}
    return {stage: parts[-1].name for stage, parts in maps.items()}


def stride_maps(model: nn.Module, input_shape: Sequence[int] | None = None) -> Mapping[str, str]:
    """Return the last module that puts out a map of each stride, as ``stride4``, ``stride8`` and so on.

    Strides are rounded to powers of two.

    Raises:
        InputError: if the network fails on this input.
    """
    trace = _trace(model, input_shape)
    last = {octave: name for name, octave in trace.items() if octave is not None and name}
    return {f"stride{2**octave}": last[octave] for octave in sorted(last)}


def chosen(model: nn.Module, requested: Sequence[str], input_shape: Sequence[int], label: str) -> dict[str, str]:
    """Return the module whose output is the feature map of each stage asked for, in order.

    Args:
        model: the network.
        requested: stages by number, by name (``stage2``) or by the stride of their map (``stride8``); ``all``; none for
            the last.
        input_shape: input of one image, ``(C, H, W)``.
        label: name of the network, for the message.

    Raises:
        InputError: if the network puts out no maps, or has no such stage.
    """
    maps_of_stages = stage_maps(model, input_shape)
    if not maps_of_stages:
        children = [name for name, _ in model.named_children()]
        example = children[-2] if len(children) > 1 else (children or ["features"])[0]
        raise InputError(f"{label} shows no maps of stages: name a module with --layer, e.g. {example}")
    if not requested or "all" in requested:
        return dict(maps_of_stages) if requested else dict([list(maps_of_stages.items())[-1]])
    selected = {}
    for stage in requested:
        name = f"stage{stage}" if stage.isdecimal() else stage
        maps = stride_maps(model, input_shape) if name.startswith("stride") else maps_of_stages
        if name not in maps:
            raise InputError(f"{label} has no stage {stage!r}: one of {', '.join(maps)}, or all{nearest(name, maps)}")
        selected[name] = maps[name]
    return selected


@dataclass(frozen=True)
class _Part:
    """A module that is not opened.

    Attributes:
        name: its dotted name.
        octave: power of two next to the stride of its map; ``None`` if it puts out none.
        has_blocks: whether there is a block in it, or it is one: a module of the network's own around several layers.
        weightless: whether it has no layer with weights, as a normalisation or an activation.
    """

    name: str
    octave: int | None
    has_blocks: bool
    weightless: bool


_Trace = Mapping[str, int | None]
"""Octave of the last map of each module, in the order in which they ended; ``None`` where there is no single one."""


def _divided(model: nn.Module, trace: _Trace) -> dict[str, list[_Part]]:
    """Return the parts of each stage; nothing if there are no maps."""
    parts = _opened(model, "", trace, {name: index for index, name in enumerate(trace)})
    mapped = [i for i, part in enumerate(parts) if part.octave is not None]
    if not mapped:
        return {}
    first, last = mapped[0], mapped[-1]
    with_blocks = [i for i in mapped if parts[i].has_blocks]
    if with_blocks:
        first = next((i for i in with_blocks if not _is_stem(parts[i].name)), with_blocks[0])
        while last > with_blocks[-1] and parts[last].weightless:
            last -= 1
    divided: dict[str, list[_Part]] = {STEM: parts[:first]} if first else {}
    in_turn = _rise_and_fall(parts[first : last + 1])
    numbers: dict[int, int] = {}
    number, octave = 0, None
    for part in parts[first : last + 1]:
        if part.octave is not None and part.octave != octave:
            octave = part.octave
            number = number + 1 if in_turn else numbers.setdefault(octave, len(numbers) + 1)
        divided.setdefault(f"stage{number}", []).append(part)
    if parts[last + 1 :]:
        divided[HEAD] = parts[last + 1 :]
    return divided


def _opened(module: nn.Module, name: str, trace: _Trace, order: Mapping[str, int]) -> list[_Part]:
    """Return the parts of a module in the order in which they run: itself if it is of one octave, or what is inside."""
    children = [(child, _opened(child, path, trace, order)) for child, path in _children(module, name)]
    inside = sorted((part for _, parts in children for part in parts), key=lambda part: order[part.name])
    if not name or name not in trace:
        return inside
    octave = trace[name]
    octaves = {part.octave for part in inside} | {octave}
    has_several = len(octaves - {None}) > 1
    container = isinstance(module, _CONTAINERS)
    rows = [part for child, parts in children for part in parts if isinstance(child, _CONTAINERS) and part.has_blocks]
    if has_several and (container or _is_a_row_of_stages(inside, rows, octave)):
        return inside
    weights = sum(any(p.dim() > 1 for p in m.parameters(recurse=False)) for m in module.modules())
    block = any(part.has_blocks for part in inside) if container else bool(inside) and weights > 1
    return [_Part(name, octave, block, weights == 0)]


def _is_a_row_of_stages(inside: Sequence[_Part], rows: Sequence[_Part], octave: int | None) -> bool:
    """Return whether a module of the network's own is to be opened: no block that changes the stride inside.

    It is if it puts out no single map, has maps of more than two strides, or rows of blocks at another stride than its
    own; not if it goes back and forth between strides, as branches side by side do.
    """
    octaves = {part.octave for part in inside} - {None}
    elsewhere = any(part.octave not in (octave, None) for part in rows)
    return (octave is None or len(octaves) > 2 or elsewhere) and _rise_and_fall(inside)


def _rise_and_fall(parts: Sequence[_Part]) -> bool:
    """Return whether the octaves of parts rise and then fall: a network that gets coarser, and perhaps finer again."""
    octaves = [part.octave for part in parts if part.octave is not None]
    steps = [after - before for before, after in itertools.pairwise(octaves) if after != before]
    return all(not (before < 0 < after) for before, after in itertools.pairwise(steps))


def _children(module: nn.Module, name: str) -> Iterator[tuple[nn.Module, str]]:
    for child, inner in module.named_children():
        yield inner, f"{name}.{child}" if name else child


def _is_stem(name: str) -> bool:
    return any(stem_word in name.partition(".")[0].lower() for stem_word in _STEM_WORDS)


def _feature_info(model: nn.Module) -> list[str]:
    """Return the modules that timm's ``feature_info`` names, in order."""
    info = getattr(model, "feature_info", None)
    if info is not None and not isinstance(info, list):
        info = info.get_dicts() if hasattr(info, "get_dicts") else None
    return [entry["module"] for entry in info or [] if isinstance(entry, dict) and "module" in entry]


def _trace(model: nn.Module, input_shape: Sequence[int] | None) -> _Trace:
    """Return what a forward pass of one image shows, on the device of the network.

    Raises:
        InputError: if the network fails on this input.
    """
    shape = tuple(input_shape)[-3:] if input_shape is not None else _usual_shape(model)
    resolution = (shape[-2], shape[-1])
    octaves: dict[str, int | None] = {}
    sizes: set[tuple[int, int]] = set()

    def look(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(module: nn.Module, args: Any, output: Any) -> None:
            octave = _octave(module, output, resolution, sizes)
            mixed = name in octaves and octaves.pop(name) != octave
            octaves[name] = None if mixed else octave

        return record

    handles = [module.register_forward_hook(look(name)) for name, module in model.named_modules()]
    tensor = next(iter((*model.parameters(), *model.buffers())), torch.empty(0))
    x = torch.zeros(1, *shape, dtype=tensor.dtype if tensor.is_floating_point() else None, device=tensor.device)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(model):
            model(x)
    except Exception as error:  # whatever the network's own code raises
        raise InputError(
            f"the network fails on an input of {'×'.join(map(str, shape))}: {located_by_user(error)}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return octaves


def _usual_shape(model: nn.Module) -> tuple[int, ...]:
    """Return the input that a network declares, or else 224×224 with the channels of its first convolution."""
    config = declared(model) or Declared()
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    return (config.channels or (first.in_channels if first else 3), *(config.resolution or USUAL_RESOLUTION))


def _octave(module: nn.Module, output: Any, resolution: tuple[int, int], sizes: set[tuple[int, int]]) -> int | None:
    """Return the power of two next to the stride of a map, or ``None`` if an output is none.

    Sizes of maps that torch's own layers have put out are gathered, and known again where other modules put them out.
    """
    while isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.shape[:1] != (1,):
        return None
    size = layout.size_of_map(module, tuple(output.shape), resolution, sizes)
    if size is None or min(size) < 2:
        return None
    octaves = {round(math.log2(input_side / side)) for input_side, side in zip(resolution, size, strict=True)}
    return octaves.pop() if len(octaves) == 1 and min(octaves) >= 0 else None
