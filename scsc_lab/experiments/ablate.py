"""Ablations: variants of a network, each measured in the same way and held against the full one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

from scsc_lab import metrics
from scsc_lab.architectures.network import Network
from scsc_lab.experiments import runner
from scsc_lab.experiments.runner import Measured, Progress, Task
from scsc_lab.experiments.variants import Variant
from scsc_lab.records import Row
from scsc_lab.report import ablations
from scsc_lab.settings import Request
from scsc_lab.store import RowStore


def tasks(variants: Sequence[Variant], words: Sequence[str], request: Request) -> list[Task]:
    """Return what there is to measure: each variant by each metric, beside the full network where that is wanted.

    Args:
        variants: the variants of one or more studies, the full network first in each.
        words: what they are compared by: words of :func:`scsc_lab.metrics.words`.
        request: what is said about measuring.
    """
    return [task for variant, own in _tasks(variants, words, request) for task in own]


def parts(variants: Sequence[Variant], words: Sequence[str], request: Request) -> list[Task]:
    """Return the single measurements of :func:`tasks`, as a store keeps them."""
    return runner.single([task.parts() for task in tasks(variants, words, request)])


def run(
    variants: Sequence[Variant],
    words: Sequence[str],
    request: Request,
    store: RowStore | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> tuple[list[Row], Measured]:
    """Measure variants and return one row a variant, in order, and what became of the tasks.

    A variant that an interrupt left without its numbers has a row without them.

    Raises:
        InputError: if a variant does not take its input.
    """
    measured = runner.run(tasks(variants, words, request), store, executor, progress)
    rows = []
    for variant, own in _tasks(variants, words, request):
        (row,) = runner.merged({}, [variant.network], request)
        for task in own:
            if task in measured.rows:  # the variant's own row is the last of its task
                row |= measured.rows[task][-1]
        rows.append({"study": variant.study, "variant": variant.name, **row})
    return rows, measured


def with_changes(rows: Sequence[Row], words: Sequence[str]) -> list[Row]:
    """Return the rows of studies with their changes by the columns of some words."""
    return ablations.with_changes(rows, [metrics.columns()[word] for word in words])


def _tasks(variants: Sequence[Variant], words: Sequence[str], request: Request) -> list[tuple[Variant, list[Task]]]:
    full: dict[str, Variant] = {}
    for variant in variants:
        full.setdefault(variant.study, variant)
    settings = {metric: metric.configure(request) for metric in metrics.chosen(words)}
    found = []
    for variant in variants:
        against = full[variant.study].network
        beside = () if against == variant.network or _equal(against, variant.network) else (against,)
        own = [
            Task(metric.name, (*(beside if metric.together else ()), variant.network), how)
            for metric, how in settings.items()
        ]
        found.append((variant, own))
    return found


def _equal(one: Network, other: Network) -> bool:
    """Return whether two networks are the same under different names."""
    return one.module is None and other.module is None and one.identity() == other.identity()
