"""Ablations of SCSC: variants measured in the same way, here, in several processes or on a cluster."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, as_completed
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass

from scsc_lab.analysis.protocol import Protocol
from scsc_lab.counting.count import count
from scsc_lab.errors import InputError
from scsc_lab.execution import device as devices
from scsc_lab.experiments import fields, speed
from scsc_lab.experiments.variants import Variant
from scsc_lab.models import build
from scsc_lab.models.subject import of
from scsc_lab.provenance import machine, versions
from scsc_lab.records import Row
from scsc_lab.settings import Plan
from scsc_lab.store import RowStore
from scsc_lab.timing.result import CUT_SHORT

_TIMED = (
    *("median_seconds", "iqr_seconds", "samples_seconds", "ratio_low", "ratio_high", "verdict", "seed"),
    *("device", "device_name", "dtype", "memory_format", "threads", "compile", "mode"),
)

COUNTED = ("params", "macs", "activations", "bytes")
"""Metrics that one count gives."""


@dataclass(frozen=True)
class Task:
    """One measurement of one variant, as data: it may run in another process or on another machine.

    Attributes:
        variant: the network.
        resolution: input height and width, in pixels.
        batch: images in the forward pass.
        how: what is measured: a count without more, a latency by a plan, a receptive field by a protocol.
        against: the full network, which a latency is paired with.
    """

    variant: Variant
    resolution: tuple[int, int]
    batch: int = 1
    how: Plan | Protocol | None = None
    against: Variant | None = None

    @property
    def key(self) -> str:
        """What makes two measurements the same: spec, probe, way of measuring and versions."""
        spec = self.variant.network.spec
        identity: list[object] = [type(spec).__name__, asdict(spec), self.resolution, self.batch, versions()]
        if self.how is not None:
            identity += [type(self.how).__name__, asdict(self.how)]
        if isinstance(self.how, Plan):  # times of two machines are not to stand in one table
            device = devices.find(self.how.execution.device)
            identity += [machine(), str(device), devices.describe(device)]
        if self.against is not None:
            identity.append(asdict(self.against.network.spec))
        return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]


def tasks(
    variants: Sequence[Variant],
    resolution: tuple[int, int],
    batch: int = 1,
    plan: Plan | None = None,
    protocol: Protocol | None = None,
) -> list[Task]:
    """Return what there is to measure: every variant counted, and with a plan timed, with a protocol its field drawn.

    Args:
        variants: the variants of one or more studies, the full network first in each.
        resolution: input height and width, in pixels.
        batch: images in the forward pass that is counted.
        plan: how to time each variant against the full network of its study.
        protocol: how to measure receptive fields.
    """
    found = [Task(variant, resolution, batch) for variant in variants]
    if protocol:
        found += [Task(variant, resolution, 1, protocol) for variant in variants]
    if plan:
        full: dict[str, Variant] = {}
        for variant in variants:
            full.setdefault(variant.study, variant)
        found += [Task(variant, resolution, plan.batches[0], plan, full[variant.study]) for variant in variants]
    return found


def measure(task: Task) -> Row:
    """Measure one variant and return its row; the key says what was measured."""
    variant = task.variant
    return {
        "key": task.key,
        "study": variant.study,
        "variant": variant.name,
        "model": variant.network.label,
        "resolution": list(task.resolution),
        "batch": task.batch,
        **_measured(task),
    }


def _measured(task: Task) -> Row:
    network = task.variant.network
    if isinstance(task.how, Protocol):
        row = fields.measure(of(network), task.how)[-1].row()
        return {key: row[key] for key in ("r50", "r50_low", "r50_high", "image_kind", "images", "weights")}
    if isinstance(task.how, Plan):
        assert task.against is not None
        itself = task.against.network.spec == network.spec
        subjects = [of(task.against.network), *([] if itself else [of(network)])]
        row = speed.measure(subjects, task.how)[-1].row()
        if row["status"] == CUT_SHORT:
            raise KeyboardInterrupt  # a row that is kept must be whole
        timed = {key: row[key] for key in _TIMED}
        return {**timed, "latency_status": row["status"], "ratio": 1.0 if itself else row["ratio"]}
    return count(build.empty(network.spec), (task.batch, 3, *task.resolution)).row()


def run(
    tasks: Sequence[Task],
    store: RowStore | None = None,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Row]:
    """Measure tasks and yield one row a variant, in order; what the store holds is not measured again.

    Args:
        tasks: what to measure; equal networks in several studies are measured once.
        store: where rows are appended as they are measured.
        executor: any ``concurrent.futures`` executor for what is counted and drawn; this process without one. Latency
            is measured in this process, after all else, one at a time.
        progress: told the number of tasks done and to do.
    """
    known = {row["key"]: row for row in store.rows if "key" in row} if store else {}
    missing = {task.key: task for task in tasks if task.key not in known}
    done = len(tasks) - len(missing)
    for row in _rows(list(missing.values()), executor):
        known[row["key"]] = row
        if store:
            store.append(row)
        done += 1
        if progress:
            progress(min(done, len(tasks)), len(tasks))
    merged: dict[Variant, Row] = {}
    for task in tasks:
        names = {"study": task.variant.study, "variant": task.variant.name, "model": task.variant.network.label}
        merged[task.variant] = {**known[task.key], **merged.get(task.variant, {}), **names}
    yield from merged.values()


def _rows(tasks: Sequence[Task], executor: Executor | None) -> Iterator[Row]:
    alone = [task for task in tasks if executor is None or isinstance(task.how, Plan)]
    if executor is not None:
        futures = [executor.submit(measure, task) for task in tasks if not isinstance(task.how, Plan)]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenExecutor:
            raise InputError("a process that counts has died; what was measured is kept: take fewer --jobs") from None
        finally:  # whatever ends this early, what has not begun is not begun
            for future in futures:
                future.cancel()
    yield from map(measure, alone)


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

        return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
    return _dask_executor(kind)


@contextmanager
def _dask_executor(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError:
        raise InputError("Dask is not installed: python -m pip install 'scsc-lab[dask]'") from None
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--executor {address!r}: neither local nor a Dask scheduler that answers: {reason}") from None
    with client, client.get_executor(pure=False) as found:
        yield found
