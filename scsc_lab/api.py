"""The Python interface: one function a command, on a name or on any ``nn.Module``."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from scsc_lab.analysis.field import Field
from scsc_lab.analysis.protocol import Protocol
from scsc_lab.counting import count as count_metric
from scsc_lab.errors import InputError
from scsc_lab.experiments import fields, size, speed
from scsc_lab.models.subject import Subject, subjects
from scsc_lab.records import Count
from scsc_lab.settings import Budget, Execution, Plan
from scsc_lab.timing.result import Timing


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


def latency(
    *models: str | nn.Module,
    resolution: int | tuple[int, int] | None = None,
    batches: Sequence[int] = (1,),
    channels: int = 3,
    device: str = "auto",
    dtype: str = "float32",
    memory_format: str = "auto",
    threads: int = 1,
    compile: bool = False,
    train: bool = False,
    pairs: int = 64,
    min_seconds: float = 2.0,
    max_seconds: float = 35.0,
    delta: float = 0.02,
    seed: int = 0,
    baseline: int = 0,
) -> list[Timing]:
    """Time networks side by side, and compare each with one of them; see :func:`scsc_lab.experiments.speed.measure`.

    Args:
        models: names of the catalog or from elsewhere, and modules with one image input, which are left as they are.
        resolution: input side, or height and width, in pixels; modules have none of their own.
        batches: batch sizes.
        channels: input channels of modules.
        device: ``auto``, or a device's name.
        dtype: ``float32``, ``bfloat16``, ``float16`` or ``float64``.
        memory_format: ``contiguous``, ``channels_last``, or ``auto``: the one in which each is faster.
        threads: threads of one operator on the CPU.
        compile: whether ``torch.compile`` makes them.
        train: forward and backward in training mode, in place of forward in evaluation mode.
        pairs: rounds wanted, in each of which every network is timed once.
        min_seconds: measure each batch size at least this long.
        max_seconds: measure each batch size no longer.
        delta: relative difference of times that counts as none.
        seed: seed of everything drawn at random.
        baseline: which of the networks the others are compared with.

    Returns:
        One timing a batch size and network, with ``median_seconds``, ``samples``, ``comparison`` and ``row()``.

    Raises:
        InputError: if a value is wrong, or a network fails on the input.
    """
    if not models:
        raise InputError("name at least one model, or give a module")
    if not 0 <= baseline < len(models):
        raise InputError(f"baseline {baseline}: one of the {len(models)} models, from 0")
    size_ = (resolution, resolution) if isinstance(resolution, int) else resolution
    if size_ is None and any(isinstance(model, nn.Module) for model in models):
        raise InputError("a module needs a resolution, e.g. resolution=224")
    plan = Plan(
        Execution(device, dtype, memory_format, threads, compile, train),
        Budget(pairs, min_seconds, max_seconds),
        tuple(batches),
        size_,
        seed,
        delta,
    )
    found = [
        subjects([model])[0] if isinstance(model, str) else _own_subject(model, size_ or (1, 1), channels)
        for model in models
    ]
    return speed.measure(found, plan, baseline=baseline)


def _own_subject(model: nn.Module, resolution: tuple[int, int], channels: int) -> Subject:
    return Subject(
        label=type(model).__name__,
        resolution=resolution,
        make=lambda: copy.deepcopy(model),
        make_empty=lambda _: count_metric.meta_copy(model),
        channels=channels,
    )


def erf(
    model: str | nn.Module,
    resolution: int | tuple[int, int] | None = None,
    *,
    stage: str | int | Sequence[str | int] = (),
    layer: str | Sequence[str] = (),
    samples: int = 32,
    images: str | Path | None = None,
    method: str = "linear",
    contribution: str = "abs",
    layout: str | None = None,
    seeds: int = 1,
    seed: int = 0,
    batch: int | None = None,
    device: str | None = None,
    weights: str | Path | None = None,
    mean: Sequence[float] = Subject.mean,
    std: Sequence[float] = Subject.std,
    **changes: object,
) -> list[Field]:
    """Measure effective receptive fields: maps, and figures of merit that can be compared across networks.

    Args:
        model: a name of the catalog or of a network from elsewhere, or any module; a module is left as it is.
        resolution: input side, or height and width, in pixels; a named network has a native one, a module 224.
        stage: stages by name or number, or ``"all"``; the last without.
        layer: modules by dotted name, in place of stages.
        samples: images.
        images: folder of images; synthetic ones with a natural spectrum without.
        method: ``linear``, or ``replknet``: the published algorithm.
        contribution: ``abs``, ``relu`` or ``signed``: what becomes of negative gradients.
        layout: ``nchw``, ``nhwc``, ``nlc`` or ``ncl``, where a shape does not tell.
        seeds: random initialisations to average over, of a named network.
        seed: seed of everything drawn at random.
        batch: images in one pass; found without.
        device: where to run; a module on its own device, a named network on the CPU, without.
        weights: checkpoint of a named network.
        mean: mean of each input channel of a module, for pixels from 0 to 1; as many as it has channels.
        std: deviation of each input channel of a module.
        changes: changes to a named network's spec.

    Returns:
        One field a stage or layer: ``.map`` (float64, ``(H, W)``, sum 1), ``.maps`` of each image, ``.figures()`` and
        ``.row()``, with 95 % intervals over images.

    Raises:
        InputError: if a name, stage or layer does not exist, or the network does not take this input.

    Source: Luo et al., arXiv 1701.04128; ``replknet``: Ding et al., arXiv 2203.06717.
    """
    if device is None:
        device = "cpu" if isinstance(model, str) else str(next((p.device for p in model.parameters()), "cpu"))
    stages = (stage,) if isinstance(stage, (str, int)) else stage
    protocol = Protocol(
        method=method,
        contribution=contribution,
        resolution=(resolution, resolution) if isinstance(resolution, int) else resolution,
        samples=samples,
        seeds=seeds,
        seed=seed,
        stages=tuple(map(str, stages)),
        layers=(layer,) if isinstance(layer, str) else tuple(layer),
        layout=layout,
        images=None if images is None else Path(images),
        batch=batch,
        device=device,
    )
    if isinstance(model, str):
        return fields.measure(subjects([model], changes, [] if weights is None else [str(weights)])[0], protocol)
    if changes or weights is not None:
        what = next(iter(changes), "weights")
        raise InputError(f"{what!r} is for named networks; a module is measured as it is")
    return fields.measure(fields.subject_of(model, tuple(mean), tuple(std)), protocol)
