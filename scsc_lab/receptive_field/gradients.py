"""Gradients of units with respect to the pixels, image by image: what an effective receptive field is made of.

One forward pass of a batch serves all layers and places; one backward pass serves one place of every image in it.
Weights have no gradients. On CPUs products are oneDNN's: see :class:`_OneDNN`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from scsc_lab.errors import InputError
from scsc_lab.execution.hardware import is_exhausted
from scsc_lab.execution.layout import Layout
from scsc_lab.execution.passes import evaluating
from scsc_lab.layers.tracing import is_transformed
from scsc_lab.receptive_field.feature_maps import run_to

FIRST_BATCH = {"cpu": 4}
_FIRST_BATCH_ELSEWHERE = 32
_CONSTANT = 1e-3
_NOISE = 1e-4
"""Share of the gradient of a weighted sum of channels below which that of their sum is rounding."""


@dataclass(frozen=True, eq=False)
class Target:
    """Target of a gradient: places on the output of one layer.

    Attributes:
        layer: dotted name of the module.
        layout: how its output is a map.
        places: row and column for every image and repetition, ``(images, repetitions, 2)``.
        rectified: whether a ReLU stands before the sum of channels, as in RepLKNet's script.
        weighted: whether the channels have weights from 1 to 2 in the sum.
    """

    layer: str
    layout: Layout
    places: NDArray[np.int64]
    rectified: bool = False
    weighted: bool = False


def gradient_maps(
    model: nn.Module,
    images: NDArray[np.float32],
    targets: Sequence[Target],
    *,
    contribution: str = "abs",
    batch: int | None = None,
    device: torch.device | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[NDArray[np.float64]]:
    """Return how much each pixel contributes to units of feature maps.

    The unit is the sum of its channels; the contribution of a pixel is summed over the input's channels.

    Args:
        model: the network, on ``device``; it is left as it is.
        images: input of the network, ``(images, C, H, W)``.
        targets: layers and places.
        contribution: ``abs``, ``relu`` or ``signed``: what becomes of negative gradients.
        batch: images in one pass; found without, and halved where memory runs out.
        device: where to run; the CPU without.
        progress: called with the number of images done.

    Returns:
        One array a target, ``(images, repetitions, H, W)``.

    Raises:
        InputError: if a gradient is not finite, or memory does not hold one image.
    """
    device = device or torch.device("cpu")
    size = batch or FIRST_BATCH.get(device.type, _FIRST_BATCH_ELSEWHERE)
    shapes = [(len(images), target.places.shape[1], *images.shape[2:]) for target in targets]
    results = [np.zeros(shape) for shape in shapes]
    done = 0
    with torch.enable_grad(), evaluating(model), frozen(model), _OneDNN():
        while done < len(images):
            part = slice(done, min(done + size, len(images)))
            try:
                for target, maps, result in zip(
                    targets, results, _of_batch(model, images[part], targets, part, device), strict=True
                ):
                    maps[part] = _contributions(result, contribution).cpu().numpy()
                    if not np.isfinite(maps[part]).all():
                        raise InputError(f"the gradient of {target.layer} is not finite: look at the weights")
            except (RuntimeError, MemoryError) as error:
                if not is_exhausted(error):
                    raise
                if size == 1:
                    raise InputError("one image does not fit in memory: choose a smaller --resolution") from None
                size //= 2
                continue
            done = part.stop
            if progress:
                progress(done)
    return results


def constant_sums(
    model: nn.Module, image: NDArray[np.float32], targets: Sequence[Target], device: torch.device
) -> list[bool]:
    """Return for each target whether the sum of its channels is constant, whatever the image, as behind a LayerNorm.

    Told from the gradient of the sum at one image, ``(1, C, H, W)``, beside that of the sum behind a ReLU.

    Raises:
        InputError: if both are rounding beside that of a weighted sum, as behind a softmax.
    """
    plain = [replace(target, places=target.places[:1, :1], rectified=False) for target in targets]
    rectified = [replace(target, rectified=True) for target in plain]
    weighted = [replace(target, rectified=False, weighted=True) for target in plain]
    maps = gradient_maps(model, image, [*plain, *rectified, *weighted], batch=1, device=device)
    sums, behind, bounds = np.reshape([float(gradients.sum()) for gradients in maps], (3, -1))
    for target, mass, bound in zip(targets, np.maximum(sums, behind), bounds, strict=True):
        if mass < _NOISE * bound:
            raise InputError(f"the sum of the channels of {target.layer} is constant: name the layer before it")
    return [bool(flag) for flag in sums < _CONSTANT * behind]


@contextlib.contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Keep the parameters of a network out of the gradients, and put them back afterwards."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


def _of_batch(
    model: nn.Module,
    images: NDArray[np.float32],
    targets: Sequence[Target],
    part: slice,
    device: torch.device,
) -> Iterator[Tensor]:
    """Yield the gradients of each target, ``(images, repetitions, C, H, W)``."""
    dtype = next((parameter.dtype for parameter in model.parameters()), torch.float32)
    x = torch.from_numpy(images).to(device=device, dtype=dtype)
    if device.type == "cpu":
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_(True)

    def taker(target: Target) -> Callable[[Tensor], Tensor]:
        places = torch.from_numpy(target.places[part]).to(device)
        rows = torch.arange(len(places), device=device).unsqueeze(1)

        def take(output: Tensor) -> Tensor:
            return target.layout.maps(output)[rows, :, places[:, :, 0], places[:, :, 1]]

        return take

    units_by_layer = run_to(model, x, {target.layer: taker(target) for target in targets})
    left = sum(target.places.shape[1] for target in targets)
    for target in targets:
        units = units_by_layer[target.layer]  # (images, repetitions, channels)
        units = units.relu() if target.rectified else units
        if target.weighted:
            units = units * torch.linspace(1.0, 2.0, units.shape[-1], device=units.device, dtype=units.dtype)
        grads = []
        for repetition in range(target.places.shape[1]):
            left -= 1
            unit = units[:, repetition].sum()
            if not unit.requires_grad:
                raise InputError(f"the output of {target.layer} has no gradient with respect to the image")
            grads.append(torch.autograd.grad(unit, x, retain_graph=left > 0)[0])
        yield torch.stack(grads, dim=1)


def _contributions(grads: Tensor, contribution: str) -> Tensor:
    grads = grads.double()
    if contribution == "abs":
        grads = grads.abs()
    elif contribution == "relu":
        grads = grads.relu()
    return grads.sum(dim=2)


class _OneDNN(TorchFunctionMode):
    """Products with fixed float32 weights on the CPU by oneDNN, same to rounding.

    torch leaves linear layers and 1×1 convolutions to MKL, which on AMD CPUs is 2.2 to 2.7 times slower (torch 2.13,
    AVX-512, one thread: 80 to 107 GFLOP/s against 217 to 235).
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if kwargs or not self._takes(func, args):
            return func(*args, **(kwargs or {}))
        x, weight, bias, *_ = (*args, None)
        if func is F.linear:
            return _product(x, weight, bias)
        return _product(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)

    @staticmethod
    def _takes(func: Any, args: tuple[Any, ...]) -> bool:
        is_pointwise = func is torch.conv2d and args[1].shape[2:] == (1, 1) and _is_plain(*args[3:])
        return (
            (func is F.linear or is_pointwise)
            and not any(tensor.requires_grad for tensor in args[1:3] if tensor is not None)
            and all(_is_of_floats(tensor) for tensor in args[:3] if tensor is not None)
            and args[0].dim() == (4 if is_pointwise else max(args[0].dim(), 2))
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
            and torch.backends.mkldnn.is_available()
        )


def _is_of_floats(x: Tensor) -> bool:
    """Return whether a tensor is an ordinary one of float32 on the CPU: no subclass, not sparse, not inside a vmap."""
    return (
        type(x) in (Tensor, nn.Parameter)
        and (x.dtype, x.device.type, x.layout) == (torch.float32, "cpu", torch.strided)
        and not is_transformed(x)
    )


def _is_plain(stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> bool:
    """Return whether a 1×1 convolution is a product: all positions, no rim, one group."""
    return stride in (1, (1, 1)) and padding in (0, (0, 0), "valid", "same") and groups == 1


class _Product(torch.autograd.Function):
    """A linear layer by oneDNN whose gradient is one too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, "none", [], "")
        return product

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (weight,) = ctx.saved_tensors
        return _product(grad, weight.t().contiguous(), None), None, None


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = _Product.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return product
