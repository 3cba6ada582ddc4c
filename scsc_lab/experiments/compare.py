"""Comparisons and ablations as experiments, and the stages or blocks of two networks side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scsc_lab import metrics
from scsc_lab.experiments.experiment import Arm, Experiment, Measure, Roles, comparison
from scsc_lab.experiments.variants import Variant
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.settings import Settings


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
    """Return two networks stage by stage or block by block; see :mod:`scsc_lab.experiments.diff`."""
    from scsc_lab.experiments import diff
    from scsc_lab.metrics.size import counted
    from scsc_lab.models import build

    counts = [counted(network, batch) for network in networks]
    return diff.rows([build.empty(network) for network in networks], counts, by)
