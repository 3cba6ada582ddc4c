"""Networks side by side: the experiment, and the stages or blocks of two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scsc_lab import metrics
from scsc_lab.experiments.experiment import Experiment, Measure, Roles, comparison
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
