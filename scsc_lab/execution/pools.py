"""Where tasks run beside this process: processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass
from typing import Any

import scsc_lab
from scsc_lab.errors import InputError, first_line, imported
from scsc_lab.execution import ending
from scsc_lab.settings.declaration import Declared, setting

_parallel = functools.partial(setting, decides=False)
MEASURING = threading.RLock()
"""Held while something is measured: torch's random numbers, switches and hooks belong to the process, not a thread."""

_LOOK_SECONDS = 1.0
_SAY_SECONDS = 5.0


@dataclass(frozen=True)
class Parallel(Declared):
    """Where tasks run that may run anywhere.

    Attributes:
        jobs: processes of this machine; 1: this process.
        executor: ``local``, or the address of a Dask scheduler.
        executor_timeout: how long a scheduler without workers is waited for, in seconds.
    """

    jobs: int = _parallel(1, "Processes that count and train in parallel.", "--jobs", low=1, high=1024, metavar="N")
    executor: str = _parallel(
        "local", "Where to run: local, or a Dask scheduler, tcp://host:8786.", "--executor", metavar="ADDRESS"
    )
    executor_timeout: float = _parallel(
        600.0,
        "Seconds to wait for workers of --executor.",
        "--executor-timeout",
        low=0,
        high=1e9,
        metavar="SECONDS",
    )

    def pool(self) -> contextlib.AbstractContextManager[Executor | None]:
        """Return a context with the executor, or None where tasks run in this process.

        Raises:
            InputError: if Dask is not installed, no scheduler answers, or it has no workers.
        """
        if self.executor != "local":
            return _dask(self.executor, self.executor_timeout)
        return contextlib.nullcontext(None) if self.jobs == 1 else ending.processes(self.jobs)


def completed(executor: Executor, futures: Collection[Future[Any]]) -> Iterator[Future[Any]]:
    """Yield futures as they end; those that have ended come also if another fails or Ctrl-C ends the waiting.

    Raises:
        InputError: if a process that measures has died, or a cluster has lost its scheduler or all workers.
    """
    pending = set(futures)
    try:
        while pending:
            done, _ = wait(pending, _LOOK_SECONDS, FIRST_COMPLETED)
            for future in sorted(done, key=_has_failed):
                if _has_failed(future):
                    _raise(future, executor)
                pending.remove(future)
                yield future
            if isinstance(executor, _Dask) and not done:
                executor.require_workers()
    except (Exception, KeyboardInterrupt):
        yield from [future for future in pending if future.done() and not _has_failed(future)]
        raise
    finally:  # whatever ends this early: what has not begun does not begin
        for future in pending:
            future.cancel()


def _has_failed(future: Future[Any]) -> bool:
    return future.cancelled() or future.exception() is not None


def _raise(future: Future[Any], executor: Executor) -> None:
    """Raise what ended a future, as an InputError where the processes are to blame."""
    try:
        future.result()
    except BrokenExecutor:
        raise InputError("a process that measures has died; finished rows are kept: take fewer --jobs") from None
    except CancelledError:
        raise InputError(_LOST.format("the Dask scheduler has ended")) from None
    except InputError:
        raise
    except Exception as error:
        if not isinstance(executor, _Dask):
            raise
        raise InputError(
            f"a Dask process failed: {first_line(error)}; scheduler and workers need the versions and files of this one"
        ) from error


_LOST = "{}; finished rows are kept, and the same command resumes"


class _Dask(Executor):
    """A Dask cluster as an executor."""

    def __init__(self, client: Any, address: str, wait_seconds: float) -> None:
        self._client, self._address, self._wait_seconds = client, address, wait_seconds
        self._pool = client.get_executor(pure=False)
        self._alone_since: float | None = None
        self._silent_until = 0.0

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = self._pool.submit(function, *args, **kwargs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait=wait)

    def require_workers(self) -> None:
        """Say so while there are no workers.

        Raises:
            InputError: if the scheduler has ended, or there are none for too long.
        """
        if self._client.status != "running":
            raise InputError(_LOST.format(f"the Dask scheduler at {self._address} has ended"))
        if self._client.scheduler_info(n_workers=1)["workers"]:
            self._alone_since, self._silent_until = None, _SAY_SECONDS
            return
        now = time.monotonic()
        self._alone_since = self._alone_since or now
        waited = now - self._alone_since
        if waited >= self._wait_seconds:
            raise InputError(
                f"--executor {self._address}: no workers after {waited:.0f} s (--executor-timeout); start one with "
                f"`dask worker {self._address}`"
            )
        if waited >= self._silent_until:
            print(f"scsc-lab: waiting for workers at {self._address}: {waited:.0f} s", file=sys.stderr)
            self._silent_until = max(_SAY_SECONDS, 2 * waited)

    def wait_for_workers(self) -> None:
        """Wait for the first worker.

        Raises:
            InputError: if there is none for too long, or one has another version of this package, or none.
        """
        self.require_workers()
        while self._alone_since is not None:
            time.sleep(min(_LOOK_SECONDS, self._wait_seconds))
            self.require_workers()
        try:
            versions = self._client.run(getattr, scsc_lab, "__version__")
        except Exception as error:  # distributed wraps what a worker raises
            raise InputError(f"a worker at {self._address} has no scsc-lab: {first_line(error)}") from None
        for worker, version in versions.items():
            if version != scsc_lab.__version__:
                raise InputError(f"the worker {worker} has scsc-lab {version}, and here it is {scsc_lab.__version__}")


@contextlib.contextmanager
def _dask(address: str, wait_seconds: float) -> Iterator[Executor]:
    dask = imported("distributed", "Dask is not installed: python -m pip install 'scsc-lab[dask]'")
    for name in ("distributed", "distributed.client", "tornado", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is said here, in one line
    try:
        client = dask.Client(address, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        reason = first_line(error)
        raise InputError(f"--executor {address!r}: neither local nor a Dask scheduler that answers: {reason}") from None
    with client:
        cluster = _Dask(client, address, wait_seconds)
        cluster.wait_for_workers()
        yield cluster
