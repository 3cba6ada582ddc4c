"""Ablations: variants of a network, each measured in the same way and compared with the full one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scsc_lab.experiments.compare import measures
from scsc_lab.experiments.experiment import Arm, Experiment
from scsc_lab.experiments.variants import Variant
from scsc_lab.settings import Settings


def experiment(
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
