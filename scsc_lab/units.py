"""The only place where numbers and names become text for a reader: prefixes, decimals, signs; safe, on one line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

MISSING = ""
"""Text of a missing number in tables."""

_MINUS = "−"

_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
"""Control characters, those that turn the direction of writing, and halves of characters."""

MOST_NAMES = 4
"""Names that a sentence lists; of more it counts the others."""

_FOLDERS = re.compile(r"(?:[^\s'\"/]*/)+(?=[^\s'\"/]+\.(?:py|onnx)\b)")
_CODE = re.compile(r"`([^`]+)`")


def significant(value: float, digits: int = 4) -> str:
    """Return ``value`` with ``digits`` significant digits and no exponent: ``4.089``, ``0.3190``, ``1234``."""
    if value == 0:
        return "0"
    magnitude = len(str(int(abs(value)))) if abs(value) >= 1 else _leading(value)
    text = f"{value:.{max(digits - magnitude, 0)}f}"
    return text.replace("-", _MINUS)


def integer(value: int | None) -> str:
    """Return a whole number with thousands set apart: ``4,089,184,256``."""
    return MISSING if value is None else f"{value:,}".replace("-", _MINUS)


def mega(value: float | None) -> str:
    """Return a number of things in millions: 25,557,032 is ``25.56``."""
    return MISSING if value is None else significant(value / 1e6)


def giga(value: float | None) -> str:
    """Return a number of things in thousand millions: 4,089,184,256 is ``4.089``."""
    return MISSING if value is None else significant(value / 1e9)


def with_sign(text: Callable[[float | None], str]) -> Callable[[float | None], str]:
    """Return a function that writes a difference as ``text`` writes a number, with its sign: ``+1.250``."""
    return lambda value: _signed(value, text)


def mega_aligned(value: float | None) -> str:
    """Return a number of things in millions, to a thousandth, so that decimals stand below each other: ``25.557``."""
    return MISSING if value is None else f"{value / 1e6:.3f}".replace("-", _MINUS)


def giga_aligned(value: float | None) -> str:
    """Return a number of things in thousand millions, to a thousandth: ``4.089``."""
    return MISSING if value is None else f"{value / 1e9:.3f}".replace("-", _MINUS)


def percent(fraction: float | None) -> str:
    """Return a change as a signed percentage: 0.116 is ``+11.6%``, −0.0004 is ``−0.04%``."""
    if fraction is None:
        return MISSING
    value = 100 * fraction
    if value == 0:
        return "0.0%"
    return f"{value:+.{2 if abs(value) < 1 else 1}f}%".replace("-", _MINUS)


def exact_percent(fraction: float | None) -> str:
    """Return a change as a signed percentage to a hundredth: 0.11613 is ``+11.61%``."""
    return MISSING if fraction is None else f"{100 * fraction:+.2f}%".replace("-", _MINUS)


def points(fraction: float | None) -> str:
    """Return a difference of two percentages in points: −0.044 is ``−4.40``."""
    return MISSING if fraction is None else f"{100 * fraction:+.2f}".replace("-", _MINUS)


def share(fraction: float | None) -> str:
    """Return a share of a whole: 0.116 is ``11.6%``."""
    if fraction is None:
        return MISSING
    return f"{100 * fraction:.{2 if 0 < abs(fraction) < 0.01 else 1}f}%".replace("-", _MINUS)


def share_interval(values: tuple[float | None, ...]) -> str:
    """Return a share with its interval: ``11.6% (11.2%–12.1%)``."""
    return with_interval(values, share)


def signed(value: float | None) -> str:
    """Return a difference with its sign and at most six digits: ``+1.2``."""
    if value is None:
        return MISSING
    return f"{round(value, 6):+.6g}".replace("-", _MINUS)


def ratio_interval(values: tuple[float | None, ...]) -> str:
    """Return a ratio with its interval: ``0.788 (0.777–0.799)``."""
    return with_interval(values, ratio)


def ratio_of_time(values: tuple[float | None, ...]) -> str:
    """Return a ratio with its interval and the time it is of: ``0.774 (0.760–0.790) of 4.807 ms``."""
    *ratios, seconds = values
    text = ratio_interval(tuple(ratios))
    return f"{text} of {milliseconds(seconds)} ms" if text and seconds is not None else text


def signed_decimal(value: float | None) -> str:
    """Return a difference with its sign, rounded as :func:`decimal` does: ``+1.20``."""
    return _signed(value, decimal)


def points_interval(values: tuple[float | None, ...]) -> str:
    """Return a difference in points with its interval: ``−1.20 (−2.10 to −0.30)``."""
    return with_interval(values, signed_decimal)


def probability(value: float | None) -> str:
    """Return a p value to a thousandth: ``0.002``, and ``<0.001`` below."""
    return MISSING if value is None else "<0.001" if value < 0.0005 else f"{value:.3f}"


def correlation(value: float | None) -> str:
    """Return a correlation to a hundredth, with its sign: ``+0.31``."""
    return MISSING if value is None else f"{value:+.2f}".replace("-", _MINUS)


def milliseconds(seconds: float | None) -> str:
    """Return a time in milliseconds: 0.01234 is ``12.34``."""
    return MISSING if seconds is None else significant(1e3 * seconds)


def seconds(value: float | None) -> str:
    """Return seconds: 12.345 is ``12.35``."""
    return MISSING if value is None else significant(value)


def rate(number: float | None) -> str:
    """Return a number of things a second: ``8.290``, ``1234``."""
    return MISSING if number is None else significant(number)


def interval(bounds: tuple[float | None, float | None]) -> str:
    """Return the two ends of an interval of a ratio: ``1.391–1.412``."""
    low, high = bounds
    return MISSING if low is None or high is None else span(ratio(low), ratio(high))


def with_interval(values: tuple[float | None, ...], text: Callable[[float | None], str]) -> str:
    """Return a value and its interval: ``3.1 (2.9–3.4)``; the value alone where there is no interval."""
    value, low, high = values
    if value is None or low is None or high is None:
        return text(value)
    return f"{text(value)} ({span(text(low), text(high))})"


def span(low: str, high: str) -> str:
    """Return what lies between two numbers: ``1.391–1.412``, and with words where a sign would be taken for a dash."""
    return f"{low} to {high}" if {_MINUS, "+"} & set(low + high) else f"{low}–{high}"


def decimal(value: float | None) -> str:
    """Return a number to a hundredth below 10, to a tenth below 1000, else whole: ``0.04``, ``46.2``."""
    if value is None:
        return MISSING
    return f"{value:.{2 if abs(value) < 9.995 else 1 if abs(value) < 999.95 else 0}f}".replace("-", _MINUS)


def ratio(value: float | None) -> str:
    """Return a ratio to a thousandth: ``0.391``."""
    return MISSING if value is None else f"{value:.3f}".replace("-", _MINUS)


def size(sides: Sequence[int] | None) -> str:
    """Return an input size: ``224×320``, height first."""
    return MISSING if sides is None else "×".join(map(str, sides))


def input_text(resolution_and_tensors: tuple[list[int] | None, str | None]) -> str:
    """Return an input: the size of an image, or the tensors."""
    resolution, tensors = resolution_and_tensors
    return tensors or size(resolution)


def shapes(tensors: Sequence[Sequence[int]] | None) -> str:
    """Return the shapes of tensors: ``1×64×56×56``, one after the other."""
    return ", ".join(map(size, tensors or ()))


def plain(value: object) -> str:
    """Return anything else as it is; nothing for ``None``."""
    return MISSING if value is None else str(value)


def _signed(value: float | None, text: Callable[[float | None], str]) -> str:
    return f"+{text(value)}" if value is not None and value > 0 else text(value)


def _leading(value: float) -> int:
    """Return the power of ten of the first digit of a number below 1, at most 0: 0.0319 gives −1."""
    exponent = f"{abs(value):e}".partition("e")[2]
    return int(exponent) + 1


def visible(text: str) -> str:
    r"""Return text in which characters that would be obeyed, not shown, are written out: ESC is ``\x1b``."""
    return _OBEYED.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Return text as one line: white space of any kind is a space, what would be obeyed is written out."""
    return visible(" ".join(text.split()))


def code_spans(prose: str) -> list[tuple[str, bool]]:
    """Return the pieces of a note or a paragraph, each with whether it is code: what stands between two backticks."""
    pieces = _CODE.split(one_line(prose))
    return [(piece, bool(index % 2)) for index, piece in enumerate(pieces) if piece]


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence lists them, each once; of many the first ones and how many more there are."""
    unique = list(dict.fromkeys(names))
    if len(unique) > MOST_NAMES:
        unique = [*unique[: MOST_NAMES - 1], f"{len(unique) - MOST_NAMES + 1} more"]
    *first, last = unique or [""]
    return f"{', '.join(first)} and {last}" if first else last


def without_folders(labels: Iterable[str]) -> dict[str, str]:
    """Return labels of networks without the folders of their files, by label; those that would be alike stay whole."""
    short = {label: _FOLDERS.sub("", label) for label in labels}
    times = Counter(short.values())
    return {label: name if times[name] == 1 else label for label, name in short.items()}
