"""The one exception a user's mistake raises: a single line that names the mistake and what would be right."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path


class InputError(ValueError):
    """Something the user gave is wrong. The message is one line; the command line exits with code 2."""


def nearest(word: str, known: Iterable[str], limit: int = 3) -> str:
    """Return ``"; did you mean a, b?"`` for the known words nearest to ``word``, or an empty string."""
    matches = difflib.get_close_matches(word, list(dict.fromkeys(known)), n=limit, cutoff=0.5)
    return f"; did you mean {', '.join(matches)}?" if matches else ""


def located(error: BaseException) -> str:
    """Return an error's type and last line, and the file and line that raised it, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({Path(error.filename or '?').name}, line {error.lineno})"
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{last_line(error)}{where}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, with its type."""
    return _line(error, 0)


def last_line(error: BaseException) -> str:
    """Return the last line of an error's message, with its type."""
    return _line(error, -1)


def _line(error: BaseException, at: int) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[at]}" if lines else type(error).__name__
