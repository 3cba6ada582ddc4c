"""Networks side by side: the experiment, and the stages or blocks of two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scsc_lab import metrics
from scsc_lab.architectures.network import Network
from scsc_lab.experiments.experiment import Experiment, Measure, comparison
from scsc_lab.records import Row
from scsc_lab.settings import Request


def experiment(
    networks: Sequence[Network],
    words: Sequence[str],
    request: Request | None = None,
    *,
    baseline: int = 0,
    values: Mapping[str, Mapping[str, float]] | None = None,
) -> Experiment:
    """Return the experiment of networks side by side, each with its change against the baseline.

    Args:
        networks: the networks.
        words: columns they are compared by: words of :func:`scsc_lab.metrics.words`.
        request: measurement options.
        baseline: position of the network that the others are compared with.
        values: the user's own results by metric, by network.

    Raises:
        InputError: if two networks have one name, or there is no such column.
    """
    request = request or Request()
    words = metrics.with_extra_columns(words, request)
    return comparison(networks, words, measures(words, request), baseline=baseline, batch=request.batch, values=values)


def measures(words: Sequence[str], request: Request) -> list[Measure]:
    """Return the metrics that give the columns of some words, configured."""
    return [Measure(metric.name, metric.configure(request)) for metric in metrics.chosen(words)]


def side_by_side(networks: Sequence[Network], by: str, batch: int = 1) -> list[Row]:
    """Return two networks stage by stage or block by block; see :mod:`scsc_lab.experiments.diff`."""
    from scsc_lab.experiments import diff
    from scsc_lab.metrics.size import counted
    from scsc_lab.models import build

    counts = [counted(network, batch).count for network in networks]
    return diff.rows([build.empty(network) for network in networks], counts, by)
