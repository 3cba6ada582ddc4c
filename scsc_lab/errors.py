"""The one exception a user's mistake raises: a single line that names the mistake and what would be right."""

from __future__ import annotations

import difflib
import re
import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

_LIBRARIES = (*{Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}, Path(__file__).parent)
_MISSING_OPERATOR = re.compile("operator torchvision::.* does not exist|load custom C\\+\\+ ops")
_MISFIT = "this torchvision does not fit this torch"


class InputError(ValueError):
    """Something the user gave is wrong. The message is one line; the command line exits with code 2."""


def nearest(word: str, known: Iterable[str], limit: int = 3) -> str:
    """Return ``"; did you mean a, b?"`` for the known words nearest to ``word``, or an empty string."""
    matches = difflib.get_close_matches(word, list(dict.fromkeys(known)), n=limit, cutoff=0.5)
    return f"; did you mean {', '.join(matches)}?" if matches else ""


def located(error: BaseException) -> str:
    """Return an error's type and last line, and the user's file and line, or else the file and line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({Path(error.filename or '?').name}, line {error.lineno})"
    return f"{last_line(error)}{_place([*filter(_is_users, frames)] or frames)}"


def located_by_user(error: BaseException) -> str:
    """Return an error's type and last line, and the user's file and line if it passed through any."""
    return f"{last_line(error)}{_place([*filter(_is_users, traceback.extract_tb(error.__traceback__))])}"


def _place(frames: Sequence[traceback.FrameSummary]) -> str:
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _is_users(frame: traceback.FrameSummary) -> bool:
    """Return whether a line of code is in a file of the user's: not in Python, an installed package or this one."""
    file = Path(frame.filename)
    return file.is_absolute() and not any(file.is_relative_to(folder) for folder in _LIBRARIES)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, with its type."""
    return _line(error, 0)


def last_line(error: BaseException) -> str:
    """Return the last line of an error's message, with its type."""
    return _line(error, -1)


def _line(error: BaseException, at: int) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[at]}" if lines else type(error).__name__
    return f"{text}; {_MISFIT}" if _MISSING_OPERATOR.search(text) else text
