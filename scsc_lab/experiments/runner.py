"""The one runner: networks × metrics → rows, for every command. Keys by content, one store, resume, executors.

A task that a store has is not measured again; what a metric could not finish is not kept. Metrics that must be alone
run in this process after all else, one task at a time.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, as_completed
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scsc_lab import metrics
from scsc_lab.architectures.network import Network
from scsc_lab.errors import InputError, first_line
from scsc_lab.experiments import kept
from scsc_lab.metrics import Metric, Tell
from scsc_lab.provenance import commit, machine, versions
from scsc_lab.records import Row
from scsc_lab.settings import Request
from scsc_lab.store import RowStore

Progress = Callable[[str, float, int], None]
"""Told what is being measured, the number of tasks done, the share of the one under way among them, and to do."""

CUT_SHORT = "cut short"
"""What a metric says, under ``<metric>_status``, of a row that an interrupt ended: it is shown and not kept."""


@dataclass(frozen=True)
class Task:
    """One measurement, as data: it may run in another process or on another machine.

    Attributes:
        metric: name of the metric.
        networks: one network; or several that are measured side by side, the baseline first.
        settings: the metric's settings.
    """

    metric: str
    networks: tuple[Network, ...]
    settings: Any

    @functools.cached_property
    def key(self) -> str:
        """What makes two measurements the same: networks, files, settings, versions, and the machine of times.

        A network is its spec, or the contents of its files with all that they import; its weights are their file's
        content. Of this package the key has the version, not the commit: a commit that changes no number, as nearly all
        do, would have every store measured again, and one that changes numbers is due a new version. Each row has the
        commit it was measured at, so that a reader sees where rows of one store are of several.

        Raises:
            InputError: if a network is a module in hand.
        """
        own = getattr(self.settings, "identity", None)  # of settings that say more than decides the numbers
        settings = own() if own else dataclasses.asdict(self.settings) if self.settings is not None else None
        identity = [self.metric, [network.identity() for network in self.networks], settings, _versions()]
        if metrics.registry()[self.metric].where == "alone":  # times of two machines are not to stand in one table
            identity.append(_machine())
        return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]

    @property
    def named(self) -> bool:
        """Whether every network has a name, so that the task has a key."""
        return all(network.module is None for network in self.networks)

    @property
    def kind(self) -> Metric:
        """The metric itself."""
        return metrics.registry()[self.metric]

    def parts(self, folder: Path | None = None) -> list[Task]:
        """Return the tasks that it is made of, each kept and gone on from by itself; it alone if it has none.

        Args:
            folder: where they keep what they go on from if they are killed; they do not without one.
        """
        made_of = self.kind.parts
        if made_of is not None:
            (network,) = self.networks
            found = [Task(made_of.metric, (network,), own) for own in made_of.split(network, self.settings)]
        else:
            found = [self]
        placed = found[0].kind.placed if found else None
        if folder is None or placed is None:
            return found
        return [dataclasses.replace(task, settings=placed(task.settings, folder)) for task in found]

    @property
    def chain(self) -> str:
        """What tasks share that one process measures in turn, since each resumes from the one before; else the key."""
        shared = getattr(self.settings, "chain", lambda: None)()
        if shared is None:
            return self.key
        return json.dumps([self.metric, [network.identity() for network in self.networks], shared], default=str)

    def measure(self, tell: Tell) -> list[Row]:
        """Return one row a network, in order; of a task that is not made of parts."""
        assert self.kind.measure is not None
        return self.kind.measure(self.networks, self.settings, tell)


@dataclass(frozen=True)
class Measured:
    """What became of tasks.

    Attributes:
        rows: the rows of each task that was measured, one a network.
        interrupted: whether a keyboard interrupt ended it before all were.
    """

    rows: Mapping[Task, list[Row]]
    interrupted: bool = False


def tasks(wanted: Sequence[Metric], networks: Sequence[Network], request: Request, baseline: int = 0) -> list[Task]:
    """Return the tasks of a comparison: each network measured by each metric, side by side where the metric wants it.

    Args:
        wanted: the metrics.
        networks: the networks.
        request: what was said about measuring.
        baseline: which network the others are compared with.
    """
    first = [networks[baseline], *networks[:baseline], *networks[baseline + 1 :]]
    found = []
    for metric in wanted:
        settings = metric.configure(request)
        groups = [tuple(first)] if metric.together else [(network,) for network in networks]
        found += [Task(metric.name, group, settings) for group in groups]
    return found


def run(
    given: Sequence[Task],
    store: RowStore | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Measure tasks; what the store holds is not measured again, and equal tasks are measured once.

    Tasks that are made of parts are measured part by part, in turns, so that pairs of one seed end together; an
    interrupt leaves them with the parts that are there, and the status ``cut short``.

    Args:
        given: what to measure.
        store: where rows are added as they are measured.
        executor: any ``concurrent.futures`` executor, for what may run anywhere; this process without one.
        progress: told what is being done.

    Returns:
        The rows of each task. A keyboard interrupt ends it: a metric that can, gives what it has, with its status
        ``cut short``, and the tasks behind it are missing.

    Raises:
        InputError: if a network does not fit, or a process that measures has died; what was measured is kept.
        KeyboardInterrupt: if nothing is there to show.
    """
    folder = store.path.with_name(f"{store.path.stem}.checkpoints") if store is not None else None
    parts = {task: task.parts(folder) for task in given}
    measured = _run(single(parts.values()), store, executor, progress)
    rows: dict[Task, list[Row]] = {}
    for task, own in parts.items():
        found = [measured.rows[part] for part in own if part in measured.rows]
        if found and task.kind.parts is None:
            rows[task] = found[0]
        elif found and task.kind.parts is not None:
            status = {} if len(found) == len(own) else {f"{task.metric}_status": CUT_SHORT}
            rows[task] = [{**task.kind.parts.join([row for (row,) in found]), **status}]
    return Measured(rows, measured.interrupted)


def single(parts: Iterable[Sequence[Task]]) -> list[Task]:
    """Return all parts of tasks in the order in which they are measured, each once.

    Args:
        parts: those of each task; the first part of each, then the second of each that has one, and so on.
    """
    by_turns = itertools.chain.from_iterable(itertools.zip_longest(*parts))
    return list(dict.fromkeys(task for task in by_turns if task is not None))


def _run(
    given: Sequence[Task], store: RowStore | None, executor: Executor | None, progress: Progress | None
) -> Measured:
    """Measure tasks that are not made of parts; see :func:`run`."""
    keyed = store is not None or executor is not None
    keys = {task: task.key if keyed or task.named else f"task {index}" for index, task in enumerate(given)}
    known = there(given, store)
    missing = {keys[task]: task for task in given if keys[task] not in known}
    for task in given:
        if keys[task] in known:
            _tidy(task)
    _check(list(missing.values()))
    done, interrupted = len(given) - len(missing), False

    def tell(what: str, share: float = 0.0) -> None:
        if progress:
            progress(what, min(done + share, len(given)), len(given))

    try:
        for task, rows in _measured(list(missing.values()), store, executor, tell):
            known[keys[task]] = rows
            done += 1
            interrupted = any(row.get(f"{task.metric}_status") == CUT_SHORT for row in rows)
            if interrupted:
                break
            if store is not None and task.kind.kept:
                known[keys[task]] = _keep(store, task, keys[task], rows)
                _tidy(task)
            tell(f"{task.metric} of {task.networks[-1]}")
    except KeyboardInterrupt:
        if not known:
            raise
        interrupted = True
    return Measured({task: known[keys[task]] for task in given if keys[task] in known}, interrupted)


def merged(measured: Mapping[Task, Sequence[Row]], networks: Sequence[Network], request: Request) -> list[Row]:
    """Return one row a network, with what every task found out about it."""
    rows: list[Row] = [_named(network, request) for network in networks]
    for task, found in measured.items():
        for row, own in zip(rows, networks, strict=True):
            at = _position(task, own)
            if at is not None:
                row |= found[at]
    return rows


def _position(task: Task, network: Network) -> int | None:
    """Return where a network stands in a task: of equal ones measured side by side each is itself."""
    same = [at for at, one in enumerate(task.networks) if one is network]
    return next(iter(same or [at for at, one in enumerate(task.networks) if one == network]), None)


_versions, _machine = functools.cache(versions), functools.cache(machine)


def resolution(network: Network) -> tuple[int, int]:
    """Return the input height and width, in pixels, that a network is measured at."""
    if network.resolution is not None:
        return network.resolution
    if network.entry is not None:
        return network.entry.resolution
    from scsc_lab.models.build import facts

    return facts(network).resolution


def check_names(networks: Sequence[Network]) -> None:
    """Raise InputError if two networks of a comparison have one name."""
    labels = [str(network) for network in networks]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"{label} is named twice: name each network once")


def _named(network: Network, request: Request) -> Row:
    own = {"network": network.text} if network.label else {}
    return {"model": str(network), **own, "resolution": list(resolution(network)), "batch": request.batch}


def there(given: Sequence[Task], store: RowStore | None) -> dict[str, list[Row]]:
    """Return the rows of every task that the store has whole, by key; those that lack a file are left out of it.

    Args:
        given: tasks that are not made of parts, whose settings say which files are wanted beside the rows.
        store: the store, if there is one.

    Raises:
        InputError: as for :func:`scsc_lab.experiments.kept.stored`.
    """
    if store is not None:
        wanting = {task.key: task for task in given if task.kind.lacks is not metrics.nothing_lacks}
        store.leave_out(
            lambda row: row.get("key") in wanting and wanting[row["key"]].kind.lacks(row, wanting[row["key"]].settings)
        )
    return kept.stored(store)


def status(given: Sequence[Task], store: RowStore) -> str:
    """Return one line on how many of some tasks a store has, and how many of those are measured again for a file."""
    before, known = kept.stored(store).keys(), there(given, store)
    keys = {task.key for task in given}
    lacking = len(keys & (before - known.keys()))
    again = f"; {lacking} without the file that is wanted are measured again" if lacking else ""
    repaired = "; a torn last line was cut off" if store.repaired else ""
    return f"{store.path}: {len(keys & known.keys())} of {len(keys)} measurements are there already{again}{repaired}"


def _check(given: Sequence[Task]) -> None:
    """Raise InputError if a task cannot be measured, where its metric knows before."""
    for name in dict.fromkeys(task.metric for task in given):
        check = metrics.registry()[name].check
        if check is not None:
            check([(task.networks, task.settings) for task in given if task.metric == name])


def _tidy(task: Task) -> None:
    if task.kind.tidy is not None:
        task.kind.tidy(task.networks, task.settings)


def _keep(store: RowStore, task: Task, key: str, rows: Sequence[Row]) -> list[Row]:
    """Add the rows of a task, and return those that the store has: another process may have been faster."""
    whole = []
    for position, (network, row) in enumerate(zip(task.networks, rows, strict=True)):
        head = {"key": key, "metric": task.metric, "position": position, "of": len(rows), "commit": commit()}
        whole.append(
            {**head, "model": str(network), "network": network.text, "resolution": list(resolution(network)), **row}
        )
    store.keep(whole)
    there = kept.one(store, key)
    if there is None:
        raise InputError(f"{store.path} has rows {key} that are not those of {task.metric}: take another file")
    return there


def _measured(
    given: Sequence[Task], store: RowStore | None, executor: Executor | None, tell: Tell
) -> Iterator[tuple[Task, list[Row]]]:
    def alone(task: Task) -> bool:
        return executor is None or metrics.registry()[task.metric].where == "alone"

    if executor is not None:
        chains: dict[str, list[Task]] = {}
        for task in itertools.filterfalse(alone, given):
            chains.setdefault(task.chain, []).append(task)
        futures = {executor.submit(measure_elsewhere, tasks): tasks for tasks in chains.values()}
        try:
            for future in as_completed(futures):
                yield from zip(futures[future], future.result(), strict=True)
        except BrokenExecutor:
            raise InputError("a process that measures has died; what was measured is kept: take fewer --jobs") from None
        finally:  # whatever ends this early, what has not begun is not begun
            for future in futures:
                future.cancel()
    last = "alone" if executor is not None else ""
    ordered = sorted(filter(alone, given), key=lambda task: metrics.registry()[task.metric].where == last)
    for task in ordered:
        if store is not None:
            store.refresh()  # another process may have measured it meanwhile
        there = kept.one(store, task.key) if store is not None else None
        yield task, there or task.measure(tell)


def measure_elsewhere(tasks: Sequence[Task]) -> list[list[Row]]:
    """Return the rows of tasks that one process measures in turn, without progress."""
    return [task.measure(_silent) for task in tasks]


def _silent(what: str, share: float = 0.0) -> None:
    """Tell nobody."""


def executor(kind: str, jobs: int) -> AbstractContextManager[Executor | None]:
    """Return where tasks run: this process, ``jobs`` processes, or an existing Dask cluster.

    Args:
        kind: ``local``, or the address of a Dask scheduler, ``tcp://host:8786``.
        jobs: processes, where it is local.

    Raises:
        InputError: if Dask is not installed, or no scheduler answers.
    """
    if kind == "local":
        if jobs == 1:
            return nullcontext(None)
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_deaf)
    return _dask_executor(kind)


def _deaf() -> None:
    """Leave Ctrl-C to the process that asked: the workers end when it does, without a word."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _dask_executor(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError:
        raise InputError("Dask is not installed: python -m pip install 'scsc-lab[dask]'") from None
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        reason = first_line(error)
        raise InputError(f"--executor {address!r}: neither local nor a Dask scheduler that answers: {reason}") from None
    with client, client.get_executor(pure=False) as found:
        yield found
