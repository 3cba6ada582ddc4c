"""The Python interface: one function a command, on a name or on any ``nn.Module``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from scsc_lab import metrics as registry
from scsc_lab.analysis.field import Field
from scsc_lab.analysis.protocol import Protocol
from scsc_lab.architectures import catalog
from scsc_lab.architectures.network import Network
from scsc_lab.counting import count as counting
from scsc_lab.errors import InputError
from scsc_lab.experiments import ablate as ablating
from scsc_lab.experiments import compare as comparing
from scsc_lab.experiments import export as exporting
from scsc_lab.experiments import runner, variants
from scsc_lab.metrics import latency as latency_metric
from scsc_lab.metrics.erf import fields
from scsc_lab.metrics.size import counted
from scsc_lab.models import build as building
from scsc_lab.records import Count
from scsc_lab.settings import Budget, Execution, Plan, Request
from scsc_lab.store import RowStore
from scsc_lab.timing.result import Timing

if TYPE_CHECKING:
    import pandas

Resolution = int | tuple[int, int] | None


def list_models(family: str | None = None) -> list[str]:
    """Return the names of the catalog's networks, or of one family: ``resnet``, ``swin`` or ``faceresnet``.

    Raises:
        InputError: if there is no such family.
    """
    families = dict.fromkeys(entry.family for entry in catalog.CATALOG.values())
    if family is not None and family not in families:
        raise InputError(f"unknown family {family!r}: one of {', '.join(families)}")
    return [name for name, entry in catalog.CATALOG.items() if family in (None, entry.family)]


def network(model: str | nn.Module | Network, resolution: Resolution = None, **changes: object) -> Network:
    """Return a network as data: what is measured, compared, ablated and kept.

    Args:
        model: a name of the catalog or from elsewhere, a whole text form, or a module in hand, which is left as it is.
        resolution: input side, or height and width, in pixels; its own without.
        changes: changes to a named network's spec, or arguments of its factory.

    Raises:
        InputError: if the name or a change is wrong.
    """
    if isinstance(model, Network):
        found = model.changed(changes) if changes else model
    elif isinstance(model, nn.Module):
        found = Network(type(model).__name__, module=model).changed(changes)
    else:
        found = Network.of(model, changes)
    return replace(found, resolution=_size(resolution) or found.resolution)


def compare(
    *models: str | nn.Module | Network,
    metrics: Sequence[str] | None = None,
    resolution: Resolution = None,
    baseline: int = 0,
    request: Request | None = None,
) -> pandas.DataFrame:
    """Return networks side by side as a table, a row a network, with changes against one of them.

    Args:
        models: names, networks or modules.
        metrics: what they are compared by, e.g. ``["params", "macs", "latency"]``; the usual ones without.
        resolution: input side, or height and width, in pixels; their own without.
        baseline: which of them the others are compared with.
        request: how much is measured, and where: see :class:`scsc_lab.settings.Request`.

    Raises:
        InputError: if a name is wrong, or a network does not take its input.
    """
    found = _distinct([network(model, resolution) for model in models])
    if not 0 <= baseline < len(found):
        raise InputError(f"baseline {baseline}: one of the {len(found)} models, from 0")
    measured = comparing.measure(found, _words(metrics), request, baseline=baseline)
    return frame(measured.rows)


def ablate(
    model: str | nn.Module | Network,
    grid: Mapping[str, Sequence[object]] | None = None,
    *,
    studies: Sequence[str] = (),
    metrics: Sequence[str] = ("params", "macs", "activations", "bytes"),
    resolution: Resolution = None,
    store: str | Path | None = None,
    jobs: int = 1,
    request: Request | None = None,
) -> pandas.DataFrame:
    """Return variants of a network as a table, a row a variant, each with its changes against the full network.

    Args:
        model: a name or a network; ``swin_tiny + SCSC`` is one with a transplant.
        grid: values by key of ``--set``, or by ``rule.KEY`` of the transplant, e.g. ``{"rule.kernels": [(3, 5)]}``.
        studies: built-in studies; all of them where there is no grid.
        metrics: what the variants are compared by.
        resolution: input side, or height and width, in pixels; its own without.
        store: file that rows are kept in as they are measured; what it has is not measured again.
        jobs: processes that count.
        request: how much is measured, and where.

    Raises:
        InputError: if a name, key, value or study is wrong.
    """
    full = network(model, resolution)
    metrics = _words(metrics)
    found = variants.built_in(full, studies) if studies or not grid else []
    found += variants.grid(full, grid) if grid else []
    with runner.executor("local", jobs) as pool:
        kept = RowStore(Path(store)) if store is not None else None
        rows, measured = ablating.run(found, metrics, request or Request(pairs=32, samples=8), kept, pool)
    if measured.interrupted:
        raise KeyboardInterrupt
    return frame(ablating.with_changes(rows, metrics))


def frame(rows: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """Return rows as a pandas DataFrame: raw numbers, one column a key."""
    import pandas

    return pandas.DataFrame([dict(row) for row in rows])


def build(name: str, weights: str | Path | None = None, **changes: object) -> nn.Module:
    """Return a network of the catalog in evaluation mode.

    Args:
        name: name or alias, e.g. ``scsc_swin_tiny``.
        weights: checkpoint to load; without one the weights are random, from torch's global generator.
        changes: changes to its spec, as ``--set`` takes them, e.g. ``kernels=(3, 5, 7)``.

    Raises:
        InputError: if the name or a change is wrong, or the file holds other weights.
    """
    found = Network.of(name, changes)
    return building.build(found if weights is None else replace(found, weights=str(weights)))


def count(
    model: str | nn.Module,
    resolution: int | tuple[int, int] | None = None,
    batch: int = 1,
    *,
    input_shape: Sequence[int] | None = None,
    inputs: Any = None,
    keywords: Mapping[str, Any] | None = None,
    backward: bool = False,
    **changes: object,
) -> Count:
    """Count parameters, MACs, activations and bytes of one forward pass in evaluation mode, or of a training step.

    Args:
        model: a name of the catalog, or any module; a module is left as it is.
        resolution: input side, or height and width, in pixels; a network of the catalog has a native one.
        batch: images in the forward pass.
        input_shape: the whole input shape, for a module; in place of resolution and batch.
        inputs: what a module's ``forward`` takes, in place of ``input_shape``: a shape or a tensor, several of them in
            a tuple or list, or a mapping of keyword arguments; nested tuples, lists and dictionaries too.
        keywords: keyword arguments of ``forward`` beside the inputs.
        backward: whether the gradients of all parameters are counted too, in training mode.
        changes: changes to a named network's spec.

    Raises:
        InputError: if the name or a change is wrong, or the network does not take this input.
    """
    size_ = (resolution, resolution) if isinstance(resolution, int) else resolution
    if isinstance(model, str):
        if not (input_shape is inputs is keywords is None):
            raise InputError("input_shape and inputs are for modules; a named network takes resolution and batch")
        return counted(network(model, resolution, **changes), batch, train=backward).count
    if changes:
        raise InputError(f"{next(iter(changes))!r} changes a named network's spec; a module has none")
    if input_shape is size_ is inputs is keywords is None:
        raise InputError("a module needs input_shape, e.g. input_shape=(1, 3, 224, 224), or resolution=224")
    if input_shape is None and size_ is not None:
        input_shape = (batch, 3, *size_)
    return counting.count(model, input_shape, inputs=inputs, keywords=keywords, backward=backward)


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
    """Time networks side by side, and compare each with one of them; see :func:`scsc_lab.metrics.latency.timings`.

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
        seed,
        delta,
    )
    found = [_timed(model, size_, channels) for model in models]
    return latency_metric.timings(found, plan, baseline=baseline)


def _timed(model: str | nn.Module, resolution: tuple[int, int] | None, channels: int) -> Network:
    if isinstance(model, str):
        return network(model, resolution)
    return replace(network(model, resolution), channels=channels)


def export(
    model: str | nn.Module | Network,
    path: str | Path,
    resolution: Resolution = None,
    *,
    deploy: bool = False,
    weights: str | Path | None = None,
    channels: int | None = None,
    dynamic_batch: bool = False,
    opset: int | None = None,
    seed: int = 0,
    **changes: object,
) -> exporting.Exported:
    """Write a network to a file that another runtime runs, once it has been run there and agrees with torch.

    Args:
        model: a name of the catalog or from elsewhere, a whole text form, a network, or a module in hand with one
            image input, which is left as it is.
        path: the file: ``.onnx``, or ``.pt2`` for torch's exported program; written whole or not at all.
        resolution: input side, or height and width, in pixels. Default: its own, or 224.
        deploy: whether it is the deploy form that is written.
        weights: checkpoint of a named network.
        channels: input channels of a network that has none of its own.
        dynamic_batch: whether the number of images is left open. Default: one.
        opset: version of ONNX's operators. Default: the one that torch's exporter takes.
        seed: seed of random weights and of the inputs it is checked with.
        changes: changes to a named network's spec, or arguments of its factory.

    Raises:
        InputError: if a value is wrong, the network cannot be exported, with the module and the operator at fault, or
            what was exported computes something else.
    """
    found = network(model, resolution, **changes)
    found = found if weights is None else replace(found, weights=str(weights))
    found = found if channels is None else replace(found, channels=channels)
    return exporting.export(
        found.deployed() if deploy else found, Path(path), dynamic_batch=dynamic_batch, opset=opset, seed=seed
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
    seeds: int | None = None,
    seed: int = 0,
    batch: int | None = None,
    device: str | None = None,
    weights: str | Path | None = None,
    mean: Sequence[float] = building.Facts.mean,
    std: Sequence[float] = building.Facts.std,
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
        seeds: random initialisations to average over, of a named network. Default: 3 where its weights are random.
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
        named = Network.of(model, changes)
        return fields(named if weights is None else replace(named, weights=str(weights)), protocol)
    if changes or weights is not None:
        what = next(iter(changes), "weights")
        raise InputError(f"{what!r} is for named networks; a module is measured as it is")
    given = replace(network(model), channels=len(mean))
    return fields(given, protocol, normalisation=(tuple(mean), tuple(std)))


def _size(resolution: Resolution) -> tuple[int, int] | None:
    return (resolution, resolution) if isinstance(resolution, int) else resolution


def _words(given: Sequence[str] | None) -> list[str]:
    return registry.words(usual=True) if given is None else [given] if isinstance(given, str) else list(given)


def _distinct(networks: Sequence[Network]) -> list[Network]:
    """Return networks with a number behind the names of modules of one class, so that each has a name of its own."""
    names = [str(found) for found in networks]
    found = []
    for index, (one, name) in enumerate(zip(networks, names, strict=True)):
        again = one.module is not None and names.count(name) > 1
        found.append(replace(one, label=f"{name} {names[: index + 1].count(name)}") if again else one)
    return found
