"""Size: parameters, multiply-accumulates, activations and bytes of one forward pass, from one count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from scsc_lab.analysis.count import Count, CrossCheck
from scsc_lab.errors import InputError
from scsc_lab.metrics import Metric, Progress
from scsc_lab.networks.network import Network
from scsc_lab.networks.values import InputTensor
from scsc_lab.records import PARTIAL, Row
from scsc_lab.report import tables
from scsc_lab.report.parts import TRAINABLE

if TYPE_CHECKING:
    from torch import nn

    from scsc_lab.models.transplant import Change

_TRACE_BYTES_PER_ACTIVATION = 24
"""Bytes that tracing keeps for each activation, measured on resnet50 and swin_tiny and rounded up."""


@dataclass(frozen=True)
class Counting:
    """Settings of a count.

    Attributes:
        batch: images in the forward pass.
        train: whether to count a training step, forward and backward, in place of a forward pass.
        check: whether fvcore counts the forward pass too.
        dtype: element type of weights and inputs; empty: those of the network.
        by: what to break the counts down by: ``operator``, ``module`` or ``stage``; empty: by nothing.
        depth: levels of modules, where the counts are broken down by module.
        changes: whether to count what a transplant does to each operator.
    """

    batch: int = 1
    train: bool = False
    check: bool = False
    dtype: str = ""
    by: str = ""
    depth: int = 2
    changes: bool = False


def counted(network: Network, batch: int = 1, *, train: bool = False, dtype: str = "") -> Count:
    """Count one network at the input it is measured at, without weights, on the meta device.

    Args:
        network: the network; one from elsewhere that cannot run without values is built for real.
        batch: images in the forward pass.
        train: whether to count a training step, forward and backward, in place of a forward pass.
        dtype: element type of weights and inputs. Default: those of the network.

    Raises:
        InputError: if the network does not take this input, or its weights are wrong.
    """
    from scsc_lab.counting.count import count
    from scsc_lab.execution import passes
    from scsc_lab.models import build

    inputs = build.inputs(network, batch)
    if network.weights or (train and network.is_onnx):
        build.build(network)  # a file of another network is an error here too; an ONNX file has no gradients

    def counted_as(model: nn.Module) -> Count:
        positional, keywords = passes.arguments(model, inputs, list(map(_placeholder, inputs)))
        return count(model, inputs=positional, keywords=keywords, backward=train)

    try:
        return counted_as(_typed(build.empty(network), network, dtype))
    except InputError:
        if network.in_catalog or network.is_onnx:
            raise
        return counted_as(_typed(build.build(network), network, dtype))


def _placeholder(tensor: InputTensor) -> Any:
    """Return what stands for an input while it is counted: its shape, or a tensor without values of its type."""
    import torch

    if not tensor.dtype:
        return tensor.shape
    return torch.empty(tensor.shape, dtype=getattr(torch, tensor.dtype), device="meta")


def _typed(model: nn.Module, network: Network, dtype: str) -> nn.Module:
    """Return a network with its weights in an element type, if one is named."""
    import torch

    if dtype and network.is_onnx:
        raise InputError(f"--dtype {dtype}: {network} is an ONNX file, whose types are its own")
    return model.to(getattr(torch, dtype)) if dtype else model


def stages_of(network: Network) -> Mapping[str, Sequence[str]]:
    """Return the names of the modules that make up each stage of a network."""
    from scsc_lab.models import build
    from scsc_lab.models.stages import stages

    facts = build.facts(network)
    return stages(build.empty(network), (facts.channels, *facts.resolution))


def ledger(network: Network) -> list[Row]:
    """Return what a transplant does, one row per spatial operator: parameters and MACs of the module before and after.

    The differences sum to those of the whole network, which is the last row.

    Raises:
        InputError: if no operator fits the rules, or the network does not take this input.
    """
    from scsc_lab.counting.count import count
    from scsc_lab.models import build
    from scsc_lab.models.transplant import transplant

    assert network.transplant is not None
    facts = build.facts(network)
    shape = (1, facts.channels, *facts.resolution)
    original = replace(network, transplant=None)
    grafted, changes = transplant(build.empty(original), network.transplant, input_shape=shape)
    before, after = (
        {part.name: part for part in count(model, shape).by_module()} for model in (build.empty(original), grafted)
    )
    rows = []
    entries: list[Change | None] = [*changes, None]
    for change in entries:
        name = change.name if change else ""
        row: Row = {**(asdict(change) if change else {"name": "total"}), "model": str(original)}
        for key in ("params", "macs"):
            old, new = getattr(before[name], key), getattr(after[name], key)
            row |= {f"{key}_before": old, f"{key}_after": new, f"{key}_difference": new - old}
        rows.append(row)
    return rows


def measure(networks: Sequence[Network], settings: Counting, progress: Progress) -> list[Row]:
    """Return one row per network, counted without weights on the meta device.

    A row has what the settings ask for: fvcore's count under ``check``, the breakdown under ``parts``, the operators of
    a transplant under ``changes``.
    """
    from scsc_lab.models import build

    rows = []
    for network in networks:
        progress(f"counting {network}")
        count = counted(network, settings.batch, train=settings.train, dtype=settings.dtype)
        is_assumed = build.takes_image(network) and build.facts(network).resolution_assumed
        row: Row = {**count.row(), "resolution_assumed": is_assumed, "batch": settings.batch}
        if settings.train:
            backward = count.backward_macs
            row |= {"train": True, "forward_macs": count.macs - backward, "backward_macs": backward}
        if settings.check:
            row |= _checked(network, settings, count).row()
        if settings.by:
            row["parts"] = _parts(network, count, settings)
        if settings.changes and network.transplant is not None and network.form == "ordinary":
            row["changes"] = ledger(network)
        rows.append(row)
    return rows


def _parts(network: Network, count: Count, settings: Counting) -> list[Row]:
    """Return one row per operator, module or stage, the total last."""
    parts = count.by_module(settings.depth)
    if settings.by == "operator":
        parts = [*count.by_operator(), count.total]
    elif settings.by == "stage":
        parts = [*count.by_stage(stages_of(network)), count.total]
    return [
        {
            **vars(part),
            "name": part.name or "total",
            "macs_share": part.macs / count.macs if count.macs else None,
            "flops_share": part.flops / count.flops if count.flops else None,
        }
        for part in parts
    ]


def notes(rows: Sequence[Row]) -> list[str]:
    """Return what MACs are, which counts are partial, and where the input size was assumed."""
    sentences = [f"{tables.MACS_RULE}; counted as by `scsc-lab flops`."]
    return sentences + partial_counts(rows) + assumed(row["model"] for row in rows if row.get("resolution_assumed"))


def partial_counts(rows: Sequence[Row]) -> list[str]:
    """Return one line per network whose count is partial, with the operators without a rule."""
    by_model = {row["model"]: row["unknown_operators"] for row in rows if row.get("status") == PARTIAL}
    return [
        f"PARTIAL: {model} has operators without a rule, not counted: "
        f"{', '.join(f'{name} ({calls} calls)' for name, calls in unknown.items())}."
        for model, unknown in by_model.items()
    ]


def assumed(labels: Iterable[object]) -> list[str]:
    """Return the note on networks whose input size nothing says."""
    names = ", ".join(dict.fromkeys(map(str, labels)))
    says = "say" if ", " in names else "says"
    return [f"Input 224×224 was taken for {names}, which {says} none; --resolution sets it."] if names else []


def _checked(network: Network, settings: Counting, count: Count) -> CrossCheck:
    """Return fvcore's count of the forward pass, and how it differs."""
    from scsc_lab.counting.crosscheck import cross_check
    from scsc_lab.execution import hardware, passes
    from scsc_lab.models import build

    if network.is_onnx:
        return CrossCheck(None, failure="it counts modules of torch, not ONNX files")
    count = counted(network, settings.batch, dtype=settings.dtype) if settings.train else count
    needed = count.activations * _TRACE_BYTES_PER_ACTIVATION + 4 * count.params
    available = hardware.available_bytes()
    if available is not None and needed > available:
        return CrossCheck(
            None, failure=f"fvcore runs on real tensors: about {needed / 1e9:.0f} GB, {available / 1e9:.0f} GB are free"
        )
    model = _typed(build.empty(network, "cpu"), network, settings.dtype)
    inputs = build.inputs(network, settings.batch)
    positional, keywords = passes.arguments(model, inputs, list(map(_placeholder, inputs)))
    if keywords:
        return CrossCheck(None, failure=f"it takes no argument by its name alone, as {next(iter(keywords))} is")
    return cross_check(model, positional, count)


METRIC = Metric(
    name="size",
    columns=(tables.PARAMS, TRAINABLE, tables.MACS, tables.ACTIVATIONS, tables.BYTES),
    measure=measure,
    configure=lambda settings: Counting(settings.execution.batch),
    notes=notes,
    default=("params", "macs", "activations"),
)
ORDER = 1
