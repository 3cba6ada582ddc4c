"""The one exception a user's mistake raises: a single line that names the mistake and what would be right."""

from __future__ import annotations

import difflib
import importlib
import re
import sysconfig
import traceback
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_LIBRARIES = (*{Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}, Path(__file__).parent)
_MISSING_OPERATOR = re.compile("operator torchvision::.* does not exist|load custom C\\+\\+ ops")
_MISFIT = "this torchvision does not fit this torch"


class InputError(ValueError):
    """Something the user gave is wrong. The message is one line; the command line exits with code 2."""


def nearest(text: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean a, b?"`` for the known words nearest to ``word``, or an empty string."""
    matches = difflib.get_close_matches(text, list(dict.fromkeys(choices)), n=3, cutoff=0.5)
    return f"; did you mean {', '.join(matches)}?" if matches else ""


def imported(module: str, otherwise: str) -> Any:
    """Return a module of an optional package.

    Raises:
        InputError: if it is not installed: what needs it, and how to install it, as ``otherwise`` says.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(otherwise) from None


def located(error: BaseException) -> str:
    """Return an error's type and last line, and the user's file and line, or else the file and line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({Path(error.filename or '?').name}, line {error.lineno})"
    return f"{last_line(error)}{_place([frame for frame in frames if is_users(frame.filename)] or frames)}"


def located_by_user(error: BaseException) -> str:
    """Return an error's type and last line, and the user's file and line if it passed through any."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{last_line(error)}{_place([frame for frame in frames if is_users(frame.filename)])}"


def _place(frames: Sequence[traceback.FrameSummary]) -> str:
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def is_users(filename: str) -> bool:
    """Return whether code is the user's: its file is not in Python, an installed package or this one."""
    file = Path(filename)
    return file.is_absolute() and not any(file.is_relative_to(folder) for folder in _LIBRARIES)


def printable(text: str) -> str:
    """Return a text with control characters shown, not sent to a terminal; line breaks and tabs stay."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else repr(letter)[1:-1] for letter in text)


def shorten_warnings() -> None:
    """Print each warning as one line from now on, with control characters shown."""
    warnings.formatwarning = _warning


def _warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: Any = None) -> str:
    is_ours = Path(filename).is_relative_to(Path(__file__).parent)
    place = "" if is_ours else f" ({category.__name__}, {Path(filename).name}, line {lineno})"
    return printable(f"scsc-lab: {' '.join(str(message).split())}{place}") + "\n"


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
