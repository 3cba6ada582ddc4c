"""Progress on stderr: a bar on a terminal, a plain line every ten seconds elsewhere.

Both are drawn when progress is reported, never by a thread of their own, which would take time from what is measured.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

_REDRAW_SECONDS = 0.25
LINE_SECONDS = 10.0
"""Least time between two plain lines."""
LONG_SECONDS = 60.0
"""A run that takes longer than this says so at its first estimate."""

_Draw = Callable[[str, str, float, float | None, float | None], None]
"""Called with a description, a count (may be empty), what is done, the total and the seconds left (None: unknown)."""


@contextlib.contextmanager
def stepwise() -> Iterator[Callable[[str, float, int], None]]:
    """Show which of several long steps is under way, and how long is left.

    Yields:
        A function to call with a description, the steps done (a fraction is allowed) and the steps in total.
    """
    with _display() as draw:
        begun_at = begun_with = last = 0.0
        current = ""

        def report(description: str, done: float, of: int) -> None:
            nonlocal begun_at, begun_with, last, current
            now = time.monotonic()
            if description != current and last == begun_with:  # building and warming up are no progress
                begun_at, begun_with = now, done
            last, current = done, description
            gained = done - begun_with
            left = (now - begun_at) * (of - done) / gained if gained > 0 else None
            draw(description, f"{int(done)}/{of}", done, of, left)

        yield report


@contextlib.contextmanager
def _display() -> Iterator[_Draw]:
    if not sys.stderr.isatty():
        yield _line_writer()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = [
        TextColumn(f"{{task.{name}}}", markup=False) for name in ("fields[count]", "fields[left]", "description")
    ]
    console = Console(stderr=True)
    with Progress(BarColumn(10), *columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("", total=None, left="", count="")
        last_drawn = 0.0

        def draw(description: str, count: str, done: float, total: float | None, left: float | None) -> None:
            nonlocal last_drawn
            remaining = "" if left is None else f"{_clock(left)} left"
            bar.update(task, description=description, completed=done, total=total, left=remaining, count=count)
            if done == total or left is None or time.monotonic() - last_drawn > _REDRAW_SECONDS:
                bar.refresh()
                last_drawn = time.monotonic()

        yield draw


def _line_writer() -> _Draw:
    """Return a function that writes a line when a long run has an estimate, and one every ten seconds."""
    started = last_written = time.monotonic()
    is_announced = False

    def write(description: str, count: str, done: float, total: float | None, left: float | None) -> None:
        nonlocal last_written, is_announced
        now = time.monotonic()
        is_settled = now - started > LINE_SECONDS / 2  # first estimates are those of warm-ups
        announces = is_settled and not is_announced and left is not None and left > LONG_SECONDS
        if not announces and now - last_written < LINE_SECONDS:
            return
        last_written = now
        is_announced = is_announced or announces
        remaining = "" if left is None else f"{_clock(left)} left"
        print(", ".join(filter(None, (description, count, remaining))), file=sys.stderr, flush=True)

    return write


def _clock(seconds: float) -> str:
    """Return a time as ``2:05`` minutes or ``1:02:05`` hours."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
