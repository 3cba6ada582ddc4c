"""How a process ends before its work does: by a signal, at a time limit, or with its parent."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from scsc_lab.errors import InputError, is_users, shorten_warnings

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from multiprocessing.connection import Connection

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C has ended, also where it printed its rows; SIGTERM's is 143."""

GRACE_SECONDS = 4.0
"""How long users' code may run on after a signal or a time limit; then the process ends without it."""

_DOUBLED_SECONDS = 0.3
"""Two signals within this time count as one: some programs send theirs to a process and to its group."""

_frames_of_threads = sys._current_frames  # a pass that is counted shows others less of itself

_ENTRY = str(Path(__file__).parents[1] / "__main__.py")


class TimeLimitError(InputError):
    """Building or measuring a network took longer than it may."""


class _Expired(BaseException):
    """The time limit, as users' code seldom catches it."""


class _State:
    """What asks this process to end.

    Attributes:
        signal: the signal, once Python has seen it; 0 before.
        frames: the calls of users' code that it met.
        seconds: time limit per network; None without one.
        subjects: what the limit holds for now and how many networks that is, the innermost last.
        expired: what to say once the limit is over.
    """

    signal = 0
    frames: tuple[FrameType, ...] = ()
    seconds: float | None = None
    subjects: tuple[tuple[str, int], ...] = ()
    expired = ""


_state = _State()


def listen() -> None:
    """Let Ctrl-C and SIGTERM raise KeyboardInterrupt once, and end the process if users' code does not end then."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    _watch()


def exit_code() -> int:
    """Return the exit code of a command that was interrupted: 128 and the number of the signal."""
    return 128 + (_state.signal or signal.SIGINT)


def is_interrupted() -> bool:
    """Return whether a signal has asked this process to end."""
    return _state.signal != 0


def leave(code: int) -> NoReturn:
    """End the process, also where threads that users' code has started still run.

    Python itself would end an interrupted process by SIGINT if the interrupt met code that ``exec`` ran.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    other_threads = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    if not is_interrupted() and all(thread.daemon for thread in other_threads):
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def set_time_limit(seconds: float | None) -> None:
    """Set the seconds that building or measuring one network may take from now on."""
    _state.seconds = seconds


@contextlib.contextmanager
def time_limit(subject: str, networks: int = 1) -> Iterator[None]:
    """Apply the time limit to what is done inside; another one outside begins anew behind it.

    Args:
        subject: what the message names.
        networks: how many networks it is, each of which has the time.

    Raises:
        TimeLimitError: when it is over.
    """
    outer, seconds = _state.subjects, _state.seconds
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.subjects = (*outer, (subject, networks))
    try:
        signal.signal(signal.SIGALRM, _expire)
        signal.setitimer(signal.ITIMER_REAL, seconds * networks)
        yield
    except BaseException:
        if outer or not _state.expired:
            raise
        raise TimeLimitError(_state.expired) from None
    finally:
        _state.subjects = outer
        signal.setitimer(signal.ITIMER_REAL, seconds * outer[-1][1] if outer else 0)
        if not outer:
            _state.expired = ""


@contextlib.contextmanager
def processes(number: int) -> Iterator[Executor]:
    """Yield an executor of several processes, which end with this one, and at once when the context is left."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    begin = (reader, _state.seconds)
    pool = ProcessPoolExecutor(number, mp_context=context, initializer=_begin_worker, initargs=begin)
    try:
        yield pool
    finally:
        writer.close()
        pool.shutdown(cancel_futures=True)


def _begin_worker(parent: Connection, seconds: float | None) -> None:
    """Let a process that measures leave signals to its parent, end with it, and print nothing among results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdout = sys.stderr
    shorten_warnings()
    _state.seconds = seconds
    if seconds is not None:
        _watch()

    def follow() -> None:
        with contextlib.suppress(EOFError, OSError):
            parent.recv_bytes()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _over() -> str:
    return f"{_state.subjects[-1][0]} took longer than --timeout {_state.seconds:g} seconds"


def _expire(number: int, frame: FrameType | None) -> None:
    if _state.subjects:
        _state.expired = _over()
        raise _Expired


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _state.signal:
        return
    _state.signal, _state.frames = number, tuple(each for each in _calls(frame) if is_users(each.f_code.co_filename))
    raise KeyboardInterrupt


def _calls(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the calls that led to a frame, innermost first, from the program's own on."""
    while frame is not None and frame.f_code.co_filename != _ENTRY:
        yield frame
        frame = frame.f_back


def _watch() -> None:
    """Start the thread that sees signals also while users' code lets Python see none."""
    if not hasattr(os, "register_at_fork"):
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    threading.Thread(target=_end_what_stays, args=(reader,), daemon=True).start()


def _end_what_stays(reader: int) -> None:
    """End the process at a second signal, or where users' code still runs some time after the first."""
    ending_signal, since = 0, 0.0
    while True:
        if not select.select([reader], [], [], GRACE_SECONDS if ending_signal else None)[0]:
            if ending_signal == signal.SIGALRM and not _state.subjects:
                ending_signal = 0
            elif _stays(ending_signal):
                _end(ending_signal)
            continue
        for number in os.read(reader, 64):
            if number in (signal.SIGINT, signal.SIGTERM) and ending_signal in (signal.SIGINT, signal.SIGTERM):
                if time.monotonic() - since > _DOUBLED_SECONDS:
                    _end(ending_signal)
            elif number in (signal.SIGINT, signal.SIGTERM) or (number == signal.SIGALRM and not ending_signal):
                ending_signal, since = number, time.monotonic()


def _stays(ending_signal: int) -> bool:
    """Return whether the work that a signal interrupted has not ended."""
    if ending_signal == signal.SIGALRM:
        return bool(_state.subjects)
    running = {id(frame) for frame in _calls(_frames_of_threads().get(threading.main_thread().ident or 0))}
    return not _state.signal or any(id(frame) in running for frame in _state.frames)


def _end(ending_signal: int) -> NoReturn:
    """End the process without its main thread."""
    message = (_state.expired or _over()) if ending_signal == signal.SIGALRM else "interrupted"
    cursor = "\x1b[?25h\n" if sys.stderr.isatty() else ""  # a progress bar may have hidden it
    os.write(2, f"{cursor}scsc-lab: {message}\n".encode())
    os._exit(2 if ending_signal == signal.SIGALRM else 128 + ending_signal)
