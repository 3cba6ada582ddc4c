"""Texts of values that have no type of their own: an input size, a budget, a width, a device, a list."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from scsc_lab.errors import InputError, nearest

COLUMN_INCHES = 3.3
"""Width of one column of a two-column paper, in inches."""

PAGE_INCHES = 6.9
"""Width of both columns of a two-column paper, in inches."""

SMALLEST_INCHES, LARGEST_INCHES = 2.0, 20.0
"""Widths that a figure may have."""

LARGEST_SIDE = 16384
"""Largest input side, in pixels."""

_SMALLEST_BUDGET = 1000
"""Budgets below which a letter has been forgotten."""

_MULTIPLES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_INCHES = {"in": 1.0, "cm": 2.54, "mm": 25.4, "pt": 72.27}
_DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")


def size(text: str) -> tuple[int, int]:
    """Return height and width, in pixels, of ``224`` or ``224x320``.

    Raises:
        InputError: if it is not a size, or out of bounds.
    """
    match = re.fullmatch(r"(\d{1,12})(?:[x×](\d{1,12}))?", text.strip().lower())
    if match is None:
        raise InputError(f"{text!r}: write a side or HEIGHTxWIDTH in pixels, e.g. 224 or 224x320")
    sides = (int(match[1]), int(match[2] or match[1]))
    if not all(1 <= side <= LARGEST_SIDE for side in sides):
        raise InputError(f"{text}: sides go from 1 to {LARGEST_SIDE} pixels")
    return sides


def budget(text: str) -> int:
    """Return the number that ``4.5G``, ``30M`` or ``4.5e9`` stands for.

    Raises:
        InputError: if it is no number, or so small that its letter must be missing.
    """
    match = re.fullmatch(r"(\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:E([+-]?\d{1,2}))?\s*([KMGT])?", text.strip().upper())
    if match is None:
        raise InputError(f"{text!r}: a number, optionally with K, M, G or T, e.g. 4.5G")
    number = float(match[1])
    if not (match[2] or match[3]) and 0 < number < _SMALLEST_BUDGET:
        raise InputError(f"{text}: is {text}G meant, or {text}M? Without a letter the unit is one")
    return round(number * 10.0 ** int(match[2] or 0) * _MULTIPLES[match[3] or ""])


def width(text: str) -> float:
    """Return a figure's width in inches: of ``column``, ``page`` or a number with its unit, e.g. ``3.3in``, ``84mm``.

    Raises:
        InputError: if it is no width, or out of bounds.
    """
    widths = {"column": COLUMN_INCHES, "page": PAGE_INCHES}
    if text.strip().lower() in widths:
        return widths[text.strip().lower()]
    match = re.fullmatch(r"(\d{1,4}(?:\.\d{1,4})?)\s*(in|cm|mm|pt)", text.strip().lower())
    if match is None:
        raise InputError(f"{text!r}: column, page, or a width with its unit, as in 3.3in or 84mm")
    inches = float(match[1]) / _INCHES[match[2]]
    if not SMALLEST_INCHES <= inches <= LARGEST_INCHES:
        raise InputError(f"{text}: from {SMALLEST_INCHES:g} to {LARGEST_INCHES:g} inches")
    return inches


def device(text: str) -> str:
    """Return the name of a device as torch spells it; whether this machine has it is checked where it is used.

    Raises:
        InputError: if no device has such a name.
    """
    name = text.strip().lower()
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name):
        raise InputError(f"{text!r}: one of {', '.join(_DEVICES)}{nearest(name, _DEVICES)}")
    return name


def names(text: str) -> tuple[str, ...]:
    """Return the names of a comma-separated list, each once.

    Raises:
        InputError: if there are none.
    """
    return tuple(dict.fromkeys(_parts(text)))


def numbers(text: str) -> tuple[int, ...]:
    """Return the whole numbers of a comma-separated list.

    Raises:
        InputError: if one is no whole number, or there are none.
    """
    parts = _parts(text)
    for part in parts:
        if not re.fullmatch(r"\d{1,12}", part):
            raise InputError(f"{part!r}: whole numbers with commas between, e.g. 1,8,32")
    return tuple(map(int, parts))


def _parts(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise InputError("names nothing: write one or more, with commas between")
    return parts


def assignment(text: str, option: str = "") -> tuple[str, str]:
    """Return key and value of ``KEY=VALUE``; the message names the option, if there is one.

    Raises:
        InputError: if there is no key or no ``=``.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"{option} {text!r}: write key=value, e.g. kernels=3,5,7".lstrip())
    return key.strip(), value.strip()


def by_key(assignments: Iterable[tuple[str, str]], option: str) -> dict[str, str]:
    """Return values by key.

    Raises:
        InputError: if a key comes twice; the message names the option.
    """
    values: dict[str, str] = {}
    for key, value in assignments:
        if key in values:
            raise InputError(f"{option} {key} is given twice")
        values[key] = value
    return values


def some_of(choices: Callable[[], Any], hint: Callable[[str], str] | None = None) -> Callable[[str], tuple[str, ...]]:
    """Return a reader of comma-separated lists whose words must be among some choices.

    Args:
        choices: returns the choices.
        hint: returns what a wrong word may mean, as the end of a sentence. Default: the nearest choices.
    """

    def read(text: str) -> tuple[str, ...]:
        chosen, allowed = names(text), tuple(choices())
        for choice in chosen:
            if choice not in allowed:
                meant = hint(choice) if hint else nearest(choice, allowed)
                raise InputError(f"{choice!r}: one of {', '.join(allowed)}{meant}")
        return chosen

    return read


def number_of(text: object) -> float | None:
    """Return the value of a setting as a number; None if it is none."""
    try:
        return float(str(text))
    except ValueError:
        return None
