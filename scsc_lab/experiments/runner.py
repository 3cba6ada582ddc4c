"""The one runner: experiments → rows in a store, for every command. It resumes, and runs in several processes.

A measurement that the store has is not made again; one that an interrupt cut short is shown and not kept. Metrics that
must be alone run in this process after all else, one task at a time.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from scsc_lab.errors import InputError
from scsc_lab.execution import ending, pools
from scsc_lab.experiments import results
from scsc_lab.experiments.experiment import Experiment, Task, Use
from scsc_lab.experiments.results import Result
from scsc_lab.metrics import CUT_SHORT, FAILED
from scsc_lab.metrics import Progress as TaskProgress
from scsc_lab.provenance import versions
from scsc_lab.records import Row, grouped
from scsc_lab.store import Store

Progress = Callable[[str, float, int], None]
"""Called with a description, the tasks done (a fraction is allowed) and the tasks in total."""


@dataclass(frozen=True)
class Measured:
    """Outcome of experiments.

    Attributes:
        results: one per experiment, in order; arms whose tasks were not reached lack those numbers.
        interrupted: whether Ctrl-C ended it before everything was measured.
    """

    results: tuple[Result, ...]
    interrupted: bool = False


@dataclass(frozen=True)
class Requested:
    """The tasks of experiments, under their keys.

    Attributes:
        uses: the rows that each experiment's arms need.
        keys: the key of each task.
    """

    uses: tuple[tuple[Use, ...], ...]
    keys: dict[Task, str]

    @property
    def tasks(self) -> list[Task]:
        """Every task once, in the order of measurement: the first part of each, then the second, and so on."""
        parts: dict[tuple[int, int, str], list[Task]] = {}
        for number, uses in enumerate(self.uses):
            for use in uses:
                parts.setdefault((number, use.arm, use.metric), []).append(use.task)
        in_turns = itertools.chain.from_iterable(itertools.zip_longest(*parts.values()))
        by_key = {self.keys[task]: task for task in in_turns if task is not None}
        return list(by_key.values())


def ask(experiments: Sequence[Experiment], store: Store) -> Requested:
    """Return the tasks of experiments.

    Raises:
        InputError: if a network has no name, and so no key under which a file could keep its rows.
    """
    uses = [experiment.uses() for experiment in experiments]
    if store.path is not None or any(use.task.chain for part in uses for use in part):
        uses = [experiment.uses(str(store.checkpoints)) for experiment in experiments]
    tasks = list(dict.fromkeys(use.task for part in uses for use in part))
    by_number = store.path is None
    keys = {task: task.key if task.is_named or not by_number else f"task {at}" for at, task in enumerate(tasks)}
    return Requested(tuple(map(tuple, uses)), keys)


def run(
    experiments: Sequence[Experiment],
    store: Store | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Measure experiments and return their rows.

    The experiments are registered in the store before anything is measured. Tasks that are made of parts are measured
    part by part, in turns, so that pairs of one seed end together; an interrupt leaves them with the parts that are
    there, and the status ``cut short``.

    Args:
        experiments: what to measure.
        store: where rows are kept as they are measured; in memory without one.
        executor: any ``concurrent.futures`` executor, for what may run anywhere; this process without one.
        progress: called while measuring.

    Raises:
        InputError: if a network does not fit, or a process that measures has died; finished rows are kept.
        KeyboardInterrupt: if nothing was measured before an interrupt.
    """
    store = store or Store()
    requested = ask(experiments, store)
    records = [
        (experiment.row(), [arm.row() for arm in experiment.arms], [_use_row(use, requested) for use in uses])
        for experiment, uses in zip(experiments, requested.uses, strict=True)
    ]
    for record in records:
        store.register(*record)
    if any(task.kind.is_incomplete for task in requested.keys):
        store.forget(_incomplete(requested, store.all_rows()))
    unsaved, interrupted = _measure(requested, store, executor, progress)
    rows = store.all_rows() | unsaved
    read_results = tuple(results.result(*record, rows) for record in records)
    if interrupted and not any(requested.keys[task] in rows for task in requested.tasks):
        raise KeyboardInterrupt
    return Measured(read_results, interrupted)


def status(experiments: Sequence[Experiment], store: Store) -> str:
    """Return one line on how many measurements of experiments a store has, and how many are made again for a file."""
    requested = ask(experiments, store)
    rows = store.all_rows()
    keys = set(requested.keys.values())
    incomplete = len(_incomplete(requested, rows))
    again = f"; {incomplete} without their file are made again" if incomplete else ""
    return f"{store.path}: {len(keys & rows.keys()) - incomplete} of {len(keys)} measurements are stored{again}"


def _use_row(use: Use, requested: Requested) -> Row:
    return {
        "arm": use.arm,
        "key": requested.keys[use.task],
        "position": use.position,
        "part": use.part,
        "metric": use.metric,
    }


def _incomplete(requested: Requested, rows: dict[str, list[Row]]) -> list[str]:
    """Return the keys of stored measurements that lack a file beside the store which is wanted now."""
    return [
        key
        for task, key in requested.keys.items()
        if (is_incomplete := task.kind.is_incomplete)
        and any(is_incomplete(row, task.settings) for row in rows.get(key, ()))
    ]


def _measure(
    requested: Requested, store: Store, executor: Executor | None, progress: Progress | None
) -> tuple[dict[str, list[Row]], bool]:
    """Measure what the store has not; return the rows that are not kept, by key, and whether it was interrupted."""
    tasks, stored = requested.tasks, store.keys()
    missing = [task for task in tasks if requested.keys[task] not in stored]
    for task in tasks:
        if requested.keys[task] in stored:
            task.kind.clean_up(task.networks, task.settings)
    _check(missing)
    done, unsaved = len(tasks) - len(missing), dict[str, list[Row]]()

    def report(description: str, share: float = 0.0) -> None:
        if progress:
            progress(description, min(done + share, len(tasks)), len(tasks))

    try:
        for task, rows in _rows_of(missing, requested, store, executor, report):
            done += 1
            key = requested.keys[task]
            statuses = {status for row in rows for status in (row.get("status"), row.get(f"{task.metric}_status"))}
            if not statuses.isdisjoint((CUT_SHORT, FAILED)):
                unsaved[key] = rows
            else:
                _keep(store, key, task, rows)
            if CUT_SHORT in statuses:
                return unsaved, True
            report(f"{task.metric} of {task}")
    except KeyboardInterrupt:
        return unsaved, True
    return unsaved, False


def _check(tasks: Sequence[Task]) -> None:
    """Raise InputError if a task cannot be measured, where its metric knows before."""
    for name, kind in {task.metric: task.kind for task in tasks}.items():
        if kind.check is not None:
            kind.check([(task.networks, task.settings) for task in tasks if task.metric == name])


def _keep(store: Store, key: str, task: Task, rows: Sequence[Row]) -> None:
    """Keep the rows of a task, with the maps that they hold."""
    maps: dict[str, bytes] = {}
    plain = [_without_maps(row, maps) for row in rows]
    store.keep(key, task.row(), plain, maps)
    task.kind.clean_up(task.networks, task.settings)


def _without_maps(row: Row, maps: dict[str, bytes]) -> Row:
    """Return a row without the content of maps, which is added to ``maps`` under the name that the row has."""
    if "map" in row:
        maps[row["map_file"]] = row["map"]
    inner = {key: [_without_maps(each, maps) for each in row[key]] for key in ("stages", "moments") if key in row}
    return {key: value for key, value in row.items() if key != "map"} | inner


def _rows_of(
    tasks: Sequence[Task], requested: Requested, store: Store, executor: Executor | None, report: TaskProgress
) -> Iterator[tuple[Task, list[Row]]]:
    """Yield each task with its rows, as they are measured; another process may be faster with some of them."""
    elsewhere = [task for task in tasks if executor is not None and not task.kind.alone]
    if executor is not None:
        chains = grouped(elsewhere, lambda task: task.chain or requested.keys[task])
        current = versions()
        futures = {
            executor.submit(measure_elsewhere, chain, [requested.keys[task] for task in chain], current): chain
            for chain in chains.values()
        }
        for future in pools.completed(executor, futures):
            yield from zip(futures[future], future.result(), strict=True)
    for task in tasks:
        if task not in elsewhere:
            stored = store.find(requested.keys[task])
            yield task, _measured_here(task, report) if stored is None else stored


def measure_elsewhere(tasks: Sequence[Task], keys: Sequence[str], expected: Mapping[str, str]) -> list[list[Row]]:
    """Return the rows of tasks that one process measures in turn, and reports to nobody.

    Args:
        tasks: the tasks.
        keys: their keys where they were asked for.
        expected: versions of packages there.

    Raises:
        InputError: if this process has other versions, or other files of the networks.
    """
    where = f"a process on {socket.gethostname()}"
    for name, version in versions().items():
        if expected.get(name) != version:
            raise InputError(f"{where} has {name} {version}, where {expected.get(name, 'none')} is used")
    for task, key in zip(tasks, keys, strict=True):
        try:
            is_same = not task.is_named or Task(task.metric, task.networks, task.settings).key == key
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        if not is_same:
            raise InputError(f"{where} has other files of {task}: its code or weights differ")
    return [_measured_here(task, lambda description, share=0.0: None) for task in tasks]


def _measured_here(task: Task, report: TaskProgress) -> list[Row]:
    with _alone(), ending.time_limit(str(task), len(task.networks)):
        return task.measure(report)


def _alone() -> contextlib.AbstractContextManager[object]:
    """Return :func:`scsc_lab.execution.passes.alone`; where nobody has imported torch, nobody has changed it."""
    if "torch" not in sys.modules:
        return pools.MEASURING
    from scsc_lab.execution import passes

    return passes.alone()
