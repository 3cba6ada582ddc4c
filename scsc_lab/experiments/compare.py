"""Comparisons and ablations as experiments, and the stages or blocks of two networks side by side."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from scsc_lab import metrics
from scsc_lab.analysis.count import Count, Part
from scsc_lab.errors import InputError
from scsc_lab.experiments.experiment import Arm, Experiment, Kind, Measure
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.settings import Settings

if TYPE_CHECKING:
    from torch import nn

    from scsc_lab.experiments.variants import Variant


Roles = Sequence[tuple[int, int | None]]
"""Position of a network, and that of the network it is compared with; None for a baseline. One pair per arm."""

COUNTED = ("params", "macs", "activations", "bytes")
"""Columns that one count of a network gives."""


def comparison(
    networks: Sequence[Network],
    column_names: Sequence[str],
    measures: Sequence[Measure],
    *,
    baseline: int = 0,
    roles: Roles = (),
    batch: int = 1,
    values: Mapping[str, Mapping[str, float]] | None = None,
    kind: Kind = "comparison",
    details: Mapping[str, Any] | None = None,
) -> Experiment:
    """Return networks side by side, each compared with one of them.

    Args:
        networks: the networks.
        column_names: columns that are shown.
        measures: what they are measured by.
        baseline: position of the network that the others are compared with, where there are no roles.
        roles: which network is compared with which, for several baselines.
        batch: images in one pass.
        values: the user's own results by metric, by the network's label.
        kind: ``comparison``, or ``noise`` for a network against itself.
        details: what else is needed to show it.

    Raises:
        InputError: if two networks of a comparison have one name.
    """
    if kind == "comparison":
        check_names(networks)
    roles = roles or [(at, None if at == baseline else baseline) for at in range(len(networks))]
    arm_of = {network: at for at, (network, reference) in enumerate(roles) if reference is None}
    arms = tuple(
        Arm(
            networks[at],
            None if reference is None else arm_of[reference],
            values=(values or {}).get(str(networks[at]), {}),
        )
        for at, reference in roles
    )
    return Experiment(kind, arms, tuple(measures), tuple(column_names), batch, details or {})


def check_names(networks: Sequence[Network]) -> None:
    """Raise InputError if two networks of a comparison have one name."""
    labels = [str(network) for network in networks]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"{label} is named twice: name each network once")


def experiment(
    networks: Sequence[Network],
    column_names: Sequence[str],
    settings: Settings | None = None,
    *,
    baseline: int = 0,
    roles: Roles = (),
    values: Mapping[str, Mapping[str, float]] | None = None,
) -> Experiment:
    """Return the experiment of networks side by side, each with its change against the baseline.

    Args:
        networks: the networks.
        column_names: columns they are compared by; see :func:`scsc_lab.metrics.column_names`.
        settings: measurement settings.
        baseline: position of the network that the others are compared with, where there are no roles.
        roles: which network is compared with which, for several baselines.
        values: the user's own results by metric, by network.

    Raises:
        InputError: if two networks have one name, or there is no such column.
    """
    settings = settings or Settings()
    column_names = metrics.with_extra_columns(column_names, settings)
    configured = measures(column_names, settings)
    batch = settings.execution.batch
    return comparison(networks, column_names, configured, baseline=baseline, roles=roles, batch=batch, values=values)


def ablation(
    variants: Sequence[Variant],
    column_names: Sequence[str],
    settings: Settings,
    details: Mapping[str, Any] | None = None,
) -> Experiment:
    """Return the experiment of variants, each beside the full network of its study where that matters.

    Args:
        variants: the variants of one or more studies, the full network first in each.
        column_names: columns they are compared by; see :func:`scsc_lab.metrics.column_names`.
        settings: measurement settings.
        details: what else is needed to show it.

    Raises:
        InputError: if there is no such column.
    """
    full: dict[str, int] = {}
    arms = []
    for at, variant in enumerate(variants):
        baseline = full.setdefault(variant.study, at)
        arms.append(Arm(variant.network, None if baseline == at else baseline, variant.study, variant.name))
    configured, batch = tuple(measures(column_names, settings)), settings.execution.batch
    return Experiment("ablation", tuple(arms), configured, tuple(column_names), batch, details or {})


def measures(column_names: Sequence[str], settings: Settings) -> list[Measure]:
    """Return the metrics that give the columns of some words, configured."""
    return [Measure(metric.name, metric.configure(settings)) for metric in metrics.chosen(column_names)]


def side_by_side(networks: Sequence[Network], by: str, batch: int = 1) -> list[Row]:
    """Return two networks stage by stage or block by block; see :func:`aligned`."""
    from scsc_lab.metrics.size import counted
    from scsc_lab.models import build

    counts = [counted(network, batch) for network in networks]
    return aligned([build.empty(network) for network in networks], counts, by)


def aligned(models: Sequence[nn.Module], counts: Sequence[Count], by: str) -> list[Row]:
    """Return one row per stage or block of either network, and the total; the differences sum to the total's.

    Stages go together by name. Blocks do too, in order; between two pairs of equal names, blocks of other names go
    together one by one where there are as many on both sides, else each stands alone.

    Args:
        models: two networks.
        counts: their counts.
        by: ``stage`` or ``module``.
    """
    from scsc_lab.models.stages import stages

    first, second = (
        count.by_stage(stages(model)) if by == "stage" else blocks(model, count)
        for model, count in zip(models, counts, strict=True)
    )
    totals = [Part("total", 0, count.params, count.macs, count.activations, count.bytes) for count in counts]
    return [_row(*pair) for pair in (*_aligned(first, second), (totals[0], totals[1]))]


def blocks(model: nn.Module, count: Count) -> list[Part]:
    """Return the blocks of a network, in order: parts that together are the whole.

    A module is taken apart as long as it, or a part of it, lists modules that have parts themselves; what such a
    module does between its parts is a row of its own.
    """
    counted = {part.name: part for part in count.by_module()}
    parts: list[Part] = []

    def take_apart(name: str, module: nn.Module, root: bool = False) -> None:
        if not root and not _is_nest(module) and not any(map(_is_nest, module.children())):
            parts.append(counted[name])
            return
        at = len(parts)
        inside = []
        for child_name, child in module.named_children():
            qualified = f"{name}.{child_name}" if name else child_name
            if qualified in counted:  # not if it is shared and was met before
                inside.append(counted[qualified])
                take_apart(qualified, child)
        between = _minus(counted[name], inside, f"{name or 'network'} (between its parts)")
        if any(getattr(between, key) for key in ("params", "macs", "activations")):
            parts.insert(at, between)

    take_apart("", model, root=True)
    return [part for part in parts if part.params or part.macs]


def _is_nest(module: nn.Module) -> bool:
    """Return whether a module lists modules that have parts themselves."""
    from torch import nn

    lists = isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict))
    return lists and any(next(child.children(), None) is not None for child in module.children())


def _minus(part: Part, inside: Sequence[Part], name: str) -> Part:
    rest = {key: getattr(part, key) - sum(getattr(part_inside, key) for part_inside in inside) for key in COUNTED}
    return Part(name, 0, **rest)


def _aligned(first: Sequence[Part], second: Sequence[Part]) -> Iterator[tuple[Part | None, Part | None]]:
    names = [[part.name for part in parts] for parts in (first, second)]
    for kind, i1, i2, j1, j2 in difflib.SequenceMatcher(None, names[0], names[1], autojunk=False).get_opcodes():
        if kind == "equal" or i2 - i1 == j2 - j1:
            yield from zip(first[i1:i2], second[j1:j2], strict=True)
            continue
        yield from zip_longest(first[i1:i2], ())
        for part in second[j1:j2]:
            yield None, part


def _row(first: Part | None, second: Part | None) -> Row:
    names = list(dict.fromkeys(part.name for part in (first, second) if part))
    row: Row = {"name": " → ".join(names)}
    for key in COUNTED:
        before = getattr(first, key) if first else None
        after = getattr(second, key) if second else None
        row |= {f"{key}_first": before, f"{key}_second": after, f"{key}_difference": (after or 0) - (before or 0)}
    return row
