"""The Python interface: one function a command, on a name or on any ``nn.Module``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from scsc_lab.errors import InputError
from scsc_lab.metrics import count as count_metric
from scsc_lab.models.subject import subjects
from scsc_lab.records import Count
from scsc_lab.studies import size


def build(name: str, weights: str | Path | None = None, **changes: object) -> nn.Module:
    """Return a network of the catalog in evaluation mode.

    Args:
        name: name or alias, e.g. ``scsc_swin_tiny``.
        weights: checkpoint to load; without one the weights are random, from torch's global generator.
        changes: changes to its spec, as ``--set`` takes them, e.g. ``kernels=(3, 5, 7)``.

    Raises:
        InputError: if the name or a change is wrong, or the file holds other weights.
    """
    files = [] if weights is None else [str(weights)]
    return subjects([name], changes, files)[0].make()


def count(
    model: str | nn.Module,
    resolution: int | tuple[int, int] | None = None,
    batch: int = 1,
    *,
    input_shape: Sequence[int] | None = None,
    **changes: object,
) -> Count:
    """Count parameters, MACs, activations and bytes of one forward pass in evaluation mode.

    Args:
        model: a name of the catalog, or any module; a module is left as it is.
        resolution: input side, or height and width, in pixels; a network of the catalog has a native one.
        batch: images in the forward pass.
        input_shape: the whole input shape, for a module; in place of resolution and batch.
        changes: changes to a named network's spec.

    Raises:
        InputError: if the name or a change is wrong, or the network does not take this input.
    """
    size_ = (resolution, resolution) if isinstance(resolution, int) else resolution
    if isinstance(model, str):
        if input_shape is not None:
            raise InputError("input_shape is for modules; a named network takes resolution and batch")
        return size.measure(subjects([model], changes)[0], size_, batch, check=False).count
    if changes:
        raise InputError(f"{next(iter(changes))!r} changes a named network's spec; a module has none")
    if input_shape is None and size_ is None:
        raise InputError("a module needs input_shape, e.g. input_shape=(1, 3, 224, 224), or resolution=224")
    return count_metric.count(model, input_shape or (batch, 3, *(size_ or ())))
