"""The Python interface: one function per command, on a name or on any ``nn.Module``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from scsc_lab import metrics as registry
from scsc_lab.counting import count as counting
from scsc_lab.errors import InputError
from scsc_lab.execution.passes import alone
from scsc_lab.execution.pools import Parallel
from scsc_lab.experiments import compare as comparing
from scsc_lab.experiments import runner, variants
from scsc_lab.experiments.results import Result
from scsc_lab.metrics import export as exporting
from scsc_lab.metrics import latency as latency_metric
from scsc_lab.metrics.erf import fields
from scsc_lab.metrics.size import counted, stages_of
from scsc_lab.models import build as building
from scsc_lab.models.in_hand import Model, Resolution, network, side_by_side
from scsc_lab.models.stages import stages
from scsc_lab.networks.values import are_texts
from scsc_lab.report.results import Count, Field, Latencies, ReceptiveFields
from scsc_lab.settings import Execution, Fields, Settings, Timing, Training
from scsc_lab.settings.declaration import argument_names, from_arguments, with_settings
from scsc_lab.store import Store

if TYPE_CHECKING:
    from scsc_lab.report.frames import Ablation, Comparison


@with_settings(Execution, Timing, Fields, Training)
def compare(
    *models: Model,
    metrics: Sequence[str] | None = None,
    baseline: int = 0,
    resolution: Resolution = None,
    channels: int | None = None,
    inputs: Any = None,
    **settings: Any,
) -> Comparison:
    """Return networks side by side as a table, one row per network, with changes against one of them.

    Args:
        models: names, networks or modules.
        metrics: columns to compare by, e.g. ``["params", "macs", "latency"]``. Default: as ``scsc-lab compare``.
        baseline: position of the network that the others are compared with.
        resolution: input side, or height and width, in pixels. Default: their own, or 224 without one.
        channels: input channels of networks outside the catalog. Default: their own.
        inputs: other inputs than one image, for all; see :func:`scsc_lab.network`.
        settings: measurement settings by name; see below.

    Returns:
        A pandas DataFrame of raw numbers with ``to_latex()`` and ``plot()``.

    Raises:
        InputError: if a name or value is wrong, or a network does not take its input.
    """
    networks = side_by_side(models, resolution, channels, baseline, inputs)
    metrics = registry.default_column_names() if metrics is None else metrics
    columns = [metrics] if isinstance(metrics, str) else list(metrics)
    how = latency_metric.with_runtimes(Settings.of(settings), columns)
    result = _result(runner.run([comparing.experiment(networks, columns, how, baseline=baseline)]))
    from scsc_lab.report import frames

    return frames.Comparison.of(result.rows, result.columns, result.notes)


@with_settings(Execution, Timing, Fields, Training)
def ablate(
    model: Model,
    grid: Mapping[str, Sequence[object]] | None = None,
    *,
    vary: Mapping[str, Sequence[object]] | None = None,
    studies: Sequence[str] = (),
    metrics: Sequence[str] = ("params", "macs", "activations", "bytes"),
    resolution: Resolution = None,
    channels: int | None = None,
    store: str | Path | None = None,
    jobs: int = 1,
    **settings: Any,
) -> Ablation:
    """Return variants of a network as a table, one row per variant, each with its changes against the full network.

    Args:
        model: a name or a network; ``swin_tiny + SCSC`` is one with a transplant.
        grid: values by key of ``--set``, or by ``rule.KEY`` of the transplant, e.g. ``{"rule.kernels": [(3, 5)]}``.
        vary: values by key, one factor at a time: a variant per value, not all combinations.
        studies: built-in studies; all of SCSC's where there is no grid. ``mixers`` takes any network.
        metrics: columns to compare by.
        resolution: input side, or height and width, in pixels. Default: its own, or 224 without one.
        channels: input channels of a network outside the catalog. Default: its own.
        store: file that stores rows as they are measured; stored measurements are not repeated.
        jobs: processes that count.
        settings: measurement settings by name; see below.

    Returns:
        A pandas DataFrame of raw numbers with ``to_latex()`` and ``plot()``.

    Raises:
        InputError: if a name, key, value or study is wrong.
    """
    full = network(model, resolution, channels=channels)
    studied = variants.built_in(full, studies) if studies or not (grid or vary) else []
    studied += variants.of_values(full, vary or {}, grid or {}) if grid or vary else []
    columns = [metrics] if isinstance(metrics, str) else list(metrics)
    how = latency_metric.with_runtimes(Settings.of(settings), columns)
    with Parallel(jobs).pool() as pool:
        experiment = comparing.ablation(studied, registry.with_extra_columns(columns, how), how)
        result = _result(runner.run([experiment], Store(Path(store) if store is not None else None), pool))
    from scsc_lab.report import frames

    return frames.Ablation.of(result.rows, result.columns, result.notes)


@with_settings()
@alone()
def count(
    model: Model,
    resolution: Resolution = None,
    batch: int = 1,
    *,
    channels: int | None = None,
    input_shape: Sequence[int] | None = None,
    inputs: Any = None,
    keywords: Mapping[str, Any] | None = None,
    train: bool = False,
    **changes: object,
) -> Count:
    """Count parameters, MACs, activations and bytes of one forward pass in evaluation mode, or of a training step.

    Args:
        model: a name of the catalog or from elsewhere, a network, or any module; a module is left as it is.
        resolution: input side, or height and width, in pixels. Default: its own, if it has one.
        batch: images in the forward pass.
        channels: input channels of a network outside the catalog. Default: its own.
        input_shape: whole input shape of a module.
        inputs: arguments of ``forward``, if not one image; see :func:`scsc_lab.network`. Modules take nested ones.
        keywords: further keyword arguments of ``forward``.
        train: count forward and backward in training mode, not forward in evaluation mode.
        changes: changes to a named network's spec, or arguments of its factory.

    Raises:
        InputError: if the name or a change is wrong, or the network does not take this input.
    """
    if not isinstance(model, nn.Module) or are_texts(inputs):
        if input_shape is not None or keywords is not None:
            raise InputError("input_shape and keywords are for modules; a named network takes resolution or inputs")
        to_count = network(model, resolution, channels=channels, inputs=inputs).changed(changes)
        return Count.of(counted(to_count, batch, train=train), lambda: stages_of(to_count))
    if changes:
        raise InputError(f"{next(iter(changes))!r} changes a named network's spec; a module has none")
    if input_shape is None and (resolution is not None or inputs is keywords is None):
        facts = building.facts(network(model, resolution, channels=channels))
        if facts.resolution_assumed:
            raise InputError("a module needs input_shape, e.g. input_shape=(1, 3, 224, 224), or resolution=224")
        input_shape = (batch, facts.channels, *facts.resolution)
    count = counting.count(model, input_shape, inputs=inputs, keywords=keywords, backward=train)
    return Count.of(count, lambda: stages(model, input_shape))


@with_settings(Execution, Timing)
@alone()
def latency(
    *models: Model,
    resolution: Resolution = None,
    batch: int | Sequence[int] = 1,
    channels: int | None = None,
    inputs: Any = None,
    baseline: int = 0,
    compile: bool = False,
    **settings: Any,
) -> Latencies:
    """Time networks side by side, and compare each with one of them; see :func:`scsc_lab.metrics.latency.timings`.

    Args:
        models: names of the catalog or from elsewhere, networks, and modules, which are left as they are.
        resolution: input side, or height and width, in pixels. Default: their own, if they have one.
        batch: images per pass; several, to measure each.
        channels: input channels of networks outside the catalog. Default: their own.
        inputs: other inputs than one image, for all; see :func:`scsc_lab.network`.
        baseline: position of the network that the others are compared with.
        compile: the same as ``runtimes=["compile"]``.
        settings: settings of execution and timing by name; see below.

    Returns:
        One :class:`scsc_lab.timing.result.Latency` per batch size, runtime and network; a list with ``frame()``,
        ``to_latex()`` and ``plot()``.

    Raises:
        InputError: if a value is wrong, a runtime is not installed, or no network runs on the input.
    """
    execution, timing = from_arguments((Execution, Timing), {"batches": batch, **settings})
    if compile and timing.runtimes not in (("torch",), ("compile",)):
        raise InputError("compile stands for runtimes=['compile']: add 'compile' to runtimes instead")
    timing = replace(timing, runtimes=("compile",)) if compile else timing
    networks = side_by_side(models, resolution, channels, baseline, inputs)
    modules = [network_ for network_ in networks if network_.module is not None and not network_.inputs]
    if any(building.facts(network_).resolution_assumed for network_ in modules):
        raise InputError("a module needs a resolution, e.g. resolution=224")
    return Latencies(latency_metric.timings(networks, Settings(execution, timing), baseline=baseline))


@with_settings()
@alone()
def export(
    model: Model,
    path: str | Path,
    resolution: Resolution = None,
    *,
    deploy: bool = False,
    weights: str | Path | None = None,
    channels: int | None = None,
    inputs: Any = None,
    dynamic_batch: bool = False,
    opset: int | None = None,
    seed: int = 0,
    **changes: object,
) -> exporting.Exported:
    """Write a network to a file for another runtime, after running it there and comparing it with torch.

    Args:
        model: a name of the catalog or from elsewhere, a network, or a module, which is left as it is.
        path: the file: ``.onnx``, or ``.pt2`` for torch's exported program; written whole or not at all.
        resolution: input side, or height and width, in pixels. Default: its own, or 224.
        deploy: whether to write the deploy form.
        weights: checkpoint of a named network.
        channels: input channels of a network that declares none.
        inputs: other inputs than one image; see :func:`scsc_lab.network`.
        dynamic_batch: whether to leave the number of images open. Default: one image.
        opset: version of ONNX's operators. Default: that of torch's exporter.
        seed: seed of random weights and of the inputs of the comparison.
        changes: changes to a named network's spec, or arguments of its factory.

    Raises:
        InputError: if a value is wrong, the network cannot be exported, or the exported file computes something else.
    """
    chosen = network(model, resolution, channels=channels, inputs=inputs, weights=weights).changed(changes)
    form = chosen.deployed() if deploy else chosen
    return exporting.export(form, exporting.Export(str(path), dynamic_batch, opset, seed))


@with_settings(Execution, Fields)
@alone()
def erf(
    model: Model,
    resolution: Resolution = None,
    *,
    batch: int | None = None,
    channels: int | None = None,
    device: str | None = None,
    weights: str | Path | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    **changes: Any,
) -> ReceptiveFields:
    """Measure effective receptive fields: maps, and figures of merit that are comparable across networks.

    Args:
        model: a name of the catalog or from elsewhere, a network, or any module; a module is left as it is.
        resolution: input side, or height and width, in pixels. Default: its own, or 224 without one.
        batch: images per pass. Default: as many as the memory allows.
        channels: input channels of a network outside the catalog. Default: its own.
        device: where to run. Default: a module's own device, else ``auto``.
        weights: checkpoint of a named network.
        mean: mean of each channel, for pixels from 0 to 1. Default: the network's own, or ImageNet's.
        std: deviation of each channel. Default: likewise.
        changes: settings of the field, see below; changes to a named network's spec, or arguments of its factory.

    Returns:
        One field per stage or layer: ``.map`` (float64, ``(H, W)``, sum 1), ``.maps`` of each image, ``.figures()``,
        ``.row()`` with 95 % intervals; a list with ``frame()``, ``to_latex()`` and ``plot()``.

    Raises:
        InputError: if a name, stage or layer does not exist, or the network does not take this input.

    Source: Luo et al., arXiv 1701.04128; ``replknet``: Ding et al., arXiv 2203.06717.
    """
    settings = {name: changes.pop(name) for name in list(changes) if name in argument_names((Execution, Fields))}
    if mean is not None and channels is None:
        channels = len(mean)
    chosen = network(model, resolution, channels=channels, weights=weights).changed(changes)
    if device is None and isinstance(chosen.module, nn.Module):
        device = str(next((parameter.device for parameter in chosen.module.parameters()), "cpu"))
    execution, how = from_arguments((Execution, Fields), {**settings, "device": device, "chunk": batch})
    facts = building.facts(chosen)
    pixels = (tuple(mean or facts.mean), tuple(std or facts.std))
    measured = fields(chosen, Settings(execution, fields=how), normalisation=pixels)
    return ReceptiveFields(Field(field.setting, field.maps, field.support) for field in measured)


def _result(measured: runner.Measured) -> Result:
    if measured.interrupted:
        raise KeyboardInterrupt
    return measured.results[0]
