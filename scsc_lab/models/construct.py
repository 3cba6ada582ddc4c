"""From a spec to a network: initialised, loaded or empty; and its parameters and MACs as sums over its blocks."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from scsc_lab.counting.count import count
from scsc_lab.layers.depthwise import DepthwiseConv2d
from scsc_lab.layers.scsc import SpatialEmbed, SqueezeExcitation
from scsc_lab.models import checkpoints, resnet, swin
from scsc_lab.models.resnet import ResNet
from scsc_lab.models.swin import Swin
from scsc_lab.networks.specs import NetworkSpec, ResNetSpec, SCSCSpec, SwinSpec


def from_spec(spec: NetworkSpec, weights: str | Path | None = None, *, resize: bool = False) -> ResNet | Swin:
    """Return the network of a spec in evaluation mode, with weights from a file or at random.

    Random weights come from torch's global generator: Kaiming normal for ResNet and SCSC convolutions (fan out, as
    torchvision; fan in for depthwise ones), normal with the spec's ``init_std`` for Swin's linear layers.

    Raises:
        InputError: if the weights cannot be read or belong to another network.
    """
    with NoInitialisation():
        model = _construct(spec)
    if weights is None or resize:
        initialise(model)  # a head that does not fit stays so
    else:
        fill(model, 0.0)
    if weights is not None:
        checkpoints.load(model, Path(weights), resize=resize)
    return model.eval()


def empty(spec: NetworkSpec, device: str = "meta") -> ResNet | Swin:
    """Return the network of a spec in evaluation mode with no weights: on ``meta`` no memory, elsewhere zeros."""
    with torch.device(device), NoInitialisation():  # to_empty of meta tensors imports SymPy
        model = _construct(spec)
    if device != "meta":
        fill(model, 0.0)
    return model.eval()


def initialise(model: nn.Module) -> None:
    """Fill a network with random weights from torch's global generator; see :func:`from_spec` for the distributions."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.groups > 1 or isinstance(model, Swin)
            nn.init.kaiming_normal_(module.weight, mode="fan_in" if fan_in else "fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear) and isinstance(model, Swin):
            std = model.spec.init_std or 1.0 / math.sqrt(module.in_features)
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        elif isinstance(module, nn.Linear):
            bound = 1.0 / math.sqrt(module.in_features)
            nn.init.uniform_(module.weight, -bound, bound)
        elif isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
        bias = getattr(module, "bias", None)
        if isinstance(bias, torch.Tensor):
            nn.init.zeros_(bias)
        table = getattr(module, "relative_position_bias_table", None)
        if isinstance(table, torch.Tensor):
            nn.init.trunc_normal_(table, std=0.02, a=-0.04, b=0.04)


def fill(model: nn.Module, value: float) -> None:
    """Set every parameter and buffer of a network to one value."""
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(value)


def _construct(spec: NetworkSpec) -> ResNet | Swin:
    return ResNet(spec) if isinstance(spec, ResNetSpec) else Swin(spec)


_FILLS = frozenset({"uniform_", "normal_", "kaiming_uniform_", "trunc_normal_", "ones_", "zeros_", "fill_", "zero_"})


class NoInitialisation(TorchFunctionMode):
    """A context that constructs modules without drawing weights, which are drawn later, loaded or never needed.

    On the meta device this also spares torch's decompositions of the random fills, whose first use takes a second.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _FILLS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


class Cost(NamedTuple):
    """Cost of one image: parameters, and multiply-accumulates of one forward pass."""

    params: int
    macs: int


def cost(spec: NetworkSpec, resolution: tuple[int, int]) -> Cost:
    """Return the cost of a spec's network, as a full count gives it, by adding its blocks.

    Args:
        spec: the network.
        resolution: input height and width, in pixels.

    Raises:
        InputError: if a block cannot be built.
    """
    blocks = _resnet(spec, *resolution) if isinstance(spec, ResNetSpec) else _swin(spec, *resolution)
    return _sum(blocks)


def _sum(blocks: Iterable[tuple[int, Cost]]) -> Cost:
    params = macs = 0
    for repeats, block in blocks:
        params += repeats * block.params
        macs += repeats * block.macs
    return Cost(params, macs)


@functools.lru_cache(maxsize=65536)
def _block(make: Callable[..., nn.Module], arguments: tuple[Any, ...], *shapes: tuple[int, ...]) -> Cost:
    """Return the cost of one module at the shapes of its inputs, counted on the meta device."""
    with torch.device("meta"), NoInitialisation():
        module = make(*arguments)
    counted = count(module.eval(), inputs=shapes)
    return Cost(counted.params, counted.macs)


def _norm(channels: int) -> Cost:
    return Cost(2 * channels, 0)


@functools.lru_cache(maxsize=65536)
def _scsc(spec: SCSCSpec, inputs: int, outputs: int, stride: int, rows: int, columns: int) -> Cost:
    """Return the cost of an SCSC module on a map of ``inputs`` channels: the sum of its steps."""
    scales, reduced = len(spec.kernels), spec.reduced_channels(inputs)
    size, after = (rows, columns), (-(-rows // stride), -(-columns // stride))
    steps = [
        _block(nn.Conv2d, (inputs, reduced, 1, 1, 0, 1, 1, False), (1, inputs, *size)),
        _norm(reduced),
        *(_block(DepthwiseConv2d, (reduced, kernel, stride), (1, reduced, *size)) for kernel in spec.kernels),
        _norm(scales * reduced),
        _block(nn.Conv2d, (reduced, outputs, 1, 1, 0, 1, 1, False), (1, reduced, *after)),
        _norm(outputs),
    ]
    if spec.gates:
        slices = (1, scales, reduced, *after)
        steps.append(_block(SpatialEmbed, (reduced, scales, spec.groups, stride), slices, (1, reduced, *size)))
    if spec.se:
        steps.append(_block(SqueezeExcitation, (outputs,), (1, outputs, *after)))
    return _sum((1, step) for step in steps)


def _swin(spec: SwinSpec, height: int, width: int) -> Iterator[tuple[int, Cost]]:
    """Yield how often each distinct block of a Swin occurs, with its cost."""
    yield 1, _block(swin.PatchEmbed, (spec.patch, spec.embed_dim), (1, 3, height, width))
    rows, columns, channels = -(-height // spec.patch), -(-width // spec.patch), spec.embed_dim
    for stage, depth in enumerate(spec.depths, start=1):
        hidden, shape = int(spec.mlp_ratio * channels), (1, rows, columns, channels)
        if stage in spec.scsc_stages:
            yield depth, _scsc(spec.scsc[stage - 1], channels, channels, 1, rows, columns)
            yield depth, _norm(channels)
            yield depth, _block(swin.MLP, (channels, hidden), shape)
        else:
            yield depth, _block(swin.SwinBlock, (channels, hidden, spec.heads[stage - 1], spec.window, 0, 0.0), shape)
        if stage < len(spec.depths):
            yield 1, _block(swin.PatchMerging, (channels,), shape)
            rows, columns, channels = -(-rows // 2), -(-columns // 2), 2 * channels
    yield 1, _norm(channels)
    yield 1, _block(nn.Linear, (channels, spec.outputs), (1, channels))


def _resnet(spec: ResNetSpec, height: int, width: int) -> Iterator[tuple[int, Cost]]:
    """Yield how often each distinct block of a ResNet occurs, with its cost."""
    pooled = spec.stem == "conv7_pool"
    kernel, reach = (7, 4) if pooled else (3, 2)
    stem = (3, spec.stem_width, kernel, 2, kernel // 2, 1, 1, False)
    yield 1, _block(nn.Conv2d, stem, (1, 3, height, width))
    yield 1, _norm(spec.stem_width)
    rows, columns, channels = -(-height // reach), -(-width // reach), spec.stem_width
    for stage, depth in enumerate(spec.depths, start=1):
        stride = spec.strides[stage - 1]
        yield 1, _resnet_block(spec, stage, channels, stride, rows, columns)
        rows, columns, channels = -(-rows // stride), -(-columns // stride), spec.widths[stage - 1]
        if depth > 1:
            yield depth - 1, _resnet_block(spec, stage, channels, 1, rows, columns)
    yield 1, _block(nn.Linear, (channels, spec.outputs, spec.head_bias), (1, channels))


def _resnet_block(spec: ResNetSpec, stage: int, channels: int, stride: int, rows: int, columns: int) -> Cost:
    """Return the cost of a block of one stage, by the channels, stride and sides of its input."""
    output, bottleneck = spec.widths[stage - 1], spec.bottleneck_widths[stage - 1]
    shape = (1, channels, rows, columns)
    if stage not in spec.scsc_stages:
        if spec.block == "basic":
            return _block(resnet.BasicBlock, (channels, output, stride), shape)
        return _block(resnet.Bottleneck, (channels, output, bottleneck, stride), shape)
    parts, inputs = [_block(resnet.projection, (channels, output, stride), shape)], channels
    if spec.scsc_replaces == "spatial":
        opening = _block(nn.Conv2d, (channels, bottleneck, 1, 1, 0, 1, 1, False), shape)
        parts, inputs = [*parts, opening, _norm(bottleneck)], bottleneck
    parts.append(_scsc(spec.scsc[stage - 1], inputs, output, stride, rows, columns))
    return _sum((1, part) for part in parts)
