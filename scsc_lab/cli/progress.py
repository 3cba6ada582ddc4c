"""Progress bars on the terminal, for what takes seconds; nothing where the output is piped.

They are drawn when something is told, never by a thread of their own, which would take time from what is measured.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

_REDRAW_SECONDS = 0.25


@contextlib.contextmanager
def counted(what: str, total: int) -> Iterator[Callable[[int, int], None] | None]:
    """Show a progress bar on the terminal while something is measured; nothing where the output is piped.

    Yields:
        A function that is told the number of things done and to do, or ``None`` where there is no bar.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as bar:
        task = bar.add_task(what, total=total)
        drawn = 0.0

        def tell(done: int, of: int) -> None:
            nonlocal drawn
            bar.update(task, completed=done, total=of)
            if done == of or time.monotonic() - drawn > _REDRAW_SECONDS:
                bar.refresh()
                drawn = time.monotonic()

        bar.refresh()
        yield tell


@contextlib.contextmanager
def timed() -> Iterator[Callable[[str, float, float | None], None] | None]:
    """Show on the terminal what is being measured and how long is left; nothing where the output is piped.

    Yields:
        A function that is told what, the seconds passed and the seconds left; or ``None``.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[left]}"))
    # Drawn between samples, never by a thread of its own, which would take time from what is being measured.
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as bar:
        task = bar.add_task("", total=None, left="")
        drawn = 0.0

        def tell(what: str, seconds: float, left: float | None) -> None:
            nonlocal drawn
            if left is None:
                bar.reset(task, total=None, description=what, left="")
            else:
                bar.update(task, description=what, completed=seconds, total=seconds + left, left=f"{left:.0f} s left")
            if left is None or time.monotonic() - drawn > _REDRAW_SECONDS:
                bar.refresh()
                drawn = time.monotonic()

        yield tell


@contextlib.contextmanager
def stepwise() -> Iterator[Callable[[str, float, int], None] | None]:
    """Show which of several long steps is being done, and how long is left; nothing where the output is piped.

    Yields:
        A function that is told the step, the number of steps done, the share of the one under way among them, and the
        number to do; or ``None`` where nothing is shown.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    shown = [TextColumn(f"{{task.{name}}}", markup=False) for name in ("fields[left]", "description")]
    bar = Progress(
        BarColumn(10), MofNCompleteColumn(), *shown, console=Console(stderr=True), transient=True, auto_refresh=False
    )
    with bar:
        task = bar.add_task("", left="")
        started: tuple[float, float] | None = None

        def tell(what: str, done: float, of: int) -> None:
            nonlocal started
            now = time.monotonic()
            started = started or (now, done)
            gained = done - started[1]
            left = f"{_clock((now - started[0]) * (of - done) / gained)} left" if gained > 0 else ""
            bar.update(task, description=what, completed=done, total=of, left=left, refresh=True)

        yield tell


def _clock(seconds: float) -> str:
    """Return a time as ``2:05`` minutes or ``1:02:05`` hours."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
